"""What a process and those below it spend, from /proc, and how that is told."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec


class Cost(msgspec.Struct, kw_only=True):
    """What it took to index a chain. CPU is in seconds, RSS in MB."""

    events: int
    seconds: float
    cpu: float
    postgres_cpu: float
    player_cpu: float
    rss: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_per_100k(self) -> float:
        """CPU seconds of the indexer and its Postgres."""
        return (self.cpu + self.postgres_cpu) * 1e5 / self.events

    def told(self, whose: str) -> str:
        """CPU and memory, for people."""
        per = 1e5 / self.events
        return (
            f"CPU s per 100k events: {whose} {self.cpu * per:.2f}, Postgres "
            f"{self.postgres_cpu * per:.2f}, player {self.player_cpu * per:.2f}; peak RSS of it "
            f"{self.rss:.0f} MB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )


def tree(process: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(one for child in children for one in tree(int(child)))]


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def tree_cpu_s(process: int) -> float:
    """CPU seconds of a process, of those below it, and of those that have ended."""
    ticks = 0
    for one in tree(process):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Peak:
    """Most memory that a process and those below it have had resident at once, each at its worst.

    Somebody has to look while they run: one that has ended is not seen any more.
    """

    def __init__(self, process: int) -> None:
        self.mb = 0.0
        self._process = process

    def look(self) -> float:
        """Look once more; the peak until now."""
        most = 0
        for one in tree(self._process):
            with suppress(OSError, IndexError):  # it has ended just now
                status = Path(f"/proc/{one}/status").read_text()
                most += int(status.split("VmHWM:")[1].split()[0])
        self.mb = max(self.mb, most / 1024)
        return self.mb
