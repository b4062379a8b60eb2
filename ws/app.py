"""The live feed as a process: Config -> Starlette, and serving it until told to stop.

/ws  /ws/<stream>/<stream>…      events bare          /health   /metrics
/stream?streams=<stream>/…       events wrapped
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ws.gateway import Gateway
from ws.hub import Client, Farewell, Frame
from ws.limits import PING_INTERVAL_S, PONG_TIMEOUT_S, Limits
from ws.session import Effect, HangUp, Join, Leave, Refused, Say, Session


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
        "ws": "websockets-sansio",
        "ws_ping_interval": PING_INTERVAL_S,
        "ws_ping_timeout": PONG_TIMEOUT_S,
        "ws_max_size": limits.inbound_bytes,
        "ws_per_message_deflate": False,  # costs three times the CPU and twice the memory
    }


def build(config: Config) -> Starlette:
    """The application. Its lifespan runs the gateway."""
    gateway = Gateway(config.database_url, config.redis_url, config.chain_id)

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
        await _converse(gateway, config.limits, websocket, path, combined=False)

    async def wrapped(websocket: WebSocket) -> None:
        query = websocket.query_params.get("streams", "")
        await _converse(gateway, config.limits, websocket, query, combined=True)

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
            "connections": len(gateway.hub),
        }
        return JSONResponse(told, 200 if tail.connected else 503)

    async def show_metrics(request: Request) -> Response:
        text = generate_latest(gateway.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", show_metrics),
            WebSocketRoute("/ws", bare),
            WebSocketRoute("/ws/{streams:path}", bare),
            WebSocketRoute("/stream", wrapped),
        ],
        lifespan=lifespan,
    )


async def _converse(
    gateway: Gateway, limits: Limits, websocket: WebSocket, names: str, *, combined: bool
) -> None:
    """One connection, from its handshake to its end."""
    hub = gateway.hub
    session = Session(gateway.directory, limits, combined=combined)
    try:
        effects = session.open(name for name in names.split("/") if name)
    except Refused as refused:
        refusal = {"code": refused.code, "msg": refused.words}
        await websocket.send_denial_response(JSONResponse(refusal, 400))
        return
    if len(hub) >= limits.connections:
        refusal = {"code": -1003, "msg": f"at most {limits.connections} connections"}
        await websocket.send_denial_response(JSONResponse(refusal, 503))
        return
    client = Client(limits.queue_bytes, combined=combined)
    hub.clients.add(client)
    sending = None
    try:
        await websocket.accept()
        _apply(gateway, client, session, effects)
        sending = asyncio.create_task(_send(client, websocket))
        while not client.leaving:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                break
            text = message.get("text")
            heard = message["bytes"] if text is None else text
            _apply(gateway, client, session, session.receive(heard, monotonic()))
        if client.leaving:
            await sending
    finally:
        hub.clients.discard(client)
        for stream, channel in session.streams.items():
            hub.leave(client, stream, channel)
        if sending is not None:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending


def _apply(gateway: Gateway, client: Client, session: Session, effects: list[Effect]) -> None:
    """Do what the session decided. Nothing here waits, so no event comes in between."""
    client.combined = session.combined
    for effect in effects:
        match effect:
            case Say(text):
                client.offer(Frame.of(text.encode()))
            case Join(stream, channel):
                gateway.hub.join(client, stream, channel)
            case Leave(stream, channel):
                gateway.hub.leave(client, stream, channel)
            case HangUp(code, reason):
                client.close(code, reason)


async def _send(client: Client, websocket: WebSocket) -> None:
    """Empty a client's queue until its farewell, or until it is gone."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            match await client.take():
                case Frame(text, _):
                    await websocket.send_text(text)
                case Farewell(code, reason):
                    await websocket.close(code, reason)
                    return
