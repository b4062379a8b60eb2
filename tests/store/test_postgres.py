"""Servers that are set otherwise, or die without a word."""

import socket
from pathlib import Path
from typing import Any

from sqlalchemy import select

import migrations
from indexer.chain.recording import Playback, Recording
from indexer.domain.step import Step
from indexer.follow import follow
from indexer.store import postgres, relations
from indexer.store.export import export
from indexer.store.queries import Query
from indexer.store.shape import Index
from indexer.store.snapshot import Snapshot, connect
from indexer.store.statements import Postgres
from indexer.store.writer import open_store
from tests.faults.proxy import tcp_proxy
from tests.store.chains import Chain, play

OTHERWISE = {
    "bytea_output": "escape",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "datestyle": "German, DMY",
    "timezone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "search_path": "",
    "work_mem": "64kB",
    "default_transaction_isolation": "serializable",
}
"""What a database's operator may have set for others."""


_HEADS = Query(select(relations.cursors.c.block_hash))


async def test_a_server_that_is_set_otherwise_is_written_and_read_alike(
    database_url: str, other_database_url: str, recordings: Path
) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 90)
    admin = await postgres.connect(other_database_url)
    name = await admin.fetchval("select current_database()")
    for setting, value in OTHERWISE.items():
        await admin.execute(f"alter database {name} set {setting} = '{value}'")
    await admin.close()
    ends = []
    for url in (database_url, other_database_url):
        steps: list[list[Step]] = [
            [*chain.to(0, 0), *chain.past(1, 40)],
            chain.to(41, 80),
            [chain.back_to(60), *chain.to(61, 90), chain.finalize(70)],
        ]
        for some in steps:
            await play(url, chain, some)
        reader = await postgres.connect(url)
        ends.append(await export(reader, history=True))
        await reader.close()
        snapshot = Snapshot(pool := connect(url, 1, 5))
        ends[-1]["heads"] = [row.block_hash for row in await snapshot.read(_HEADS)]
        await snapshot.close()
        await pool.dispose()
    assert ends[0] == ends[1]


async def test_a_machine_that_dies_without_a_word_is_noticed_by_both_sides(
    database_url: str,
) -> None:
    async with tcp_proxy(database_url) as (_, through):
        connection = await postgres.connect(through)
        assert _asks_after_silence(connection)
        asked = await connection.fetch(
            "select name, source from pg_settings where name like 'tcp_keepalives_%'"
        )
        assert {row["source"] for row in asked} == {"session"}
        assert len(asked) == 3
        await connection.close()
        reader = await (pool := connect(through, 1, 5)).take(begun=True)
        assert _asks_after_silence(reader)
        pool.give(reader, begun=True)
        await pool.dispose()


def _asks_after_silence(connection: Any) -> bool:
    peer = connection._transport.get_extra_info("socket")
    return bool(peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


async def test_a_servers_limit_on_questions_does_not_keep_an_index_from_being_built(
    database_url: str,
) -> None:
    connection = await postgres.connect(database_url)
    await connection.execute(
        """
        create table public.one (word bytea); insert into public.one values ('a');
        create function public.slow(bytea) returns bytea language plpgsql immutable as
        $$begin perform pg_sleep(0.5); return $1; end$$;
        set statement_timeout = 400"""
    )
    await Postgres(connection).create_index(Index("public.one", "one_slow", ("public.slow(word)",)))
    assert await connection.fetchval("select to_regclass('public.one_slow')") is not None
    await connection.close()


async def test_nor_a_migration_from_being_done(empty_database_url: str) -> None:
    admin = await postgres.connect(empty_database_url)
    name = await admin.fetchval("select current_database()")
    await admin.execute(f"""
        create function slow() returns event_trigger language plpgsql as
        $$begin perform pg_sleep(0.5); end$$;
        create event trigger slow on ddl_command_end when tag in ('CREATE SCHEMA')
        execute function slow();
        alter database {name} set statement_timeout = 400""")
    await admin.close()
    assert await migrations.upgrade(empty_database_url) is None


async def test_a_writer_keeps_no_temporary_table_that_vacuum_could_not_freeze(
    database_url: str, recordings: Path
) -> None:
    recording = Recording(recordings / "scalex_expiry.jsonl.gz")
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, _: Playback(recording, canon))
    admin = await postgres.connect(database_url)
    assert await admin.fetchval("select count(*) from tidebook.markets") > 0
    lasting = "select count(*) from pg_class where relpersistence = 't' and relkind = 'r'"
    assert await admin.fetchval(lasting) == 0
    await admin.close()
    await store.close()


async def test_a_url_may_say_what_libpqs_form_allows(empty_database_url: str) -> None:
    url = empty_database_url.replace("postgresql:", "postgres:") + "&sslmode=prefer"
    assert await migrations.upgrade(url) is None
