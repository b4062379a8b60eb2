"""Analytics over HTTP: what it refuses, and that its OpenAPI is the committed one."""

import csv
import io
from xml.etree import ElementTree

import aiohttp
import pytest

from analytics import openapi
from analytics.allowance import Allowances
from analytics.app import ENDPOINTS, Config
from analytics.limits import MAX_CLIENTS
from tests.analytics.served import Get, serving
from tests.indexed import Indexed

NOBODY = "0x" + "11" * 20


@pytest.mark.parametrize(
    ("path", "field", "status"),
    [
        ("/api/portfolio/0x12", "address", 400),
        (f"/api/portfolio/{NOBODY}?method=best", "method", 400),
        (f"/api/portfolio/{NOBODY}?quote=NOPE", "quote", 404),
        (f"/api/portfolio/{NOBODY}?block=99999999", "block", 400),
        (f"/api/portfolio/{NOBODY}?block=-1", "block", 400),
        (f"/api/portfolio/{NOBODY}?blok=1", "blok", 400),
        (f"/api/portfolio/{NOBODY}?block=1&block=2", "block", 400),
        (f"/api/portfolio/{NOBODY}/fills?limit=100000", "limit", 400),
        (f"/api/portfolio/{NOBODY}/fills?after=x", "after", 400),
    ],
)
async def test_refusals_name_the_field(get: Get, path: str, field: str, status: int) -> None:
    plain, _, query = path.partition("?")
    url = plain + ("?" + query if query else "")
    error = (await get(url, status))["error"]
    assert error["field"] == field
    assert field in error["message"]


async def test_an_account_that_never_was_is_empty(get: Get) -> None:
    answer = await get(f"/api/portfolio/{NOBODY}")
    assert answer["positions"] == []
    assert answer["totals"]["value"] == "0"
    risk = await get(f"/api/portfolio/{NOBODY}/risk")
    assert (risk["sharpe"], risk["observations"]) == (None, 0)


async def test_csv(base_url: str, http: aiohttp.ClientSession, get: Get, indexed: Indexed) -> None:
    account = indexed.trades[0].maker
    told = (await get(f"/api/portfolio/{account}/fees"))["fees"]
    async with http.get(f"{base_url}/api/portfolio/{account}/fees?format=csv") as response:
        assert response.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [row["amount"] for row in rows] == [one["amount"] for one in told]
    assert rows


async def test_pictures(base_url: str, http: aiohttp.ClientSession, indexed: Indexed) -> None:
    account = indexed.trades[0].maker
    paths = [f"/api/portfolio/{account}/equity.svg", "/api/market/symbol/WETH-USDC/depth.svg"]
    for path, lines in zip(paths, (1, 2), strict=True):
        async with http.get(base_url + path) as response:
            assert response.headers["content-type"].startswith("image/svg+xml")
            assert int(response.headers["x-as-of-number"]) > 0
            picture = ElementTree.fromstring(await response.text())
        drawn = picture.findall("{http://www.w3.org/2000/svg}polyline")
        assert len(drawn) == lines
        for line in drawn:
            assert len(line.attrib["points"].split()) > 1


async def test_health_metrics_docs(base_url: str, http: aiohttp.ClientSession, get: Get) -> None:
    assert (await get("/health"))["status"] == "ok"
    async with http.get(f"{base_url}/metrics") as response:
        assert "tidebook_analytics_requests_total" in await response.text()
    async with http.get(f"{base_url}/docs", headers={"origin": "https://a.example"}) as response:
        page = await response.text()
        assert all(one.path in page for one in ENDPOINTS)
        assert response.headers["access-control-allow-origin"] == "*"


def test_the_committed_openapi_is_the_codes() -> None:
    """Mend with `python -m analytics.openapi > analytics/openapi.json`."""
    assert openapi.FILE.read_text() == openapi.text(ENDPOINTS)


async def test_who_asks_too_often_is_told_when_to_come_back(indexed: Indexed) -> None:
    config = Config(indexed.database_url, indexed.chain_id, requests_per_s=1.0)
    async with serving(config) as url, aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(3):
            async with session.get(f"{url}/api/restatements") as response:
                statuses.append(response.status)
                said, wait = await response.json(), response.headers.get("retry-after")
        assert statuses == [200, 200, 429]
        assert (said["error"]["code"], wait) == ("TOO_MANY_REQUESTS", "1")
        async with session.get(f"{url}/health") as response:
            assert response.status == 200


def test_an_allowance_fills_with_time_and_is_each_clients_own() -> None:
    door = Allowances(2, 3)
    assert [door.take("a", 10) for _ in range(4)] == [0, 0, 0, 0.5]
    assert door.take("b", 10) == 0
    assert [door.take("a", 10.5), door.take("a", 10.5)] == [0, 0.5]
    for other in range(MAX_CLIENTS):
        door.take(str(other), 10.5)
    assert door.take("a", 10.5) == 0  # forgotten, and so fresh


async def test_only_pages_of_allowed_origins_may_read(indexed: Indexed) -> None:
    config = Config(indexed.database_url, indexed.chain_id, allowed_origins=("https://a.example",))
    async with serving(config) as url, aiohttp.ClientSession() as session:
        for origin, told in (("https://a.example",) * 2, ("https://b.example", None)):
            async with session.get(f"{url}/health", headers={"origin": origin}) as response:
                assert response.headers.get("access-control-allow-origin") == told
