"""Logs to events: the only place, with `abis/`, that knows the contracts' words.

A decoder per event shape is generated from its ABI: one `bytes.fromhex` over topics and data, one
length check, then slices. Padding is checked as strictly as eth_abi does (a test holds the two
equal), at six times its speed.
"""

from collections.abc import Callable, Container, Iterable
from functools import cache
from typing import Any

import abis
from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash

SIDES = ("buy", "sell")
STATUSES = ("open", "partially_filled", "filled", "cancelled", "rejected", "expired")
TIMES_IN_FORCE = ("gtc", "ioc", "fok", "post_only")
TYPES = ("limit", "market")

TRANSFER = Hash("0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")
MARKET_CREATED = Hash("0x16354016da33c4b63f03b12074e60a0dba0444a0d8747d270e457e24948fbf48")

# What each contract event is to us: the event's class, and for each of its fields the ABI's name
# and, where the word is not simply of its ABI type, how to read it.
_BALANCE = {"account": "user", "token": "id:token", "amount": "amount"}
_TRANSFER = {
    "operator": "operator",
    "sender": "sender",
    "receiver": "receiver",
    "token": "id:token",
    "amount": "amount",
    "fee": "feeAmount",
}
_DEBIT = {"account": "user", "token": "syntheticToken", "amount": "amount"}
EVENTS: dict[str, tuple[type[ev.Event], dict[str, str]]] = {
    "PoolCreated": (
        ev.MarketCreated,
        {
            "pool_id": "poolId",
            "market": "orderBook",
            "base": "baseCurrency",
            "quote": "quoteCurrency",
        },
    ),
    "TradingRulesUpdated": (
        ev.RulesUpdated,
        {
            "min_quantity": "minTradeAmount",
            "lot_size": "minAmountMovement",
            "tick_size": "minPriceMovement",
            "min_quote_amount": "minOrderSize",
        },
    ),
    "OrderPlaced": (
        ev.OrderPlaced,
        {
            "order_id": "orderId",
            "account": "user",
            "side": "side:SIDES",
            "price": "price",
            "quantity": "quantity",
            "expiry": "expiry",
            "type": "isMarketOrder:TYPES",
            "status": "status:STATUSES",
            "time_in_force": "timeInForce:TIMES_IN_FORCE",
        },
    ),
    "OrderMatched": (
        ev.Traded,
        {
            "taker": "user",
            "buy_order_id": "buyOrderId",
            "sell_order_id": "sellOrderId",
            "taker_side": "side:SIDES",
            "timestamp": "timestamp",
            "price": "executionPrice",
            "quantity": "executedQuantity",
        },
    ),
    "UpdateOrder": (
        ev.StatusAsserted,
        {
            "order_id": "orderId",
            "timestamp": "timestamp",
            "filled": "filled",
            "status": "status:STATUSES",
        },
    ),
    "OrderCancelled": (
        ev.OrderCancelled,
        {
            "order_id": "orderId",
            "account": "user",
            "timestamp": "timestamp",
            "status": "status:STATUSES",
        },
    ),
    "Deposit": (ev.Deposited, _BALANCE),
    "Withdrawal": (ev.Withdrawn, _BALANCE),
    "WithdrawalWithYield": (
        ev.Withdrawn,
        {"account": "user", "token": "currencyId:token", "amount": "principal"},
    ),
    "Lock": (ev.Locked, _BALANCE),
    "Unlock": (ev.Unlocked, _BALANCE),
    "TransferFrom": (ev.Transferred, _TRANSFER),
    "TransferLockedFrom": (ev.LockedTransferred, _TRANSFER),
    "AutoRepayFromBalance": (ev.Debited, _DEBIT),
    "CollateralSeized": (ev.Debited, _DEBIT),
    "Transfer": (ev.TokensMoved, {"sender": "from", "receiver": "to", "amount": "value"}),
}


