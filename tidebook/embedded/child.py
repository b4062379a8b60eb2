"""A server's process: started with an identity and a lock, stopped step by step."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tidebook.embedded.errors import DiskFull, EmbeddedError, StartFailed, VersionMismatch
from tidebook.embedded.identity import Identity, preparation
from tidebook.embedded.place import Place, try_lock

__all__ = ["command_of", "failure", "log_size", "spawn", "stop", "wait_for_lock_free"]

TAIL_BYTES = 4000

PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
"""All a server gets of our environment: no PG* that would steer it, none of our secrets."""


def spawn(
    place: Place,
    command: Sequence[str | Path],
    *,
    lock: int,
    identity: Identity = Identity.OURSELVES,
    death_signal: signal.Signals = signal.SIGTERM,
    tunables: str = "",
) -> subprocess.Popen[bytes]:
    """Run `command` in the place's directory, its output in the place's log.

    The child inherits `lock` (server.lock), so whoever has it free knows that no process of this
    server is left, and its pid is written there for a keeper that finds it not free.
    """
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env |= {"LC_ALL": "C", "GLIBC_TUNABLES": tunables}
    with place.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=place.directory,
            env=env,
            pass_fds=(lock,),
            preexec_fn=preparation(identity, death_signal),
        )
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{process.pid}\n".encode(), 0)
    return process


def stop(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send each step's signal and give it its seconds; returns when the process has ended."""
    for number, patience_s in steps:
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    process.wait()


def command_of(pid: int) -> str:
    """The name of the program `pid` runs, or "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
    shown = subprocess.run(  # macOS
        ["/bin/ps", "-p", str(pid), "-o", "comm="], capture_output=True, text=True, check=False
    )
    return os.path.basename(shown.stdout.strip())


def log_size(place: Place) -> int:
    """Where the log ends now: what is written after it belongs to the next start."""
    return place.log.stat().st_size if place.log.exists() else 0


def failure(place: Place, since: int, fallback: str) -> EmbeddedError:
    """What the log says, from byte `since`, about why the server did not start."""
    with place.log.open("rb") as log:
        log.seek(max(since, log.seek(0, os.SEEK_END) - TAIL_BYTES))
        tail = log.read().decode(errors="replace").strip()
    if "No space left on device" in tail or "Disk quota exceeded" in tail:
        return DiskFull(
            f"no space left for {place.title} in {place.directory}: free some, "
            "or choose another --data-dir",
            log=place.log,
            tail=tail,
        )
    if "is not compatible with this version" in tail or "handle RDB format version" in tail:
        return VersionMismatch(
            f"{place.data} was written by another version of {place.title} ({_versions(place)}): "
            f"use that version, or delete {place.directory} and index again",
            log=place.log,
            tail=tail,
        )
    wanted = ("FATAL", "PANIC", "initdb: error", "# ", "rror")
    lines = [line for line in tail.splitlines() if any(word in line for word in wanted)]
    reason = lines[-1].strip() if lines else (tail.splitlines() or [fallback])[-1]
    if "append only file" in tail:
        reason += f"; its content can be rebuilt: delete {place.directory}"
    return StartFailed(f"{place.title} did not start: {reason}", log=place.log, tail=tail)


def _versions(place: Place) -> str:
    version = place.data / "PG_VERSION"
    return f"data of {version.read_text().strip()}" if version.exists() else "newer data"


def wait_for_lock_free(lock: int, limit_s: float) -> bool:
    """Wait until no process holds `lock`; then it is ours."""
    deadline = time.monotonic() + limit_s
    while not try_lock(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
