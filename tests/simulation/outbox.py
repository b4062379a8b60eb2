"""The outbox table of a `Disk`, as the relay reads it."""

from indexer.relay import Batch, EpochChanged, batch_of
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
        rows, messages = [], 0
        for key in sorted(key for key in stored if key[0] > seq):
            if messages < limit:
                rows.append(stored[key])
                messages += key[0] + 1 - rows[-1]["first_seq"]
        cursor = self._disk.cursor
        if rows and cursor is not None and cursor["epoch"] != self._epoch:
            raise EpochChanged
        if not rows:
            return None
        return batch_of(rows, seq)

    async def wait(self, timeout_s: float) -> None:
        await self._news.wait(timeout_s)

    def close(self) -> None:
        self._news.close()
