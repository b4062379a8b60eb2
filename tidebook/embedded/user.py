"""The user's side: take a seat at a server, start its keeper if nobody has, leave last politely."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidebook.embedded.errors import KeeperLost, PlatformUnsupported, StartFailed, revive

if TYPE_CHECKING:
    from tidebook.embedded.place import Place

__all__ = ["Urls", "lost", "servers"]

START_LIMIT_S = 300.0
"""How long we wait for a server: crash recovery of a big database takes minutes."""

LEAVE_LIMIT_S = 90.0
"""How long the last user waits to see the server gone before it leaves anyway."""

POLL_S = 0.01

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the servers are; "" for one that was not asked for. No URL contains a `%`."""

    database_url: str
    redis_url: str


@contextlib.contextmanager
def servers(
    data_dir: Path,
    on_progress: Progress | None = None,
    *,
    postgres: bool = True,
    valkey: bool = True,
) -> Iterator[Urls]:
    """Have the embedded servers of `data_dir` run while the block does; raises EmbeddedError.

    Blocking: about a second the first time, a tenth later. The last user to leave waits until
    the servers have stopped. `on_progress` is told what is going on, in sentences. Children made by
    `fork` without `exec` (multiprocessing's old default) would hold our seat beyond our end.
    """
    if sys.platform == "win32":
        raise PlatformUnsupported(
            "embedded servers need Linux or macOS: "
            "set TIDEBOOK_DATABASE_URL and TIDEBOOK_REDIS_URL to running ones"
        )
    from tidebook.embedded.place import Place  # needs fcntl, which Windows does not have

    report = on_progress or (lambda _: None)
    # Seats stack up in this order and all begin before any is waited for: starts overlap.
    directory = Path(os.path.abspath(data_dir))
    with contextlib.ExitStack() as stack:
        seats: dict[str, _Seat] = {}
        for kind, wanted in (("valkey", valkey), ("postgres", postgres)):
            if wanted:
                seats[kind] = seat = _Seat(Place(directory / kind, kind), report)
                stack.callback(seat.leave)
                seat.begin()
        urls = {kind: seat.url() for kind, seat in seats.items()}
        yield Urls(urls.get("postgres", ""), urls.get("valkey", ""))


def lost(data_dir: Path, *, postgres: bool = True, valkey: bool = True) -> dict[str, Path]:
    """Titles and logs of the servers that nobody runs now, though we may have a seat there.

    For a user that stays: its seat outlives the server (or its keeper) that died, and entering
    `servers` again, however shortly, brings the server back under the same URL.
    """
    from tidebook.embedded.place import Place

    directory = Path(os.path.abspath(data_dir))
    wanted = [kind for kind, is_wanted in (("valkey", valkey), ("postgres", postgres)) if is_wanted]
    places = [Place(directory / kind, kind) for kind in wanted]
    return {place.title: place.log for place in places if place.published() is None}


