"""`/graphql`: strawberry's endpoint with what we ask of every answer."""

import asyncio
from collections.abc import Callable
from json import JSONDecodeError
from time import perf_counter
from typing import Any

import msgspec
from cross_web import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.types import ExecutionResult

from api import limits, reads
from api.errors import ApiError, BadInput, LimitExceeded, addressed
from api.feed import Feed
from api.kept import Kept
from api.limits import MAX_SOCKETS
from api.schema import Context
from api.sockets import Handler, HangUp
from api.tags import BLOCK, block_headers, matches, newest_headers, place_headers
from api.trusted import Trusted

_CONTEXT = "tidebook.context"


class Metrics:
    """What `/metrics` shows of this process. Gauges read the feed when asked."""

    def __init__(self, feed: Feed | None) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tidebook_api_requests", "GraphQL requests", ["status"], registry=self.registry
        )
        self.database_up = Gauge(
            "tidebook_api_database_up", "Whether Postgres answered", registry=self.registry
        )
        self.seconds = Histogram(
            "tidebook_api_request_seconds", "Time of a GraphQL request", registry=self.registry
        )
        self.sockets = Gauge("tidebook_api_sockets", "Open websockets", registry=self.registry)
        if feed is not None:
            for name, told, read in (
                ("subscriptions", "Subscriptions under way", lambda: len(feed.listeners)),
                ("slow_subscriptions", "Subscriptions that did not keep up", lambda: feed.slow),
                ("redis_connected", "Whether Redis answers", lambda: int(feed.tail.connected)),
            ):
                gauge = Gauge(f"tidebook_api_{name}", told, registry=self.registry)
                gauge.set_function(read)


class Endpoint(GraphQL[Context, None]):
    """Strawberry's endpoint with a Context of ours, and with typed errors before GraphQL too."""

    graphql_transport_ws_handler_class = Handler
    open_context: Callable[[HangUp | None], Context]
    metrics: Metrics
    trusted: Trusted
    sockets = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = Kept()

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        context = self.open_context(HangUp(request) if isinstance(request, WebSocket) else None)
        context.says_block = isinstance(request, Request)
        request.scope[_CONTEXT] = context
        return context

    async def parse_http_body(self, request: Any) -> Any:
        data = await super().parse_http_body(request)
        if not isinstance(data, list):
            data.query = self.trusted.document(data.query, data.extensions)
        return data

    async def process_result(
        self, request: Request, result: ExecutionResult
    ) -> GraphQLHTTPResponse:
        if result.errors:
            request.scope[_CONTEXT].lasts = False
            result.errors = [addressed(error) for error in result.errors]
        return await super().process_result(request, result)

    def decode_json(self, data: str | bytes) -> object:
        try:
            decoded = super().decode_json(data)
        except (ValueError, RecursionError) as error:  # also numbers too long, nesting too deep
            raise JSONDecodeError(str(error), "", 0) from error
        if not isinstance(decoded, (dict, list)):
            raise JSONDecodeError("expected an object", "", 0)
        return decoded

    def create_response(
        self,
        response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse],
        sub_response: Response,
    ) -> Response:
        try:
            body = msgspec.json.encode(response_data)
        except UnicodeEncodeError:  # half a character, which an error repeats of its caller
            return super().create_response(response_data, sub_response)
        response = Response(body, media_type="application/json")
        response.headers.raw.extend(sub_response.headers.raw)
        return response

    async def run(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(request, WebSocket):
            return await self._converse(request)
        begin = perf_counter()
        try:
            asked = await _asked(request)
            response = await self._known(request, asked)
            if response is None:
                async with asyncio.timeout(limits.MAX_REQUEST_S):
                    response = await super().run(request, *args, **kwargs)
                self._tell_block(request, asked, response)
        except HTTPException as refused:
            told = {"code": BadInput.code, "hint": 'send JSON: {"query": …, "variables": {…}}'}
            error = {"message": refused.reason, "extensions": told}
            response = JSONResponse({"errors": [error]}, refused.status_code)
        except TimeoutError:
            most = limits.MAX_REQUEST_S
            late = LimitExceeded(f"the request took more than {most:g} seconds", limit=most)
            response = JSONResponse({"errors": [late.formatted]})
        except ApiError as refused:
            response = JSONResponse({"errors": [refused.formatted]})
        if BLOCK not in response.headers and response.media_type == "application/json":
            response.headers.update(await newest_headers(self.open_context(None).snapshot))
        self.metrics.requests.labels(str(response.status_code)).inc()
        self.metrics.seconds.observe(perf_counter() - begin)
        return response

    async def _known(self, request: Request, asked: str) -> Response | None:
        """What was answered to this before, if it still holds; a 304, if the caller has it."""
        sent = request.headers.get("if-none-match") if request.method == "GET" else None
        if sent is None and asked not in self.kept:
            return None
        try:
            position = await reads.newest_position(self.open_context(None).snapshot)
        except Exception:
            return None  # it will be told by who reads next
        if position is None or position.hash is None:
            return None
        headers = block_headers(position, asked)
        if sent is not None and matches(sent, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        body = self.kept.body(position, asked)
        if body is None:
            return None
        return Response(body, media_type="application/json", headers=headers)

    def _tell_block(self, request: Request, asked: str, response: Response) -> None:
        context: Context | None = request.scope.get(_CONTEXT)
        position = None if context is None else context.position
        if context is None or position is None or position.hash is None:
            return
        if not context.lasts or response.status_code != 200:
            response.headers.update(place_headers(position))
            return
        response.headers.update(block_headers(position, asked))
        body = bytes(response.body)
        if body[:1] == b"{":  # no batch
            self.kept.keep(position, asked, body)

    async def _converse(self, socket: WebSocket) -> Any:
        if self.sockets >= MAX_SOCKETS:
            return await self.reject_websocket(socket)
        self.sockets += 1
        self.metrics.sockets.set(self.sockets)
        try:
            return await super().run(socket)
        finally:
            self.sockets -= 1
            self.metrics.sockets.set(self.sockets)


async def _asked(request: Request) -> str:
    """Everything of a request that its answer depends on, beside the block."""
    body = "" if request.method == "GET" else (await request.body()).decode(errors="replace")
    kinds = " ".join(request.headers.get(name, "") for name in ("accept", "content-type"))
    return f"{request.method} {kinds} {request.scope['query_string'].decode('latin-1')} {body}"
