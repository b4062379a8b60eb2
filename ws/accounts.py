"""Pure: what happened to an account in a block, in Binance's words.

A deposit, a withdrawal or a transfer is a `balanceUpdate`; what a trade moved is not. The streams
tell states, so transfers are what neither the account's trades nor its deposits and withdrawals in
the block explain. Blocks that are taken back move the same amounts the other way.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from indexer.domain.listing import Directory, Listing
from indexer.domain.market import Token
from indexer.domain.units import Address
from indexer.wire import Message
from ws import dialect

Event = dict[str, Any]


class Accounts:
    """Gathers messages of whole blocks for the accounts that somebody watches."""

    def __init__(self, directory: Directory, watched: Callable[[Address], bool]) -> None:
        self._directory = directory
        self._watched = watched
        self._balances: dict[tuple[Address, str, str], list[Message]] = {}
        self._trades: list[Message] = []

    def take(self, message: Message) -> None:
        """Gather a message of `balances` or `trades`."""
        if message.stream == "trades":
            if any(self._watched(message.data[one]) for one in ("maker", "taker")):
                self._trades.append(message)
        elif self._watched(account := message.data["account"]):
            block = (account, message.block.hash, message.op)
            self._balances.setdefault(block, []).append(message)

    def tell(self) -> Iterator[tuple[Address, Event]]:
        """What each account is to be told, in the order of blocks; nothing is left behind."""
        gathered, self._balances = self._balances, {}
        trades, self._trades = self._trades, []
        if not gathered:
            return
        tokens = {one.address: one for pair in self._directory for one in (pair.base, pair.quote)}
        for (account, block, op), messages in gathered.items():
            known = [(one, token) for one in messages if (token := tokens.get(one.data["token"]))]
            if not known:
                continue
            timestamp = messages[0].block.timestamp
            states = [(one.data["balance"], token) for one, token in known]
            yield account, dialect.account_position(states, timestamp)
            mine = [one for one in trades if (one.block.hash, one.op) == (block, op)]
            traded = self._traded(account, mine)
            for one, token in known:
                for amount in _moves(one, traded.get(token.address, 0)):
                    yield account, dialect.balance_update(amount, token, timestamp)

    def _traded(self, account: Address, trades: Iterable[Message]) -> dict[Address, int]:
        """What trades brought an account of each token, less what they cost it."""
        net: dict[Address, int] = {}
        for trade in trades:
            listing = self._directory.at(trade.market or Address(""))
            if listing is None:
                continue
            for role in ("maker", "taker"):
                if trade.data[role] == account:
                    for token, amount in _side(trade, role, listing):
                        signed = amount if trade.op == "apply" else -amount
                        net[token.address] = net.get(token.address, 0) + signed
        return net


def _side(trade: Message, role: str, listing: Listing) -> list[tuple[Token, int]]:
    """What one party of a trade got and gave. Fees are taken from what one gets."""
    data = trade.data
    fee = int(data[f"{role}_fee"] or 0)
    quantity, amount = int(data["quantity"]), int(data["quote_amount"])
    if (data["taker_side"] == "buy") == (role == "taker"):
        return [(listing.base, quantity - fee), (listing.quote, -amount)]
    return [(listing.quote, amount - fee), (listing.base, -quantity)]


def _moves(message: Message, traded: int) -> list[int]:
    """Deposits, withdrawals and transfers, each as one signed amount."""
    none = dict.fromkeys(("available", "locked", "deposited", "withdrawn"), "0")
    after, before = message.data["balance"] or none, message.data["before"] or none
    change = {name: int(after[name]) - int(before[name]) for name in none}
    came, went = change["deposited"], -change["withdrawn"]
    transferred = change["available"] + change["locked"] - came - went - traded
    return [amount for amount in (came, went, transferred) if amount]
