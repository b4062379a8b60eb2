"""The outbox table of a `Disk`, as the relay reads it."""

from indexer.relay import Batch, EpochChanged
from indexer.store import tables
from indexer.store.memory import Disk, News, Pause


class MemoryOutbox:
    """One relay's connection."""

    def __init__(self, disk: Disk, epoch: str, pause: Pause) -> None:
        self._disk = disk
        self._epoch = epoch
        self._pause = pause
        self._news = News(disk)

    async def after(self, seq: int, limit: int) -> Batch | None:
        await self._pause("read outbox")
        stored = self._disk.rows(tables.outbox)
        rows = [stored[key] for key in sorted(key for key in stored if key[0] > seq)[:limit]]
        cursor = self._disk.cursor
        if rows and cursor is not None and cursor["epoch"] != self._epoch:
            raise EpochChanged
        if not rows:
            return None
        lines = [f"{row['stream']} {row['seq']} {row['message']}" for row in rows]
        return Batch(rows[0]["seq"], rows[-1]["seq"], len(rows), "\n".join(lines))

    async def wait(self, timeout_s: float) -> None:
        await self._news.wait(timeout_s)

    def close(self) -> None:
        self._news.close()
