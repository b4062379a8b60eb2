"""What operators and their machines ask: is it well, is it ready, how is it doing."""

import asyncio

import asyncpg
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Integer, column, select, text
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.endpoint import Metrics
from api.errors import explain
from api.figures import figures
from api.limits import CHECK_TIMEOUT_S
from api.reads import position
from api.tags import place_headers
from indexer.store.indexes import MISSING
from indexer.store.queries import Query
from indexer.store.snapshot import Pool, Snapshot

_MISSING = Query(text(f"select {MISSING} as missing").columns(column("missing", Integer)))


def routes(pool: Pool, chain_id: int, metrics: Metrics) -> list[Route]:
    """`/health`, `/ready` and `/metrics` over a database."""

    async def health(request: Request) -> Response:
        """200 when the database answers."""
        snapshot = Snapshot(pool)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await snapshot.read(select(1))
        except Exception as cause:
            return _unwell(cause)
        finally:
            await snapshot.close()
        return JSONResponse({"status": "ok", "database": True})

    async def ready(request: Request) -> Response:
        """200 when there is a block of our chain to answer from, and no index is missing."""
        snapshot = Snapshot(pool)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                found = await position(snapshot)
                ((unbuilt,),) = await snapshot.read(_MISSING)
        except Exception as cause:
            return _unwell(cause)
        finally:
            await snapshot.close()
        if found is None or found.number is None:
            return JSONResponse({"status": "waiting", "reason": "nothing is indexed yet"}, 503)
        if found.chain_id != chain_id:
            reason = f"the database is of chain {found.chain_id}, expected {chain_id}"
            return JSONResponse({"status": "unusable", "reason": reason}, 503)
        if unbuilt:
            reason = f"a first sync is under way; {unbuilt} indexes are being built at its end"
            return JSONResponse({"status": "waiting", "reason": reason}, 503)
        told = {"status": "ready", "block": found.number, "hash": found.hash, "seq": found.seq}
        return JSONResponse(told, headers=place_headers(found))

    async def show_metrics(request: Request) -> Response:
        """Ours always; the writer's too, when the database answers (`tidebook_api_database_up`)."""
        snapshot, of_writer = Snapshot(pool), b""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                of_writer = await figures(snapshot)
            metrics.database_up.set(1)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            metrics.database_up.set(0)
        finally:
            await snapshot.close()
        return Response(
            generate_latest(metrics.registry) + of_writer, media_type=CONTENT_TYPE_LATEST
        )

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", show_metrics)]


def _unwell(cause: Exception) -> Response:
    reason = explain(cause).message
    return JSONResponse({"status": "unavailable", "database": False, "reason": reason}, 503)
