"""Logs to events: the only place, with `abis/`, that knows the contracts' words.

A reader per event shape is generated from its ABI: a log's words are unpacked at once, and all
their padding is checked at once, as strictly as eth_abi does (a test holds the two equal), at ten
times its speed.
"""

import struct
from collections.abc import Callable, Container, Iterable
from functools import cache, lru_cache
from typing import Any

import abis
from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.logs import WORD, Kind, Logs, MalformedLog, pack
from indexer.domain.units import Address, Hash

SIDES = ("buy", "sell")
STATUSES = ("open", "partially_filled", "filled", "cancelled", "rejected", "expired")
TIMES_IN_FORCE = ("gtc", "ioc", "fok", "post_only")
TYPES = ("limit", "market")
CHOICES = {"SIDES": SIDES, "STATUSES": STATUSES, "TIMES_IN_FORCE": TIMES_IN_FORCE, "TYPES": TYPES}
"""Words that are places in one of these."""

MOST_KNOWN = 100_000
"""Addresses, and kinds of log, that are remembered."""

TRANSFER = Hash("0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")
MARKET_CREATED = Hash("0x16354016da33c4b63f03b12074e60a0dba0444a0d8747d270e457e24948fbf48")
_ADDRESS_WORD = "0x" + "00" * 12
"""How a word begins that is an address."""

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
        address = log.address
        if address in markets or address in ours:
            selected.append(log)
            if address == manager and is_market_creation(log, deployment):
                ours.add(_word_address(log, 0))
        elif payer and _is_payment(log, payer):
            selected.append(log)
    return selected


def are_ours(logs: Logs, deployment: Deployment, markets: Container[Address]) -> bool:
    """Whether `select` would take them all, where contracts that we know said all but payments."""
    ours = deployment.contracts.addresses()
    others = {
        at
        for at, (address, _, _) in enumerate(logs.kinds)
        if address not in markets and address not in ours
    }
    if not others:
        return True
    payer = bytes(12) + bytes.fromhex(deployment.contracts.balance_manager[2:])
    places = zip(logs.of_kind, (0, *logs.ends), logs.ends, strict=False)
    return deployment.protocol == "gtx" and all(
        logs.kinds[kind][1:] == (TRANSFER, 2)
        and end - start == 3 * WORD
        and logs.words[start : start + WORD + 12] == payer + bytes(12)
        for kind, start, end in places
        if kind in others
    )


def _is_payment(log: Log, payer: str) -> bool:
    """A Transfer out of the balance manager.

    Anybody's contract can say what looks like one, so one of another form is nobody's payment, not
    a reason to stop.
    """
    topics = log.topics
    return (
        len(topics) == 3
        and topics[0] == TRANSFER
        and topics[1][26:] == payer
        and topics[2].startswith(_ADDRESS_WORD)
        and len(log.data) == 2 + 2 * WORD
    )


def _creations(logs: Iterable[Log], deployment: Deployment) -> list[Log]:
    manager = deployment.contracts.pool_manager
    if isinstance(logs, Logs):
        logs = logs.of(manager, MARKET_CREATED)
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
    packed = pack(block, logs)
    words, start = packed.words, 0
    readers = list(map(_reader, packed.kinds))
    contracts = [_contracts.get(address) or _meet(address) for address, _, _ in packed.kinds]
    txs = [Hash("0x" + packed.txs[at : at + WORD].hex()) for at in range(0, len(packed.txs), WORD)]
    events: list[Any] = []
    of_each = zip(packed.index, packed.of_tx, packed.of_kind, packed.ends, strict=True)
    try:
        for index, tx, kind, end in of_each:
            events.append(readers[kind](txs[tx], index, contracts[kind], words[start:end]))
            start = end
    except _WRONG as error:
        log = packed.log(len(events))
        raise MalformedLog(log, block, *_explain(log)) from error
    return events


_Reader = Callable[[Hash, int, Address, bytes], ev.Event]
"""Of a log's tx, index, contract, and words: its topics but the first, then its data."""

_contracts: dict[Address, Address] = {}
"""One string for each contract that told of something."""


def _meet(address: Address) -> Address:
    if len(_contracts) >= MOST_KNOWN:
        _contracts.clear()
    _contracts[address] = address
    return address


@lru_cache(MOST_KNOWN)
def _reader(kind: Kind) -> _Reader:
    """What reads logs of a kind."""
    _, topic0, others = kind
    abi = abis.registry().get(topic0)
    if abi is None:
        named = Hash(topic0 or "0x")
        return lambda tx, index, address, words: ev.Unknown(tx, index, address, named)
    return _generate(abi) if others == abi.topics - 1 or abi.name not in EVENTS else _refuse


