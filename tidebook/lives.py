"""Services that outlive their servers: what ends for a while is waited out, and told in one line.

Recovery is starting, so a life that was cut off is not mended: the next one loads the last
committed cursor, or the relay's position, and goes on there. That is also why a COMMIT of unknown
outcome needs no care: the next life finds it done or not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidebook.errors import exit_code
from tidebook.progress import warn

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
"""Between two lives; doubled until one works."""

Life = Callable[[Callable[[], None]], Awaitable[None]]
"""Works until it ends or fails; calls what it is given whenever it has got something done."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happened, what it means, and what to do, for an operator."""

    what: str
    meaning: str
    advice: str

    def line(self, error: Exception) -> str:
        words = " ".join(str(error).split()) or type(error).__name__
        return f"{self.what} ({words}); {self.meaning}; {self.advice}"


NOTHING_LOST = "nothing is lost, and work goes on by itself where it stood"

POSTGRES_GONE = Trouble(
    "Postgres does not answer",
    NOTHING_LOST,
    "if it does not come back, see its log and TIDEBOOK_DATABASE_URL",
)
POSTGRES_FULL = Trouble(
    "Postgres has run out of room", NOTHING_LOST, "make room on its disk, or raise its limits"
)
POSTGRES_REFUSES = Trouble(
    "Postgres took back a transaction",
    NOTHING_LOST,
    "if this goes on, see who else writes to this database",
)
REDIS_GONE = Trouble(
    "Redis does not answer",
    "the streams stand still meanwhile; " + NOTHING_LOST,
    "if it does not come back, see its log and TIDEBOOK_REDIS_URL",
)
REDIS_FULL = Trouble(
    "Redis is out of memory",
    "the streams stand still meanwhile; " + NOTHING_LOST,
    "raise its maxmemory, or free some",
)
REDIS_REFUSES = Trouble(
    "Redis refuses to write",
    "the streams stand still meanwhile; " + NOTHING_LOST,
    "see its log; TIDEBOOK_REDIS_URL must name a primary",
)
REDIS_CHANGED = Trouble(
    "Redis has lost what it held",
    "the streams are filled again from Postgres",
    "if this goes on, see whether Redis evicts keys or another relay is at work",
)
NODE_FAILS = Trouble(
    "no node answers as it must",
    NOTHING_LOST,
    "see `tidebook status` for each, or name more of them in TIDEBOOK_RPC_URLS",
)
SERVER_FAILS = Trouble(
    "an embedded server does not start", NOTHING_LOST, "it is tried again; see its log"
)


async def live(life: Life, say: Callable[[str], None] = warn) -> None:
    """One life after the other until one ends by itself.

    Raises what is no trouble that ends by itself, and at the first start whatever the caller's
    settings may be to blame for.
    """
    pause_s = FIRST_PAUSE_S
    was_well = False
    told: Trouble | None = None

    def well() -> None:
        nonlocal pause_s, was_well, told
        was_well, pause_s = True, FIRST_PAUSE_S
        if told is not None:
            say("going on")
            told = None

    while True:
        try:
            return await life(well)
        except Exception as error:
            found = trouble(error)
            if found is None or (not was_well and exit_code(error) is not None):
                raise
            if found is not told:
                told = found
                say(found.line(error))
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def trouble(error: Exception) -> Trouble | None:
    """What an error says of the servers we work with; None for all else."""
    return _of_node(error) or _of_redis(error) or _of_postgres(error)


def _of_node(error: Exception) -> Trouble | None:
    from indexer.chain.errors import BadAnswer, BlockGone, Unreachable

    return NODE_FAILS if isinstance(error, Unreachable | BadAnswer | BlockGone) else None


def _of_redis(error: Exception) -> Trouble | None:
    from redis import exceptions as redis

    from indexer.relay import RedisChanged, RedisUnreachable

    match error:
        case redis.OutOfMemoryError():
            return REDIS_FULL
        case RedisChanged() | redis.WatchError():
            return REDIS_CHANGED
        case RedisUnreachable() | redis.ConnectionError() | redis.TimeoutError():
            return REDIS_GONE
        case redis.ReadOnlyError() | redis.ResponseError():
            return REDIS_REFUSES
        case _:
            return None


def _of_postgres(error: Exception) -> Trouble | None:
    import asyncpg

    from indexer.store.postgres import DatabaseUnreachable
    from tidebook.embedded import EmbeddedError

    match error:
        case EmbeddedError():
            return SERVER_FAILS
        case asyncpg.TooManyConnectionsError():
            return POSTGRES_GONE
        case asyncpg.InsufficientResourcesError() | asyncpg.PostgresIOError():
            return POSTGRES_FULL
        case (
            asyncpg.TransactionRollbackError()
            | asyncpg.ReadOnlySQLTransactionError()
            | asyncpg.LockNotAvailableError()  # somebody alters a table
        ):
            return POSTGRES_REFUSES
        case (
            DatabaseUnreachable()
            | OSError()
            | asyncpg.InterfaceError()
            | asyncpg.PostgresConnectionError()
            | asyncpg.OperatorInterventionError()
        ):
            return POSTGRES_GONE
        case _:
            return None
