"""Analytics as a process: Config -> Starlette, and serving it until told to stop."""

import asyncio
import contextlib
import csv
import io
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from analytics import (
    book_answers,
    crowd_answers,
    journal_answers,
    market_answers,
    mood_answers,
    pictures,
    portfolio_answers,
    reads,
    restated,
)
from analytics.allowance import Allowances
from analytics.consumer import Consumer
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.errors import BadInput, Refused, TooMany, Unavailable, explain
from analytics.limits import BURST_SECONDS, CHECK_TIMEOUT_S, STATEMENT_TIMEOUT_MS
from analytics.openapi import document
from analytics.remembered import Memory
from indexer.store.snapshot import Pool, Snapshot, connect

_log = logging.getLogger("tidebook.analytics")

ENDPOINTS: tuple[Endpoint, ...] = (
    *portfolio_answers.ENDPOINTS,
    *journal_answers.ENDPOINTS,
    *market_answers.ENDPOINTS,
    *book_answers.ENDPOINTS,
    *crowd_answers.ENDPOINTS,
    *mood_answers.ENDPOINTS,
    *restated.ENDPOINTS,
    *pictures.ENDPOINTS,
)


@dataclass(frozen=True)
class Config:
    """What the composition root decides. `database_url` as libpq writes it (`postgresql://…`)."""

    database_url: str
    chain_id: int
    redis_url: str | None = None
    """Where the streams are that keep our tables; without, every answer is folded from facts."""
    allowed_origins: tuple[str, ...] = ("*",)
    """Whose pages may read us. The data is public and there is nothing to write."""
    requests_per_s: float | None = None
    """What one client address may ask for, over time; None: whatever it likes."""
    pool_size: int = 8
    """Connections to Postgres at most: requests that read at the same time."""
    pool_timeout_s: float = 5.0
    """Seconds a request waits for one of them."""


