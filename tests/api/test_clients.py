"""Clients that others wrote for Binance, unmodified and pointed at us, read what the fold says."""

from decimal import Decimal
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest
from binance_common.configuration import ConfigurationRestAPI
from binance_sdk_spot.spot import Spot

from indexer.domain.order import Trade
from indexer.domain.units import to_decimal
from tests.api.test_graphql import decimals, first_market
from tests.api.test_rest import number
from tests.indexed import Indexed


@pytest.fixture
def market(indexed: Indexed) -> str:
    return first_market(indexed)


@pytest.fixture
def symbol(indexed: Indexed, market: str) -> str:
    rows = indexed.mirror.markets.rows
    return next(m.symbol for m in rows.values() if m.address == market)


@pytest.fixture
def traded(indexed: Indexed, market: str) -> list[Trade]:
    return [one for one in indexed.trades if one.market == market]


def best(indexed: Indexed, market: str) -> tuple[int, int]:
    """The best bid and ask of the fold."""
    book = next(b for a, b in indexed.mirror.books.items() if a == market)
    levels = [one for one in book.levels.rows.values() if one.quantity > 0]
    bid = max(one.price for one in levels if one.side == "buy")
    ask = min(one.price for one in levels if one.side == "sell")
    return bid, ask


def test_binance_s_own_client_reads_markets_books_trades_and_candles(
    base_url: str, indexed: Indexed, market: str, symbol: str, traded: list[Trade]
) -> None:
    rest: Any = Spot(config_rest_api=ConfigurationRestAPI("", "", base_path=base_url)).rest_api
    name = symbol.replace("-", "")
    base, quote = decimals(indexed, market)
    assert name in {one.symbol for one in rest.exchange_info().data().symbols}
    depth = rest.depth(name, limit=5).data()
    assert (depth.bids[0][0], depth.asks[0][0]) == tuple(
        to_decimal(price, quote) for price in best(indexed, market)
    )
    assert depth.last_update_id is not None
    told = rest.get_trades(name, limit=5).data()
    assert [(one.id, one.price, one.qty) for one in told] == [
        (number(one), to_decimal(one.price, quote), to_decimal(one.quantity, base))
        for one in traded[-5:]
    ]
    first = rest.klines(name, "1m", start_time=0, limit=1).data()[0]
    assert Decimal(first[1]) == Decimal(to_decimal(traded[0].price, quote))
    day = rest.ticker24hr(name).data().actual_instance
    assert Decimal(day.last_price) == Decimal(to_decimal(traded[-1].price, quote))
    assert rest.agg_trades(name, limit=2).data()[-1].l == number(traded[-1])
    assert rest.ping().status == 200
    assert rest.time().data().server_time


def test_ccxt_reads_markets_books_trades_and_candles(
    base_url: str, indexed: Indexed, market: str, symbol: str, traded: list[Trade]
) -> None:
    client: Any = ccxt.binance({"options": {"fetchMarkets": {"types": ["spot"]}}})
    client.urls["api"]["public"] = f"{base_url}/api/v3"
    name = symbol.replace("-", "/")
    _, quote = decimals(indexed, market)
    assert name in client.load_markets()
    book = client.fetch_order_book(name, limit=100)
    bids, asks = ([row[0] for row in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    bid, ask = (float(to_decimal(price, quote)) for price in best(indexed, market))
    assert (bids[0], asks[0]) == (bid, ask)
    assert bids[0] < asks[0]
    plain = client.public_get_depth({"symbol": name.replace("/", "")})
    assert book["nonce"] == int(plain["lastUpdateId"])
    for one in client.fetch_trades(name, limit=50):
        assert one["cost"] == pytest.approx(one["price"] * one["amount"])
        assert one["timestamp"] > 1_700_000_000_000
    assert len(client.fetch_trades(name, limit=50, params={"fetchTradesMethod": "publicGetTrades"}))
    candles = client.fetch_ohlcv(name, "1m", since=1, limit=2)
    assert candles[0][1] == float(to_decimal(traded[0].price, quote))
    ticker = client.fetch_ticker(name)
    assert ticker["last"] == float(to_decimal(traded[-1].price, quote))
    with pytest.raises(ccxt.BadSymbol):
        client.public_get_depth({"symbol": "NOSUCH"})
