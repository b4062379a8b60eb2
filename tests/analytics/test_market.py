"""Markets of a recorded chain, against its trades and the mirror's books."""

from decimal import Decimal

import pytest

from analytics import arguments
from analytics.app import ENDPOINTS
from indexer.domain.market import Market
from indexer.domain.units import Address
from tests.analytics.served import Get
from tests.indexed import Indexed


@pytest.fixture(scope="session")
def market(indexed: Indexed) -> Market:
    return next(m for m in indexed.mirror.markets.rows.values() if m.symbol == "WETH-USDC")


def _unit(indexed: Indexed, token: Address) -> int:
    return indexed.mirror.tokens.rows[token].unit


async def test_volumes_are_the_trades(get: Get, indexed: Indexed, market: Market) -> None:
    mine = [trade for trade in indexed.trades if trade.market == market.address]
    answer = await get("/api/market/overview", period="all")
    told = {one["symbol"]: one for one in answer["markets"]}["WETH-USDC"]
    base, quote = _unit(indexed, market.base), _unit(indexed, market.quote)
    assert told["trades"] == len(mine)
    assert Decimal(told["volume"]) == Decimal(sum(t.quantity for t in mine)) / base
    assert Decimal(told["quote_volume"]) == Decimal(sum(t.quote_amount for t in mine)) / quote
    assert told["accounts"] == len({who for t in mine for who in (t.maker, t.taker)})
    hours = (await get("/api/market/volume", period="all", symbol="weth-usdc"))["volume"]
    assert sum(one["trades"] for one in hours) == len(mine)
    assert sum(Decimal(one["volume"]) for one in hours) == Decimal(told["volume"])


async def test_the_book_is_the_mirrors(get: Get, indexed: Indexed, market: Market) -> None:
    levels = indexed.mirror.books[market.address].levels.rows.values()
    bids = {lv.price: lv.quantity for lv in levels if lv.side == "buy" and lv.quantity}
    asks = {lv.price: lv.quantity for lv in levels if lv.side == "sell" and lv.quantity}
    answer = await get("/api/market/symbol/WETHUSDC", period="all")
    quote, base = _unit(indexed, market.quote), _unit(indexed, market.base)
    assert Decimal(answer["bid"]) == Decimal(max(bids)) / quote
    assert Decimal(answer["ask"]) == Decimal(min(asks)) / quote
    assert Decimal(answer["ask_quantity"]) == Decimal(asks[min(asks)]) / base
    assert Decimal(answer["low"]) <= Decimal(answer["vwap"]) <= Decimal(answer["high"])
    newest = (await get("/api/market/depth-history", symbol="WETH-USDC", limit=1))["depth"][0]
    assert [newest[key] for key in ("bid", "ask")] == [answer[key] for key in ("bid", "ask")]
    rows = (await get("/api/market/liquidity", symbol="WETH-USDC", period="all"))["liquidity"]
    assert [one["bid_depth"] for one in rows] == [newest[f"bid_{one['bps']}_bps"] for one in rows]


