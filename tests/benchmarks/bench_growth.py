"""Does an event cost the same at the end of a long chain? And a block, in a deep book?

    .venv/bin/python -m tests.benchmarks.bench_growth 1000000
    make bench

The pure half of the writer (decode, recall, fold, forget, rows) in CPU time, which other work on
the machine disturbs little, over one synthetic chain: what an event cost up to each length, how
many orders were kept, and the memory of the process. The chain's opening, whose mix of events is
another, is folded and not counted. The other half is Postgres', whose indexes grow: bench_backfill
tells of both together.
"""

import gc
import os
import resource
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from indexer.chain.recording import Recording
from indexer.decode import created_markets, decode, select
from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.logs import pack
from indexer.domain.market import Token
from indexer.domain.step import Read
from indexer.domain.units import Address, Hash, Price, Quantity
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.mirror.settled import SettledState
from indexer.store.checkpoints import Packing
from indexer.store.log_rows import copied
from indexer.store.page import LastPage, Page
from tests.benchmarks.chains import BOOKS, DEPLOYMENT, OPENING, SEED, chain

LENGTHS = (20_000, 100_000, 300_000, 1_000_000)
QUICK = 100_000
SHARE = 0.15
"""How far apart the cost of an event may be between lengths."""
MOST = 1.6
"""The same where something is broken, whatever else runs on the machine."""
LONGEST = 0.2
"""A slice's share in a checkpoint of 100,000 orders: who packs it at once has 1."""
COMMIT_EVENTS = 10_000
PASSES = 3
"""Over the chain; of each length the cheapest counts, which other work disturbed least."""


class Point(msgspec.Struct):
    """The state of things at some length."""

    events: int
    cpu_us: float
    """Of an event, since the point before."""
    kept: int
    placed: int
    rss_mb: float


def told(events: int) -> Iterator[tuple[Block, list[Log]]]:
    """The chain's blocks with our logs."""
    markets: set[Address] = set()
    for one in Recording(chain(max(events, 20_000))).blocks():
        logs = select(one.logs, DEPLOYMENT, markets)
        markets |= created_markets(logs, DEPLOYMENT)
        yield one.block, logs


def measure(events: int) -> list[Point]:
    """What each length up to `events` cost in the best of some passes; memory as of the first."""
    first, *others = (_fold(events) for _ in range(PASSES))
    return [
        msgspec.structs.replace(point, cpu_us=min(one[n].cpu_us for one in (first, *others)))
        for n, point in enumerate(first)
    ]


def _fold(events: int) -> list[Point]:
    """Fold a chain and look at it at each length up to `events`."""
    tokens = [t for a in DEPLOYMENT.tokens if (t := DEPLOYMENT.token(a)) is not None]
    mirror, page = Mirror(DEPLOYMENT), Page()
    memory = Memory(mirror)
    points: list[Point] = []
    seen = counted = since = 0
    spent = 0.0
    gc.disable()  # as in a backfill
    for block, logs in told(events):
        began = time.process_time()
        happened = decode(block, logs)
        assert not memory.lacks(happened), "nobody cancels a filled order on this chain"
        applied = mirror.apply(block, happened, tokens, final=True)
        memory.note(applied)
        page.add(Read(block, happened, copied(pack(block, logs))), applied)
        seen += len(logs)
        since += len(logs)
        if since >= COMMIT_EVENTS:
            LastPage(memory.take_unsaved(), page.first or 0)
            page = Page()
            memory.forget(block)
            since = 0
        spent += time.process_time() - began
        if seen < OPENING:
            counted, since, spent = seen, 0, 0.0
        elif seen >= min(events, *(n for n in (*LENGTHS, 1 << 60) if n > counted)):
            points.append(_point(mirror, seen, spent / (seen - counted)))
            counted, spent = seen, 0.0
    gc.enable()
    return points


def _point(mirror: Mirror, events: int, cpu_s: float) -> Point:
    books = mirror.books.values()
    return Point(
        events,
        cpu_s * 1e6,
        sum(len(book.orders.rows) for book in books),
        sum(book.newest for book in books),
        _rss_mb(),
    )


def _rss_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def tell(points: list[Point]) -> float:
    """Say it; returns the dearest event's cost in the cheapest's."""
    sys.stdout.write(f"\ngrowth, seed {SEED}; load {os.getloadavg()[0]:.1f}\n")
    for one in points:
        sys.stdout.write(
            f"  to {one.events:>9,} events: {one.cpu_us:5.2f} us CPU an event, {one.kept:,} of "
            f"{one.placed:,} orders kept, RSS {one.rss_mb:.0f} MB\n"
        )
    costs = [one.cpu_us for one in points]
    sys.stdout.write(f"  dearest / cheapest {max(costs) / min(costs):.2f} (bar {1 + SHARE})\n")
    return max(costs) / min(costs)


