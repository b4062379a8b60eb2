"""`/api/v3` over an indexed chain says what the fold of the same chain says."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api.rest import openapi
from indexer.domain.interval import INTERVALS, next_open, open_time
from indexer.domain.order import Trade
from indexer.domain.trade_ids import aggregate, trade_id
from indexer.domain.units import to_decimal
from tests.api.served import Ask
from tests.api.test_graphql import decimals, first_market
from tests.indexed import Indexed

Get = Callable[..., Awaitable[Any]]
DAY_S = 86_400


@pytest.fixture
async def get(base_url: str, http: aiohttp.ClientSession) -> Get:
    """GET a path of Binance's; its answer."""

    async def get(path: str, status: int = 200, **params: object) -> Any:
        query = {name: str(value) for name, value in params.items()}
        async with http.get(f"{base_url}/api/v3/{path}", params=query) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer

    return get


@pytest.fixture
def market(indexed: Indexed) -> str:
    return first_market(indexed)


@pytest.fixture
def traded(indexed: Indexed, market: str) -> list[Trade]:
    return [one for one in indexed.trades if one.market == market]


def number(trade: Trade) -> int:
    return trade_id(trade.block_number, trade.log_index)


async def test_ping_and_time_need_no_database(get: Get) -> None:
    assert await get("ping") == {}
    assert (await get("time"))["serverTime"] > 1_700_000_000_000
    assert (await get("ping", 400, x=1))["code"] == -1104


async def test_every_market_is_in_exchange_info_under_a_name_that_finds_it(
    get: Get, indexed: Indexed
) -> None:
    listed = (await get("exchangeInfo"))["symbols"]
    assert len({one["symbol"] for one in listed}) == len(indexed.mirror.markets.rows)
    for one in listed:
        (again,) = (await get("exchangeInfo", symbol=one["symbol"].lower()))["symbols"]
        assert again == one
        assert {f["filterType"] for f in one["filters"]} == {
            "PRICE_FILTER",
            "LOT_SIZE",
            "NOTIONAL",
        }


async def test_depth_is_the_fold_s_book_and_continues_at_its_newest_diff(
    get: Get, indexed: Indexed, market: str, ask: Any
) -> None:
    base, quote = decimals(indexed, market)
    answer = await get("depth", symbol=market, limit=5000)
    held = [
        one
        for address, book in indexed.mirror.books.items()
        if address == market
        for one in book.levels.rows.values()
        if one.quantity > 0
    ]
    for side, key, sign in (("buy", "bids", -1), ("sell", "asks", 1)):
        levels = sorted((o for o in held if o.side == side), key=lambda o: sign * o.price)
        assert answer[key] == [
            [to_decimal(o.price, quote), to_decimal(o.quantity, base)] for o in levels
        ]
    asked = f'{{ depth(market: "{market}") {{ seq }} }}'
    assert answer["lastUpdateId"] == (await ask(asked))["depth"]["seq"]
    one = await get("depth", symbol=market, limit=1)
    assert (one["bids"], one["asks"]) == (answer["bids"][:1], answer["asks"][:1])