async def test_depth_history_comes_in_pages(get: Get) -> None:
    whole = (await get("/api/market/depth-history", symbol="WETH-USDC", limit=1000))["depth"]
    pages: list[dict[str, str]] = []
    after: dict[str, str] = {}
    while True:
        page = await get("/api/market/depth-history", symbol="WETH-USDC", limit=150, **after)
        pages += page["depth"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert pages == whole
    blocks = [one["block"] for one in pages]
    assert blocks == sorted(set(blocks), reverse=True)
    assert len(blocks) > 300


async def test_slippage_walks_the_book(get: Get, indexed: Indexed, market: Market) -> None:
    answer = await get("/api/market/slippage", symbol="WETH-USDC", side="buy", quantity="0.01")
    assert answer["levels"] == 1
    assert answer["reason"] is None
    assert Decimal(answer["slippage_bps"]) > 0
    far = await get("/api/market/slippage", symbol="WETH-USDC", side="sell", quantity="99999999")
    assert "short" in far["reason"]
    assert Decimal(far["filled"]) < 99999999
    wrong = await get("/api/market/slippage", 400, symbol="WETH-USDC", side="buy", quantity="1e5")
    assert wrong["error"]["field"] == "quantity"


async def test_spread_imbalance_illiquidity_sentiment_makers(get: Get) -> None:
    ask = {"symbol": "WETH-USDC", "period": "all"}
    spread = await get("/api/market/spread", **ask)
    assert Decimal(spread["mean_effective_bps"]) > 0
    assert set(spread["taker_markout_bps"]) == {"1_blocks", "10_blocks", "100_blocks"}
    imbalance = await get("/api/market/imbalance", **ask)
    assert -1 <= float(imbalance["levels"]["5"]) <= 1
    hourly = await get("/api/market/illiquidity", interval="hour", **ask)
    assert hourly["amihud_per_million"] > 0
    daily = await get("/api/market/illiquidity", **ask)
    assert (daily["amihud_per_million"], daily["observations"]) == (None, 0)
    assert daily["reason"]
    assert hourly["kyle_lambda"] > 0
    assert 0 < Decimal(hourly["vpin"]) < 1
    for name in ("mean_realised_bps", "mean_price_impact_bps"):
        assert set(spread[name]) == set(spread["taker_markout_bps"])
    mood = await get("/api/market/sentiment", **ask)
    assert 0 <= mood["score"] <= 100
    known = {name: one["z"] for name, one in mood["components"].items() if one["z"] is not None}
    assert len(known) > 2
    weighed = sum(mood["weights"][name] * z / 3 for name, z in known.items())
    total = sum(mood["weights"][name] for name in known)
    assert mood["score"] == pytest.approx(50 + 50 * weighed / total, abs=0.006)
    makers = (await get("/api/market/makers", **ask))["makers"]
    assert sum(float(one["share"]) for one in makers) == pytest.approx(1)
    assert max(float(one["uptime"]) for one in makers) <= 1
    assert any(float(one["uptime"]) > 0 for one in makers)
    for one in makers:
        assert (one["score"] is None) == (one["score_reason"] is not None)
        assert one["fill_ratio"] is None or 0 <= float(one["fill_ratio"]) <= 1
    assert any(one["score"] and float(one["score"]) > 0 for one in makers)
    per_trade = [(float(m["markout_bps"]["1_blocks"]), m["trades"]) for m in makers if m["trades"]]
    lost = sum(gain * trades for gain, trades in per_trade) / sum(n for _, n in per_trade)
    assert lost == pytest.approx(-float(spread["taker_markout_bps"]["1_blocks"]), rel=0.2)


async def test_profit_leads_as_portfolios_say(get: Get) -> None:
    leaders = (await get("/api/leaderboard/pnl/all", limit=3))["leaders"]
    assert [one["rank"] for one in leaders] == [1, 2, 3]
    for one in leaders[:2]:
        totals = (await get(f"/api/portfolio/{one['account']}/pnl"))["totals"]
        assert totals["pnl"] == one["pnl"]
    volumes = (await get("/api/leaderboard/volume/7d"))["leaders"]
    figures = [Decimal(one["volume"]) for one in volumes]
    assert figures == sorted(figures, reverse=True)
    first = volumes[0]
    performance = await get(f"/api/portfolio/{first['account']}/performance")
    roles = [Decimal(performance[f"{role}_volume"]) for role in ("maker", "taker")]
    assert roles[0] + roles[1] == figures[0]


async def test_profit_of_a_period_is_the_difference_of_two_portfolios(
    get: Get, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(arguments.PERIODS, "1h", 200)  # seconds; the recording is short
    answer = await get("/api/leaderboard/pnl/1h", limit=4)
    end = answer["as_of"]
    blocks = (
        await get(
            "/api/portfolio/" + indexed.trades[0].maker + "/equity", interval="block", limit=1000
        )
    )["equity"]
    start = max(one["block"] for one in blocks if one["timestamp"] <= end["timestamp"] - 200)
    assert 0 < start < end["number"]
    assert any(Decimal(one["pnl"]) for one in answer["leaders"])
    for one in answer["leaders"]:
        path = f"/api/portfolio/{one['account']}/pnl"
        then, now = (await get(path, block=start))["totals"], (await get(path))["totals"]
        assert Decimal(now["pnl"]) - Decimal(then["pnl"]) == Decimal(one["pnl"])


async def test_every_endpoint_answers_at_a_past_block_too(get: Get, indexed: Indexed) -> None:
    trade = indexed.trades[40]
    values = {"symbol": "WETH-USDC", "side": "buy", "quantity": "1"}
    for one in ENDPOINTS:
        if one.media_type != "application/json":
            continue
        path = one.path.format(address=trade.maker, symbol="WETH-USDC", type="volume", period="24h")
        query = {p.name: values[p.name] for p in one.own if p.required and p.where == "query"}
        answer = await get(path, block=trade.block_number, finality="finalized", **query)
        assert answer["as_of"]["number"] == trade.block_number
        assert answer["as_of"]["finality"] == "finalized"


async def test_what_is_unknown_is_named(get: Get) -> None:
    assert (await get("/api/market/symbol/NOPE", 404))["error"]["field"] == "symbol"
    assert (await get("/api/market/spread", 400))["error"]["field"] == "symbol"
    assert (await get("/api/leaderboard/luck/7d", 400))["error"]["field"] == "type"
    assert (await get("/api/market/overview", 400, period="2y"))["error"]["field"] == "period"
