"""A process beside the writer's that reads the past ahead of it, while there is much of it.

    scout:   nodes or log cache -> checked ranges -> packed, decoded -> rows of `logs`   ┐ a core
    writer:                                      folded -> rows -> Postgres              ┘ another

Nothing depends on it: it begins where the writer stands, what it tells is what the writer would
have read itself, and when it ends, for whatever reason, the writer goes on alone from there and
meets whatever was wrong. Both are of one program, so they talk in pickles (errand.py).
"""

import asyncio
import contextlib
import gc
import os
import pickle
import select
import sys
import threading
from collections.abc import Iterator, Sequence

import uvloop

from indexer.chain.backfill import advances
from indexer.chain.errors import ChainError
from indexer.chain.log_cache import LogCache
from indexer.chain.providers import Providers
from indexer.chain.source import Watch
from indexer.chain.tokens import Tokens
from indexer.domain.step import Advance
from indexer.errand import GAVE_UP, LENGTH, Errand, Site, framed
from indexer.reading import Reader

FRAME_LOGS = 500
"""Logs of a piece of a range, which is read, handed over and folded as one."""
IDLE_S = 20.0
"""How long a scout waits for its errand: a writer may stand by for days."""


def main() -> int:
    """One errand, from standard input to standard output."""
    site = _received()
    if site is None:
        return 0  # there was nothing to do
    assert isinstance(site, Site), site
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 10, 10)  # what is read makes no cycles worth finding often
    try:
        uvloop.run(_run(site))
    except (ChainError, BrokenPipeError, ConnectionResetError):
        return GAVE_UP
    return 0


def _received() -> object:
    """The writer's next message; None if none comes."""
    if not select.select([0], (), (), IDLE_S)[0] or not (length := _exactly(LENGTH.size)):
        return None
    return pickle.loads(_exactly(*LENGTH.unpack(length)))


def _exactly(size: int) -> bytes:
    """So many bytes of standard input and no more: the next message is not there yet."""
    found = b""
    while len(found) < size and (some := os.read(0, size - len(found))):
        found += some
    return found


def _hear(loop: asyncio.AbstractEventLoop, errand: asyncio.Future[Errand]) -> None:
    """The errand; then the kernel closes our standard input when the writer goes, however it does.

    In a thread of its own: whatever the others do, nobody outlives the writer.
    """
    message = _received()
    if message is None:
        os._exit(0)
    assert isinstance(message, Errand), message
    loop.call_soon_threadsafe(errand.set_result, message)
    os.read(0, 1)
    os._exit(GAVE_UP)


async def _run(site: Site) -> None:
    loop = asyncio.get_running_loop()
    coming: asyncio.Future[Errand] = loop.create_future()
    hearing = threading.Thread(target=_hear, args=(loop, coming), name="writer", daemon=True)
    hearing.start()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, sys.stdout
    )
    out = asyncio.StreamWriter(transport, protocol, None, loop)
    async with contextlib.AsyncExitStack() as opened:
        opened.callback(out.close)
        node = await Providers.open(site.urls, site.deployment, site.confirmations, tell=_tell)
        opened.push_async_callback(node.close)
        cache = None
        if site.log_cache is not None:
            cache = LogCache(site.log_cache, site.deployment, _tell)
        tokens = Tokens(node, site.deployment)
        errand = await coming
        watch = Watch(site.deployment, errand.markets)
        reader = Reader(site.deployment, errand.markets)
        past = advances(node, watch, tokens, errand.start, errand.final, cache)
        async for steps in past:
            for some in _pieces(steps):
                out.write(framed([reader.read_past(step) for step in some]))
                await out.drain()


def _pieces(steps: Sequence[Advance]) -> Iterator[Sequence[Advance]]:
    """A range in pieces: what is at work at once should fit into the processors' caches."""
    first = logs = 0
    for last, step in enumerate(steps, 1):
        logs += len(step.logs)
        if logs >= FRAME_LOGS or last == len(steps):
            yield steps[first:last]
            first, logs = last, 0


def _tell(sentence: str) -> None:
    print(f"tidebook: {sentence}", file=sys.stderr, flush=True)  # noqa: T201
