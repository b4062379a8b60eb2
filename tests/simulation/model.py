"""How everything must be in the end: as one life over the winning branch would have left it."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from indexer import bundle, payloads
from indexer.decode import created_tokens
from indexer.domain.canon import Canon
from indexer.domain.market import Token
from indexer.domain.order import CANDLE_SECONDS
from indexer.domain.step import Advance, Rollback, Step
from indexer.follow import follow
from indexer.mirror.fold import Mirror
from indexer.store import tables
from indexer.store.log_rows import logs_of
from indexer.store.memory import Disk, MemoryDatabase
from indexer.store.writer import Store
from tests.simulation.client import Client, stored
from tests.simulation.exchange import DEPLOYMENT, STRANGER, address
from tests.simulation.world import Mined

DECIDED = (
    *(tables.tokens, tables.markets, tables.orders, tables.levels, tables.balances),
    *(tables.candles, tables.logs, tables.trades, tables.order_changes),
    *(tables.level_changes, tables.balance_changes, tables.divergences),
    *(tables.books, tables.queues),
)
"""Tables that the winning branch alone decides."""


class Failure(AssertionError):
    """A run that did not end as it must."""


def equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Failure(f"{what}: {_difference(found, expected)}")


class Clean:
    """One life over a branch, with nothing in its way."""

    def __init__(self, branch: Sequence[Mined]) -> None:
        self.disk = Disk()
        self._branch = branch
        self._mirrors: list[Mirror] = []

    @property
    def mirror(self) -> Mirror:
        return self._mirrors[0]

    async def live(self) -> None:
        store = Store(MemoryDatabase(self.disk), DEPLOYMENT, new_epoch=lambda: "clean")

        def source(canon: Canon, mirror: Mirror) -> "Winning":
            self._mirrors.append(mirror)
            return Winning(self._branch, canon)

        await follow(store, source)


class Winning:
    """A branch as one batch of steps, or block by block."""

    node_head = 0

    def __init__(self, branch: Sequence[Mined], canon: Canon, *, one_by_one: bool = False) -> None:
        self._branch = branch
        self._canon = canon
        self._one_by_one = one_by_one

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        steps: list[Step] = []
        for mined in self._branch:
            self._canon.advance(mined.block)
            tokens = []
            for token in created_tokens(mined.logs, DEPLOYMENT):
                symbol, decimals = mined.state.tokens[token]
                tokens.append(Token(token, symbol, symbol, decimals))
            steps.append(Advance(mined.block, mined.logs, tuple(tokens), "finalized"))
            if self._one_by_one:
                yield steps
                steps = []
        yield steps


async def check_tables(disk: Disk, clean: Clean, branch: Sequence[Mined]) -> None:
    for table in DECIDED:
        equal(table.name, _rows(disk, table), _rows(clean.disk, table))
    ours = {row["number"]: row["hash"] for row in _canonical(disk)}
    theirs = {mined.number: mined.block.hash for mined in branch}
    equal("canonical blocks", ours, {number: theirs.get(number) for number in ours})


async def check_recovery(disk: Disk) -> None:
    """A start by any of the checkpoints, and one by the tables, are the same."""
    checkpoints = disk.rows(tables.checkpoints).items()
    mirrors = []
    for rows in ({}, *({key: row} for key, row in checkpoints)):
        one = Disk()
        one.tables = {**disk.tables, tables.checkpoints.name: rows}
        _, mirror = await Store(MemoryDatabase(one), DEPLOYMENT).load()
        mirrors.append(mirror)
    by_tables, *others = mirrors
    for mirror in others:
        equal("journals", mirror.journal, by_tables.journal)
        equal("loaded state", _state(mirror), _state(by_tables))


async def check_undo(disk: Disk, branch: Sequence[Mined]) -> None:
    """Taking back whatever is not final leaves what a life up to there would have."""
    copy = disk.copy()
    cursor = disk.cursor
    ground = None if cursor is None else cursor["finalized_number"]
    if ground is None:
        return
    store = Store(MemoryDatabase(copy), DEPLOYMENT)
    await follow(store, lambda canon, _: _TakingBack(canon))
    clean = Clean(branch[: ground + 1])
    await clean.live()
    await check_tables(copy, clean, branch[: ground + 1])


class _TakingBack:
    """One rollback to the anchor."""

    node_head = 0

    def __init__(self, canon: Canon) -> None:
        self._canon = canon

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        anchor = self._canon.anchor
        assert anchor is not None, "a chain has begun"
        self._canon.rollback(anchor.ref)
        yield [Rollback(anchor)]


def messages(disk: Disk) -> list[bundle.Line]:
    """All of the outbox."""
    rows = disk.rows(tables.outbox).values()
    return [line for row in rows for line in bundle.lines(row["messages"])]


def check_outbox(disk: Disk) -> None:
    cursor = disk.cursor
    assert cursor is not None
    told = messages(disk)
    seqs = [line.seq for line in told]
    start = seqs[0] if seqs else cursor["seq"] + 1
    equal("outbox seqs", seqs, list(range(start, cursor["seq"] + 1)))
    newest = disk.channels()
    last = {line.channel: line.seq for line in told}
    equal("channels", {channel: newest.get(channel) for channel in last}, last)


def check_client(client: Client, disk: Disk, *, whole: bool) -> None:
    """`whole`: nothing was ever forgotten."""
    cursor = disk.cursor
    assert cursor is not None
    state, trades = stored(disk)
    names = (key for key in {**state, **client.state} if whole or key[0] == "level")
    known = dict.fromkeys([*names, *client.state])
    equal(
        "a client's state",
        {key: client.state.get(key) for key in known},
        {key: state.get(key) for key in known},
    )
    equal("a client's trades", client.trades, trades if whole else trades & client.trades)
    equal("a client's channels", client.channels, disk.channels())
    equal("what was not promoted", client.unpromoted(cursor["finalized_number"]), [])


def check_laws(clean: Clean, head: Mined) -> None:
    """The mirror agrees with the contracts' rules, and with itself."""
    mirror, state = clean.mirror, head.state
    equal("divergences", list(clean.disk.rows(tables.divergences).values()), [])
    held = {
        (address(who), address(token)): (amount, state.locked.get((who, token), 0))
        for (who, token), amount in state.available.items()
    }
    balances = mirror.ledger.balances.rows
    equal(
        "balances",
        {key: (one.available, one.locked) for key, one in balances.items()},
        {key: amounts for key, amounts in held.items() if key in balances or any(amounts)},
    )
    totals: dict[str, int] = defaultdict(int)
    for one in balances.values():
        totals[one.token] += one.available + one.locked - one.deposited + one.withdrawn
    equal("what was made of nothing", [token for token, left in totals.items() if left], [])
    for book in state.books:
        ours = mirror.books[address(book.book)]
        for side, name in enumerate(("buy", "sell")):
            queue: dict[int, list[int]] = defaultdict(list)
            for order in book.queue(side):
                queue[order.tick * book.tick].append(order.rest * book.lot)
            depth = ours.depth(name)  # type: ignore[arg-type]
            levels = [(level.price, level.quantity, level.order_count) for level in depth]
            equal("depth", levels, [(p, sum(rests), len(rests)) for p, rests in queue.items()])
        filled = {order.id: order.filled * book.lot for order in book.orders.values()}
        stored = clean.disk.rows(tables.orders)
        found = {id_: stored[address(book.book), id_]["filled"] for id_ in filled}
        equal("fills", found, filled)
    _check_candles(clean.disk)