class _Seat:
    """One user's place at one server; while we hold `users.lock` its keeper does not stop it."""

    def __init__(self, place: "Place", report: Progress) -> None:
        self._place = place
        self._report = report
        self._keeper: subprocess.Popen[bytes] | None = None
        self._users: int | None = None

    def begin(self) -> None:
        """Take the seat and start a keeper if there is none; does not wait for the server."""
        import fcntl

        from tidebook.embedded.place import open_lock, try_lock

        self._place.make()
        self._users = open_lock(self._place.users_lock)
        if not try_lock(self._users, shared=True):
            # A keeper holds it alone while it stops its server: the next one is ours to start.
            self._report(f"Waiting for {self._place.title} to stop")
            fcntl.flock(self._users, fcntl.LOCK_SH)
        self._spawn_if_unkept()

    def _spawn_if_unkept(self) -> None:
        """Start a keeper unless one lives. Asking is taking: the lock goes on to the child."""
        from tidebook.embedded.place import open_lock, try_lock, unusable

        place = self._place
        try:
            lock = open_lock(place.keeper_lock)
            try:
                if not try_lock(lock):
                    return
                os.ftruncate(lock, 0)  # a dead keeper's pid
                self._keeper = self._spawn(lock)
            finally:
                os.close(lock)
        except OSError as error:
            raise unusable(place.directory.parent, error) from error

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        place = self._place
        env = dict(os.environ)
        ours = Path(__file__).parents[2]
        if ours.name != "site-packages":  # a checkout: found by its path, installed or not
            path = env.get("PYTHONPATH")
            env["PYTHONPATH"] = f"{ours}{os.pathsep}{path}" if path else str(ours)
        # -P: the directory we are in must not provide modules.
        command = [sys.executable, "-P", "-m", "tidebook.embedded"]
        with open(place.keeper_log, "wb", opener=_open_private) as log:
            return subprocess.Popen(
                [*command, str(place.directory), place.kind, str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=place.directory,
                env=env,
                pass_fds=(lock,),
                start_new_session=True,
            )

    def url(self) -> str:
        """Wait until the server is ready and say where it is."""
        deadline = time.monotonic() + START_LIMIT_S
        waiting_since = time.monotonic()
        while True:
            if self._keeper:
                return self._hear(self._keeper)
            if url := self._place.published():
                return url
            self._spawn_if_unkept()  # the one we waited for may have failed
            if not self._keeper:
                now = time.monotonic()
                if now > deadline:
                    raise StartFailed(
                        f"{self._place.title} was not ready after {START_LIMIT_S:.0f} s",
                        log=self._place.log,
                    )
                if now - waiting_since > 1:
                    self._report(f"Waiting for {self._place.title}, started by another process")
                    waiting_since = float("inf")
                time.sleep(POLL_S)

    def _hear(self, keeper: subprocess.Popen[bytes]) -> str:
        """Follow our keeper's pipe: lines of progress, then one line of result."""
        import json

        assert keeper.stdout is not None
        with keeper.stdout as pipe:
            for line in pipe:
                match json.loads(line):
                    case {"progress": text}:
                        self._report(text)
                    case {"url": str(url)}:
                        keeper.wait()
                        return url
                    case {"error": error}:
                        keeper.wait()
                        raise revive(*error)
                    case other:
                        raise AssertionError(f"a keeper said {other!r}")
        keeper.wait()
        log = self._place.keeper_log
        tail = log.read_text(errors="replace")[-2000:].strip()
        last = tail.splitlines()[-1] if tail else "it was killed"
        raise KeeperLost(f"the keeper of {self._place.title} died: {last}", log=log, tail=tail)

    def leave(self) -> None:
        """Give the seat back. If nobody else has one, see to it that the server is gone."""
        import fcntl

        from tidebook.embedded.place import try_lock

        if self._users is None:
            return
        if self._keeper is not None and self._keeper.stdout:
            self._keeper.stdout.close()
        try:
            if try_lock(self._users):
                self._dismiss()
            else:
                # Either others share it, and so can we at once; or the keeper was quicker and
                # has it alone until it has stopped the server.
                fcntl.flock(self._users, fcntl.LOCK_SH)
        finally:
            os.close(self._users)
            self._users = None
            if self._keeper:
                self._keeper.wait()

    def _dismiss(self) -> None:
        """Stop the keeper and wait for its end; holding `users.lock` alone keeps others out."""
        import signal

        from tidebook.embedded.place import open_lock, try_lock

        deadline = time.monotonic() + LEAVE_LIMIT_S
        told = False
        lock = open_lock(self._place.keeper_lock)
        try:
            while not try_lock(lock, shared=True) and time.monotonic() < deadline:
                pid = os.pread(lock, 32, 0)
                if pid.endswith(b"\n") and not told:
                    if not _is_keeper(int(pid)):
                        return  # in another container: it will notice that nobody is left
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGTERM)
                    told = True
                time.sleep(POLL_S / 2)
        finally:
            os.close(lock)


def _is_keeper(pid: int) -> bool:
    """Whether `pid` is a keeper among the processes we see; without /proc the lock's word."""
    try:
        return b"tidebook.embedded" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return not Path("/proc/self/cmdline").exists()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
