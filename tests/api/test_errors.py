"""Bad input gets a typed error that names the field; nothing a caller sends is a 5xx."""

import aiohttp
import pytest

from api.app import Config
from api.limits import MAX_ALIASES, MAX_BODY_BYTES, MAX_ROWS, MAX_TEXT_CHARS
from tests.api.served import Ask, serving

ADDRESS = "0x" + "a1" * 20


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ('{ market(address: "0x12") { symbol } }', "address"),
        ("{ market { symbol } }", "address"),
        (f'{{ market(address: "{ADDRESS}", symbol: "A-B") {{ symbol }} }}', "address"),
        ('{ market(symbol: "") { symbol } }', "symbol"),
        ('{ market(symbol: "a\\u0000b") { symbol } }', "symbol"),
        (f'{{ market(symbol: "{"x" * (MAX_TEXT_CHARS + 1)}") {{ symbol }} }}', "symbol"),
        ('{ trades(account: "me") { price } }', "account"),
        ('{ trades(account: "0x' + "１" * 40 + '") { price } }', "account"),
        ('{ trades(market: "NO-SUCH") { price } }', "market"),
        ("{ trades(limit: 0) { price } }", "limit"),
        ("{ trades(limit: -1) { price } }", "limit"),
        (f"{{ orders(limit: {MAX_ROWS + 1}) {{ price }} }}", "limit"),
        ('{ orders(after: "1; drop table") { price } }', "after"),
        ('{ orders(after: "999999999999999999-1") { price } }', "after"),
        ('{ depth(market: "' + "'; --" + '") { seq } }', "market"),
        (f'{{ balances(account: "{ADDRESS}", token: "usdc") {{ locked }} }}', "token"),
        ('{ candles(market: "WETH-USDC", interval: "7m") { open } }', "interval"),
        ('{ candles(market: "WETH-USDC", interval: "1m", from: -1) { open } }', "from"),
    ],
)
async def test_the_field_and_what_was_expected_are_named(
    ask_all: Ask, query: str, field: str
) -> None:
    (error,) = (await ask_all(query))["errors"]
    assert error["extensions"]["code"] == "BAD_INPUT"
    assert error["extensions"]["field"] == field
    assert error["message"].startswith(f"{field}: expected {error['extensions']['expected']}")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("subscription { chain { seq } }", "query"),
        ("query A { __typename } query B { __typename }", "operationName"),
    ],
)
async def test_what_is_not_told_here_is_refused_by_name(
    ask_all: Ask, caplog: pytest.LogCaptureFixture, query: str, field: str
) -> None:
    """A subscription by plain HTTP was an internal error, one of two operations was run."""
    (error,) = (await ask_all(query))["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_INPUT", field)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v3/nothing", 404), ("POST", "/api/v3/depth", 405), ("PUT", "/graphql", 405)],
)
async def test_a_path_that_there_is_not_is_told_in_json(
    base_url: str, http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, base_url + path) as response:
        assert response.status == status
        assert (await response.json())["code"] == -1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"7",
        b'{"query": "{"}',
        b'{"query": "{ nothing }"}',
        b'{"query": "{ trades(limit: 0) { price } }"}',
        b'{"query": "{ __typename }"}',
        b'{"extensions": {"persistedQuery": {"sha256Hash": "no"}}}',
    ],
)
async def test_errors_say_their_block_and_are_never_the_same_as_before(
    base_url: str, http: aiohttp.ClientSession, ask: Ask, body: bytes
) -> None:
    block = (await ask("{ _meta { block { number hash } } }"))["_meta"]["block"]
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{base_url}/graphql", data=body, headers=headers) as response:
        assert response.headers["X-Tidebook-Block"] == str(block["number"])
        assert response.headers["X-Tidebook-Block-Hash"] == block["hash"]
        assert "ETag" not in response.headers


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{",
        "{ nothing }",
        '{ market(symbol: "\\ud83d") { symbol } }',
        "{ trades(limit: 1e400) { price } }",
        "{ trades(limit: 99999999999999999999) { price } }",
        '{ trades(limit: "many") { price } }',
        "{ orders(status: [lost]) { price } }",
        '{ candles(market: "a", interval: "1m", from: 9007199254740993) { open } }',
        '{ candles(market: "a", interval: "1m", to: 1.5) { open } }',
    ],
)
async def test_what_is_no_query_of_ours_is_told_so(
    base_url: str, http: aiohttp.ClientSession, query: str
) -> None:
    async with http.post(f"{base_url}/graphql", json={"query": query}) as response:
        assert response.status in (200, 400)
        for error in (await response.json())["errors"]:
            assert error["extensions"]["code"] == "BAD_INPUT"
            assert "Traceback" not in error["message"]


