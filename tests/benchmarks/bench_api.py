"""CPU of the API's two hot answers, as ratios to a bare Starlette JSON route of the same run.

    make bench

In process, over ASGI and a real Postgres: what is measured is this process's CPU, so neither the
database nor a socket is in it. GraphQL is a list of 100 trades with 9 fields, REST a book.
"""

import json
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.app import Config, build
from tests.api.conftest import indexed
from tests.api.served import Indexed
from tests.api.test_graphql import first_market

__all__ = ["indexed"]

FIELDS = "price quantity quoteAmount takerSide blockNumber logIndex maker taker tx"
ROUNDS, REQUESTS = 5, 100
MOST_GRAPHQL, MOST_DEPTH = 60, 400
"""Ratios beyond which something has gone wrong. A bare route with so small a book is next to
nothing, and a depth is a transaction of two statements whatever its size: hence its ratio."""


async def call(app: Any, method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
    """One request to an ASGI application; the body of its 200."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
        "scheme": "http",
    }
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200, message
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(parts)


async def cpu_ms(app: Any, *request: Any) -> float:
    """The best round's CPU per request."""
    rounds = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(REQUESTS):
            await call(app, *request)
        rounds.append((time.process_time() - begin) * 1000 / REQUESTS)
    return min(rounds)


async def test_hot_answers(indexed: Indexed) -> None:  # the fixture
    app = build(Config(indexed.database_url, indexed.chain_id))
    market = first_market(indexed)
    body = json.dumps({"query": f"{{ trades(limit: 100) {{ {FIELDS} }} }}"}).encode()
    graphql = ("POST", "/graphql", "", body)
    depth = ("GET", "/api/v3/depth", f"symbol={market}")
    trades = json.loads(await call(app, *graphql))
    levels = json.loads(await call(app, *depth))
    assert len(trades["data"]["trades"]) == 100

    def show(answer: object) -> Starlette:
        async def route(request: Request) -> Response:
            return JSONResponse(answer)

        return Starlette(routes=[Route("/", route)])

    bare_trades = await cpu_ms(show(trades), "GET", "/")
    bare_depth = await cpu_ms(show(levels), "GET", "/")
    found_trades, found_depth = await cpu_ms(app, *graphql), await cpu_ms(app, *depth)
    count = len(levels["bids"]) + len(levels["asks"])
    print(f"\nGraphQL, 100 trades x 9 fields: {found_trades:.2f} ms CPU, ", end="")  # noqa: T201
    print(f"{found_trades / bare_trades:.1f} x a bare route ({bare_trades:.3f} ms)")  # noqa: T201
    print(f"REST depth, {count} levels: {found_depth:.2f} ms CPU, ", end="")  # noqa: T201
    print(f"{found_depth / bare_depth:.1f} x a bare route ({bare_depth:.3f} ms)")  # noqa: T201
    assert found_trades / bare_trades < MOST_GRAPHQL
    assert found_depth / bare_depth < MOST_DEPTH
