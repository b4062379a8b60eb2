"""Valkey as we use it: streams kept in an append-only file, a unix socket and no port."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable

from tidebook.embedded import binaries, sockets
from tidebook.embedded.child import failure, log_size, spawn
from tidebook.embedded.errors import PlatformUnsupported
from tidebook.embedded.place import Place

__all__ = ["Valkey"]

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "dir": "data",
    # Streams survive a restart to the second; Postgres has them all and can refill.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    # Streams are trimmed by their writer; nothing else may vanish from them.
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
}


class Valkey:
    """The server in `place`; `lock` is the server.lock its processes hold."""

    steps: tuple[tuple[signal.Signals, float], ...] = (
        (signal.SIGTERM, 60.0),  # flushes and fsyncs the append-only file, then ends
    )

    def __init__(self, place: Place, lock: int) -> None:
        self._place = place
        self._lock = lock
        self._binary = binaries.valkey()
        self._log_start = log_size(place)
        self._sockets = sockets.make_socket_directory(
            place.directory, place.directory.stat().st_uid
        )
        self._socket = self._sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """For redis-py's `from_url`."""
        return f"unix://{self._socket}"

    def start(self, report: Callable[[str], None]) -> subprocess.Popen[bytes]:
        """Run the server; does not wait for it."""
        self._place.data.mkdir(mode=0o700, exist_ok=True)
        options = OPTIONS | {"unixsocket": str(self._socket)}
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        try:
            return spawn(self._place, [self._binary, *arguments], lock=self._lock)
        except (OSError, subprocess.SubprocessError) as error:
            raise PlatformUnsupported(
                f"{self._binary} cannot run on this machine ({error}): "
                "set TIDEBOOK_REDIS_URL to a running server"
            ) from error

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it answers PING; while it loads its file it answers with an error."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
            except OSError:
                return False

    def failure(self, fallback: str) -> Exception:
        """Why it did not start."""
        return failure(self._place, self._log_start, fallback)

    def clean(self) -> None:
        """After the end: leave nothing in a temporary directory."""
        if self._sockets.parent != self._place.directory:
            shutil.rmtree(self._sockets, ignore_errors=True)
