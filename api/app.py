"""The API as a process: Config -> Starlette, and serving it until told to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from json import JSONDecodeError
from time import perf_counter
from typing import Any

import asyncpg
import msgspec
from cross_web import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult

from api.errors import BadInput, addressed, explain
from api.feed import Feed
from api.figures import figures
from api.limits import (
    CHECK_TIMEOUT_S,
    INIT_TIMEOUT_S,
    MAX_BODY_BYTES,
    MAX_SOCKETS,
    STATEMENT_TIMEOUT_MS,
    BodyLimit,
)
from api.reads import position
from api.rest import ENDPOINTS, openapi
from api.rest.endpoint import EXPOSED_HEADERS, clock_routes, routes
from api.schema import Context, build_schema
from api.sockets import Handler, HangUp
from api.terminal import Terminal
from api.terminal import routes as terminal_routes
from indexer.store.snapshot import Snapshot, connect


@dataclass(frozen=True)
class Config:
    """What the composition root decides. `database_url` as libpq writes it (`postgresql://…`)."""

    database_url: str
    chain_id: int
    redis_url: str | None = None
    """Where subscriptions hear from; without, there are none."""
    allowed_origins: tuple[str, ...] = ("*",)
    """Whose pages may read us. The data is public and there is nothing to write."""
    graphiql: bool = True
    pool_size: int = 8
    """Connections to Postgres at most: requests that read at the same time."""
    pool_timeout_s: float = 5.0
    """Seconds a request waits for one of them."""
    terminal: Terminal = field(default_factory=Terminal)
    """Where the page at `/` finds the live feed and analytics."""


def build(config: Config) -> Starlette:
    """The application. Touches nothing before its first request."""
    pool = connect(
        config.database_url,
        config.pool_size,
        config.pool_timeout_s,
        reader="tidebook-api",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    feed = None if config.redis_url is None else Feed(config.redis_url, config.chain_id)
    metrics = _Metrics(feed)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with listening(feed, app):
            yield
        await pool.dispose()

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
        """200 when there is a block of our chain to answer from."""
        snapshot = Snapshot(pool)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                found = await position(snapshot)
        except Exception as cause:
            return _unwell(cause)
        finally:
            await snapshot.close()
        if found is None or found.number is None:
            return JSONResponse({"status": "waiting", "reason": "nothing is indexed yet"}, 503)
        if found.chain_id != config.chain_id:
            reason = f"the database is of chain {found.chain_id}, expected {config.chain_id}"
            return JSONResponse({"status": "unusable", "reason": reason}, 503)
        return JSONResponse({"status": "ready", "block": found.number, "seq": found.seq})

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

    graphql = _Endpoint(
        build_schema(),
        graphql_ide="graphiql" if config.graphiql else None,
        subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
        connection_init_wait_timeout=timedelta(seconds=INIT_TIMEOUT_S),
        max_subscriptions_per_connection=None,  # the handler's own limit, which has a type
        allowed_origins=config.allowed_origins,
    )
    graphql.open_context = lambda hang_up: Context(pool, feed, hang_up)
    graphql.metrics = metrics
    return Starlette(
        routes=[
            Route("/graphql", graphql, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", graphql),
            Route("/health", health),
            Route("/ready", ready),
            Route("/metrics", show_metrics),
            openapi.route(),
            *clock_routes(),
            *routes(pool, ENDPOINTS),
            *terminal_routes(config.terminal),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=config.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=EXPOSED_HEADERS,
            ),
            Middleware(BodyLimit),
        ],
        lifespan=lifespan,
    )


@contextlib.asynccontextmanager
async def listening(feed: Feed | None, app: Starlette) -> AsyncIterator[None]:
    """Run the feed meanwhile. What ends it, other than us, ends the process."""
    if feed is None:
        yield
        return
    task = asyncio.create_task(feed.run())

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            app.state.on_failure(error)

    task.add_done_callback(ended)
    yield
    task.cancel()
    await asyncio.wait({task})


def server_options() -> dict[str, Any]:
    """What the API asks of uvicorn."""
    return {"ws_max_size": MAX_BODY_BYTES}


class _Metrics:
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


class _Endpoint(GraphQL[Context, None]):
    """Strawberry's endpoint with a Context of ours, and with typed errors before GraphQL too."""

    graphql_transport_ws_handler_class = Handler
    open_context: Callable[[HangUp | None], Context]
    metrics: _Metrics
    sockets = 0

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        return self.open_context(HangUp(request) if isinstance(request, WebSocket) else None)

    async def process_result(
        self, request: Request, result: ExecutionResult
    ) -> GraphQLHTTPResponse:
        if result.errors:
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
            response = await super().run(request, *args, **kwargs)
        except HTTPException as refused:
            error = {"message": refused.reason, "extensions": {"code": BadInput.code}}
            response = JSONResponse({"errors": [error]}, refused.status_code)
        self.metrics.requests.labels(str(response.status_code)).inc()
        self.metrics.seconds.observe(perf_counter() - begin)
        return response

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


def _unwell(cause: Exception) -> Response:
    reason = explain(cause).message
    return JSONResponse({"status": "unavailable", "database": False, "reason": reason}, 503)
