"""Changes to messages: all that gateways depend on.

Streams and their channels (a channel is what `prev_seq` links):

    trades  depth  klines                  <stream>:<market>
    orders  balances  execution_reports    <stream>:<account>
    system                                 system
    promotions                             the stream's own name

A `promote` says once per block and stream that what the stream told of the block has become safe or
final (`finality`); `system` gets one for every block.
A message of `orders`, `balances`, `klines` or `depth` carries the state to set, so that applying it
twice does no harm: `apply` the state after its block, `retract` the state before it (null, or
quantity 0, where there was none); `balances` also say what it was `before`. `trades` and
`execution_reports` carry facts; `retract` names one that is no more. Amounts are integers in
contract units, as text.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, assert_never, get_args

import msgspec

from indexer.domain.balance import Balance
from indexer.domain.block import Block, Finality
from indexer.domain.change import Applied, Change, Delta, Deltas, Rewound, Settled
from indexer.domain.order import Level, Order
from indexer.domain.units import Address, Hash
from indexer.payloads import (
    balance_data,
    block_data,
    candle_data,
    level_data,
    order_data,
    report_data,
    trade_data,
)

Stream = Literal["trades", "depth", "orders", "balances", "klines", "execution_reports", "system"]
Op = Literal["apply", "retract", "promote", "snapshot", "system"]

STREAMS: tuple[Stream, ...] = get_args(Stream)


def stream_key(chain_id: int, stream: Stream) -> str:
    """The Redis key of a stream."""
    return f"tidebook:{chain_id}:{stream}"


def relay_key(chain_id: int) -> str:
    """The Redis key of the hash that says where the streams stand: `epoch` and `seq`."""
    return f"tidebook:{chain_id}:relay"


class Times(msgspec.Struct, frozen=True, array_like=True):
    """When the newest step of a batch passed each hop, in microseconds since 1970.

    A batch's last entry has them in its field `t`, as JSON. They are for measuring alone: a batch
    after a restart has none.
    """

    begun: int
    """Its transaction began: the writer had the block's logs."""
    committed: int
    """Postgres told the relay of the commit."""
    relayed: int
    """The relay handed the batch to Redis."""


class BlockInfo(msgspec.Struct, frozen=True, gc=False):
    number: int
    hash: Hash
    timestamp: int

    @classmethod
    def of(cls, block: Block) -> "BlockInfo":
        return cls(block.number, block.hash, block.timestamp)


