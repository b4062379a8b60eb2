"""The clock of `/v1`: heartbeats, cadences, slow clients that have caught up, txs waited for."""

import asyncio
import logging

from ws.native.audience import Listener
from ws.native.live import Live
from ws.native.messages import Heartbeat, Id, Resolved, say
from ws.native.past import Unavailable
from ws.native.session import WAIT_TIMEOUT_S
from ws.native.telling import now_ms
from ws.outlet import text_frame

_log = logging.getLogger("tidebook.ws")

TICK_S = 0.1
TICKS_A_SECOND = 10


class Wait:
    """One listener's interest in a tx."""

    def __init__(self, request_id: Id, deadline_ms: int) -> None:
        self.request_id = request_id
        self.deadline_ms = deadline_ms
        self.state: str | None = None


class Pulse:
    """Runs until cancelled."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._waits: dict[tuple[Listener, str], Wait] = {}
        self._look = asyncio.Event()

    def wait_for(self, listener: Listener, tx: str, request_id: Id) -> None:
        deadline_ms = now_ms() + WAIT_TIMEOUT_S * 1000
        self._waits[listener, tx] = Wait(request_id, deadline_ms)
        self._look.set()

    def forget(self, listener: Listener) -> None:
        for key in [key for key in self._waits if key[0] is listener]:
            del self._waits[key]

    def look(self) -> None:
        """Something happened on chain: see what became of the txs."""
        if self._waits:
            self._look.set()

    async def run(self) -> None:
        await asyncio.gather(self._tick(), self._watch())

    async def _tick(self) -> None:
        live, ticks = self._live, 0
        beat = max(1, round(live.limits.heartbeat_s / TICK_S))
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            live.flush("100ms")
            live.tend()
            if ticks % TICKS_A_SECOND == 0:
                live.flush("1000ms")
            if ticks % beat == 0:
                await self._beat()

    async def _beat(self) -> None:
        """One frame to everybody: encoded once for all that have the same channels."""
        live = self._live
        try:
            live.feed.head = await live.past.head()
        except Unavailable as error:
            _log.debug("heartbeats without a newer head: %s", error)
        frames: dict[frozenset[tuple[str, int]], bytes] = {}
        for listener in list(live.listeners):
            channels = live.channels_of(listener)
            key = frozenset(channels.items())
            if key not in frames:
                frames[key] = text_frame(self._heartbeat(channels))
            listener.offer(frames[key], None)
        self.look()

    def _heartbeat(self, channels: dict[str, int]) -> bytes:
        feed, head = self._live.feed, self._live.feed.head
        known = (head.head, head.safe, head.finalized) if head else (None, None, None)
        return say(Heartbeat(feed.epoch, feed.seq, *known, channels), now_ms())

    async def _watch(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            waits = dict(self._waits)
            if not waits:
                continue
            try:
                fates = await self._live.past.fates(sorted({tx for _, tx in waits}))
            except Unavailable as error:
                _log.debug("cannot look for txs: %s", error)
                continue
            found = {fate.tx: fate for fate in fates}
            for (listener, tx), wait in waits.items():
                fate = found.get(tx)
                self._resolve(listener, tx, wait, *(fate[1:] if fate else (None, None)))

    def _resolve(
        self, listener: Listener, tx: str, wait: Wait, block: int | None, finality: str | None
    ) -> None:
        """Tell a listener what is new to it about a tx."""
        state = finality
        if finality is None and wait.state not in (None, "retracted"):
            state = "retracted"
        elif finality is None and now_ms() > wait.deadline_ms:
            state = "timeout"
        if state is None or state == wait.state or self._waits.get((listener, tx)) is not wait:
            return
        wait.state = state
        if state in ("finalized", "timeout"):
            del self._waits[listener, tx]
            listener.session.waits.pop(tx, None)
        resolved = Resolved(tx, state, block)  # type: ignore[arg-type]
        listener.tell(say(resolved, now_ms(), wait.request_id))
