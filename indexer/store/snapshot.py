"""One request reads one snapshot: a single read-only, repeatable-read transaction.

Statements are built by SQLAlchemy and run by asyncpg, whose codecs turn `bytea` into `0x` text and
`numeric` into int while the rows are decoded: a third of what the same rows cost through an engine.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import msgspec
from sqlalchemy import Select
from sqlalchemy.sql.selectable import TextualSelect

from indexer.store.postgres import heed_cancellation, set_codecs, watch
from indexer.store.queries import Query

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection["Row"]
    Record: TypeAlias = asyncpg.Record
else:
    Connection, Record = asyncpg.Connection, asyncpg.Record

DIAL_S = 5.0
"""How long a server may take to let us in."""
ANSWER_S = 2.0
"""Beyond the time that a statement may take: when a server that says nothing counts as gone."""

_BEGIN = "begin isolation level repeatable read, read only"


class Row(Record):
    """A row whose columns are attributes too."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Pool:
    """Connections to Postgres, at most so many; each is opened when all others are busy.

    Those that snapshots use wait inside a transaction that has read nothing yet: it holds nothing,
    and the first read in it sees what is newest then. To begin one costs a round trip, to end one
    and begin the next no more than to end one.
    """

    def __init__(
        self, dial: Callable[[], Awaitable[Connection]], size: int, timeout_s: float
    ) -> None:
        self._dial = dial
        self._size = size
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(size)
        self._taken = 0
        self._idle: dict[bool, list[Connection]] = {True: [], False: []}
        """By whether they are inside a transaction."""
        self._closed = False

    async def take(self, *, begun: bool) -> Connection:
        """A connection that nobody else has. Raises TimeoutError after the pool's timeout."""
        if self._free.locked():
            async with asyncio.timeout(self._timeout_s):
                await self._free.acquire()
        else:
            await self._free.acquire()
        self._taken += 1
        try:
            return await self._find(begun)
        except BaseException:
            self._release()
            raise

    def give(self, connection: Connection, *, begun: bool) -> None:
        """Give it back; one that is no longer fit for use is terminated first."""
        if self._closed:
            connection.terminate()
        if not connection.is_closed():
            self._idle[begun].append(connection)
        self._release()

    def distrust(self) -> None:
        """A server was silent: what is idle leads to it too, and is dialled anew."""
        for connection in self._forget():
            connection.terminate()

    async def dispose(self) -> None:
        """Close what is idle now, and what is given back from here on."""
        self._closed = True
        closing = (connection.close(timeout=self._timeout_s) for connection in self._forget())
        await asyncio.gather(*closing, return_exceptions=True)  # then it is terminated

    def _forget(self) -> list[Connection]:
        found = [connection for idle in self._idle.values() for connection in idle]
        for idle in self._idle.values():
            idle.clear()
        return found

    async def _find(self, begun: bool) -> Connection:
        if (found := _living(self._idle[begun])) is not None:
            return found
        full = self._taken + len(self._idle[not begun]) > self._size
        connection = _living(self._idle[not begun]) if full else None
        dialled = connection is None
        if connection is None:
            connection = await self._dial()
        try:
            with _losing():
                if begun:
                    await connection.execute(_BEGIN)
                elif not dialled:
                    await connection.execute("commit")
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _release(self) -> None:
        self._taken -= 1
        self._free.release()


_LOST = "the connection to Postgres was lost"


@contextlib.contextmanager
def _losing() -> Iterator[None]:
    """What asyncpg says of a connection that the other end is just closing, as the loss it is."""
    try:
        yield
    except asyncpg.InternalClientError as error:
        raise ConnectionResetError(_LOST) from error


@contextlib.contextmanager
def _hearing(pool: Pool, connection: Connection) -> Iterator[None]:
    """The same; and nobody asks a server again that did not answer in time, over this connection
    or another that leads to it."""
    try:
        yield
    except asyncpg.InternalClientError as error:
        raise ConnectionResetError(_LOST) from error
    except TimeoutError:
        connection.terminate()
        pool.distrust()
        raise


def _living(idle: list[Connection]) -> Connection | None:
    while idle:
        connection = idle.pop()
        if not connection.is_closed():
            return connection
    return None


def connect(
    database_url: str,
    pool_size: int,
    pool_timeout_s: float,
    *,
    reader: str = "tidebook-reader",
    statement_timeout_ms: int = 5_000,
) -> Pool:
    """A pool for Snapshots. Connects on first use.

    `reader` is what Postgres calls its connections; no statement runs longer than the timeout.
    The URL goes to asyncpg as it is, so everything libpq's form allows works, unix sockets too.
    """

    async def dial() -> Connection:
        connection = await asyncpg.connect(
            database_url,
            timeout=DIAL_S,
            command_timeout=statement_timeout_ms / 1000 + ANSWER_S,
            record_class=Row,
            server_settings={"application_name": reader},  # a pooler takes no other
        )
        try:
            await heed_cancellation()
            watch(connection)
            await connection.execute(
                f"set statement_timeout = {statement_timeout_ms};"
                " set idle_in_transaction_session_timeout = 0"  # they wait there, holding nothing
            )
            await set_codecs(connection)
            for name in ("json", "jsonb"):
                await connection.set_type_codec(
                    name, schema="pg_catalog", encoder=_to_json, decoder=msgspec.json.decode
                )
        except BaseException:
            connection.terminate()
            raise
        return connection

    return Pool(dial, pool_size, pool_timeout_s)


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Snapshot:
    """The database as one request sees it, whatever the writer commits meanwhile.

    Opened by the first read, so that a request that reads nothing costs no connection. GraphQL
    resolves roots concurrently and a connection does one thing at a time: hence the lock.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self.statements = 0
        """Statements run so far; tests count them."""
        self.position: tuple[Any, ...] | None = None
        """Where the writer stands in it, once a statement has told: until it is closed."""

    async def read(
        self,
        statement: Select[Any] | TextualSelect | Query,
        values: dict[str, Any] | None = None,
    ) -> list[Row]:
        """All rows of one statement; `values` of its named parameters."""
        query = statement if isinstance(statement, Query) else Query(statement)
        arguments = query.arguments(values)
        async with self._lock:
            if self._connection is None:
                self._connection = await self._pool.take(begun=True)
            self.statements += 1
            with _hearing(self._pool, self._connection):
                return await self._connection.fetch(query.text, *arguments)

    async def glance(self, query: Query) -> list[Row]:
        """All rows of one statement by itself, outside of the snapshot, which it may spare."""
        connection = await self._pool.take(begun=False)
        try:
            self.statements += 1
            with _hearing(self._pool, connection):
                return await connection.fetch(query.text)
        finally:
            self._pool.give(connection, begun=False)

    async def close(self) -> None:
        """End the transaction and give the connection back."""
        async with self._lock:
            connection, self._connection, self.position = self._connection, None, None
            if connection is None:
                return
            ended = False
            try:  # a transaction that only read has nothing to lose
                lost = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
                with contextlib.suppress(*lost), _hearing(self._pool, connection):
                    await connection.execute("commit and chain", timeout=ANSWER_S)
                    ended = True
            finally:
                if not ended:
                    connection.terminate()
                self._pool.give(connection, begun=True)
