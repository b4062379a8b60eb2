"""Where one server lives under the data directory, and the locks that say who is there.

    DATA_DIR/postgres/           0700, ours
        users.lock    shared by every user; the keeper waits to have it alone, then stops
        keeper.lock   held by the keeper from before it exists; holds its pid
        server.lock   inherited by the server: free only when no process of it is left
        server.json   the URL; true as long as its writer holds it locked
        data/         the server's files
        run/          the socket, if the path is short and plain enough (sockets.py)
        postgres.log, keeper.log

All locks are flock(2): they belong to an open file, so they can be handed to a child and the
kernel drops them with their last holder.
"""

import contextlib
import fcntl
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tidebook.embedded.errors import DataDirUnusable, DiskFull, EmbeddedError

__all__ = ["Place", "open_lock", "try_lock"]


def open_lock(path: Path) -> int:
    """A descriptor to lock with, not inherited by children unless they are told to."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Lock without waiting; False if somebody else's lock is in the way."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of one server: `kind` is "postgres" or "valkey"."""

    directory: Path
    kind: str

    @property
    def title(self) -> str:
        """The server's name in sentences."""
        return self.kind.capitalize()

    @property
    def users_lock(self) -> Path:
        """Shared by every user."""
        return self.directory / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper; its content is the keeper's pid."""
        return self.directory / "keeper.lock"

    @property
    def server_lock(self) -> Path:
        """Held by every process of the server; its content is the first one's pid."""
        return self.directory / "server.lock"

    @property
    def notice(self) -> Path:
        """The URL of the running server."""
        return self.directory / "server.json"

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server wrote to its standard error."""
        return self.directory / f"{self.kind}.log"

    @property
    def keeper_log(self) -> Path:
        """What the keeper wrote to its standard error: nothing, unless it is broken."""
        return self.directory / "keeper.log"

    def make(self) -> None:
        """Create the directory, private to this user, or say why it cannot be used."""
        try:
            self.directory.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.directory.mkdir(mode=0o700)
            found = self.directory.lstat()
            if not stat.S_ISDIR(found.st_mode):
                raise DataDirUnusable(f"{self.directory} is not a directory: move it away")
            if found.st_uid != os.geteuid():
                raise DataDirUnusable(
                    f"{self.directory} belongs to user {found.st_uid}, we are user "
                    f"{os.geteuid()}: run as that user or choose another --data-dir"
                )
            if found.st_mode & 0o066:  # others may pass (identity.py), never read or write
                self.directory.chmod(0o700)
            os.close(open_lock(self.users_lock))
        except OSError as error:
            raise unusable(self.directory.parent, error) from error

    def publish(self, url: str) -> int:
        """Tell users the URL. It stays true while the returned descriptor is open."""
        draft = self.directory / "server.json.new"
        draft.unlink(missing_ok=True)
        fd = open_lock(draft)
        # Locked before it is visible: a reader never sees a true notice without its lock.
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, json.dumps({"url": url}).encode())
        draft.rename(self.notice)
        return fd

    def published(self) -> str | None:
        """The URL of the running server, or None; a dead keeper's notice counts for nothing."""
        try:
            fd = os.open(self.notice, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            if try_lock(fd, shared=True):
                return None
            return str(json.loads(os.read(fd, 65536))["url"])
        finally:
            os.close(fd)


def unusable(path: Path, error: OSError) -> EmbeddedError:
    """The operating system's refusal, said with the data directory's name."""
    import errno  # only needed when something is wrong

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {path}: free some, or choose another --data-dir")
    where = error.filename or path
    return DataDirUnusable(
        f"data directory {path} cannot be used: {where}: {error.strerror}; "
        "choose another --data-dir"
    )
