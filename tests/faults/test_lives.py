"""What ends for a while is waited out and told once; what does not ends the process."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from redis import exceptions as redis

from indexer.chain.errors import BadAnswer, ReorgTooDeep, Unreachable, WrongNode
from indexer.domain.block import Block, BlockRef
from indexer.domain.units import Hash
from indexer.relay import RedisChanged, RedisUnreachable
from indexer.store.errors import SchemaMissing
from indexer.store.postgres import DatabaseUnreachable
from tidebook import lives
from tidebook.lives import live, trouble
from tidebook.services import signs

Well = Callable[[], None]
BLOCK = Block(1, Hash("0x01"), Hash("0x00"), 0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "FIRST_PAUSE_S", 0)


def scripted(*ends: Exception | None) -> Callable[[Well], object]:
    """Lives that end so, one after the other; "well" comes before those that are None."""
    left = list(ends)

    async def life(well: Well) -> None:
        end = left.pop(0)
        if end is None:
            well()
            end = left.pop(0)
        raise end or SystemExit

    return life


async def said(*ends: Exception | None) -> list[str]:
    lines: list[str] = []
    with pytest.raises(SystemExit):
        await live(scripted(*ends, None, None), lines.append)  # type: ignore[arg-type]
    return lines


async def test_a_trouble_is_told_once_and_its_end_too() -> None:
    gone, full = asyncpg.InterfaceError("connection is closed"), asyncpg.DiskFullError("no space")
    lines = await said(None, gone, gone, OSError("refused"), full, full)
    assert [line.split(" (")[0] for line in lines] == [
        "Postgres does not answer",
        "Postgres has run out of room",
        "going on",
    ]
    assert "(connection is closed); nothing is lost" in lines[0]
    assert all("\n" not in line for line in lines)


@pytest.mark.parametrize(
    "error",
    [DatabaseUnreachable("no"), RedisUnreachable("no"), Unreachable("http://a", "no")],
)
async def test_a_first_start_that_cannot_connect_is_for_the_caller(error: Exception) -> None:
    with pytest.raises(type(error)):
        await live(scripted(error))  # type: ignore[arg-type]
    assert len(await said(None, error)) == 2  # later it is waited out


@pytest.mark.parametrize(
    "error",
    [
        WrongNode("http://a", 1, 2),
        ReorgTooDeep(BlockRef(1, Hash("0x02")), BLOCK),
        SchemaMissing(None, "0001"),
        asyncpg.UniqueViolationError("twice"),
        AssertionError("ours"),
    ],
)
async def test_what_does_not_end_by_itself_ends_the_process(error: Exception) -> None:
    with pytest.raises(type(error)):
        await live(scripted(None, error))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (asyncpg.AdminShutdownError("terminating"), lives.POSTGRES_GONE),
        (asyncpg.CannotConnectNowError("starting up"), lives.POSTGRES_GONE),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle"), lives.POSTGRES_GONE),
        (asyncpg.DiskFullError("no space left"), lives.POSTGRES_FULL),
        (asyncpg.DeadlockDetectedError("deadlock"), lives.POSTGRES_REFUSES),
        (asyncpg.LockNotAvailableError("lock timeout"), lives.POSTGRES_REFUSES),
        (redis.OutOfMemoryError("used memory > maxmemory"), lives.REDIS_FULL),
        (redis.BusyLoadingError("loading"), lives.REDIS_GONE),
        (redis.ReadOnlyError("replica"), lives.REDIS_REFUSES),
        (redis.ResponseError("MISCONF"), lives.REDIS_REFUSES),
        (redis.WatchError("changed"), lives.REDIS_CHANGED),
        (RedisChanged(3, {}), lives.REDIS_CHANGED),
        (BadAnswer("eth_getLogs", "logs", "none"), lives.NODE_FAILS),
    ],
)
def test_every_trouble_has_words(error: Exception, what: lives.Trouble) -> None:
    assert trouble(error) is what


async def test_on_a_quiet_chain_two_stored_reports_say_that_all_is_well() -> None:
    said: list[str] = []

    async def reports() -> AsyncIterator[str]:
        for name in "abc":
            yield name

    async for report in signs(reports(), lambda: said.append("well")):
        said.append(report)
    assert said == ["a", "b", "well", "c", "well"]
