"""What accounts would have available, on top of the ledger, while orders are simulated."""

from indexer.domain.market import Market
from indexer.domain.order import Order
from indexer.domain.units import Address, Price, Quantity, quote_amount
from indexer.mirror.fees import fee
from indexer.mirror.ledger import AccountKey, Ledger
from indexer.mirror.rules.terms import Rules

_BOUNDLESS = 1 << 256
_NOBODY = "nobody "


def nobody(number: int) -> Address:
    """An account for an order that has none; a different one for each, so that they can trade."""
    return Address(f"{_NOBODY}{number}")


class Funds:
    """Available amounts, changed as matching would change them. The ledger stays as it is.

    An account that is nobody never runs out.
    """

    def __init__(self, ledger: Ledger, market: Market, base_unit: int, rules: Rules) -> None:
        self._ledger = ledger
        self._market = market
        self._base_unit = base_unit
        self._rules = rules
        self._changed: dict[AccountKey, int] = {}

    def copy(self) -> "Funds":
        other = Funds(self._ledger, self._market, self._base_unit, self._rules)
        other._changed = self._changed.copy()
        return other

    def available_to(self, order: Order) -> int:
        """Of the token it spends."""
        return self._available(order.account, self._spends(order))

    def lock(self, order: Order) -> bool:
        """Lock what a limit order may spend; False if there is too little."""
        amount = self._locked_by(order)
        if self.available_to(order) < amount:
            return False
        self._add(order.account, self._spends(order), -amount)
        return True

    def release(self, order: Order) -> None:
        """Give back what an order that leaves still locks."""
        self._add(order.account, self._spends(order), self._locked_by(order))

    def settle(self, taker: Order, maker: Order, price: Price, quantity: Quantity) -> None:
        """Pay for a fill, before the orders know of it."""
        market, paid, got = self._market, int(quantity), int(quantity)
        quote = quote_amount(quantity, price, self._base_unit)
        if taker.side == "buy":
            paid = quote
        else:
            got = quote
        spends, receives = self._spends(taker), self._spends(maker)
        if taker.type == "market":
            self._add(taker.account, spends, -paid)
        elif self._rules.REFUNDS and taker.side == "buy":
            self._add(
                taker.account, spends, quote_amount(quantity, taker.price, self._base_unit) - paid
            )
        maker_fee = fee(paid, market.maker_fee_per_mille or 0)
        taker_fee = fee(got, market.taker_fee_per_mille or 0)
        self._add(maker.account, spends, paid - maker_fee)
        self._add(taker.account, receives, got - taker_fee)
        self._add(self._ledger.fee_receiver, spends, maker_fee)
        self._add(self._ledger.fee_receiver, receives, taker_fee)

    def _spends(self, order: Order) -> Address:
        return self._market.quote if order.side == "buy" else self._market.base

    def _locked_by(self, order: Order) -> int:
        if order.side == "sell":
            return order.remaining
        return quote_amount(order.remaining, order.price, self._base_unit)

    def _available(self, account: Address, token: Address) -> int:
        if account.startswith(_NOBODY):
            return _BOUNDLESS
        changed = self._changed.get((account, token))
        return self._ledger.available(account, token) if changed is None else changed

    def _add(self, account: Address, token: Address, amount: int) -> None:
        self._changed[account, token] = self._available(account, token) + amount
