"""What is remembered is what would be read afresh, whatever the chain has done meanwhile."""

import asyncio
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import crowd_answers, market_answers, portfolio_answers, reads
from analytics.endpoint import Ask
from analytics.journal import BalanceRow
from analytics.kept import Keeper
from analytics.limits import MAX_HISTORIES
from analytics.marks import Marks, Priced, Series
from analytics.memory import Rows, Shelf, reach
from analytics.portfolio import fold
from analytics.remembered import AccountHistory, Memory
from analytics.tape import Deal, Tape, traded
from indexer.domain.market import Market
from indexer.domain.units import Address, Hash
from indexer.store import postgres
from indexer.store.snapshot import Pool, Snapshot, connect
from tests.analytics.branches import Branches
from tests.analytics.test_kept import rebuilt, told
from tests.store.chains import Chain, play

START, LAST, ROUNDS = 330, 420, 4


async def figures(
    snapshot: Snapshot, memory: Memory, block: int | None, account: Address
) -> list[Any]:
    """Answers of every kind that is made from what is remembered."""
    at = await reads.as_of(snapshot, block, "latest")
    values = {
        "address": account,
        "block": block,
        "quote": None,
        "method": "fifo",
        "mark": "mid",
        "explain": True,
        "period": "24h",
        "type": "volume",
        "limit": 100,
        "symbol": None,
    }
    answers: list[Any] = [at]
    for changes in ({}, {"method": "hifo", "mark": "last", "period": "all"}, {"period": "1h"}):
        view = reads.View(snapshot, at)
        ask = Ask(view, await memory.listings(view), {**values, **changes}, memory)
        answers.append(await portfolio_answers.pnl(ask))
        answers.append(await portfolio_answers.portfolio(ask))
        answers.append(await market_answers.overview(ask))
        answers.append(await market_answers.volume(ask))
        answers.append(await crowd_answers.leaderboard(ask))
    return answers


async def every_figure(database_url: str, accounts: Sequence[Address]) -> list[Any]:
    """Of every account, by a process that has just begun."""
    engine, memory = connect(database_url, 2, 5.0), Memory()
    snapshot = Snapshot(engine)
    try:
        return [await figures(snapshot, memory, None, account) for account in accounts]
    finally:
        await snapshot.close()
        await engine.dispose()


async def compare(
    database_url: str, memory: Memory, pick: random.Random, accounts: Sequence[Address]
) -> None:
    engine = connect(database_url, 2, 5.0)
    try:
        head = await reads.as_of(stale := Snapshot(engine), None, "latest")
        await stale.close()
        for block in (None, head.number - pick.randrange(30)):
            snapshot = Snapshot(engine)
            account = pick.choice(accounts)
            warm = await figures(snapshot, memory, block, account)
            fresh = await figures(snapshot, Memory(), block, account)
            await snapshot.close()
            assert warm == fresh
    finally:
        await engine.dispose()


async def both_at_once(pool: Pool, old: Snapshot, memory: Memory, account: Address) -> None:
    """Requests on both sides of a reorg do not disturb each other."""
    new = Snapshot(pool)
    warm = await asyncio.gather(
        *(figures(snapshot, memory, None, account) for snapshot in (old, new, old))
    )
    fresh = [await figures(snapshot, Memory(), None, account) for snapshot in (old, new)]
    await new.close()
    await old.close()
    assert warm == [*fresh, fresh[0]]