class Message(msgspec.Struct, frozen=True, gc=False):
    """One entry of a stream. `seq` is contiguous over the chain's whole outbox."""

    stream: Stream
    epoch: str
    seq: int
    prev_seq: int
    op: Op
    market: Address | None
    block: BlockInfo
    tx: Hash | None
    log_index: int | None
    finality: Finality
    data: dict[str, Any]


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message before the writer has numbered it."""

    stream: Stream
    channel: str
    op: Op
    block: BlockInfo
    data: dict[str, Any]
    market: Address | None = None
    tx: Hash | None = None
    log_index: int | None = None
    finality: Finality = "latest"


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """A message with its number: what Redis gets, and what it is filed under."""

    seq: int
    channel: str
    block_number: int
    op: Op
    message: bytes
    """JSON."""


class Numbering:
    """Gives messages their seq. One lives in the writer; its numbers commit with the step."""

    def __init__(self, epoch: str, seq: int, channels: dict[str, int], linked_seq: int) -> None:
        self.epoch = epoch
        self.seq = seq
        self.channels = channels
        """Newest seq by channel."""
        self.linked_seq = linked_seq
        """As of which seq they are saved; what is newer is found in the outbox."""

    def number(self, drafts: Iterable[Draft]) -> list[Numbered]:
        rows, seq, channels = [], self.seq, self.channels
        for draft in drafts:
            channel, block = draft.channel, draft.block
            seq += 1
            before = channels.get(channel, 0)
            message = Message(
                draft.stream,
                self.epoch,
                seq,
                before,
                draft.op,
                draft.market,
                block,
                draft.tx,
                draft.log_index,
                draft.finality,
                draft.data,
            )
            channels[channel] = seq
            rows.append(Numbered(seq, channel, block.number, draft.op, _json(message)))
        self.seq = seq
        return rows


_json = msgspec.json.Encoder().encode


def encode(change: Change, head: Block) -> list[Draft]:
    """The messages of one step, in the order in which they must be read.

    `head` is our head behind the step: the block that messages about no single block carry.
    """
    match change:
        case Applied():
            return _applied(change, "apply")
        case Rewound():
            about = {"ancestor": block_data(change.ancestor), "depth": change.depth}
            where = BlockInfo.of(head)
            begin = Draft("system", "system", "system", where, {"event": "reorg.begin", **about})
            end = Draft("system", "system", "system", where, {"event": "reorg.end", **about})
            taken_back = (_applied(applied, "retract") for applied in change.retracted)
            return [begin, *chain.from_iterable(taken_back), end]
        case Settled():
            return [draft for applied in change.promoted for draft in _promoted(applied, change)]
        case _:
            assert_never(change)


def _promoted(applied: Applied, change: Settled) -> Iterator[Draft]:
    """Once per stream that told of the block: its messages are safe, or final, from now on."""
    block = BlockInfo.of(applied.block)
    about = block_data(applied.block.ref)
    for stream in STREAMS:
        if stream == "system" or _tells(stream, applied):
            data = {"block": about, "finality": change.finality}
            yield Draft(stream, stream, "promote", block, data, finality=change.finality)


def _tells(stream: Stream, applied: Applied) -> bool:
    """Whether a block had messages in a stream."""
    deltas = applied.deltas
    match stream:
        case "trades":
            return bool(applied.trades)
        case "depth":
            return any(map(_visible, deltas.levels))
        case "orders":
            return any(map(_visible, deltas.orders))
        case "balances":
            return bool(deltas.balances)
        case "klines":
            return bool(deltas.candles)
        case "execution_reports":
            return bool(applied.order_changes)
        case "system":
            return True
        case _:
            assert_never(stream)


Books = Sequence[tuple[Address, Sequence[Level], Sequence[Level]]]
"""Market, bids and asks, best first."""


def snapshot(books: Books, head: Block) -> list[Draft]:
    """What a backfill leaves, which told nothing: word of it, then every book, best first.

    Whoever keeps more than books reads it anew from Postgres at the `system` message's seq.
    """
    data = {"event": "snapshot", "block": block_data(head.ref)}
    where = BlockInfo.of(head)
    return [Draft("system", "system", "snapshot", where, data)] + [
        Draft(
            "depth",
            f"depth:{market}",
            "snapshot",
            where,
            {"bids": [level_data(lv) for lv in bids], "asks": [level_data(lv) for lv in asks]},
            market,
        )
        for market, bids, asks in books
    ]


def restarted(ground: Block, depth: int) -> list[Draft]:
    """First words of an epoch that begins because the chain went back below what was final."""
    data = {"event": "restart", "block": block_data(ground.ref), "depth": depth}
    return [Draft("system", "system", "system", BlockInfo.of(ground), data)]


# -- one block ------------------------------------------------------------------------------------


def _applied(applied: Applied, op: Op) -> list[Draft]:
    """A block's messages as made (`apply`) or, newest first, as taken back (`retract`)."""
    block = BlockInfo.of(applied.block)
    deltas = applied.deltas if op == "apply" else applied.deltas.inverse()
    told = chain(
        _trades(applied, op, block),
        _depth(deltas, op, block),
        _orders(deltas, op, block),
        _balances(deltas, op, block),
        _reports(applied, op, block),
        _notices(applied, deltas, op, block),
    )
    candles = list(_candles(deltas, op, block))  # they sum up a block: behind its logs
    if op == "apply":
        return sorted(told, key=_LOG_INDEX) + candles
    return candles + sorted(told, key=_LOG_INDEX, reverse=True)


_LOG_INDEX = attrgetter("log_index")


def _trades(applied: Applied, op: Op, block: BlockInfo) -> Iterator[Draft]:
    for trade in applied.trades:
        channel = f"trades:{trade.market}"
        where = (trade.market, trade.tx, trade.log_index)
        yield Draft("trades", channel, op, block, trade_data(trade), *where)


