"""Answers are kept where the writer stands, and no longer."""

from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from api import lists, market_reads
from api.kept import Kept
from api.limits import MAX_KEPT_BYTES
from api.reads import Position
from indexer.domain.units import Hash
from indexer.store import postgres
from tests.api.test_graphql import first_market
from tests.indexed import Indexed

HERE = Position(1, "epoch", 7, 100, Hash("0x" + "ab" * 32), 1000, 100, 90, 95)


def test_an_answer_holds_at_one_position() -> None:
    kept = Kept()
    kept.keep(HERE, "/a?", b"1")
    assert (kept.body(HERE, "/a?"), kept.body(HERE, "/b?")) == (b"1", None)
    for there in (
        replace(HERE, seq=8),
        replace(HERE, epoch="other"),
        replace(HERE, hash=Hash("0x" + "cd" * 32)),
    ):
        kept.keep(HERE, "/a?", b"1")
        assert kept.body(there, "/a?") is None
        assert kept.body(HERE, "/a?") is None, "what was passed is gone"


def test_what_is_kept_has_a_limit() -> None:
    kept = Kept()
    kept.keep(HERE, "/a?", b"x" * (MAX_KEPT_BYTES - 3))
    assert kept.body(HERE, "/a?") is not None
    kept.keep(HERE, "/b?", b"y")
    assert (kept.body(HERE, "/a?"), kept.body(HERE, "/b?")) == (None, b"y")


def test_long_questions_with_short_answers_have_the_same_limit() -> None:
    """A chain that rests may be asked another question for days."""
    kept = Kept()
    first, *others = ["?" * 64 * 1024 + str(number) for number in range(MAX_KEPT_BYTES >> 16)]
    for asked in (first, *others):
        kept.keep(HERE, asked, b"{}")
    assert (kept.body(HERE, first), kept.body(HERE, others[-1])) == (None, b"{}")


async def test_a_book_is_read_once_where_the_writer_stands(
    base_url: str, http: aiohttp.ClientSession, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    general = market_reads.book

    async def watch(*args: object) -> object:
        reads.append(args)
        return await general(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(market_reads, "book", watch)
    url = f"{base_url}/api/v3/depth?limit=17&symbol={first_market(indexed)}"

    async def ask(**headers: str) -> tuple[int, bytes, str]:
        async with http.get(url, headers=headers) as response:
            return response.status, await response.read(), response.headers["ETag"]

    first = await ask()
    assert await ask() == first
    status, body, _ = await ask(**{"If-None-Match": first[2]})
    assert (status, body) == (304, b"")
    assert len(reads) == 1
    connection = await postgres.connect(indexed.database_url)
    await connection.execute("update tidebook.cursors set seq = seq + 1")
    moved = await ask()
    await connection.execute("update tidebook.cursors set seq = seq - 1")
    await connection.close()
    assert moved[0] == 200
    assert moved[2] != first[2]
    assert len(reads) == 2


async def test_a_list_is_read_once_where_the_writer_stands(
    base_url: str, http: aiohttp.ClientSession, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    general = lists.trades

    async def watch(*args: Any, **named: Any) -> Any:
        asked.append(named)
        return await general(*args, **named)

    monkeypatch.setattr(lists, "trades", watch)

    async def ask(limit: int) -> tuple[bytes, str]:
        query = "query($n: Int!) { trades(limit: $n) { price tx } }"
        body = {"query": query, "variables": {"n": limit}}
        async with http.post(f"{base_url}/graphql", json=body) as response:
            return await response.read(), response.headers["X-Tidebook-Block-Hash"]

    first = await ask(3)
    assert await ask(3) == first
    assert len(asked) == 1
    assert await ask(2) != first
    assert len(asked) == 2
    connection = await postgres.connect(indexed.database_url)
    await connection.execute("update tidebook.cursors set seq = seq + 1")
    assert await ask(3) == first
    await connection.execute("update tidebook.cursors set seq = seq - 1")
    await connection.close()
    assert len(asked) == 3


@pytest.mark.parametrize(
    "query",
    [
        "{ trades(limit: 0) { price } _meta { seq } }",  # an error
        "{ markets { symbol diverged } }",  # acknowledged without a block
        "{ divergences { kind } }",
    ],
)
async def test_what_may_change_without_the_writer_is_not_kept(
    base_url: str, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(Kept, "keep", lambda *given: kept.append(given))
    async with http.post(f"{base_url}/graphql", json={"query": query}) as response:
        assert response.status == 200
    assert kept == []
