"""The commands that run until they are stopped. Each opens what it needs and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tidebook.lives import live
from tidebook.progress import BlockProgress, announce, relay_standing_by, standing_by, warn
from tidebook.settings import Chain, Flow, Listen, Storage, find_deployment, read_documents
from tidebook.stores import Seat, servers
from tidebook.tasks import ensure_schema

if TYPE_CHECKING:
    from indexer.domain.canon import Canon
    from indexer.errand import Scout, Site
    from indexer.follow import Steps
    from indexer.mirror.fold import Mirror

T = TypeVar("T")

SCHEMA_WAIT_S = 5.0
"""How long a reader waits for a writer to bring the schema."""


async def index(storage: Storage, chain: Chain, log_cache: Path | None) -> None:
    """Follow a node into Postgres. `log_cache` is where finalized logs are kept, if anywhere."""
    from indexer.errand import Scout, Site

    gc.disable()  # nothing that is loaded goes again
    async with contextlib.AsyncExitStack() as opened, Seat(storage) as seat:
        scout = Scout(warn)
        opened.push_async_callback(scout.close)
        await scout.begin()  # before we load what is heavy: it does so beside us
        deployment = await find_deployment(chain)
        site = Site(chain.urls, deployment, chain.confirmations, log_cache)
        await scout.begin(site)

        async def life(well: Callable[[], None]) -> None:
            await _write(seat, chain, site, scout, well)

        await _until_stopped(live(life))


async def _write(
    seat: Seat, chain: Chain, site: Site, scout: Scout, well: Callable[[], None]
) -> None:
    """One life of the writer. It asks the nodes first: servers are started for no wrong setting."""
    from indexer.chain.log_cache import LogCache
    from indexer.chain.providers import Providers
    from indexer.chain.steps import AHEAD_BLOCKS, Follower

    deployment = site.deployment
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(scout.close)
        node = await Providers.open(
            site.urls, deployment, site.confirmations, tell=partial(click.echo, err=True)
        )
        opened.push_async_callback(node.close)

        cache = None if site.log_cache is None else LogCache(site.log_cache, deployment, warn)
        is_long = (await node.head()).number >= AHEAD_BLOCKS
        await (scout.begin() if is_long else scout.close())
        # loaded while the scout loads what it needs
        from indexer.ground import follow_whatever_comes
        from indexer.store.errors import SchemaMissing
        from indexer.store.providers import keep
        from indexer.store.writer import open_store
        from tidebook.comparison import comparing

        gc.freeze()
        gc.enable()

        def source(canon: Canon, mirror: Mirror) -> Steps:
            return Follower(node, canon, deployment, mirror.books, cache, scout)

        urls = await seat.urls()
        try:
            store = await open_store(urls.database_url, deployment, standing_by, say=warn)
        except SchemaMissing:
            await ensure_schema(urls.database_url)
            store = await open_store(urls.database_url, deployment, standing_by, say=warn)
        opened.push_async_callback(store.close)
        progress = opened.enter_context(BlockProgress("indexing"))
        told = await opened.enter_async_context(
            comparing(progress, urls.database_url, chain, deployment)
        )

        def committed(canon: Canon, blocks: int, events: int, node_head: int) -> None:
            well()
            told(canon, blocks, events, node_head)

        await _beside(
            keep(urls.database_url, signs(node.roster.reports(), well)),
            follow_whatever_comes(store, node, source, committed, warn),
        )


async def relay(storage: Storage) -> None:
    """Move the outbox into Redis Streams."""
    from indexer.relay import relay as run

    async with Seat(storage, redis=True) as seat:

        async def life(well: Callable[[], None]) -> None:
            urls = await seat.urls()
            await _chain_id(urls.database_url)
            await run(urls.database_url, urls.redis_url, relay_standing_by, well)

        await _until_stopped(live(life))


@dataclass(frozen=True, slots=True)
class Asked:
    """What GraphQL may be asked: only documents of a file, if there is one; its own schema."""

    documents: Path | None
    introspection: bool


async def api(
    storage: Storage,
    listen: Listen,
    feed_url: str,
    analytics_url: str,
    devnet_url: str | None,
    asked: Asked,
) -> None:
    """Serve GraphQL, REST and the page."""
    from api.app import Config, build, server_options
    from api.terminal import Terminal
    from tidebook.serving import serve

    terminal = Terminal(feed_url, analytics_url, devnet_url)
    documents = None if asked.documents is None else read_documents(asked.documents)
    async with servers(storage, redis=True) as urls:
        chain_id = await _chain_id(urls.database_url)
        await _require_suitable(urls.redis_url)
        config = Config(
            urls.database_url,
            chain_id,
            urls.redis_url,
            terminal=terminal,
            documents=documents,
            introspection=asked.introspection,
        )
        started = _at(listen.host)
        await serve(build(config), listen.host, listen.port, started, **server_options())


async def ws(storage: Storage, listen: Listen, origins: tuple[str, ...] = ()) -> None:
    """Serve the live feed."""
    from tidebook.serving import serve
    from ws.app import Config, build, server_options
    from ws.limits import Limits

    async with servers(storage, redis=True) as urls:
        chain_id = await _chain_id(urls.database_url)
        await _require_suitable(urls.redis_url)
        limits = Limits(origins=origins)
        config = Config(urls.database_url, urls.redis_url, chain_id, limits)
        options = server_options(config.limits)
        await serve(build(config), listen.host, listen.port, _at(listen.host), **options)


async def analytics(
    storage: Storage, listen: Listen, origins: tuple[str, ...], requests_per_s: float | None
) -> None:
    """Serve portfolios and markets."""
    from analytics.app import Config, build
    from tidebook.serving import serve

    async with servers(storage, redis=True) as urls:
        chain_id = await _chain_id(urls.database_url, keeps=True)
        await _require_suitable(urls.redis_url)
        config = Config(urls.database_url, chain_id, urls.redis_url, origins, requests_per_s)
        await serve(build(config), listen.host, listen.port, _at(listen.host))


async def rebuild_analytics(storage: Storage) -> None:
    """Fold analytics' own tables anew from facts. Raises AlreadyKept while somebody keeps them."""
    from analytics.kept import AlreadyKept, Keeper
    from indexer.store import postgres
    from tidebook.progress import MarketProgress

    async with servers(storage, begun=True) as urls:
        await _chain_id(urls.database_url, keeps=True)
        connection = await postgres.connect(urls.database_url)
        try:
            keeper = Keeper(connection)
            if not await keeper.try_lock():
                raise AlreadyKept
            with MarketProgress("rebuilding") as progress:
                await keeper.rebuild(progress)
        finally:
            await connection.close()