@pytest.mark.parametrize(
    "query",
    [
        "{ " + " ".join(f"a{i}: _meta {{ seq }}" for i in range(MAX_ALIASES + 1)) + " }",
        "{ markets" + " { base" * 20 + " }" * 21,
        "{ " + "markets { symbol } " * 1000 + "}",
        f"{{ a: trades(limit: {MAX_ROWS}) {{ price }} orders(limit: 1) {{ price }}"
        + "".join(f" a{i}: orders(limit: {MAX_ROWS}) {{ price }}" for i in range(5))
        + " }",
        "{ ...f0 } "
        + " ".join(f"fragment f{i} on Query {{ ...f{i + 1} ...f{i + 1} }}" for i in range(100))
        + " fragment f100 on Query { trades { price } }",
    ],
)
async def test_what_asks_for_too_much_is_told_the_limit(
    base_url: str, http: aiohttp.ClientSession, query: str
) -> None:
    async with http.post(f"{base_url}/graphql", json={"query": query}) as response:
        (error, *_) = (await response.json())["errors"]
        assert error["extensions"]["code"] == "LIMIT_EXCEEDED", error


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"query": 1}', b"\xff\xfe", b"null"])
async def test_a_body_that_is_no_request_is_a_400(
    base_url: str, http: aiohttp.ClientSession, body: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{base_url}/graphql", data=body, headers=headers) as response:
        assert response.status == 400
        (error,) = (await response.json())["errors"]
        assert error["extensions"]["code"] == "BAD_INPUT"


async def test_a_body_beyond_its_limit_is_a_413(base_url: str, http: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "application/json"}
    for size, status in ((MAX_BODY_BYTES, 400), (MAX_BODY_BYTES + 1, 413)):
        data = b"x" * size
        async with http.post(f"{base_url}/graphql", data=data, headers=headers) as response:
            assert response.status == status


async def test_a_database_that_is_away_is_said_to_be(http: aiohttp.ClientSession) -> None:
    nowhere = Config("postgresql://nobody@127.0.0.1:1/none", 1)
    async with serving(nowhere) as url:
        async with http.get(f"{url}/health") as response:
            assert response.status == 503
            assert (await response.json())["reason"] == "the database does not answer"
        async with http.post(f"{url}/graphql", json={"query": "{ _meta { seq } }"}) as response:
            (error,) = (await response.json())["errors"]
            assert error["extensions"]["code"] == "UNAVAILABLE"


async def test_a_database_without_a_schema_is_said_to_be(
    http: aiohttp.ClientSession, empty_database_url: str
) -> None:
    async with serving(Config(empty_database_url, 1)) as url:
        async with http.get(f"{url}/health") as response:
            assert response.status == 200
        async with http.get(f"{url}/ready") as response:
            assert response.status == 503
            assert "no Tidebook schema" in (await response.json())["reason"]
        async with http.post(f"{url}/graphql", json={"query": "{ _meta { seq } }"}) as response:
            (error,) = (await response.json())["errors"]
            assert error["extensions"]["code"] == "UNAVAILABLE"


async def test_a_request_ends_in_time(
    base_url: str, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.limits.MAX_REQUEST_S", 0.05)
    query = "{ trades(block: {numberGte: 99999999}) { price } }"
    async with http.post(f"{base_url}/graphql", json={"query": query}) as response:
        (error,) = (await response.json())["errors"]
    assert error["extensions"]["code"] == "LIMIT_EXCEEDED"
