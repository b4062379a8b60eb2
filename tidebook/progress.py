"""What a person sees while something takes longer than a second; nothing, if it does not."""

import json
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from indexer.domain.canon import Canon

PATIENCE_S = 1.0
PROGRESS = '{"progress":'
"""How a line of it begins, where there is no terminal."""
REPORT_S = 5.0
"""Between two lines, where there is no terminal to draw a bar on."""


def announce(sentence: str) -> None:
    """Say on stderr what is going on, if somebody watches."""
    if sys.stderr.isatty():
        print(f"tidebook: {sentence}", file=sys.stderr)  # noqa: T201


def warn(sentence: str) -> None:
    """Say on stderr what an operator should know, watched or not."""
    print(f"tidebook: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


def standing_by() -> None:
    """Say that a second writer waits for the first."""
    warn("another writer of this chain is at work; standing by until it ends")


def relay_standing_by() -> None:
    """Say that a second relay waits for the first."""
    warn("another relay fills this Redis; standing by until it ends")


class _Drawn:
    """What may draw a bar, until it is left."""

    _bar: "Bar | None" = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class BlockProgress(_Drawn):
    """A bar of blocks and events on a terminal, lines of JSON elsewhere; at first, silence."""

    def __init__(self, label: str, total: int | None = None) -> None:
        self.blocks = 0
        self.events = 0
        self._label = label
        self._total = total
        self._began = self._reported = time.monotonic()
        self._is_there = False
        self._told = (0, 0)
        """Events and block of the last report."""

    def __call__(self, canon: "Canon", blocks: int, events: int, node_head: int) -> None:
        self.blocks += blocks
        self.events += events
        now = time.monotonic()
        if now - self._began < PATIENCE_S:
            return
        head = canon.head.number if canon.head else 0
        total = self._total or node_head
        if sys.stderr.isatty():
            self._draw(head, total)
        elif now - self._reported >= REPORT_S or (head >= total and not self._is_there):
            self._is_there = self._is_there or head >= total
            self._report(now, head, total)

    def rate(self) -> str:
        """Events so far, and per second."""
        return f"{self.events:,} events, {self._events_per_s():,.0f} events/s"

    def _events_per_s(self) -> float:
        return self.events / max(time.monotonic() - self._began, 1e-6)

    def _report(self, now: float, head: int, total: int) -> None:
        """One line of JSON. `events_per_s` since the last one, `eta_s` at that pace of blocks."""
        seconds = now - self._reported
        events, blocks = self.events - self._told[0], head - self._told[1]
        self._reported, self._told = now, (self.events, head)
        line = {
            "progress": self._label,
            "block": head,
            "of": total,
            "events": self.events,
            "events_per_s": round(events / seconds),
            "eta_s": round((total - head) / blocks * seconds) if blocks > 0 else None,
        }
        print(json.dumps(line, separators=(",", ":")), file=sys.stderr, flush=True)  # noqa: T201

    def _draw(self, head: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(self._label),
                BarColumn(),
                TextColumn("block {task.completed:,.0f} of {task.total:,.0f}"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._bar.add_task("", total=total, rate="")
        self._bar.update(self._bar.task_ids[0], completed=head, total=total, rate=self.rate())


class MarketProgress(_Drawn):
    """A bar of markets on a terminal; elsewhere one line when all are done."""

    def __init__(self, label: str) -> None:
        self._label = label

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if done == total:
                print(f"tidebook: {self._label}: {total} markets done", file=sys.stderr)  # noqa: T201
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True))
            self._bar.start()
            self._bar.add_task(self._label, total=total)
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