class MalformedLog(Exception):
    """A log that is not what its topic promises. Stops the writer; nothing of the block is kept."""

    def __init__(self, log: Log, block: Block, expected: str, found: str) -> None:
        super().__init__(
            f"block {block.number} ({block.hash}), log {log.log_index}, contract {log.address}: "
            f"expected {expected}, found {found}"
        )


class _BadWord(ValueError):
    """Raised by generated code: expected, found."""


def select(logs: Iterable[Log], deployment: Deployment, markets: Container[Address]) -> list[Log]:
    """The logs that concern us, in order. `markets` are the order books known before them.

    A market created among them counts from its PoolCreated on. Token transfers out of the balance
    manager count where they pay without an event of their own (mirror/ledger.py).
    """
    contracts = deployment.contracts
    ours = set(contracts.addresses())
    payer = contracts.balance_manager[2:] if deployment.protocol == "gtx" else None
    manager = contracts.pool_manager
    selected = []
    for log in logs:
        address, topics = log.address, log.topics
        if address in ours or address in markets:
            selected.append(log)
            if address == manager and is_market_creation(log, deployment):
                ours.add(_word_address(log, 0))
        elif payer and len(topics) == 3 and topics[0] == TRANSFER and topics[1][26:] == payer:
            selected.append(log)
    return selected


def _creations(logs: Iterable[Log], deployment: Deployment) -> list[Log]:
    manager = deployment.contracts.pool_manager
    return [log for log in logs if log.address == manager and is_market_creation(log, deployment)]


def is_market_creation(log: Log, deployment: Deployment) -> bool:
    """A PoolCreated of our pool manager (a malformed one is left to `decode` to complain of)."""
    return (
        log.address == deployment.contracts.pool_manager
        and log.topics[:1] == [MARKET_CREATED]
        and len(log.data) == 2 + 3 * 64
    )


def created_markets(logs: Iterable[Log], deployment: Deployment) -> set[Address]:
    """The order books that `logs` announce."""
    return {_word_address(log, 0) for log in _creations(logs, deployment)}


def created_tokens(logs: Iterable[Log], deployment: Deployment) -> list[Address]:
    """Base and quote of every market that `logs` announce, in order."""
    found = _creations(logs, deployment)
    return [_word_address(log, word) for log in found for word in (1, 2)]


def _word_address(log: Log, word: int) -> Address:
    start = 2 + 64 * word + 24
    return Address("0x" + log.data[start : start + 40])


def decode(block: Block, logs: Iterable[Log]) -> list[ev.AnyEvent]:
    """The events of one block's selected logs, one for each. Raises MalformedLog."""
    decoders = _decoders()
    events: list[Any] = []
    for log in logs:
        topic0 = log.topics[0] if log.topics else "0x"
        decoder = decoders.get(topic0)
        if decoder is None:
            events.append(ev.Unknown(log.transaction_hash, log.index, log.address, Hash(topic0)))
            continue
        try:
            events.append(decoder(log))
        except ValueError as error:
            expected, found = _explain(log, error)
            raise MalformedLog(log, block, expected, found) from error
    return events


@cache
def _decoders() -> dict[str, Callable[[Log], ev.Event]]:
    return {topic0: _generate(abi) for topic0, abi in abis.registry().items()}


