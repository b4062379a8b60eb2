"""Each command as a role that may do no more than `tidebook/servers.md` says."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio as redis

import migrations
from analytics.kept import Keeper
from api.reads import newest_position
from indexer.store import arrays, past, postgres
from indexer.store.errors import NotAllowed, SchemaMissing
from indexer.store.export import export
from indexer.store.marks import acknowledge
from indexer.store.privileges import KEEP, READ, WRITE, Needs
from indexer.store.snapshot import Snapshot, connect
from indexer.store.status import status
from indexer.store.writer import check_schema
from tests.store.chains import Chain, play, tables
from tests.store.test_indexes import ALL, FINAL, LAST, live, missing
from tests.store.test_relay import assert_equal, relaying
from tidebook import embedded

DOCUMENT = Path(__file__).parents[2] / "tidebook" / "servers.md"
_numbers = itertools.count(1)


class Roles:
    """A database made as the document says, and its URL for each role."""

    def __init__(self, server_url: str, name: str) -> None:
        self._server_url, self.name = server_url, name

    def url(self, role: str) -> str:
        return (
            self._server_url.replace("//tidebook@", f"//{self.name}_{role}@")
            if role
            else self._server_url
        ).replace("/postgres?", f"/{self.name}?")

    async def execute(self, statements: str, role: str = "") -> None:
        connection = await asyncpg.connect(self.url(role))
        try:
            await connection.execute(re.sub(r"\btidebook_", f"{self.name}_", statements))
        finally:
            await connection.close()


@pytest.fixture
async def roles(servers: embedded.Urls) -> AsyncIterator[Roles]:
    """The document's statements, with names of our own, up to the owner's `migrate`."""
    admin = await asyncpg.connect(servers.database_url)
    await _let_everybody_in(admin)
    made = Roles(servers.database_url, f"roles_{next(_numbers)}")
    begin, within, end = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for statement in re.sub(r"--.*", "", begin).split(";"):
        if statement.strip():  # one by one: that makes a database
            await admin.execute(re.sub(r"\btidebook", made.name, statement))
    await made.execute(within)
    await migrations.upgrade(made.url("owner"))
    await made.execute(end, "owner")
    yield made
    await admin.execute(f"drop database {made.name} with (force)")
    for role in ("owner", "writer", "analytics", "reader"):
        await admin.execute(f"drop role {made.name}_{role}")
    await admin.close()


async def _let_everybody_in(admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The embedded server knows one user; here each logs in as who it is."""
    now = await admin.fetchval("select clock_timestamp()")
    if _allow_all(Path(await admin.fetchval("show hba_file"))):
        await admin.fetchval("select pg_reload_conf()")
        while not await admin.fetchval("select pg_conf_load_time() > $1", now):
            await asyncio.sleep(0.01)


def _allow_all(rules: Path) -> bool:
    """Whether they did not yet."""
    rule = "local all all trust\n"
    found = rules.read_text()
    if rule not in found:
        rules.write_text(found + rule)
    return rule not in found


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


async def test_the_documents_roles_are_enough(
    roles: Roles,
    other_database_url: str,
    redis_url: str,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A first sync by COPY and stage, a rollback, and all who read what came of it."""
    monkeypatch.setattr(past, "COMMIT_EVENTS", 1)
    monkeypatch.setattr(arrays, "MOST_ROWS", 1)
    writer, reader = roles.url("writer"), roles.url("reader")
    seen, said = await live(writer, chain)
    assert set(seen) == {0}
    (line,) = said
    assert "keeps all indexes up to date" in line
    again = [chain.back_to(FINAL), *chain.to(FINAL + 1, LAST), chain.finalize(LAST - 2)]
    await play(writer, chain, again)
    await play(other_database_url, chain, chain.to(0, LAST))
    assert await tables(reader) == await tables(other_database_url)
    streams: redis.Redis = redis.from_url(redis_url, protocol=2)
    await streams.flushdb()
    async with relaying(reader, redis_url):
        await assert_equal(reader, streams)
    await streams.aclose()
    await _read_and_kept(roles)


async def _read_and_kept(roles: Roles) -> None:
    """What the other commands do, as their roles."""
    writer = await postgres.connect(roles.url("writer"))
    await acknowledge(writer, None)
    await writer.close()
    reader = await postgres.connect(roles.url("reader"))
    assert (await status(reader))["missing_indexes"] == 0
    assert (await export(reader, history=True))["markets"]
    await reader.close()
    snapshot = Snapshot(pool := connect(roles.url("reader"), 1, 5))
    assert await newest_position(snapshot) is not None
    await pool.dispose()
    analytics = await postgres.connect(roles.url("analytics"))
    await check_schema(analytics, KEEP)
    keeper = Keeper(analytics)
    assert await keeper.try_lock()
    await keeper.load()
    assert keeper.seq
    await analytics.close()


async def test_an_index_that_only_the_owner_may_build_stops_no_writer(
    roles: Roles, chain: Chain
) -> None:
    await live(roles.url("owner"), chain, killed_at=FINAL // 2)
    assert await missing(roles.url("reader")) == ALL
    _, said = await live(roles.url("writer"), chain)
    (line,) = said
    assert f"{ALL} indexes are missing" in line
    assert "run `tidebook index` as one" in line
    await live(roles.url("owner"), chain)
    assert await missing(roles.url("reader")) == 0


@pytest.mark.parametrize(
    ("taken", "role", "needs", "told"),
    [
        ("usage on schema tidebook", "reader", READ, "grant usage on schema tidebook to"),
        ("select on tidebook.orders", "reader", READ, "grant select on tidebook.orders to"),
        ("temporary on database NAME", "writer", WRITE, "grant temporary on database NAME to"),
        ("delete on tidebook.undo", "writer", WRITE, "grant delete on tidebook.undo to"),
        (
            "insert on all tables in schema tidebook",
            "writer",
            WRITE,
            "grant insert on all tables in schema tidebook to",
        ),
        (
            "update on tidebook.analytics_tops",
            "analytics",
            KEEP,
            "grant update on tidebook.analytics_tops to",
        ),
    ],
    ids=["schema", "table", "temporary", "one", "all", "analytics"],
)
async def test_what_a_role_lacks_is_told_as_the_statement_that_grants_it(
    roles: Roles, taken: str, role: str, needs: Needs, told: str
) -> None:
    await roles.execute(f"revoke {taken.replace('NAME', roles.name)} from tidebook_{role}")
    connection = await postgres.connect(roles.url(role))
    with pytest.raises(NotAllowed) as refused:
        await check_schema(connection, needs)
    grant = f"{told.replace('NAME', roles.name)} {roles.name}_{role}"
    assert f"run `{grant}` as the owner" in str(refused.value)
    await roles.execute(grant)
    await check_schema(connection, needs)
    await connection.close()


async def test_who_may_not_make_the_schema_is_told_so(roles: Roles) -> None:
    await roles.execute("drop schema tidebook cascade")
    connection = await postgres.connect(roles.url("reader"))
    with pytest.raises(SchemaMissing):
        await check_schema(connection)
    await connection.close()
    with pytest.raises(migrations.Refused, match="permission denied for database"):
        await migrations.upgrade(roles.url("writer"))
