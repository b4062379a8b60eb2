"""Postgres and Redis at their worst, and kills, while a writer writes and a relay fills streams."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from indexer.wire import STREAMS, stream_key
from tests.faults.proxy import Moment
from tests.faults.stage import CHAIN_ID, SIGKILL, SIGQUIT, Stage, stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [stream_key(CHAIN_ID, stream) for stream in STREAMS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with stage(tmp_path_factory.mktemp("stage"), random.randrange(1 << 32)) as on:
        yield on
        assert on.reorgs, "a fair-weather market"


@pytest.mark.parametrize("moment", ["unsent", "sent", "answered"])
async def test_a_connection_that_is_lost_during_commit(on: Stage, moment: Moment) -> None:
    await asyncio.wait_for(on.proxy.cut_commit(moment), 20)
    await on.writer.hear("Postgres does not answer")
    await on.writer.hear("going on")
    await on.goes_on()
    await on.check()


async def test_a_postgres_that_is_shut_down_at_once_while_it_is_written_to(on: Stage) -> None:
    on.kill_server("postgres", SIGQUIT)  # immediate: no checkpoint, recovery at the next start
    await on.writer.hear("Postgres does not answer")
    await on.relay.hear("Postgres does not answer")
    await on.start_servers()
    await on.writer.hear("going on")
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check()


@pytest.mark.parametrize("when", ["immediate", "deferred"], ids=["COPY", "COMMIT"])
async def test_postgres_refuses_to_write_for_want_of_room(on: Stage, when: str) -> None:
    """Postgres' own words and code for it, at the rows or only at the end; its disk has room."""
    await on.postgres.execute(_FULL)
    await on.postgres.execute(
        "create constraint trigger is_full after insert on tidebook.outbox"
        f" deferrable initially {when} for each row execute function public.is_full()"
    )
    said = await on.writer.hear("Postgres has run out of room")
    assert "No space left on device" in said
    assert "nothing is lost" in said
    await on.postgres.execute("drop trigger is_full on tidebook.outbox")
    await on.writer.hear("going on")
    await on.goes_on()
    await on.check()


_FULL = """
create or replace function public.is_full() returns trigger language plpgsql as $$
begin
  raise exception 'could not extend file "base/1/2": No space left on device'
    using errcode = 'disk_full', hint = 'Check free disk space.';
end $$
"""


async def test_a_disk_that_is_full(on: Stage) -> None:
    """The outbox on a disk of its own, which is small; for those who may mount one."""
    disk = on.folder / "disk"
    disk.mkdir()
    with small_disk(disk, "64m"):
        await on.postgres.execute(f"create tablespace small location '{disk / 'space'}'")
        await on.postgres.execute("alter table tidebook.outbox set tablespace small")
        mount("-o", f"remount,size={used(disk) + (48 << 10)}", str(disk))
        await on.writer.hear("Postgres has run out of room")
        mount("-o", "remount,size=64m", str(disk))
        await on.writer.hear("going on")
        await on.goes_on()
        await on.check()
        await on.postgres.execute("alter table tidebook.outbox set tablespace pg_default")
        await on.postgres.execute("drop tablespace small")


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[None]:
    """A file system of its own, with a folder that Postgres may write to."""
    try:
        mount("-t", "tmpfs", "-o", f"size={size}", "none", str(at))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root's rights")
    try:
        owner = (at.parent / "postgres" / "data").stat()
        (at / "space").mkdir()
        os.chown(at / "space", owner.st_uid, owner.st_gid)
        at.chmod(0o755)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def used(at: Path) -> int:
    found = os.statvfs(at)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def mount(*how: str) -> None:
    subprocess.run(["mount", *how], check=True, capture_output=True)


async def test_a_redis_that_is_killed_and_started_again(on: Stage) -> None:
    on.kill_server("valkey", SIGKILL)  # what it had not yet put on its disk is lost
    await on.relay.hear("Redis does not answer")
    await on.start_servers()
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check_streams()


async def test_a_redis_that_is_emptied(on: Stage) -> None:
    await on.redis.flushall()
    said = await on.relay.hear("Redis has lost what it held")
    assert "the streams are filled again from Postgres" in said
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check_streams()


async def test_a_redis_without_memory_refuses_and_is_waited_for(on: Stage) -> None:
    await on.redis.config_set("maxmemory", "1")  # bytes; and nothing may be evicted for us
    said = await on.relay.hear("Redis is out of memory")
    assert "OOM command not allowed" in said or "used memory > 'maxmemory'" in said
    stood = await on.told()
    await on.postgres_grows()
    assert await on.told() == stood, "what Redis refused was taken for published"
    await on.redis.config_set("maxmemory", "0")
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check_streams()


async def test_a_stream_that_was_evicted_is_filled_again(on: Stage) -> None:
    await on.redis.delete(KEYS[on.draw.randrange(len(KEYS))])
    await on.relay.hear("Redis has lost what it held")
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check_streams()


async def test_an_outbox_that_was_trimmed_past_the_relay(on: Stage) -> None:
    await on.relay.kill()
    stood = await on.told()
    await on.postgres_grows()
    first = "select min(seq) from tidebook.outbox where first_seq > $1"
    await on.postgres.execute(f"delete from tidebook.outbox where seq <= ({first})", stood)
    on.relay = await on.start_relay()
    await on.goes_on()
    await on.check_streams()


async def test_killed_at_any_moment_nothing_is_lost_or_told_twice(on: Stage) -> None:
    kinds = ["writer", "relay", "both"]
    on.draw.shuffle(kinds)
    for kind in kinds:
        spares = []
        if kind != "relay":
            spares.append(await on.start_writer())
        if kind != "writer":
            spares.append(await on.start_relay())
        for spare in spares:
            await spare.hear("standing by until it ends")
        for _ in range(on.draw.randint(1, 30)):  # whatever they are about then
            await on.told()
        if kind != "relay":
            await on.writer.kill()
            on.writer = spares.pop(0)
        if kind != "writer":
            await on.relay.kill()
            on.relay = spares.pop()
        await on.goes_on()
    await on.check()