def _generate(abi: abis.EventAbi) -> Callable[[Log], ev.Event]:
    """Compile `decode_one(log)` for one event shape."""
    if abi.name not in EVENTS:
        name = abi.name
        return lambda log: ev.Noted(log.transaction_hash, log.index, log.address, name)
    event, wanted = EVENTS[abi.name]
    words = [f for f in abi.fields if f.indexed] + [f for f in abi.fields if not f.indexed]
    places = {field.name: at for at, field in enumerate(words)}
    read = []
    for name in event.__struct_fields__[3:]:
        abi_name, _, reading = wanted[name].partition(":")
        if abi_name in places:  # an older shape lacks the last fields, which have defaults
            at = places[abi_name]
            read.append((at, reading or words[at].type, abi_name))
    known = {at for at, kind, _ in read if kind in _ADDRESSES and at < abi.topics - 1}
    starts: dict[int, int] = {}
    for at in range(len(words)):
        if at not in known:
            starts[at] = 32 * len(starts)
    topics = "".join(f"topics[{at + 1}][2:] + " for at in starts if at < abi.topics - 1)
    lines = [
        "def decode_one(log):",
        "    topics = log.topics",
        f"    if len(topics) != {abi.topics}: raise BadWord()",
        f"    w = bytes.fromhex({topics}log.data[2:])",
        f"    if len(w) != {32 * len(starts)}: raise BadWord()",
    ]
    values = []
    for at, kind, abi_name in read:
        if at in known:
            topic = f"topics[{at + 1}]"
            values.append(f"known.get({topic}) or learn({topic}, '{abi_name}: {kind}')")
            continue
        check, value = _word(starts[at], kind, abi_name)
        lines += check
        values.append(value)
    origin = "log.transaction_hash, int(log.log_index, 16), log.address"
    lines.append(f"    return Event({origin}, {', '.join(values)})")
    scope: dict[str, Any] = {
        "Event": event,
        "BadWord": _BadWord,
        "SIDES": SIDES,
        "STATUSES": STATUSES,
        "TIMES_IN_FORCE": TIMES_IN_FORCE,
        "TYPES": TYPES,
        "number": int.from_bytes,
        "known": _known,
        "learn": _learn,
        **{f"ZEROS{size}": bytes(size) for size in range(32)},
    }
    exec("\n".join(lines), scope)
    decoder: Callable[[Log], ev.Event] = scope["decode_one"]
    return decoder


_ADDRESSES = ("address", "token")

MOST_KNOWN = 100_000
"""Addresses remembered by the topic that tells them."""

_known: dict[str, Address] = {}
"""The same few thousand accounts and tokens are in most topics: one string for each is kept."""


def _learn(topic: str, name: str) -> Address:
    """The address in a topic, which is remembered."""
    word = bytes.fromhex(topic[2:])
    if len(word) != 32:
        raise _BadWord
    if any(word[:12]):
        raise _BadWord(name, word.hex())
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    address = _known[topic] = Address("0x" + word[12:].hex())
    return address


def _word(at: int, kind: str, name: str) -> tuple[list[str], str]:
    """Source that checks the padding of the word at byte `at`, and that reads it."""
    end = at + 32
    if kind == "bytes32":
        return [], f"'0x' + w[{at}:{end}].hex()"
    if kind in ("SIDES", "STATUSES", "TIMES_IN_FORCE", "TYPES"):
        values = {"SIDES": SIDES, "STATUSES": STATUSES, "TYPES": TYPES}.get(kind, TIMES_IN_FORCE)
        check = (
            f"    if w[{end - 1}] >= {len(values)} or w[{at}:{end - 1}] != ZEROS31: "
            f"raise BadWord('{name}: one of {'/'.join(values)}', w[{at}:{end}].hex())"
        )
        return [check], f"{kind}[w[{end - 1}]]"
    size = 20 if kind in _ADDRESSES else int(kind.removeprefix("uint")) // 8
    start = end - size
    check = (
        f"    if w[{at}:{start}] != ZEROS{32 - size}: "
        f"raise BadWord('{name}: {kind}', w[{at}:{end}].hex())"
    )
    value = f"'0x' + w[{start}:{end}].hex()" if size == 20 else f"number(w[{start}:{end}])"
    return ([] if size == 32 else [check]), value


def _explain(log: Log, error: ValueError) -> tuple[str, str]:
    """Expected and found, for a person."""
    if len(error.args) == 2:
        return str(error.args[0]), f"0x{error.args[1]}"
    abi = abis.registry()[log.topics[0]]
    data = f"{len(log.topics)} topics and {(len(log.data) - 2) / 2:g} bytes of data"
    if not isinstance(error, _BadWord):
        data = f"text that is not hex in {data}"
    return f"{abi.name} with {abi.topics} topics and {32 * abi.words} bytes of data", data