# -- a deep book -----------------------------------------------------------------------------------


def block_cost(resting: int, markets: int = len(BOOKS)) -> float:
    """CPU ms of a block at the head when `resting` more orders are open, far from all trading."""
    tokens = [t for a in DEPLOYMENT.tokens if (t := DEPLOYMENT.token(a)) is not None]
    mirror = Mirror(DEPLOYMENT)
    memory = Memory(mirror)
    spent: list[float] = []
    for block, logs in told(20_000):
        happened: list[ev.AnyEvent] = decode(block, logs)
        if block.number == 1:
            happened += _markets(markets - len(BOOKS), tokens)
        if block.number == 80:
            happened += _far_orders(mirror, resting)
        began = time.process_time()
        memory.lacks(happened)
        memory.note(mirror.apply(block, happened, tokens))
        mirror.settle(block.ref)
        memory.forget(block)
        if block.number > 81:
            spent.append(time.process_time() - began)
    return sorted(spent)[len(spent) // 2] * 1e3


def _markets(count: int, tokens: list[Token]) -> list[ev.AnyEvent]:
    base, quote = tokens[1].address, tokens[0].address
    return [
        ev.MarketCreated(
            Hash(f"0x{n:064x}"), 10_000 + n, DEPLOYMENT.contracts.pool_manager,
            Hash(f"0x{n:064x}"), Address(f"0x{n:040x}"), base, quote,
        )
        for n in range(1, count + 1)
    ]  # fmt: skip


def _far_orders(mirror: Mirror, count: int) -> list[ev.AnyEvent]:
    """Bids at a thousand prices below everybody, with ids that the chain will not reach."""
    market = BOOKS[0]
    return [
        ev.OrderPlaced(
            Hash("0x" + "ee" * 32), 20_000 + n, market, 1_000_000 + n, mirror.ledger.fee_receiver,
            "buy", Price(1 + n % 1_000), Quantity(10**15), 1 << 40, "limit", "open",
        )
        for n in range(count)
    ]  # fmt: skip


def tell_blocks() -> float:
    """What a deep book and many markets cost a block; returns the worst ratio."""
    block_cost(0)  # warm
    alone = block_cost(0)
    deep, wide = block_cost(200_000), block_cost(0, 1_000)
    sys.stdout.write(
        f"  a block: {alone:.2f} ms CPU; with 200,000 more open orders {deep:.2f} "
        f"({deep / alone:.2f}); with 1,000 markets {wide:.2f} ({wide / alone:.2f})\n"
    )
    return max(deep, wide) / alone


# -- a checkpoint ----------------------------------------------------------------------------------


def checkpoint_cost(resting: int) -> tuple[float, float]:
    """CPU ms of a checkpoint of so many more orders: its longest slice, and all; medians of ten.

    The first slice has the beginning with it, where the records are listed.
    """
    tokens = [t for a in DEPLOYMENT.tokens if (t := DEPLOYMENT.token(a)) is not None]
    mirror = Mirror(DEPLOYMENT)
    for block, logs in told(20_000):
        mirror.apply(block, decode(block, logs), tokens)
        if block.number == 80:
            break
    final = replace(mirror.head, number=81)
    mirror.apply(final, _far_orders(mirror, resting))
    mirror.settle(final.ref)
    longest, whole = [], []
    for _ in range(10):
        began, spent, is_more = time.process_time(), [], True
        packing = Packing(SettledState(mirror, final))
        while is_more:
            is_more = packing.step()
            spent.append(time.process_time() - began)
            began = time.process_time()
        longest.append(max(spent) * 1e3)
        whole.append(sum(spent) * 1e3)
    return sorted(longest)[5], sorted(whole)[5]


def tell_checkpoints() -> float:
    """What a block can come upon of a checkpoint; returns the longest slice's share in it."""
    for resting in (10_000, 100_000):
        slice_ms, whole_ms = checkpoint_cost(resting)
        sys.stdout.write(
            f"  a checkpoint of {resting:,} more orders: {whole_ms:.1f} ms CPU, "
            f"the longest slice {slice_ms:.2f}\n"
        )
    return slice_ms / whole_ms


@pytest.mark.parametrize("events", [QUICK])
def test_growth(events: int) -> None:
    assert tell(measure(events)) < MOST
    assert tell_blocks() < MOST
    assert tell_checkpoints() < LONGEST


if __name__ == "__main__":
    tell(measure(int(sys.argv[1]) if len(sys.argv) > 1 else QUICK))
    tell_blocks()
    tell_checkpoints()
