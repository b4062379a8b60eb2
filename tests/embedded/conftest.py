"""Real users, each a process of its own, of real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 15.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something the system does by itself."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:.0f} s for: {what}"
        time.sleep(0.005)


def living(data_dir: Path) -> list[int]:
    """Every process that works under `data_dir`: keepers, servers and all their children."""
    if not Path("/proc/self/cwd").exists():
        return [pid for pid in recorded(data_dir).values() if lives(pid)]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                cwd = os.readlink(entry / "cwd")
            except OSError:
                continue
            if cwd.startswith(f"{data_dir.resolve()}/"):
                found.append(int(entry.name))
    return found


def recorded(data_dir: Path) -> dict[str, int]:
    """The pids in the lock files: {"postgres/keeper": 17, "postgres/server": 18, ...}."""
    pids = {}
    for path in data_dir.glob("*/*.lock"):
        if text := path.read_text().strip():
            pids[f"{path.parent.name}/{path.stem}"] = int(text)
    return pids


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class User:
    """A process inside, or on its way into, `embedded.servers(data_dir)`."""

    def __init__(self, data_dir: Path, *kinds: str, wrap: Sequence[str] = (), **options: object):
        """`wrap` goes before the command; "PYTHON" in options replaces the interpreter."""
        python = str(options.pop("python", sys.executable))
        self.data_dir = data_dir
        self.progress: list[str] = []
        self._urls: dict[str, str] | None = None
        self.process = subprocess.Popen(  # type: ignore[call-overload]
            [*wrap, python, str(ROOT / "tests/embedded/session.py"), str(data_dir), *kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **({"env": os.environ | {"PYTHONPATH": str(ROOT)}} | options),
        )

    def said(self) -> dict[str, str]:
        """What came of it: URLs or an error."""
        if self._urls is None:
            for line in self.process.stdout:
                message: dict[str, str] = json.loads(line)
                if "progress" not in message:
                    self._urls = message
                    break
                self.progress.append(message["progress"])
            else:
                raise AssertionError(f"the user ended with {self.process.wait()}, saying nothing")
        return self._urls

    @property
    def database_url(self) -> str:
        """Where Postgres is."""
        return self.said()["database_url"]

    @property
    def redis_url(self) -> str:
        """Where Valkey is."""
        return self.said()["redis_url"]

    def leave(self) -> None:
        """End as a program does that has finished."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(DEADLINE_S) == 0

    def kill(self) -> None:
        """End as a program does that the kernel finished."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)


Enter = Callable[..., User]


@pytest.fixture
def enter(data_dir: Path) -> Iterator[Enter]:
    """Start users; whatever a failed test leaves of them goes with it."""
    users: list[User] = []

    def start(data_dir: Path, *kinds: str, **options: object) -> User:
        users.append(User(data_dir, *kinds, **options))  # type: ignore[arg-type]
        return users[-1]

    yield start
    for user in users:
        user.process.kill()
        user.process.wait()
        user.process.stdin.close()
        user.process.stdout.close()
    # Before data_dir, which we asked for, is removed under their feet.
    until(lambda: not living(data_dir.parent), "no process left")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory whose parents every user may pass (pytest's tmp_path is 0700)."""
    parent = Path(tempfile.mkdtemp(prefix="tidebook-test-", dir="/tmp"))
    parent.chmod(0o755)
    yield parent / "data"
    shutil.rmtree(parent)
