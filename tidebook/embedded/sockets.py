"""A private directory for a server's unix socket, with a short and plain path.

Privacy is the directory's (0700, ours), so the servers need no passwords and no TCP port. Short,
because a socket's path ends at 104 bytes on macOS and 108 on Linux. Plain, because the path goes
into URLs that pass through parsers with opinions on `%`, `,` and spaces: then it needs no escapes.
"""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
from pathlib import Path

from tidebook.embedded.errors import DataDirUnusable

__all__ = ["make_socket_directory"]

PATH_LIMIT_BYTES = 103
"""The shortest limit of the systems we run on (macOS), without the final NUL."""

LONGEST_NAME = ".s.PGSQL.5432"

_PLAIN = re.compile(r"/[A-Za-z0-9/._+=-]*")


def make_socket_directory(home: Path, owner: int) -> Path:
    """An empty directory only `owner` (a uid, and root) can enter: in `home`, or a temporary one.

    The temporary one is named after `home`, so a later start finds and cleans it.
    """
    key = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    name = f"tidebook-{os.geteuid()}-{key}"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    candidates = [
        home / "run",
        *([Path(runtime, name)] if runtime else []),
        Path(tempfile.gettempdir(), name),
        Path("/tmp", name),
    ]
    for candidate in candidates:
        path = str(candidate / LONGEST_NAME)
        if len(os.fsencode(path)) > PATH_LIMIT_BYTES or not _PLAIN.fullmatch(path):
            continue
        if _is_made(candidate, owner) and _holds_sockets(candidate):
            if os.stat(candidate).st_uid != owner:
                os.chown(candidate, owner, -1)
            return candidate
    raise DataDirUnusable(
        "no directory for unix sockets: tried "
        + ", ".join(str(candidate) for candidate in dict.fromkeys(candidates))
        + "; choose a --data-dir with a short path on a local disk"
    )


def _is_made(path: Path, owner: int) -> bool:
    """Whether `path` is now ours, private and empty; never through somebody else's directory."""
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), owner):
            return False
        path.chmod(0o700)
        for left in path.iterdir():  # a killed server's socket and its lock file
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    except OSError:
        return False
    return True


def _holds_sockets(path: Path) -> bool:
    """Some filesystems (shared folders, FUSE) have no sockets: only trying tells."""
    probe = path / "probe"
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(probe))
        probe.unlink()
    except OSError:
        return False
    return True