async def devnet(flow: Flow, listen: Listen, data_dir: Path | None) -> None:
    """A chain in a box, with traders on it unless the rate is 0."""
    from contracts_test.flow.drive import FlowConfig
    from contracts_test.node import Config, serve

    config = Config(listen.host, listen.port, block_time_s=flow.block_time_s, data_dir=data_dir)
    traders = FlowConfig(flow.seed, flow.rate) if flow.rate else None
    await _until_stopped(serve(config, traders, lambda node: _at(listen.host)(node.port)))


def _at(host: str) -> Callable[[int], None]:
    """What says where a service is, once it answers."""
    name = f"[{host}]" if ":" in host else host
    return lambda port: announce(f"serving at http://{name}:{port}; Ctrl-C stops it")


async def _chain_id(database_url: str, *, keeps: bool = False) -> int:
    """The chain that the database holds; waits for a writer to begin one.

    Raises SchemaMissing once it is clear that nobody is about to migrate, and NotAllowed where our
    role may not read, or (`keeps`) not write analytics' tables.
    """
    from indexer.store import postgres
    from indexer.store.errors import SchemaMissing
    from indexer.store.privileges import KEEP, READ
    from indexer.store.writer import check_schema

    deadline = asyncio.get_running_loop().time() + SCHEMA_WAIT_S
    connection = await postgres.connect(database_url)
    try:
        while True:
            try:
                await check_schema(connection, KEEP if keeps else READ)
                found: int | None = await connection.fetchval(
                    "select chain_id from tidebook.cursors"
                )
                if found is not None:
                    return found
            except SchemaMissing:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _require_suitable(redis_url: str) -> None:
    """Raise RedisUnsuitable for a Redis that can never hold our streams; one that is away may."""
    from indexer.relay import RedisUnreachable, connect_redis

    with contextlib.suppress(RedisUnreachable):
        await (await connect_redis(redis_url)).aclose()


async def signs(reports: AsyncIterator[T], well: Callable[[], None]) -> AsyncIterator[T]:
    """The reports; a second one that was stored says that all is well, also on a quiet chain."""
    stored = 0
    async for report in reports:
        yield report  # whoever asks for the next has stored this one
        stored += 1
        if stored > 1:
            well()


async def _beside(watch: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Work, and watch meanwhile. Whichever fails ends both."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(watch)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends or SIGTERM or SIGINT asks us to: then it is cancelled, quietly."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
