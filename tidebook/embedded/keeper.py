"""The keeper: the detached process that runs one server for as long as it has users.

Its life: take over the lock its starter took for it, tell its pid, wait out whatever is left of a
predecessor's server, start the server, publish the URL, wait for the first of three events (the
last user has left, somebody asks it to stop, the server has ended), stop the server, end.

If it is killed, the kernel ends the server too (Linux), or the next keeper does (macOS), and the
next start works; users of the moment see their connections break.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tidebook.embedded import child
from tidebook.embedded.errors import EmbeddedError, StartFailed
from tidebook.embedded.place import Place, open_lock, try_lock, unusable
from tidebook.embedded.postgres import Postgres
from tidebook.embedded.valkey import Valkey

__all__ = ["main"]

START_LIMIT_S = 290.0
"""Less than the users' (user.py), so that they hear the reason and not only their own clock."""

LEFTOVER_LIMIT_S = 30.0
"""How long a dead keeper's server may take to stop before it is killed."""

LOG_LIMIT_BYTES = 8 << 20
"""A log longer than this becomes `<log>.1`; so at most twice this is kept."""

LOG_CHECK_S = 60.0
READY_POLL_S = 0.005


class Server(Protocol):
    """What a keeper needs of a server."""

    steps: tuple[tuple[signal.Signals, float], ...]

    @property
    def url(self) -> str: ...
    def start(self, report: Callable[[str], None]) -> subprocess.Popen[bytes]: ...
    def is_ready(self, process: subprocess.Popen[bytes]) -> bool: ...
    def failure(self, fallback: str) -> Exception: ...
    def clean(self) -> None: ...


SERVERS: dict[str, Callable[[Place, int], Server]] = {"postgres": Postgres, "valkey": Valkey}


class _Asked(BaseException):
    """SIGTERM or SIGINT: the last user, or the operator, wants us to stop."""


def main(arguments: list[str]) -> int:
    """Keep `arguments` = [directory, kind, keeper.lock's descriptor]; returns the exit code."""
    directory, kind, lock = Path(arguments[0]), arguments[1], int(arguments[2])
    # Twice forked, so that whoever started us has no zombie to bury when we end.
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    os.set_inheritable(lock, False)
    place = Place(directory, kind)
    try:
        signal.signal(signal.SIGTERM, _ask)
        signal.signal(signal.SIGINT, _ask)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        with _running(place) as (process, url):
            notice = place.publish(url)
            try:
                _tell({"url": url})
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                _wait(place, process)
            finally:
                place.notice.unlink(missing_ok=True)
                os.close(notice)
    except _Asked:
        return 0
    except EmbeddedError as error:
        _be_busy()
        log = str(error.log) if error.log else None
        _tell({"error": [type(error).__name__, error.message, log, error.tail]})
        return 1
    except OSError as error:
        _be_busy()
        told = unusable(place.directory.parent, error)
        _tell({"error": [type(told).__name__, told.message, None, ""]})
        return 1
    return 0


def _ask(number: int, frame: object) -> None:
    _be_busy()
    raise _Asked


def _be_busy() -> None:
    """We are ending already: nothing may interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell(message: dict[str, object]) -> None:
    """One line to the user who started us, who may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


@contextlib.contextmanager
def _running(place: Place) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The server, started and ready; stopped afterwards."""
    lock = open_lock(place.server_lock)
    _outwait_leftovers(place, lock)
    _shorten(place.log)
    server = SERVERS[place.kind](place, lock)
    process = None
    try:
        process = server.start(lambda text: _tell({"progress": text}))
        _wait_ready(place, server, process)
        yield process, server.url
    finally:
        _be_busy()
        if process is not None:
            child.stop(process, server.steps)
        server.clean()


def _wait_ready(place: Place, server: Server, process: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    said = False
    while not server.is_ready(process):
        if process.poll() is not None:
            raise server.failure(f"it ended with {process.returncode}")
        waited = time.monotonic() - started
        if waited > START_LIMIT_S:
            raise server.failure(f"it was not ready after {START_LIMIT_S:.0f} s")
        if waited > 1 and not said:
            _tell({"progress": f"{place.title} is recovering what it had (log: {place.log})"})
            said = True
        time.sleep(READY_POLL_S)


def _outwait_leftovers(place: Place, lock: int) -> None:
    """Have server.lock. Processes of a killed keeper's server may still hold it."""
    if try_lock(lock):
        return
    pid = int(os.pread(lock, 32, 0) or b"0")
    ours = child.command_of(pid) in ("postgres", "initdb", "valkey-server", "redis-server")
    if ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if place.kind == "valkey" else signal.SIGINT)
            os.kill(pid, signal.SIGCONT)
    if child.wait_for_lock_free(lock, LEFTOVER_LIMIT_S):
        return
    if ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not child.wait_for_lock_free(lock, LEFTOVER_LIMIT_S):
        raise StartFailed(f"an earlier {place.title} (process {pid}) does not end: kill it")


def _wait(place: Place, process: subprocess.Popen[bytes]) -> None:
    """Return when the last user has left or the server has ended; raise _Asked when asked to."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)  # a signal just before select() would be slept through otherwise
    signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait_for_users() -> None:
        # Blocks until no user shares the lock, and keeps it while we stop: who comes now waits.
        fcntl.flock(open_lock(place.users_lock), fcntl.LOCK_EX)
        os.write(woken, b"\0")

    threading.Thread(target=wait_for_users, daemon=True).start()
    while process.poll() is None:
        if select.select([wake], [], [], LOG_CHECK_S)[0] and b"\0" in os.read(wake, 512):
            return
        _shorten(place.log)
    print(f"{place.title} ended with {process.returncode}", file=sys.stderr)  # noqa: T201


def _shorten(log: Path) -> None:
    """Copy a long log aside and empty it; the server appends, so it goes on at the start."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
