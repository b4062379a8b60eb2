"""The live feed as a process: Config -> Starlette, and serving it until told to stop.

/v1                              our own protocol: resumable, with checksums
/ws  /ws/<stream>/<stream>…      Binance's dialect, events bare
/stream?streams=<stream>/…       Binance's dialect, events wrapped
/health  /metrics  /connections
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ws.converse import in_binances_words, in_our_words
from ws.gateway import Gateway
from ws.limits import PING_INTERVAL_S, PONG_TIMEOUT_S, Limits
from ws.outlet import Line


@dataclass(frozen=True)
class Config:
    """What the composition root decides. `database_url` as libpq writes it (`postgresql://…`)."""

    database_url: str
    redis_url: str
    chain_id: int
    limits: Limits = field(default_factory=Limits)


def server_options(limits: Limits) -> dict[str, Any]:
    """What the gateway asks of uvicorn."""
    return {
        "ws": Line,
        "ws_ping_interval": PING_INTERVAL_S,
        "ws_ping_timeout": PONG_TIMEOUT_S,
        "ws_max_size": limits.inbound_bytes,
        "ws_per_message_deflate": False,  # costs three times the CPU and twice the memory
    }


def build(config: Config) -> Starlette:
    """The application. Its lifespan runs the gateway."""
    gateway = Gateway(config.database_url, config.redis_url, config.chain_id, config.limits)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        feeding = asyncio.create_task(gateway.run())

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                app.state.on_failure(error)

        feeding.add_done_callback(ended)
        await gateway.prepare()
        yield
        feeding.cancel()
        await asyncio.wait({feeding})

    async def bare(websocket: WebSocket) -> None:
        path = websocket.path_params.get("streams", "")
        await in_binances_words(gateway, config.limits, websocket, path, combined=False)

    async def wrapped(websocket: WebSocket) -> None:
        query = websocket.query_params.get("streams", "")
        await in_binances_words(gateway, config.limits, websocket, query, combined=True)

    async def native(websocket: WebSocket) -> None:
        await in_our_words(gateway, config.limits, websocket)

    async def connections(request: Request) -> Response:
        """Who is connected, by address: counts only."""
        return JSONResponse(gateway.connections())

    async def health(request: Request) -> Response:
        """200 while Redis answers."""
        tail = gateway.tail
        told = {
            "status": "ok" if tail.connected else "unavailable",
            "redis": tail.connected,
            "database": gateway.markets_known,
            "epoch": tail.epoch,
            "seq": tail.seq,
            "markets": len(gateway.directory),
            "connections": gateway.door.inside,
        }
        return JSONResponse(told, 200 if tail.connected else 503)

    async def show_metrics(request: Request) -> Response:
        text = generate_latest(gateway.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", show_metrics),
            Route("/connections", connections),
            WebSocketRoute("/v1", native),
            WebSocketRoute("/ws", bare),
            WebSocketRoute("/ws/{streams:path}", bare),
            WebSocketRoute("/stream", wrapped),
        ],
        lifespan=lifespan,
    )
