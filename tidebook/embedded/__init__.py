"""Postgres and Valkey under a data directory, shared by all of our processes that name it.

    with embedded.servers(Path(".tidebook")) as urls:
        ...  # urls.database_url, urls.redis_url

The first user of a data directory starts a detached *keeper* per server (`keeper.py`); the server
stops when the last user leaves, however it leaves: users hold a lock that the kernel drops with
them. Nothing here is imported but the standard library, and little of that.
"""

from tidebook.embedded.errors import (
    DataDirUnusable,
    DiskFull,
    EmbeddedError,
    KeeperLost,
    PlatformUnsupported,
    StartFailed,
    VersionMismatch,
)
from tidebook.embedded.user import Urls, lost, servers

__all__ = [
    "DataDirUnusable",
    "DiskFull",
    "EmbeddedError",
    "KeeperLost",
    "PlatformUnsupported",
    "StartFailed",
    "Urls",
    "VersionMismatch",
    "lost",
    "servers",
]