def _depth(deltas: Deltas, op: Op, block: BlockInfo) -> Iterator[Draft]:
    """One message a market: the levels the block touched, absolute."""
    books: dict[Address, dict[str, list[list[str | int]]]] = {}
    last: dict[Address, int] = {}
    for delta in deltas.levels:
        if not _visible(delta):
            continue
        level = delta.record
        sides = books.setdefault(level.market, {"bids": [], "asks": []})
        after = delta.after
        if after is None:
            after = Level(level.market, level.side, level.price)
        sides["bids" if level.side == "buy" else "asks"].append(level_data(after))
        last[level.market] = max(last.get(level.market, 0), _touched_at(delta))
    for market, sides in books.items():
        sides["bids"].sort(key=lambda lv: int(lv[0]), reverse=True)
        sides["asks"].sort(key=lambda lv: int(lv[0]))
        yield Draft("depth", f"depth:{market}", op, block, sides, market, None, last[market])


def _orders(deltas: Deltas, op: Op, block: BlockInfo) -> Iterator[Draft]:
    for delta in deltas.orders:
        if not _visible(delta):
            continue  # only a neighbour's pointer moved
        one, log_index = delta.record, _touched_at(delta)
        data = {"order_id": one.order_id, "account": one.account, "order": order_data(delta.after)}
        yield Draft("orders", f"orders:{one.account}", op, block, data, one.market, None, log_index)


def _balances(deltas: Deltas, op: Op, block: BlockInfo) -> Iterator[Draft]:
    for delta in deltas.balances:
        held, log_index = delta.record, _touched_at(delta)
        data = {
            "account": held.account,
            "token": held.token,
            "balance": balance_data(delta.after),
            "before": balance_data(delta.before),
        }
        yield Draft("balances", f"balances:{held.account}", op, block, data, None, None, log_index)


def _candles(deltas: Deltas, op: Op, block: BlockInfo) -> Iterator[Draft]:
    for delta in deltas.candles:
        minute = delta.record
        data = {"open_time": minute.open_time, "candle": candle_data(delta.after)}
        yield Draft("klines", f"klines:{minute.market}", op, block, data, minute.market)


def _reports(applied: Applied, op: Op, block: BlockInfo) -> Iterator[Draft]:
    if not applied.order_changes:
        return
    orders = {
        (delta.after.market, delta.after.order_id): delta.after
        for delta in applied.deltas.orders
        if delta.after is not None
    }
    for change in applied.order_changes:
        channel = f"execution_reports:{change.account}"
        data = report_data(change, orders[change.market, change.order_id])
        where = (change.market, change.tx, change.log_index)
        yield Draft("execution_reports", channel, op, block, data, *where)


def _notices(applied: Applied, deltas: Deltas, op: Op, block: BlockInfo) -> Iterator[Draft]:
    for divergence in applied.divergences:
        about = {"event": "divergence", **msgspec.to_builtins(divergence, str_keys=True)}
        where = (divergence.market, divergence.tx, divergence.log_index)
        yield Draft("system", "system", op, block, about, *where)
    for market in deltas.markets:
        if market.before is None or market.after is None:
            about = {"event": "market", "symbol": market.record.symbol}
            yield Draft("system", "system", op, block, about, market.record.address, None, 0)


def _visible(delta: Delta[Order] | Delta[Level]) -> bool:
    """Whether anything changed that a reader sees."""
    before, after = delta.before, delta.after
    if before is None or after is None:
        return True
    if isinstance(before, Order) and isinstance(after, Order):
        return before.filled != after.filled or before.status != after.status
    if isinstance(before, Level) and isinstance(after, Level):
        return before.quantity != after.quantity or before.order_count != after.order_count
    return True


def _touched_at(delta: Delta[Level] | Delta[Order] | Delta[Balance]) -> int:
    """The log that touched a record last in its block, seen from either direction."""
    before, after = delta.before, delta.after
    if after is None or (before is not None and before.updated_block > after.updated_block):
        after = before
    assert after is not None, "a delta without an image"
    return after.updated_log_index
