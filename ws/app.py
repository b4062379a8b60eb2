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

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from ws.converse import in_binances_words, in_our_words
from ws.gateway import Gateway
from ws.limits import Limits
from ws.operators import operators_routes
from ws.outlet import line_within


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
        "ws": line_within(limits),
        "ws_ping_interval": limits.ping_interval_s,
        "ws_ping_timeout": limits.pong_timeout_s,
        "ws_max_size": limits.inbound_bytes,
        "ws_per_message_deflate": False,  # costs three times the CPU and twice the memory
    }


def build(config: Config) -> Starlette:
    """The application. Its lifespan runs the gateway."""
    gateway = Gateway(config.database_url, config.redis_url, config.chain_id, config.limits)

    async def bare(websocket: WebSocket) -> None:
        names = websocket.path_params.get("streams", "")
        await in_binances_words(gateway, websocket, names, combined=False)

    async def wrapped(websocket: WebSocket) -> None:
        names = websocket.query_params.get("streams", "")
        await in_binances_words(gateway, websocket, names, combined=True)

    async def native(websocket: WebSocket) -> None:
        await in_our_words(gateway, websocket)

    return Starlette(
        routes=[
            *operators_routes(gateway),
            WebSocketRoute("/v1", native),
            WebSocketRoute("/ws", bare),
            WebSocketRoute("/ws/{streams:path}", bare),
            WebSocketRoute("/stream", wrapped),
        ],
        lifespan=lambda app: _running(app, gateway),
    )


@contextlib.asynccontextmanager
async def _running(app: Starlette, gateway: Gateway) -> AsyncIterator[None]:
    """Feed the clients meanwhile; tell the server if that ends with an error."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            app.state.on_failure(error)

    feeding = asyncio.create_task(gateway.run())
    feeding.add_done_callback(ended)
    await gateway.prepare()
    yield
    feeding.cancel()
    await asyncio.wait({feeding})
