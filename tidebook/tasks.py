"""The commands that do one thing and end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tidebook import embedded
from tidebook.progress import BlockProgress, standing_by
from tidebook.settings import BadSetting, Chain, Storage, find_deployment
from tidebook.stores import servers

if TYPE_CHECKING:
    from indexer.domain.canon import Canon
    from indexer.follow import Steps
    from indexer.mirror.fold import Mirror


async def migrate(storage: Storage) -> None:
    """Bring the schema to HEAD and say what was done."""
    import migrations

    async with servers(storage) as urls:
        before = await ensure_schema(urls.database_url)
    done = "already at" if before == migrations.HEAD else f"{before or 'empty'} ->"
    click.echo(f"schema {done} {migrations.HEAD}")


async def ensure_schema(database_url: str) -> str | None:
    """Migrate unless the schema is current already; returns the revision it had."""
    import migrations
    from indexer.store import postgres
    from indexer.store.errors import SchemaMissing
    from indexer.store.writer import check_schema

    connection = await postgres.connect(database_url)
    try:
        await check_schema(connection)
    except SchemaMissing:
        return await migrations.upgrade(database_url)
    finally:
        await connection.close()
    return migrations.HEAD


async def status(storage: Storage, as_json: bool) -> None:
    """Print the indexer's position, as a table or as JSON."""
    from indexer.store import postgres
    from indexer.store.status import status as read_status
    from indexer.store.writer import check_schema

    async with servers(storage, begun=True) as urls:
        connection = await postgres.connect(urls.database_url)
        try:
            await check_schema(connection)
            found = await read_status(connection)
        finally:
            await connection.close()
    found |= await _published(storage, found["chain_id"])
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _print_table(found)


async def _published(storage: Storage, chain_id: int) -> dict[str, Any]:
    """What Redis holds; a Redis that is not there is no reason to say nothing of the rest."""
    from indexer.relay import RedisUnreachable, published

    if storage.redis_url is None and embedded.lost(storage.data_dir, postgres=False):
        return {"published": None, "streams": None}  # nobody runs it, so nobody reads it
    try:
        async with servers(storage, postgres=False, redis=True) as urls:
            seq, newest = await published(urls.redis_url, chain_id)
    except RedisUnreachable as error:
        return {"published": None, "streams": str(error)}
    return {"published": seq, "streams": newest}


def _print_table(found: dict[str, Any]) -> None:
    width = max(map(len, found))
    for key, value in found.items():
        if key == "providers":
            for provider in value:
                click.echo(f"{'provider':<{width}}  {_provider(provider)}")
            continue
        text = value
        if isinstance(value, dict):
            text = ", ".join(f"{name} {part}" for name, part in value.items()) or None
        click.echo(f"{key.replace('_', ' '):<{width}}  {'-' if text is None else text}")


def _provider(row: dict[str, Any]) -> str:
    head = "-" if row["head_number"] is None else row["head_number"]
    faults = "".join(f", {kind} {count}" for kind, count in row["faults"].items())
    words = f"; {row['last_fault']}" if row["last_fault"] else ""
    return f"{row['url_masked']}: {row['state']}, score {row['score']}, head {head}{faults}{words}"


async def export(storage: Storage, *, history: bool = False) -> None:
    """Print the state at the last indexed block."""
    from indexer.store import postgres
    from indexer.store.export import export as read_export
    from indexer.store.writer import check_schema

    async with servers(storage, begun=True) as urls:
        connection = await postgres.connect(urls.database_url)
        try:
            await check_schema(connection)
            state = await read_export(connection, history=history)
        finally:
            await connection.close()
    sys.stdout.buffer.write(msgspec.json.encode(state) + b"\n")
    sys.stdout.buffer.flush()


async def replay(storage: Storage, file: Path) -> None:
    """Index a recording, then say where that led."""
    from indexer.chain.recording import Playback, Recording
    from indexer.follow import follow
    from indexer.store.writer import open_store

    recording = Recording(file)

    def source(canon: Canon, _: Mirror) -> Steps:
        return Playback(recording, canon)

    with BlockProgress(f"replaying {file.name}") as progress:
        async with servers(storage) as urls:
            await ensure_schema(urls.database_url)
            store = await open_store(urls.database_url, recording.deployment, standing_by)
            try:
                await follow(store, source, progress)
            finally:
                await store.close()
    rate = progress.rate() if progress.blocks else "all of it was indexed already"
    click.echo(f"replayed {progress.blocks:,} blocks, {rate}", err=True)


async def record(chain: Chain, file: Path, first: int, last: int) -> None:
    """Write a recording of a node's blocks: all of it, or nothing."""
    from indexer.chain.providers import Providers
    from indexer.chain.recorder import read_blocks, with_tokens
    from indexer.chain.recording import NewRecording
    from indexer.domain.canon import Canon

    if last < first:
        raise click.BadParameter(f"--to {last} lies before --from {first}")
    try:
        with NewRecording(file) as recording, BlockProgress(f"recording {file.name}", last) as bar:
            deployment = await find_deployment(chain)
            node = await Providers.open(chain.urls, deployment, chain.confirmations, none_left_s=0)
            try:
                head = await node.head()
                if last > head.number:
                    raise BadSetting(f"--to {last}: the node's head is block {head.number}")
                async for blocks in read_blocks(node, first, last):
                    deployment = await with_tokens(node, deployment, blocks)
                    recording.add(blocks)
                    events = sum(len(block.logs) for block in blocks)
                    bar(Canon([blocks[-1].block]), len(blocks), events, head.number)
            finally:
                await node.close()
            recording.finish(deployment)
    except OSError as error:
        raise BadSetting(f"{file}: {error.strerror or error}") from error
    click.echo(f"recorded {recording.blocks:,} blocks into {file}", err=True)