async def test_trades_are_oldest_first_and_continue_from_a_number(
    get: Get, indexed: Indexed, market: str, traded: list[Trade]
) -> None:
    base, quote = decimals(indexed, market)

    def row(one: Trade) -> dict[str, Any]:
        return {
            "id": number(one),
            "price": to_decimal(one.price, quote),
            "qty": to_decimal(one.quantity, base),
            "quoteQty": to_decimal(one.quote_amount, quote),
            "time": one.timestamp * 1000,
            "isBuyerMaker": one.taker_side == "sell",
            "isBestMatch": True,
        }

    assert await get("trades", symbol=market) == [row(one) for one in traded[-500:]]
    assert await get("trades", symbol=market, limit=3) == [row(one) for one in traded[-3:]]
    middle = traded[len(traded) // 2]
    expected = [row(one) for one in traded if number(one) >= number(middle)][:7]
    found = await get("historicalTrades", symbol=market, fromId=number(middle), limit=7)
    assert found == expected


async def test_aggregates_are_the_same_however_they_are_asked_for(
    get: Get, market: str, traded: list[Trade]
) -> None:
    whole = list(aggregate(traded))
    expected = [(one.first_id, one.first_id, one.last_id, one.timestamp * 1000) for one in whole]

    def told(answer: list[dict[str, Any]]) -> list[tuple[int, ...]]:
        return [(one["a"], one["f"], one["l"], one["T"]) for one in answer]

    assert told(await get("aggTrades", symbol=market, limit=20)) == expected[-20:]
    pages: list[tuple[int, ...]] = []
    from_id = 0
    while True:
        page = told(await get("aggTrades", symbol=market, fromId=from_id, limit=50))
        pages += page
        if len(page) < 50:
            break
        from_id = page[-1][0] + 1
    assert pages == expected
    since, until = expected[10][3], expected[30][3]
    inside = [one for one in expected if since <= one[3] <= until]
    found = told(await get("aggTrades", symbol=market, startTime=since, endTime=until))
    assert found == inside
    assert await get("aggTrades", symbol=market, startTime=until, endTime=since) == []


@pytest.mark.parametrize("interval", INTERVALS)
async def test_klines_follow_each_other_and_are_flat_where_nothing_traded(
    get: Get, indexed: Indexed, market: str, traded: list[Trade], interval: str
) -> None:
    base, quote = decimals(indexed, market)
    now = (await get("exchangeInfo"))["serverTime"] // 1000
    found = await get("klines", symbol=market, interval=interval, limit=1000)
    opens = [one[0] // 1000 for one in found]
    assert all(b == next_open(interval, a) for a, b in pairwise(opens))
    assert [one[6] for one in found] == [next_open(interval, o) * 1000 - 1 for o in opens]
    by_open: dict[int, list[Trade]] = {}
    for one in traded:
        by_open.setdefault(open_time(interval, one.timestamp), []).append(one)
    close = None
    for row in found:
        inside = by_open.get(row[0] // 1000, [])
        assert row[8] == len(inside)
        if inside:
            assert row[1] == to_decimal(inside[0].price, quote)
            assert row[2] == to_decimal(max(o.price for o in inside), quote)
            assert row[5] == to_decimal(sum(o.quantity for o in inside), base)
            close = to_decimal(inside[-1].price, quote)
        elif close is not None:
            assert row[1:5] == [close] * 4
            assert row[5] == row[7] == row[9] == row[10] == "0"
        assert close is None or row[4] == close
    assert opens[-1] == open_time(interval, now)
    first = await get("uiKlines", symbol=market, interval=interval, startTime=0, limit=2)
    assert first[0][0] // 1000 == open_time(interval, traded[0].timestamp)
    if len(found) > 3 and len(found) < 1000:
        assert first == found[:2]
        part = await get(
            "klines", symbol=market, interval=interval, startTime=found[1][0], endTime=found[2][0]
        )
        assert part == found[1:3]
    assert await get("klines", symbol=market, interval=interval, startTime=2**52) == []


async def test_a_day_is_counted_back_from_the_head_block(
    get: Get, indexed: Indexed, market: str, traded: list[Trade]
) -> None:
    base, quote = decimals(indexed, market)
    told = await get("ticker/24hr", symbol=market)
    since = told["openTime"] // 1000
    assert since == open_time("1m", told["closeTime"] // 1000 - DAY_S)
    inside = [one for one in traded if one.timestamp >= since]
    assert told["count"] == len(inside)
    assert (told["firstId"], told["lastId"]) == (number(inside[0]), number(inside[-1]))
    assert told["volume"] == to_decimal(sum(one.quantity for one in inside), base)
    assert told["quoteVolume"] == to_decimal(sum(one.quote_amount for one in inside), quote)
    assert told["openPrice"] == to_decimal(inside[0].price, quote)
    assert told["highPrice"] == to_decimal(max(one.price for one in inside), quote)
    assert told["lastPrice"] == to_decimal(inside[-1].price, quote)
    assert told["priceChange"] == to_decimal(inside[-1].price - inside[0].price, quote)
    depth = await get("depth", symbol=market, limit=1)
    best = await get("ticker/bookTicker", symbol=market)
    for side, key in (("bid", "bids"), ("ask", "asks")):
        prices = depth[key][0] if depth[key] else ["0", "0"]
        assert [best[f"{side}Price"], best[f"{side}Qty"]] == prices
        assert [told[f"{side}Price"], told[f"{side}Qty"]] == prices


async def test_a_window_without_a_trade_stands_still(get: Get, market: str) -> None:
    told = await get("ticker", symbol=market, windowSize="1m")
    day = await get("ticker/24hr", symbol=market)
    if told["count"] == 0:
        assert told["firstId"] == told["lastId"] == -1
        assert told["openPrice"] == told["highPrice"] == told["lastPrice"] == day["lastPrice"]
    assert told["openTime"] % 60_000 == 0


async def test_tickers_of_all_markets_and_of_some(get: Get, indexed: Indexed) -> None:
    count = len(indexed.mirror.markets.rows)
    for path in ("ticker/24hr", "ticker/price", "ticker/bookTicker", "ticker/tradingDay"):
        told = await get(path)
        assert len(told) == count
        names = [one["symbol"] for one in told]
        some = await get(path, symbols="[" + ",".join(f'"{name}"' for name in names[:2]) + "]")
        assert some == told[:2]
        assert await get(path, symbol=names[0]) == told[0]
    assert "bidPrice" not in await get("ticker/24hr", symbol=names[0], type="MINI")
    assert (await get("avgPrice", symbol=names[0]))["mins"] == 5


async def test_an_account_s_orders_are_the_fold_s(
    get: Get, indexed: Indexed, market: str, traded: list[Trade]
) -> None:
    account = traded[-1].maker
    book = next(b for a, b in indexed.mirror.books.items() if a == market)
    own = [one for one in book.orders.rows.values() if one.account == account]
    own.sort(key=lambda one: (one.placed_block, one.placed_log_index))
    told = await get("allOrders", address=account, symbol=market, limit=1000)
    assert [one["orderId"] for one in told] == [one.order_id for one in own][-1000:]
    for one in told:
        assert one["updateTime"] >= one["time"] > 1_700_000_000_000
    waiting = {one.order_id for one in own if one.working or one.status == "orphaned"}
    opened = await get("openOrders", address=account, symbol=market)
    assert waiting == {one["orderId"] for one in opened}
    assert {one["status"] for one in opened} <= {"NEW", "PARTIALLY_FILLED"}
    assert await get("order", address=account, symbol=market, orderId=own[0].order_id) == told[0]
    later = await get("allOrders", address=account, symbol=market, orderId=own[-1].order_id)
    assert later[0]["orderId"] >= own[-1].order_id
    refused = await get("order", 400, address=account, symbol=market, orderId=2**50)
    assert refused == {"code": -2013, "msg": "Order does not exist."}


async def test_what_a_market_order_did_not_fill_is_not_open(
    get: Get, ask: Ask, indexed: Indexed
) -> None:
    orders = [one for book in indexed.mirror.books.values() for one in book.orders.rows.values()]
    part = next(o for o in orders if (o.type, o.status) == ("market", "partially_filled"))
    own = {"address": part.account, "symbol": part.market}
    assert part.order_id not in {one["orderId"] for one in await get("openOrders", **own)}
    told = await get("order", **own, orderId=part.order_id)
    assert (told["status"], told["isWorking"]) == ("EXPIRED", False)
    asked = '{ account(address: "%s") { openOrders(limit: 1000) { orderId market { address } } } }'
    found = (await ask(asked % part.account))["account"]["openOrders"]
    assert (part.order_id, part.market) not in {
        (one["orderId"], one["market"]["address"]) for one in found
    }


async def test_an_account_s_trades_name_its_side_and_fee(
    get: Get, indexed: Indexed, market: str, traded: list[Trade]
) -> None:
    account = traded[-1].maker
    expected = [
        (number(one), is_maker)
        for one in traded
        for is_maker in (True, False)
        if (one.maker if is_maker else one.taker) == account
    ]
    told = await get("myTrades", address=account, symbol=market, limit=1000)
    assert [(one["id"], one["isMaker"]) for one in told] == expected[-1000:]
    for one in told:
        assert one["isBuyer"] in (True, False)
        assert one["commissionAsset"]
    of_order = await get("myTrades", address=account, symbol=market, orderId=told[0]["orderId"])
    assert {one["orderId"] for one in of_order} == {told[0]["orderId"]}
    later = await get("myTrades", address=account, symbol=market, fromId=told[2]["id"], limit=2)
    assert later[0]["id"] == told[2]["id"]


async def test_an_account_s_balances_are_named_by_asset(
    get: Get, indexed: Indexed, traded: list[Trade]
) -> None:
    account = traded[0].maker
    ledger = indexed.mirror.ledger.balances.rows.values()
    tokens = indexed.mirror.tokens.rows
    expected = {
        (to_decimal(b.available, d), to_decimal(b.locked, d))
        for b in ledger
        if b.account == account and (d := tokens[b.token].decimals) is not None
    }
    told = await get("account", address=account.upper().replace("0X", "0x"))
    assert {(one["free"], one["locked"]) for one in told["balances"]} == expected
    assert len({one["asset"] for one in told["balances"]}) == len(told["balances"])


ACCOUNT = "0x" + "a1" * 20


@pytest.mark.parametrize(
    ("path", "params", "code", "field"),
    [
        ("depth", {}, -1102, "symbol"),
        ("depth", {"symbol": ""}, -1102, "symbol"),
        ("depth", {"symbol": "NOSUCH"}, -1121, "symbol"),
        ("depth", {"symbol": ACCOUNT}, -1121, "symbol"),
        ("depth", {"symbol": "WETH/USDC"}, -1100, "symbol"),
        ("depth", {"symbol": "ＷＥＴＨ"}, -1100, "symbol"),
        ("depth", {"symbol": "a" * 65}, -1100, "symbol"),
        ("depth", {"symbol": "WETHUSDC", "limit": "-1"}, -1100, "limit"),
        ("depth", {"symbol": "WETHUSDC", "limit": "0"}, -1130, "limit"),
        ("depth", {"symbol": "WETHUSDC", "limit": "1e3"}, -1100, "limit"),
        ("depth", {"symbol": "WETHUSDC", "limit": "NaN"}, -1100, "limit"),
        ("depth", {"symbol": "WETHUSDC", "limit": "٣"}, -1100, "limit"),
        ("depth", {"symbol": "WETHUSDC", "limit": "9" * 20}, -1130, "limit"),
        ("depth", {"symbol": "WETHUSDC", "limit": "9" * 5000}, -1100, "limit"),
        ("depth", {"symbol": "WETHUSDC", "lmit": "5"}, -1104, "lmit"),
        ("historicalTrades", {"symbol": "WETHUSDC", "fromId": "x"}, -1100, "fromId"),
        ("aggTrades", {"symbol": "WETHUSDC", "fromId": 1, "startTime": 1}, -1128, "fromId"),
        ("klines", {"symbol": "WETHUSDC"}, -1102, "interval"),
        ("klines", {"symbol": "WETHUSDC", "interval": "7m"}, -1120, "interval"),
        ("klines", {"symbol": "A", "interval": "1d", "timeZone": "15"}, -1130, "timeZone"),
        ("klines", {"symbol": "A", "interval": "1d", "startTime": "1.5"}, -1100, "startTime"),
        ("ticker/24hr", {"symbol": "A", "symbols": '["A"]'}, -1128, "symbols"),
        ("ticker/24hr", {"symbols": "A,B"}, -1100, "symbols"),
        ("ticker/24hr", {"symbols": "[]"}, -1130, "symbols"),
        ("ticker/24hr", {"type": "HALF"}, -1130, "type"),
        ("ticker", {"symbol": "A", "windowSize": "60m"}, -1130, "windowSize"),
        ("ticker", {}, -1102, "symbol"),
        ("ticker/price", {"symbol": ""}, -1105, "symbol"),
        ("openOrders", {}, -1102, "address"),
        ("openOrders", {"address": "me"}, -1100, "address"),
        ("openOrders", {"address": "0x" + "１" * 40}, -1100, "address"),
        ("order", {"address": ACCOUNT, "symbol": "WETHUSDC"}, -1102, "orderId"),
        ("allOrders", {"address": ACCOUNT}, -1102, "symbol"),
    ],
)
async def test_what_cannot_be_used_is_named(
    get: Get, path: str, params: dict[str, object], code: int, field: str
) -> None:
    answer = await get(path, 400, **params)
    assert answer["code"] == code
    assert field in answer["msg"]


async def test_more_than_a_day_of_own_trades_is_refused(get: Get, market: str) -> None:
    window = {"startTime": 0, "endTime": DAY_S * 1000 + 1}
    answer = await get("myTrades", 400, address=ACCOUNT, symbol=market, **window)
    assert answer["code"] == -1127


async def test_an_answer_says_its_block_and_is_not_sent_twice(
    base_url: str, http: aiohttp.ClientSession, ask: Any, market: str
) -> None:
    block = (await ask("{ _meta { block { number hash } } }"))["_meta"]["block"]
    url = f"{base_url}/api/v3/depth?symbol={market}"
    async with http.get(url) as response:
        assert response.headers["X-Tidebook-Block"] == str(block["number"])
        assert response.headers["X-Tidebook-Block-Hash"] == block["hash"]
        tag = response.headers["ETag"]
    async with http.get(url, headers={"If-None-Match": f"W/{tag}"}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with http.get(f"{url}&limit=1", headers={"If-None-Match": tag}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("api/v3/ping", 200),
        ("api/v3/time", 200),
        ("api/v3/ping?a=1", 400),
        ("api/v3/depth", 400),
        ("api/v3/depth?symbol=NO-SUCH", 400),
        ("udf/symbols?symbol=NO-SUCH", 400),
        ("orderbook?ticker_id=NO_SUCH", 400),
    ],
)
async def test_every_reply_says_its_block(
    base_url: str, http: aiohttp.ClientSession, ask: Any, path: str, status: int
) -> None:
    block = (await ask("{ _meta { block { number hash } } }"))["_meta"]["block"]
    async with http.get(f"{base_url}/{path}") as response:
        assert response.status == status, await response.text()
        assert response.headers["X-Tidebook-Block"] == str(block["number"])
        assert response.headers["X-Tidebook-Block-Hash"] == block["hash"]
        assert "ETag" not in response.headers, "of what is refused now, and not for ever"


async def test_the_committed_openapi_is_what_is_served(
    base_url: str, http: aiohttp.ClientSession
) -> None:
    committed = Path(openapi.__file__).parents[1] / "openapi.json"
    async with http.get(f"{base_url}/openapi.json") as response:
        served = await response.text()
    assert committed.read_text() == served, "python -m api.rest.openapi > api/openapi.json"


FIELDS = {
    "exchangeInfo": "timezone serverTime rateLimits exchangeFilters symbols",
    "depth": "lastUpdateId bids asks",
    "trades": "id price qty quoteQty time isBuyerMaker isBestMatch",
    "historicalTrades": "id price qty quoteQty time isBuyerMaker isBestMatch",
    "aggTrades": "a p q f l T m M",
    "avgPrice": "mins price closeTime",
    "ticker/24hr": "symbol priceChange priceChangePercent weightedAvgPrice prevClosePrice lastPrice"
    " lastQty bidPrice bidQty askPrice askQty openPrice highPrice lowPrice volume quoteVolume"
    " openTime closeTime firstId lastId count",
    "ticker": "symbol priceChange priceChangePercent weightedAvgPrice openPrice highPrice lowPrice"
    " lastPrice volume quoteVolume openTime closeTime firstId lastId count",
    "ticker/price": "symbol price",
    "ticker/bookTicker": "symbol bidPrice bidQty askPrice askQty",
    "openOrders": "symbol orderId orderListId clientOrderId price origQty executedQty"
    " cummulativeQuoteQty status timeInForce type side stopPrice icebergQty time updateTime"
    " isWorking workingTime origQuoteOrderQty selfTradePreventionMode",
    "myTrades": "symbol id orderId orderListId price qty quoteQty commission commissionAsset time"
    " isBuyer isMaker isBestMatch",
    "account": "makerCommission takerCommission buyerCommission sellerCommission commissionRates"
    " canTrade canWithdraw canDeposit brokered requireSelfTradePrevention preventSor updateTime"
    " accountType balances permissions uid",
}


@pytest.mark.parametrize("path", FIELDS)
async def test_fields_are_binance_s_and_in_its_order(
    get: Get, indexed: Indexed, market: str, path: str
) -> None:
    params: dict[str, object] = {} if path == "account" else {"symbol": market}
    if path in ("openOrders", "myTrades", "account"):
        book = next(b for a, b in indexed.mirror.books.items() if a == market)
        params["address"] = next(o.account for o in book.orders.rows.values() if o.queued)
    found = await get(path, **params)
    row = found[-1] if isinstance(found, list) else found
    assert list(row) == FIELDS[path].split()


async def test_a_parameter_twice_is_named(base_url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{base_url}/api/v3/depth?symbol=a&symbol=b") as response:
        told = {"code": -1101, "msg": "Duplicate values for parameter 'symbol' detected."}
        assert (response.status, await response.json()) == (400, told)