async def test_warm_equals_fresh_after_any_blocks_and_reorgs(
    database_url: str, other_database_url: str, recordings: Path
) -> None:
    """And at the end as if the blocks that are left had been the only ones."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    pick = random.Random(seed)
    chain = Chain(recordings / "gtx_main.jsonl.gz", LAST)
    await play(database_url, chain, chain.to(0, START), [chain.finalize(START)])
    connection = await postgres.connect(database_url)
    rows = await connection.fetch(
        "select maker as a from tidebook.trades union select taker from tidebook.trades"
    )
    accounts = [Address(row["a"]) for row in rows]
    branches, memory = Branches(chain, START, pick), Memory()
    await compare(database_url, memory, pick, accounts)
    pool = connect(database_url, 4, 5.0)
    for _ in range(ROUNDS):
        old, account = Snapshot(pool), pick.choice(accounts)
        await reads.as_of(old, None, "latest")  # a request that began before the reorg
        await play(database_url, chain, branches.steps())
        await both_at_once(pool, old, memory, account)
        if pick.random() < 0.5:  # with the rows that are kept, and without
            keeper = Keeper(connection)
            await keeper.load()
            await keeper.apply(await told(database_url))
        await compare(database_url, memory, pick, accounts)
    await pool.dispose()
    await connection.close()
    await play(other_database_url, chain, chain.to(0, START), [chain.finalize(START)])
    await play(other_database_url, chain, branches.line)
    reorged = await every_figure(database_url, accounts[:5])
    assert reorged == await every_figure(other_database_url, accounts[:5])
    assert await rebuilt(database_url) == await rebuilt(other_database_url)


class _Chain:
    """Blocks by number, each with a row; `hashes` are what a snapshot would know."""

    def __init__(self) -> None:
        self.hashes: list[Hash] = []

    def at(self, number: int) -> reads.AsOf:
        return reads.AsOf(number, self.hashes[number], number, "latest")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(0, 8))))
async def test_a_history_follows_any_branch(steps: list[tuple[int, int, int]]) -> None:
    chain, history, made = _Chain(), Rows[tuple[int, str]](), 0

    async def canonical(hashes: Any) -> set[Hash]:
        return set(hashes) & set(chain.hashes)

    for back, forth, ago in steps:
        del chain.hashes[len(chain.hashes) - min(back, len(chain.hashes)) :]
        for _ in range(forth):
            made += 1
            chain.hashes.append(Hash(f"{made}"))
        at = chain.at(max(len(chain.hashes) - 1 - ago, 0))

        async def read(_: Any, upto: int = at.number) -> None:
            span = range(history.number + 1, upto + 1)
            history.rows += [(number, chain.hashes[number]) for number in span]

        await reach([history], at, canonical, read)
        expected = list(enumerate(chain.hashes[: at.number + 1]))
        assert history.rows[: history.count(at.number)] == expected


def test_a_market_that_gets_its_first_price_gives_old_flows_a_value() -> None:
    base, quote, pair = Address("0xb"), Address("0xq"), Address("0xm")
    market = Market(pair, "B-Q", Hash("0x1"), base, quote, 0, 0)
    history, at = AccountHistory(), reads.AsOf(9, Hash("h"), 9, "latest")
    history.extend(Address("0xa"), [], [BalanceRow(3, 0, 3, base, 50, 0, 50, 0)], {})
    history.stand(at)

    def marks(*prices: int) -> Marks:
        rows = [Priced(number, Fraction(price), number) for number, price in enumerate(prices, 7)]
        return Marks(quote, [market], {base: 10}, {pair: Series(pair, rows)} if rows else {})

    for known in (marks(), marks(20), marks(20, 30)):
        results = history.results(history.entries, at, known, "fifo", "mid")
        assert results == fold(history.entries, known, "fifo", at.number)
    assert results[base].pnl == 50 * 3 - 50 * 2


async def test_what_was_added_before_a_failure_is_not_kept() -> None:
    chain, history = _Chain(), Rows[tuple[int, str]]()
    chain.hashes = [Hash("a"), Hash("b")]

    async def fail(_: Any) -> None:
        history.rows.append((0, "a"))
        raise OSError("the database went away")

    async def canonical(hashes: Any) -> set[Hash]:
        return set()

    with pytest.raises(OSError, match="went away"):
        await reach([history], chain.at(1), canonical, fail)
    assert (history.rows, history.stands) == ([], [])


def test_a_shelf_forgets_what_was_used_longest_ago() -> None:
    shelf = Shelf[Rows[tuple[int]]](Rows, max_rows=3)
    for name in ("one", "two", "one", "three"):
        shelf.take(Address(name)).rows.append((1,))
    kept = shelf.take(Address("one"))
    shelf.make_room()
    assert shelf.take(Address("one")) is kept
    assert shelf.take(Address("two")).rows == []


def test_a_shelf_forgets_also_those_of_whom_there_is_nothing() -> None:
    """Anybody may ask for any address, and most have no rows."""
    shelf = Shelf(AccountHistory)
    for number in range(MAX_HISTORIES + 10):
        shelf.take(Address(f"0x{number:040x}"))
    shelf.make_room()
    assert len(shelf) == MAX_HISTORIES


def test_a_tape_begins_anew_for_a_longer_period_and_when_most_of_it_is_old() -> None:
    rows = [Deal(at, at, 1, 1, 1, "buy", Address("a"), Address("b")) for at in range(10)]
    tape = Tape()
    tape.cover(3, max_old=4)
    tape.extend(rows[4:])
    tape.stand(reads.AsOf(9, Hash("h"), 9, "latest"))
    tape.cover(5, max_old=4)
    assert (tape.since, tape.rows) == (3, rows[4:])
    tape.cover(9, max_old=4)
    assert (tape.since, tape.rows, tape.stands) == (9, [], [])
    tape.extend(rows)
    tape.stand(reads.AsOf(9, Hash("h"), 9, "latest"))
    tape.cover(8, max_old=40)
    assert (tape.since, tape.rows) == (8, [])


_deals = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(1, 5),
        st.integers(1, 9),
        st.sampled_from(["buy", "sell"]),
        st.sampled_from("abc"),
        st.sampled_from("abcd"),
    ),
    max_size=30,
)


@given(_deals, st.lists(st.integers(0, 40), max_size=3), st.integers(-1, 40), st.integers(0, 40))
def test_running_sums_are_the_sums(
    steps: list[Any], cuts: list[int], since: int, number: int
) -> None:
    tape, rows, at = Tape(), [], 0
    for gap, price, quantity, side, maker, taker in steps:
        at += gap
        rows.append(Deal(at, at, price, quantity, price * quantity, side, maker, taker))
    tape.extend(rows)
    for cut in cuts:
        tape.cut(cut)
        rows = [row for row in rows if row.block_number <= cut]
    expected = [row for row in rows if row.timestamp > since and row.block_number <= number]
    assert tape.period(since, number) == expected
    assert tape.traded(since, number) == traded(expected)
    assert tape.traded(since, 99) == traded([row for row in rows if row.timestamp > since])