def _refuse(tx: Hash, index: int, address: Address, words: bytes) -> ev.Event:
    raise ValueError("another number of topics")


def _fields(abi: abis.EventAbi) -> dict[int, tuple[str, str]]:
    """What is read of an event's words, in the order of our event's fields.

    By a word's place (the topics' first, without topic0, then the data's): how it is read, which
    is an ABI type, `token` or one of the `CHOICES`; and what the ABI calls it.
    """
    event, wanted = EVENTS[abi.name]
    words = [f for f in abi.fields if f.indexed] + [f for f in abi.fields if not f.indexed]
    places = {field.name: at for at, field in enumerate(words)}
    fields = {}
    for name in event.__struct_fields__[3:]:
        abi_name, _, reading = wanted[name].partition(":")
        if abi_name in places:  # an older shape lacks the last fields, which have defaults
            at = places[abi_name]
            fields[at] = (reading or words[at].type, abi_name)
    return fields


@cache
def _generate(abi: abis.EventAbi) -> _Reader:
    """Compile `read(tx, index, address, words)` for one event shape.

    It only finds that something is wrong with a log, by any of the `_WRONG`; `_explain` says what.
    """
    if abi.name not in EVENTS:
        name = abi.name
        return lambda tx, index, address, words: ev.Noted(tx, index, address, name)
    fields = _fields(abi)
    layout, padding = ">", 0
    for at in range(abi.topics - 1 + abi.words):
        code, bits, _ = _reading(fields[at][0]) if at in fields else ("32x", 256, "")
        layout += code
        padding = padding << 256 | (1 << 256) - (1 << bits)
    values = [_reading(kind)[2].format(f"w{at}") for at, (kind, _) in fields.items()]
    lines = [
        "def read(tx, index, address, words):",
        f"    {''.join(f'w{at}, ' for at in sorted(fields))} = unpack(words)",
        f"    if number(words) & {padding}: raise ValueError" if padding else "",
        f"    return Event(tx, index, address, {', '.join(values)})",
    ]
    scope: dict[str, Any] = {
        "Event": EVENTS[abi.name][0],
        "unpack": struct.Struct(layout).unpack,
        "number": int.from_bytes,
        "known": _known,
        "learn": _learn,
        **CHOICES,
    }
    exec("\n".join(lines), scope)
    read: _Reader = scope["read"]
    return read


def _reading(kind: str) -> tuple[str, int, str]:
    """How `struct` unpacks a word, how many of its bits may be set, and source that reads it."""
    if kind in CHOICES:
        return "31xB", 8, f"{kind}[{{}}]"
    if kind == "bytes32":
        return "32s", 256, "'0x' + {}.hex()"
    if kind in ("address", "token"):
        return "12x20s", 160, "known.get({0}) or learn({0})"
    bits = int(kind.removeprefix("uint"))
    if bits <= 64:
        return "24xQ", bits, "{}"
    return f"{32 - bits // 8}x{bits // 8}s", bits, "number({})"


_known: dict[bytes, Address] = {}
"""The same few thousand accounts and tokens are in most logs: one string for each is kept."""


def _learn(packed: bytes) -> Address:
    """An address, which is remembered."""
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    address = _known[packed] = Address("0x" + packed.hex())
    return address


_WRONG = (ValueError, LookupError, struct.error)
"""Too few or too many topics, or padding; a choice there is not; words that lack."""


def _explain(log: Log) -> tuple[str, str]:
    """Expected and found, for a person."""
    abi = abis.registry()[log.topics[0]]
    form = f"{abi.topics} topics and {32 * abi.words} bytes of data"
    expected = f"{abi.name} with {form}"
    found = f"{len(log.topics)} topics and {(len(log.data) - 2) / 2:g} bytes of data"
    if found != form:
        return expected, found
    words = bytes.fromhex("".join(topic[2:] for topic in log.topics[1:]) + log.data[2:])
    for at, (kind, name) in _fields(abi).items():
        word = words[32 * at : 32 * at + 32]
        if int.from_bytes(word) >> _reading(kind)[1]:
            return f"{name}: {kind}", f"0x{word.hex()}"
        if kind in CHOICES and word[-1] >= len(CHOICES[kind]):
            return f"{name}: one of {'/'.join(CHOICES[kind])}", f"0x{word.hex()}"
    return expected, f"topics of another length in {found}"
