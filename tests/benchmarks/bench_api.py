"""CPU of the API's hot answers, as ratios to a bare Starlette JSON route of the same run.

    make bench

In process, over ASGI and a real Postgres: what is measured is this process's CPU, so neither the
database nor a socket is in it. Each answer twice: worked out, as the first request behind a block
is, and kept, as every other one until the next block is.
"""

import asyncio
import json
import os
import time
from typing import Any

import asyncpg
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.app import Config, build
from api.kept import Kept
from indexer.chain.recording import Recording
from tests.benchmarks.chains import chain
from tests.indexed import index
from tidebook import embedded
from tidebook.serving import settle_memory

FIELDS = "price quantity quoteAmount takerSide blockNumber logIndex maker taker tx"
EVENTS = 20_000
REQUESTS, FIRST = 400, 50
BUSIEST = """select '0x' || encode(market, 'hex') from tidebook.levels where quantity > 0
             group by market order by count(*) desc limit 1"""
DEEPEN = """
insert into tidebook.levels
select market, side, price + step * 10000 * (case side when 'buy' then -1 else 1 end), head, tail,
       count, volume, quantity, order_count, broken, in_tree, updated_block, updated_log_index
  from (select distinct on (side) * from tidebook.levels
         where market = decode(substr($1, 3), 'hex') and quantity > 0
         order by side, case side when 'buy' then -price else price end) best,
       generate_series(1, 150) step
    on conflict do nothing"""
"""More levels behind the best ones, so that there are a hundred a side."""

BARS_MS = {"trades": 1.0, "depth": 0.5}
MOST = 120
"""Times a bare route: beyond it something has gone wrong."""


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
    """The median request's CPU."""
    spent = []
    for number in range(FIRST + REQUESTS):
        begin = time.process_time()
        await call(app, *request)
        if number >= FIRST:
            spent.append((time.process_time() - begin) * 1000)
    return sorted(spent)[REQUESTS // 2]


def bare(answer: bytes) -> Starlette:
    """An application that knows its answer."""
    known = json.loads(answer)

    async def route(request: Request) -> Response:
        return JSONResponse(known)

    return Starlette(routes=[Route("/", route)])


@pytest.fixture(scope="module")
def database_url(servers: embedded.Urls) -> str:
    return asyncio.run(index(servers.database_url, Recording(chain(EVENTS))))


async def test_hot_answers(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = await asyncpg.connect(database_url)
    market = await connection.fetchval(BUSIEST)
    await connection.execute(DEEPEN, market)
    await connection.close()
    asked: dict[str, tuple[str, str, str, bytes]] = {
        name: ("GET", f"/api/v3/{path}", f"symbol={market}{more}", b"")
        for name, path, more in (
            ("depth", "depth", "&limit=100"),
            ("ticker", "ticker/24hr", ""),
            ("klines", "klines", "&interval=1m&limit=100"),
        )
    }
    for name, fields in (("trades", FIELDS), ("trades with market", FIELDS + " market { symbol }")):
        text = json.dumps({"query": f"{{ trades(limit: 100) {{ {fields} }} }}"})
        asked[name] = ("POST", "/graphql", "", text.encode())
    app = build(Config(database_url, 1))
    book = json.loads(await call(app, *asked["depth"]))
    assert len(book["bids"]) == len(book["asks"]) == 100
    print(f"\nload {os.getloadavg()[0]:.1f}; p50 CPU of {REQUESTS}")  # noqa: T201
    kept = {name: await cpu_ms(app, *request) for name, request in asked.items()}
    monkeypatch.setattr(Kept, "body", lambda *_: None)  # looked for, and not there any more
    app = build(Config(database_url, 1))
    settle_memory()  # as a service does
    for name, request in asked.items():
        least = await cpu_ms(bare(await call(app, *request)), "GET", "/")
        found = await cpu_ms(app, *request)
        bar = f" (bar {BARS_MS[name]} ms)" if name in BARS_MS else ""
        print(  # noqa: T201
            f"  {name:19} {found:.3f} ms{bar}, {found / least:.1f} x a bare route"
            f" ({least:.3f} ms); kept {kept[name]:.3f} ms"
        )
        assert found / least < MOST, name
