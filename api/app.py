"""The API as a process: Config -> Starlette, and serving it until told to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from api import operators
from api.endpoint import Endpoint, Metrics
from api.feed import Feed
from api.limits import INIT_TIMEOUT_S, MAX_BODY_BYTES, STATEMENT_TIMEOUT_MS, BodyLimit
from api.rest import ENDPOINTS, openapi
from api.rest.endpoint import clock_routes, routes
from api.schema import Context, build_schema
from api.tags import EXPOSED_HEADERS
from api.terminal import Terminal
from api.terminal import routes as terminal_routes
from api.trusted import Trusted
from indexer.store.snapshot import connect


@dataclass(frozen=True)
class Config:
    """What the composition root decides. `database_url` as libpq writes it (`postgresql://…`)."""

    database_url: str
    chain_id: int
    redis_url: str | None = None
    """Where subscriptions hear from; without, there are none."""
    allowed_origins: tuple[str, ...] = ("*",)
    """Whose pages may read us. The data is public and there is nothing to write."""
    introspection: bool = True
    """Whether the schema may be asked for; GraphiQL needs it."""
    documents: Mapping[str, str] | None = None
    """The only documents that are run, by the SHA-256 of their text; without, any."""
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
    metrics = Metrics(feed)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with listening(feed, app):
            yield
        await pool.dispose()

    graphql = Endpoint(
        build_schema(introspection=config.introspection),
        graphql_ide="graphiql" if config.introspection and config.documents is None else None,
        subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
        connection_init_wait_timeout=timedelta(seconds=INIT_TIMEOUT_S),
        max_subscriptions_per_connection=None,  # the handler's own limit, which has a type
        allowed_origins=config.allowed_origins,
    )
    graphql.open_context = lambda hang_up: Context(pool, feed, hang_up)
    graphql.metrics = metrics
    graphql.trusted = Trusted(config.documents)
    return Starlette(
        routes=[
            Route("/graphql", graphql, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", graphql),
            *operators.routes(pool, config.chain_id, metrics),
            openapi.route(),
            *clock_routes(pool),
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
        exception_handlers={HTTPException: elsewhere},
        lifespan=lifespan,
    )


async def elsewhere(request: Request, refused: Exception) -> Response:
    """A path or a method that there is not, in the words of plain HTTP's other refusals."""
    assert isinstance(refused, HTTPException), f"{refused!r} is no refusal"
    body = {"code": -1000, "msg": f"{refused.detail}: see /openapi.json"}
    return JSONResponse(body, refused.status_code, refused.headers)


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
    return {
        "ws_max_size": MAX_BODY_BYTES,
        "ws_per_message_deflate": False,  # what waits for a slow client would be told too late
    }
