"""Binance's streams of candles and tickers: told by the clock, when something was traded.

A day and a candle end in chain time: the newest block's timestamp is the present.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from indexer.domain.interval import INTERVALS, next_open, open_time
from indexer.domain.listing import Directory, Listing
from indexer.domain.units import Address
from ws import dialect
from ws.candles import read_candle, read_trades
from ws.channels import EVERYWHERE, KLINE, STATISTICS, Channel
from ws.hub import Hub
from ws.native.feed import Feed

DAY_S = 86_400
AVERAGE_S = 300
CLOSED_CANDLES = 30
"""Newest candles looked at behind the one told last: a chain may rest for a year of seconds."""


class Statistics:
    """What `miniTicker`, `ticker`, `avgPrice` and `kline_…` say, and to whom already."""

    def __init__(
        self,
        hub: Hub,
        feed: Feed,
        directory: Directory,
        engine: AsyncEngine,
        say: Callable[[Channel, Any], object],
    ) -> None:
        self._hub = hub
        self._feed = feed
        self._directory = directory
        self._engine = engine
        self._say = say
        self._traded: set[Address] = set()
        """Markets that traded since the last look."""
        self._stale: set[Channel] = set()
        """Candles whose market traded since they were told last."""
        self._told: dict[Channel, int] = {}
        """When the candle opened that each stream was told last; 0 for a day."""
        self.now_s = 0

    def traded(self, market: Address) -> None:
        self._traded.add(market)

    async def tell(self, *, slow: bool) -> None:
        """Once a second; every other time `slow` klines are due. Raises what Postgres raises."""
        if not self.now_s:
            return
        wanted = {
            one for one in self._hub.channels if one.kind in STATISTICS or KLINE.fullmatch(one.kind)
        }
        traded, self._traded = self._traded, set()
        everywhere = {one for one in wanted if one.market == EVERYWHERE and traded}
        fresh = {one for one in wanted if one.market in traded or one not in self._told}
        self._stale = (self._stale | fresh | everywhere) & wanted
        self._told = {one: when for one, when in self._told.items() if one in wanted}
        for channel in wanted:
            found = KLINE.fullmatch(channel.kind)
            if found is None or slow or found[1] == "1s":
                stale = channel in self._stale
                self._stale.discard(channel)
                await self._tell(channel, found[1] if found else None, stale=stale)

    async def _tell(self, channel: Channel, interval: str | None, *, stale: bool) -> None:
        listing = self._directory.at(channel.market)
        if interval is not None and listing is not None:
            await self._kline(channel, interval, listing, stale=stale)
        elif stale:
            self._told[channel] = 0
            pairs = self._directory if channel.market == EVERYWHERE else [listing]
            events = [await self._summary(channel.kind, one) for one in pairs if one is not None]
            told = [event for event in events if event is not None]
            if told:
                self._say(channel, told if channel.market == EVERYWHERE else told[0])

    async def _summary(self, kind: str, listing: Listing) -> dict[str, Any] | None:
        until = self.now_s + 1
        length = AVERAGE_S if kind == "avgPrice" else DAY_S
        since = until - length
        since -= since % 60
        minutes = until - until % -60
        candle = await read_candle(self._engine, listing.address, since, minutes)
        if candle is None:
            return None
        time = {"E": self.now_s * 1000}
        if kind == "miniTicker":
            return {**dialect.mini_ticker(candle, listing), **time}
        ends = await read_trades(self._engine, listing.address, since, until)
        first, last = (ends[0], ends[-1]) if ends else ((-1, 0, 0), (-1, 0, 0))
        if kind == "avgPrice":
            return {**dialect.average(candle, last[2] * 1000, listing), **time}
        book, numbers = self._feed.book(listing.address), (first[0], last[0], last[1])
        return {**dialect.ticker(candle, numbers, book, self.now_s * 1000, listing), **time}

    async def _kline(
        self, channel: Channel, interval: str, listing: Listing, *, stale: bool
    ) -> None:
        """The present candle if it changed; those before it once more when they have closed."""
        opened = open_time(interval, self.now_s)
        told = self._told.get(channel, opened)
        closed = [told] if told < opened else []  # it has trades, however long ago that was
        newest = open_time(interval, opened - CLOSED_CANDLES * INTERVALS[interval])
        before = max(next_open(interval, told), newest)
        while before < opened:
            closed.append(before)
            before = next_open(interval, before)
        for one in closed:
            await self._candle(channel, interval, one, listing, closed=True)
        if stale or closed:
            await self._candle(channel, interval, opened, listing, closed=False)
        self._told[channel] = opened

    async def _candle(
        self, channel: Channel, interval: str, opened: int, listing: Listing, *, closed: bool
    ) -> None:
        until = next_open(interval, opened)
        candle = await read_candle(self._engine, listing.address, opened, until)
        if candle is None:
            return
        ends = await read_trades(self._engine, listing.address, opened, until)
        ids = (ends[0][0], ends[-1][0]) if ends else (-1, -1)
        event = dialect.kline(interval, candle, ids, listing, closed=closed)
        self._say(channel, {**event, "E": self.now_s * 1000})
