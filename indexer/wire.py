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
from typing import Any, Literal, assert_never

import msgspec

from indexer.domain.balance import Balance
from indexer.domain.block import Block, Finality
from indexer.domain.change import (
    Applied,
    Change,
    Delta,
    Deltas,
    Rewound,
    Settled,
)
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

STREAMS: tuple[Stream, ...] = (
    "trades",
    "depth",
    "orders",
    "balances",
    "klines",
    "execution_reports",
    "system",
)


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
    block: Block
    data: dict[str, Any]
    market: Address | None = None
    tx: Hash | None = None
    log_index: int | None = None
    finality: Finality = "latest"


class OutboxRow(msgspec.Struct, frozen=True, gc=False):
    """A numbered message, as Postgres keeps it and Redis gets it."""

    seq: int
    stream: Stream
    channel: str
    block_number: int
    message: str


class Numbering:
    """Gives messages their seq. One lives in the writer; its numbers commit with the step."""

    def __init__(self, epoch: str, seq: int, channels: dict[str, int]) -> None:
        self.epoch = epoch
        self.seq = seq
        self.channels = channels
        """Newest seq by channel."""

    def number(self, drafts: Iterable[Draft]) -> list[OutboxRow]:
        rows = []
        for draft in drafts:
            self.seq += 1
            message = Message(
                draft.stream,
                self.epoch,
                self.seq,
                self.channels.get(draft.channel, 0),
                draft.op,
                draft.market,
                BlockInfo(draft.block.number, draft.block.hash, draft.block.timestamp),
                draft.tx,
                draft.log_index,
                draft.finality,
                draft.data,
            )
            self.channels[draft.channel] = self.seq
            text = msgspec.json.encode(message).decode()
            rows.append(OutboxRow(self.seq, draft.stream, draft.channel, draft.block.number, text))
        return rows


def encode(change: Change, head: Block) -> list[Draft]:
    """The messages of one step, in the order in which they must be read.

    `head` is our head behind the step: the block that messages about no single block carry.
    """
    match change:
        case Applied():
            return sorted(_applied(change, "apply"), key=_log_index)
        case Rewound():
            about = {"ancestor": block_data(change.ancestor), "depth": change.depth}
            begin = Draft("system", "system", "system", head, {"event": "reorg.begin", **about})
            end = Draft("system", "system", "system", head, {"event": "reorg.end", **about})
            taken_back = [
                draft
                for applied in change.retracted
                for draft in sorted(_applied(applied, "retract"), key=_log_index, reverse=True)
            ]
            return [begin, *taken_back, end]
        case Settled():
            return [draft for applied in change.promoted for draft in _promoted(applied, change)]
        case _:
            assert_never(change)


def _promoted(applied: Applied, change: Settled) -> Iterator[Draft]:
    """Once per stream that told of the block: its messages are safe, or final, from now on."""
    block = applied.block
    for stream in STREAMS:
        if stream == "system" or _tells(stream, applied):
            data = {"block": block_data(block.ref), "finality": change.finality}
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
    return [Draft("system", "system", "snapshot", head, data)] + [
        Draft(
            "depth",
            f"depth:{market}",
            "snapshot",
            head,
            {"bids": [level_data(lv) for lv in bids], "asks": [level_data(lv) for lv in asks]},
            market,
        )
        for market, bids, asks in books
    ]


def restarted(ground: Block, depth: int) -> list[Draft]:
    """First words of an epoch that begins because the chain went back below what was final."""
    data = {"event": "restart", "block": block_data(ground.ref), "depth": depth}
    return [Draft("system", "system", "system", ground, data)]


# -- one block ------------------------------------------------------------------------------------


def _applied(applied: Applied, op: Op) -> Iterator[Draft]:
    """A block's messages as made (`apply`) or as taken back (`retract`), unordered."""
    block = applied.block
    deltas = applied.deltas if op == "apply" else applied.deltas.inverse()
    for trade in applied.trades:
        yield Draft(
            "trades",
            f"trades:{trade.market}",
            op,
            block,
            trade_data(trade),
            trade.market,
            trade.tx,
            trade.log_index,
        )
    yield from _depth(deltas, op, block)
    for order in deltas.orders:
        if not _visible(order):
            continue  # only a neighbour's pointer moved
        one = order.record
        data = {"order_id": one.order_id, "account": one.account, "order": order_data(order.after)}
        log_index = _touched_at(order)
        yield Draft("orders", f"orders:{one.account}", op, block, data, one.market, None, log_index)
    for balance in deltas.balances:
        held = balance.record
        data = {
            "account": held.account,
            "token": held.token,
            "balance": balance_data(balance.after),
            "before": balance_data(balance.before),
        }
        log_index = _touched_at(balance)
        yield Draft("balances", f"balances:{held.account}", op, block, data, None, None, log_index)
    for candle in deltas.candles:
        minute = candle.record
        data = {"open_time": minute.open_time, "candle": candle_data(candle.after)}
        yield Draft("klines", f"klines:{minute.market}", op, block, data, minute.market)
    yield from _reports(applied, op, block)
    for divergence in applied.divergences:
        about = {"event": "divergence", **msgspec.to_builtins(divergence, str_keys=True)}
        where = (divergence.market, divergence.tx, divergence.log_index)
        yield Draft("system", "system", op, block, about, *where)
    for market in deltas.markets:
        if market.before is None or market.after is None:
            about = {"event": "market", "symbol": market.record.symbol}
            yield Draft("system", "system", op, block, about, market.record.address, None, 0)


def _depth(deltas: Deltas, op: Op, block: Block) -> Iterator[Draft]:
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


def _reports(applied: Applied, op: Op, block: Block) -> Iterator[Draft]:
    orders = {
        (delta.record.market, delta.record.order_id): delta for delta in applied.deltas.orders
    }
    for change in applied.order_changes:
        order = orders[change.market, change.order_id].after
        assert order is not None, "a change of an order that is not there"
        yield Draft(
            "execution_reports",
            f"execution_reports:{change.account}",
            op,
            block,
            report_data(change, order),
            change.market,
            change.tx,
            change.log_index,
        )


def _log_index(draft: Draft) -> int:
    """Orders a block's messages; what sums up a block (candles) comes behind its logs."""
    return 1 << 62 if draft.log_index is None else draft.log_index


def _visible(delta: Delta[Order] | Delta[Level]) -> bool:
    """Whether anything changed that a reader sees."""
    before, after = delta.before, delta.after
    if isinstance(before, Order) and isinstance(after, Order):
        return (before.filled, before.status) != (after.filled, after.status)
    if isinstance(before, Level) and isinstance(after, Level):
        return (before.quantity, before.order_count) != (after.quantity, after.order_count)
    return True


def _touched_at(delta: Delta[Level] | Delta[Order] | Delta[Balance]) -> int:
    """The log that touched a record last in its block, seen from either direction."""
    images = [image for image in (delta.before, delta.after) if image is not None]
    return max((image.updated_block, image.updated_log_index) for image in images)[1]
