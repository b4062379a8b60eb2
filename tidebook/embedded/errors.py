"""What can go wrong with an embedded server, each as one line for the person who started us.

EmbeddedError
├── DataDirUnusable      the directory cannot be ours: permissions, owner, not a directory
├── DiskFull             no space left while creating or starting a server
├── VersionMismatch      the data was written by another major version
├── PlatformUnsupported  no binaries for this machine, or it cannot run them
├── StartFailed          the server ended or stayed silent; the log says why
└── KeeperLost           the keeper died before it could say anything
"""

from pathlib import Path

__all__ = [
    "DataDirUnusable",
    "DiskFull",
    "EmbeddedError",
    "KeeperLost",
    "PlatformUnsupported",
    "StartFailed",
    "VersionMismatch",
    "revive",
]


class EmbeddedError(Exception):
    """An embedded server cannot be had. `str()` is one line; `tail` the end of the log, if any."""

    def __init__(self, message: str, *, log: Path | None = None, tail: str = "") -> None:
        """`message` says what is wrong and what to do; the log's path is added to it."""
        super().__init__(f"{message} (log: {log})" if log else message)
        self.message = message
        self.log = log
        self.tail = tail


class DataDirUnusable(EmbeddedError):
    """The data directory cannot be ours: permissions, owner, not a directory."""


class DiskFull(EmbeddedError):
    """No space left on the data directory's disk."""


class VersionMismatch(EmbeddedError):
    """The data was written by another major version of the server."""


class PlatformUnsupported(EmbeddedError):
    """No server binaries for this machine, or it cannot run them."""


class StartFailed(EmbeddedError):
    """The server ended, or stayed silent, while starting."""


class KeeperLost(EmbeddedError):
    """The keeper died before it could say anything."""


_KINDS: dict[str, type[EmbeddedError]] = {
    kind.__name__: kind
    for kind in (
        DataDirUnusable,
        DiskFull,
        VersionMismatch,
        PlatformUnsupported,
        StartFailed,
        KeeperLost,
    )
}


def revive(kind: str, message: str, log: str | None, tail: str) -> EmbeddedError:
    """The error a keeper reported over its pipe, as the same type on the user's side."""
    return _KINDS.get(kind, EmbeddedError)(message, log=Path(log) if log else None, tail=tail)
