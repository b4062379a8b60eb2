"""The state at the newest final block: what a checkpoint saves."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Any

from indexer.domain.block import Block
from indexer.domain.change import Applied
from indexer.domain.order import CANDLE_SECONDS
from indexer.mirror.fold import Mirror

KEYS: dict[str, Callable[[Any], Any]] = {
    "tokens": attrgetter("address"),
    "markets": attrgetter("address"),
    "orders": attrgetter("market", "order_id"),
    "levels": attrgetter("market", "side", "price"),
    "balances": attrgetter("account", "token"),
    "candles": attrgetter("market", "open_time"),
}
"""What identifies a record, by kind: the fields of `Deltas`."""

SLICE_RECORDS = 500
"""Records read at once: to look at them and to pack them takes half a millisecond."""

_Images = dict[str, dict[Any, Any]]
_ABSENT = object()


class SettledState:
    """Every record as it stood at `final`, read slice by slice while the mirror goes on.

    What belongs to it is what the mirror holds when this is made. A record that some block above
    `final` has touched is as the first of them found it, retracted or not, for no rollback passes
    `final`; any other is as it is now. Of candles only those that a later trade may still touch.

    A final block tells no images: it ends this, unread (`is_lost`); and so does another reader.
    """

    def __init__(self, mirror: Mirror, final: Block) -> None:
        self.final = final
        self._mirror = mirror
        self._above = [one for one in mirror.journal if one.block.number > final.number]
        self._since: list[Applied] = []
        mirror.since = self._since
        self._is_read = False
        self._minute = final.timestamp // CANDLE_SECONDS * CANDLE_SECONDS
        self._records = dict(_records(mirror))

    @property
    def is_lost(self) -> bool:
        """The mirror goes on without telling what it changes: what was not read never will be."""
        return not self._is_read and self._mirror.since is not self._since

    def slices(self) -> Iterator[tuple[str, list[Any]]]:
        """The records, kind by kind, some at a time; of each kind one slice at least.

        They are the mirror's own: read a slice before the next step, and none when `is_lost`.
        """
        before, changed = _no_images(), _no_images()
        kept = 0
        for applied in self._above:
            kept += _keep_first(before, applied)
            if kept >= SLICE_RECORDS:
                kept = 0
                yield next(iter(KEYS)), []
        for kind, key in KEYS.items():
            records = self._records.pop(kind)
            for at in range(0, len(records), SLICE_RECORDS):
                assert not self.is_lost, f"the state at {self.final.ref} is read too late"
                while self._since:
                    _keep_first(changed, self._since.pop(0))
                some = records[at : at + SLICE_RECORDS]
                yield kind, self._wanted(kind, _as_of(some, key, before[kind], changed[kind]))
            gone = [image for image in before[kind].values() if image is not None]
            yield kind, self._wanted(kind, gone)
        self._is_read = True
        if self._mirror.since is self._since:
            self._mirror.since = None

    def _wanted(self, kind: str, records: list[Any]) -> list[Any]:
        if kind == "candles":
            return [candle for candle in records if candle.open_time >= self._minute]
        return records


def settled(mirror: Mirror, final: Block) -> dict[str, list[Any]]:
    """All of the state at `final` at once, by kind."""
    found: dict[str, list[Any]] = {kind: [] for kind in KEYS}
    for kind, records in SettledState(mirror, final).slices():
        found[kind] += records
    return found


def size(mirror: Mirror) -> int:
    """How many records a checkpoint holds, or a few more."""
    books = mirror.books.values()
    named = len(mirror.tokens.rows) + len(mirror.markets.rows) + len(mirror.candles.rows)
    traded = sum(len(book.orders.rows) + len(book.levels.rows) for book in books)
    return named + traded + len(mirror.ledger.balances.rows)


def _as_of(
    records: list[Any],
    key: Callable[[Any], Any],
    before: dict[Any, Any],
    changed: dict[Any, Any],
) -> list[Any]:
    """These records with what was kept of them: what is in `before` is taken out of it."""
    if not before and not changed:
        return records
    found = []
    for record in records:
        name = key(record)
        image = before.pop(name, _ABSENT)
        if image is _ABSENT:
            image = changed.get(name, record)
        if image is not None:
            found.append(image)
    return found


def _keep_first(images: _Images, applied: Applied) -> int:
    """Keep how a block found what it touched, unless an earlier one did; returns how much."""
    seen = 0
    for kind, key in KEYS.items():
        kept, deltas = images[kind], getattr(applied.deltas, kind)
        for delta in deltas:
            kept.setdefault(key(delta.record), delta.before)
        seen += len(deltas)
    return seen


def _no_images() -> _Images:
    return {kind: {} for kind in KEYS}


def _records(mirror: Mirror) -> Iterable[tuple[str, list[Any]]]:
    books = mirror.books.values()
    return (
        ("tokens", list(mirror.tokens.rows.values())),
        ("markets", list(mirror.markets.rows.values())),
        ("orders", list(chain.from_iterable(book.orders.rows.values() for book in books))),
        ("levels", list(chain.from_iterable(book.levels.rows.values() for book in books))),
        ("balances", list(mirror.ledger.balances.rows.values())),
        ("candles", list(mirror.candles.rows.values())),
    )