def build(config: Config) -> Starlette:
    """The application. Touches nothing before its first request."""
    pool = connect(
        config.database_url,
        config.pool_size,
        config.pool_timeout_s,
        reader="tidebook-analytics",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    metrics, memory = _Metrics(), Memory()
    per_s = config.requests_per_s
    door = None if per_s is None else Allowances(per_s, math.ceil(per_s * BURST_SECONDS))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        keeping = None
        if config.redis_url is not None:
            consumer = Consumer(config.database_url, config.redis_url, config.chain_id)
            keeping = asyncio.create_task(consumer.run())
            keeping.add_done_callback(lambda task: _ended(app, task))
        yield
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait({keeping})
        await pool.dispose()

    async def health(request: Request) -> Response:
        """200 when there is a block of our chain to answer from."""
        return await _health(pool, config.chain_id)

    async def show_metrics(request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def openapi(request: Request) -> Response:
        return JSONResponse(document(ENDPOINTS))

    async def docs(request: Request) -> Response:
        return HTMLResponse(_docs())

    return Starlette(
        routes=[
            *(Route(one.path, _route(one, pool, memory, metrics, door)) for one in ENDPOINTS),
            Route("/health", health),
            Route("/metrics", show_metrics),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
        ],
        middleware=[
            Middleware(CORSMiddleware, allow_origins=config.allowed_origins, allow_methods=["GET"])
        ],
        lifespan=lifespan,
    )


def _ended(app: Starlette, task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        app.state.on_failure(error)


class _Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tidebook_analytics_requests",
            "Requests by endpoint and status",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tidebook_analytics_request_seconds",
            "Time of a request",
            ["path"],
            registry=self.registry,
        )


def _route(
    endpoint: Endpoint,
    pool: Pool,
    memory: Memory,
    metrics: _Metrics,
    door: Allowances | None,
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        begin = perf_counter()
        try:
            if door is not None and (wait_s := door.take(_client(request), monotonic())):
                raise TooMany(wait_s)
            response = await _answer(endpoint, pool, memory, request)
        except Exception as cause:
            response = _refusal(cause)
        metrics.requests.labels(endpoint.path, str(response.status_code)).inc()
        metrics.seconds.labels(endpoint.path).observe(perf_counter() - begin)
        return response

    return serve


def _client(request: Request) -> str:
    return "" if request.client is None else request.client.host


async def _answer(endpoint: Endpoint, pool: Pool, memory: Memory, request: Request) -> Response:
    values = _values(endpoint, request)
    snapshot = Snapshot(pool)
    try:
        at = await reads.as_of(snapshot, values["block"], values["finality"])
        view = reads.View(snapshot, at)
        answer = await endpoint.answer(Ask(view, await memory.listings(view), values, memory))
    finally:
        await snapshot.close()
    told = {
        "number": at.number,
        "hash": at.hash,
        "timestamp": at.timestamp,
        "finality": at.finality,
    }
    if isinstance(answer, str):
        headers = {"x-as-of-number": str(at.number), "x-as-of-hash": at.hash}
        return Response(answer, media_type=endpoint.media_type, headers=headers)
    if endpoint.rows and values["format"] == "csv":
        headers = {"x-as-of-number": str(at.number), "x-as-of-hash": at.hash}
        return Response(_csv(answer, endpoint.rows), media_type="text/csv", headers=headers)
    return JSONResponse({"as_of": told, **answer})


def _values(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """Every argument, read. Raises BadInput for unknown, repeated, missing and unfit ones."""
    known = {one.name for one in endpoint.parameters if one.where == "query"}
    given = request.query_params.multi_items()
    for name, text in given:
        if name not in known:
            raise BadInput(name, f"one of the parameters {', '.join(sorted(known))}", text)
        if len(request.query_params.getlist(name)) > 1:
            raise BadInput(name, "to be given once", text)
    texts = {**dict(given), **request.path_params}
    values = {}
    for one in endpoint.parameters:
        if one.name in texts:
            values[one.name] = one.read(one.name, texts[one.name])
        elif one.required:
            raise BadInput(one.name, "a value: it is required", None)
        else:
            values[one.name] = one.default
    return values


def _csv(answer: Answer, rows: str) -> str:
    """One list of an answer, a header first. What has structure inside becomes its JSON."""
    out = io.StringIO()
    found: list[dict[str, Any]] = answer[rows]
    names = list(dict.fromkeys(name for row in found for name in row))
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in found)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A token's symbol may be anybody's text: what a spreadsheet would run is made text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t", "\r"):
        return "'" + value
    return value


def _refusal(cause: Exception) -> Response:
    known = explain(cause)
    if known is None:
        _log.error("a request failed", exc_info=cause)
        known = Refused("internal error")
    error = {"code": known.code, "message": known.message}
    if known.field is not None:
        error["field"] = known.field
    headers = None
    if isinstance(known, TooMany):
        headers = {"retry-after": str(math.ceil(known.wait_s))}
    return JSONResponse({"error": error}, known.status, headers)


async def _health(pool: Pool, chain_id: int) -> Response:
    snapshot = Snapshot(pool)
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            found = await reads.chain_id(snapshot)
            if found != chain_id:
                raise Unavailable(f"the database is of chain {found}, expected {chain_id}")
            at = await reads.as_of(snapshot, None, "latest")
    except Exception as cause:
        return _refusal(cause)
    finally:
        await snapshot.close()
    return JSONResponse({"status": "ok", "block": at.number, "hash": at.hash})


def _docs() -> str:
    """A page that needs nobody else's scripts."""
    rows = "".join(
        f"<tr><td><code>{one.path}</code><td>{one.summary}<td>"
        + ", ".join(f"<abbr title='{each.about}'>{each.name}</abbr>" for each in one.parameters)
        for one in ENDPOINTS
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Tidebook analytics</title>"
        "<style>body{font:15px sans-serif;margin:2em}td{padding:.3em .8em;vertical-align:top}"
        "</style><h1>Tidebook analytics</h1><p>Amounts are decimal text in whole tokens. What "
        "cannot be computed is null, with a reason. Machines read "
        f"<a href=/openapi.json>openapi.json</a>.<table>{rows}</table>"
    )
