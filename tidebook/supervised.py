"""Services as child processes: they end with their parent and come back when they fall.

The supervisor holds the other end of each service's standard input. When it goes, even by SIGKILL,
the kernel closes that end, and the service sees the end of its input.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tidebook.progress import PROGRESS

MARK = "TIDEBOOK_SUPERVISED"
GRACE_S = 3.0
"""Time a service has to end by itself: after its parent has gone, or after SIGTERM."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
"""Between a fall and the next start; doubled with every fall that follows soon."""
STEADY_S = 20.0
"""A service that ran this long has its pauses forgiven."""
HEALTHY_LIMIT_S = 60.0
LOG_MAX_BYTES = 8 << 20
OURS = "tidebook: "
"""How a line begins that is meant for people."""


def die_with_parent() -> None:
    """In a supervised process, watch standard input from now on; elsewhere do nothing."""
    if os.environ.pop(MARK, None) == "1":
        threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


class ServiceFailed(Exception):
    """A service that cannot start, or has ended.

    `code` is its exit code, the message what it said about it in its log, from byte `since`.
    """

    def __init__(self, name: str, code: int, log: Path, since: int = 0) -> None:
        super().__init__(f"{name}: {_last_words(code, log, since)} (log: {log})")
        self.code = code


def _last_words(code: int, log: Path, since: int) -> str:
    """Our own line about the end, or else the last one: a traceback's."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"  # so it could not say anything
    if not log.exists():
        return f"exit code {code}"
    with log.open("rb") as file:
        file.seek(since)
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Libraries may complain after our line; lines of progress are no reason to end.
    lines = [line for line in lines if not line.startswith(PROGRESS)]
    ours = [line for line in lines if line.startswith(OURS)]
    return (ours or lines or [f"exit code {code}"])[-1].removeprefix(OURS)


class Service:
    """One `tidebook …` process, started again whenever it ends without being told to."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        log: Path,
        healthy: Callable[[], Awaitable[bool]],
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "tidebook", *arguments]
        self._environment = environment
        self._log = log
        self._log_start = 0
        self._healthy = healthy
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process; its output goes to the end of the log."""
        if self._log.exists() and self._log.stat().st_size > LOG_MAX_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment, MARK: "1"},
                start_new_session=True,  # Ctrl-C is the supervisor's; it ends services in order
            )

    async def become_healthy(self) -> None:
        """Wait until it answers. Raises ServiceFailed if it ends, or takes too long."""
        process = self._process
        assert process is not None, "started first"
        deadline = time.monotonic() + HEALTHY_LIMIT_S
        while not await self._healthy():
            if process.returncode is not None or time.monotonic() > deadline:
                raise self._failure(process.returncode or 1)
            await asyncio.sleep(0.05)

    async def keep_alive(self, say: Callable[[str], None]) -> None:
        """Start it again whenever it falls, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            assert self._process is not None, "started first"
            began = time.monotonic()
            code = await self._process.wait()
            if time.monotonic() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            say(f"{self._failure(code)}; starting it again")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            await self.start()

    def _failure(self, code: int) -> ServiceFailed:
        return ServiceFailed(self.name, code, self._log, self._log_start)

    async def stop(self) -> None:
        """End it: asked first, then not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
