"""The web application: JSON-RPC at `/`, knobs at `/chaos/*`, what stands at `/deployment`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from contracts_test import chaos as knobs
from contracts_test.engine import StatePruned
from contracts_test.exchange import Exchange
from contracts_test.parse import parse
from contracts_test.rpc.errors import InvalidRequest
from contracts_test.rpc.node import Node

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_QUEUED_MESSAGES = 10_000
_encode = msgspec.json.Encoder().encode
_HEADERS = {"access-control-allow-origin": "*", "access-control-allow-headers": "*"}


def build_app(node: Node, exchange: Exchange | None) -> Starlette:
    """The routes of one node."""
    ground = 0 if exchange is None else exchange.start_block

    async def rpc(request: Request) -> Response:
        body = await request.body()
        if node.chaos.is_out:
            return Response("the node is out", 503)
        if len(body) > MAX_BODY_BYTES:
            return Response(f"more than {MAX_BODY_BYTES} bytes", 413)
        if node.chaos.delay_s:
            await asyncio.sleep(node.chaos.delay_s)
        answer = _answer(node, body)
        return Response(answer, media_type="application/json", headers=_HEADERS)

    async def preflight(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers=_HEADERS)
        return Response("POST JSON-RPC here; /deployment says what is deployed", 200)

    async def deployment(request: Request) -> Response:
        if exchange is None:
            return JSONResponse({"error": "nothing was deployed"}, 404)
        return JSONResponse(exchange.deployment(), headers=_HEADERS)

    async def chaos_state(request: Request) -> Response:
        return JSONResponse(node.chaos.state(), headers=_HEADERS)

    async def chaos_turn(request: Request) -> Response:
        try:
            body = await request.body()
            values = parse(body) if body else {}
            if not isinstance(values, dict):
                raise knobs.UnknownKnob("the body is a JSON object")
            knob = request.path_params["knob"]
            state = knobs.turn(node.chain, node.chaos, knob, values, ground)
        except (knobs.UnknownKnob, StatePruned, msgspec.DecodeError) as error:
            return JSONResponse({"error": str(error)}, 400, headers=_HEADERS)
        return JSONResponse(state, headers=_HEADERS)

    async def websocket(socket: WebSocket) -> None:
        if node.chaos.is_out:
            await socket.close(1013)
            return
        await socket.accept()
        await _Connection(node, socket).run()

    return Starlette(
        routes=[
            Route("/", rpc, methods=["POST"]),
            Route("/", preflight, methods=["GET", "OPTIONS"]),
            WebSocketRoute("/", websocket),
            Route("/deployment", deployment, methods=["GET"]),
            Route("/chaos", chaos_state, methods=["GET"]),
            Route("/chaos/{knob}", chaos_turn, methods=["POST"]),
        ]
    )


def _answer(node: Node, body: bytes | str, push: Any = None) -> bytes:
    try:
        request = parse(body)
    except msgspec.DecodeError:
        refusal = InvalidRequest("Invalid request")
        return _encode({"jsonrpc": "2.0", "id": None, "error": refusal.as_json()})
    answer = node.answer(request, push)
    return b"" if answer is None else _encode(answer)


class _Connection:
    """One websocket: answers in order, pushes as they come, one writer."""

    def __init__(self, node: Node, socket: WebSocket) -> None:
        self._node = node
        self._socket = socket
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._push = self.push  # one bound method, so that it can be told apart by identity

    def push(self, message: dict[str, Any]) -> None:
        """Queues a notification; a client that does not read is cut off."""
        if self._out.qsize() >= MAX_QUEUED_MESSAGES:
            self.cut()
            return
        self._out.put_nowait(_encode(message))

    def cut(self) -> None:
        """Ends the connection after what is queued."""
        self._out.put_nowait(None)

    async def run(self) -> None:
        """Until either side goes."""
        self._node.chaos.closing.append(self.cut)
        cut = self._node.chaos.closing[-1]
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._node.forget(self._push)
            self._node.chaos.closing.remove(cut)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await self._socket.close()

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            # web3.py sends binary frames, everybody else text
            body = message.get("text") or message.get("bytes") or b""
            if self._node.chaos.delay_s:
                await asyncio.sleep(self._node.chaos.delay_s)
            answer = _answer(self._node, body, self._push)
            if answer:
                self._out.put_nowait(answer)

    async def _write(self) -> None:
        while True:
            message = await self._out.get()
            if message is None:
                return
            await self._socket.send_text(message.decode())