def _check_candles(disk: Disk) -> None:
    """Candles can be derived again from trades."""
    volumes: dict[tuple[str, int], int] = defaultdict(int)
    for trade in disk.rows(tables.trades).values():
        minute = trade["timestamp"] // CANDLE_SECONDS * CANDLE_SECONDS
        volumes[trade["market"], minute] += trade["quantity"]
    found = {
        (row["market"], row["open_time"]): row["volume"]
        for row in disk.rows(tables.candles).values()
    }
    equal("candles", found, dict(volumes))


def check_commit(disk: Disk) -> None:
    """What any reader sees at any time: whole blocks, and no message of what is not there."""
    cursor = disk.cursor
    if cursor is None:
        return
    outbox = disk.rows(tables.outbox)
    newest = next(reversed(outbox), (cursor["seq"],))
    equal("the newest message", newest, (cursor["seq"],))
    head = max(((row["number"], row["hash"]) for row in _canonical(disk)), default=(None, None))
    equal("the head", head, (cursor["block_number"], cursor["block_hash"]))
    for table in (tables.trades, tables.logs, tables.balance_changes):
        last = next(reversed(disk.rows(table).values()), None)
        if last is not None and last["block_number"] > (head[0] or 0):
            raise Failure(f"{table.name} tells of block {last['block_number']} above {head}")


def check_block(disk: Disk, mined: Mined) -> None:
    """What is kept of a block is what happened in it."""
    row = disk.rows(tables.logs).get((mined.number,))
    stored = [] if row is None else list(logs_of(mined.block, row))
    ours = [log for log in mined.logs if log.address != _STRANGER]
    equal(f"block {mined.block.ref}", stored, ours)


_STRANGER = address(STRANGER)


def _canonical(disk: Disk) -> list[dict[str, Any]]:
    return [row for row in disk.rows(tables.blocks).values() if row["canonical"]]


def _rows(disk: Disk, table: Any) -> dict[Any, Any]:
    rows = disk.rows(table)
    if table is tables.divergences:
        return {i: {**row, "id": 0} for i, row in enumerate(rows.values())}
    return rows


def _state(mirror: Mirror) -> dict[str, Any]:
    """Everything a mirror knows that outlives a start."""
    return {
        "tokens": mirror.tokens.rows,
        "markets": mirror.markets.rows,
        "orders": {
            market: {id_: one for id_, one in book.orders.rows.items() if one.queued}
            for market, book in mirror.books.items()
        },
        "depth": {
            market: [
                [payloads.level_data(lv) for lv in book.depth(side)] for side in ("buy", "sell")
            ]
            for market, book in mirror.books.items()
        },
        "balances": mirror.ledger.balances.rows,
    }


def _difference(found: object, expected: object) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [k for k in {**found, **expected} if found.get(k) != expected.get(k)]
        one, other = found.get(keys[0]), expected.get(keys[0])
        if isinstance(one, dict) and isinstance(other, dict):
            return f"{len(keys)} differ, first {keys[0]}: {_difference(one, other)}"
        return f"{len(keys)} differ, first {keys[0]}: {one} != {other}"
    return f"{str(found)[:400]} != {str(expected)[:400]}"
