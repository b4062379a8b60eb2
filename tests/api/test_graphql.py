"""GraphQL over an indexed chain says what the fold of the same chain says."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import aiohttp
import pytest

from api import reads
from api.limits import MAX_ROWS
from indexer.domain.interval import INTERVALS
from indexer.domain.order import Order, Trade
from indexer.domain.units import to_decimal
from tests.api.served import Ask
from tests.indexed import Indexed
from tests.unit.test_interval import by_calendar

TRADES = "price rawPrice quantity quoteAmount takerSide blockNumber logIndex maker taker cursor"


def first_market(indexed: Indexed) -> str:
    """The market with most trades."""
    counts: dict[str, int] = defaultdict(int)
    for trade in indexed.trades:
        counts[trade.market] += 1
    return max(counts, key=lambda market: counts[market])


def decimals(indexed: Indexed, market: str) -> tuple[int, int]:
    """Of base and quote."""
    tokens = indexed.mirror.tokens.rows
    found = next(m for a, m in indexed.mirror.markets.rows.items() if a == market)
    return tokens[found.base].decimals, tokens[found.quote].decimals


async def test_markets_are_listed_with_their_tokens(ask: Ask, indexed: Indexed) -> None:
    data = await ask("{ markets { address symbol base { decimals symbol } quote { address } } }")
    rows = indexed.mirror.markets.rows
    tokens = indexed.mirror.tokens.rows
    assert {one["address"] for one in data["markets"]} == set(rows)
    for one in data["markets"]:
        market = rows[one["address"]]
        base = tokens[market.base]
        assert one["base"] == {"decimals": base.decimals, "symbol": base.symbol}
        assert one["quote"]["address"] == market.quote


async def test_a_market_answers_to_its_address_and_its_symbol_in_any_case(
    ask: Ask, indexed: Indexed
) -> None:
    market = next(iter(indexed.mirror.markets.rows.values()))
    for argument, name in [
        ("address", market.address),
        ("address", "0x" + market.address[2:].upper()),
        ("symbol", market.symbol),
        ("symbol", market.symbol.lower()),
        ("symbol", market.symbol.replace("-", "")),
    ]:
        query = f"query($name: String) {{ market({argument}: $name) {{ address }} }}"
        data = await ask(query, name=name)
        assert data["market"] == {"address": market.address}
    assert await ask('{ market(symbol: "DOGE-CAT") { address } }') == {"market": None}


async def test_depth_is_the_fold_s_book_best_first(ask: Ask, indexed: Indexed) -> None:
    for address, book in indexed.mirror.books.items():
        base, quote = decimals(indexed, address)
        data = await ask(
            "query($m: String!) { depth(market: $m, limit: 1000) { seq block { number }"
            " bids { price quantity orderCount } asks { rawPrice quantity } } }",
            m=address,
        )
        held = [level for level in book.levels.rows.values() if level.quantity > 0]
        bids = sorted((lv for lv in held if lv.side == "buy"), key=lambda lv: -lv.price)
        asks = sorted((lv for lv in held if lv.side == "sell"), key=lambda lv: lv.price)
        assert data["depth"]["bids"] == [
            {
                "price": to_decimal(lv.price, quote),
                "quantity": to_decimal(lv.quantity, base),
                "orderCount": lv.order_count,
            }
            for lv in bids
        ]
        assert [one["rawPrice"] for one in data["depth"]["asks"]] == [str(lv.price) for lv in asks]


async def pages(ask: Ask, root: str, fields: str, limit: int, **arguments: str) -> list[Any]:
    """All rows of a list, page by page."""
    given = "".join(f", {name}: {value}" for name, value in arguments.items())
    rows: list[Any] = []
    after = "null"
    while True:
        query = f"{{ {root}(limit: {limit}, after: {after}{given}) {{ cursor {fields} }} }}"
        page = (await ask(query))[root]
        rows += page
        if len(page) < limit:
            return rows
        after = f'"{page[-1]["cursor"]}"'


async def test_trades_page_by_page_are_all_trades_newest_first(ask: Ask, indexed: Indexed) -> None:
    found = await pages(ask, "trades", "blockNumber logIndex", limit=100)
    expected = [(t.block_number, t.log_index) for t in reversed(indexed.trades)]
    assert [(one["blockNumber"], one["logIndex"]) for one in found] == expected


async def test_an_account_s_trades_are_those_it_made_and_those_it_took(
    ask: Ask, indexed: Indexed
) -> None:
    account = indexed.trades[0].maker
    expected = [t for t in reversed(indexed.trades) if account in (t.maker, t.taker)]
    found = await pages(ask, "trades", "maker taker rawPrice", limit=40, account=f'"{account}"')
    assert [(o["maker"], o["taker"], o["rawPrice"]) for o in found] == [
        (t.maker, t.taker, str(t.price)) for t in expected
    ]


async def test_orders_can_be_narrowed_and_paged(ask: Ask, indexed: Indexed) -> None:
    market = first_market(indexed)
    book = next(b for a, b in indexed.mirror.books.items() if a == market)
    base, quote = decimals(indexed, market)
    wanted = [
        o
        for o in book.orders.rows.values()
        if o.status in ("open", "cancelled") and o.side == "buy"
    ]
    wanted.sort(key=lambda o: (o.placed_block, o.placed_log_index), reverse=True)
    found = await pages(
        ask,
        "orders",
        "orderId status side price quantity filled account tx",
        limit=50,
        market=f'"{market}"',
        status="[open, cancelled]",
        side="buy",
    )

    def row(order: Order) -> dict[str, Any]:
        return {
            "cursor": f"{order.placed_block}-{order.placed_log_index}",
            "orderId": order.order_id,
            "status": order.status,
            "side": order.side,
            "price": to_decimal(order.price, quote),
            "quantity": to_decimal(order.quantity, base),
            "filled": to_decimal(order.filled, base),
            "account": order.account,
            "tx": order.tx,
        }

    assert found == [row(order) for order in wanted]


async def test_balances_are_the_ledger_s(ask: Ask, indexed: Indexed) -> None:
    account = indexed.trades[0].maker
    data = await ask(
        "query($a: String!) { balances(account: $a) { rawAvailable rawLocked token { address } } }",
        a=account.upper().replace("0X", "0x"),
    )
    ledger = indexed.mirror.ledger.balances.rows
    held = sorted((b for b in ledger.values() if b.account == account), key=lambda b: b.token)
    assert data["balances"] == [
        {
            "rawAvailable": str(b.available),
            "rawLocked": str(b.locked),
            "token": {"address": b.token},
        }
        for b in held
    ]


def candles_of(trades: Iterable[Trade], interval: str) -> list[dict[str, Any]]:
    """Candles straight from trades, in contract units."""
    candles: dict[int, dict[str, Any]] = {}
    for t in trades:
        one = candles.setdefault(
            by_calendar(interval, t.timestamp),
            {"o": t.price, "h": t.price, "l": t.price, "v": 0, "q": 0, "b": 0, "n": 0},
        )
        one.update(c=t.price, h=max(one["h"], t.price), l=min(one["l"], t.price))
        one["v"] += t.quantity
        one["q"] += t.quote_amount
        one["b"] += t.quantity if t.taker_side == "buy" else 0
        one["n"] += 1
    return [{"t": time, **one} for time, one in sorted(candles.items())]


CANDLE = "openTime open high low close volume quoteVolume takerBuyVolume trades"


@pytest.mark.parametrize("interval", INTERVALS)
async def test_candles_of_every_interval_follow_from_trades(
    ask: Ask, indexed: Indexed, interval: str
) -> None:
    market = first_market(indexed)
    base, quote = decimals(indexed, market)
    expected = [
        {
            "openTime": one["t"],
            "open": to_decimal(one["o"], quote),
            "high": to_decimal(one["h"], quote),
            "low": to_decimal(one["l"], quote),
            "close": to_decimal(one["c"], quote),
            "volume": to_decimal(one["v"], base),
            "quoteVolume": to_decimal(one["q"], quote),
            "takerBuyVolume": to_decimal(one["b"], base),
            "trades": one["n"],
        }
        for one in candles_of((t for t in indexed.trades if t.market == market), interval)
    ]

    async def candles(arguments: str) -> Any:
        query = (
            f'{{ candles(market: "{market}", interval: "{interval}"{arguments}) {{ {CANDLE} }} }}'
        )
        return (await ask(query))["candles"]

    assert await candles(f", limit: {MAX_ROWS}") == expected[-MAX_ROWS:]
    assert await candles(", limit: 2") == expected[-2:]
    middle = expected[len(expected) // 2]["openTime"]
    later = [one for one in expected if one["openTime"] >= middle]
    assert await candles(f", from: {middle}, limit: 3") == later[:3]
    earlier = [one for one in expected if one["openTime"] < middle]
    assert await candles(f", to: {middle}, limit: 3") == earlier[-3:]
    assert await candles(f", from: {middle + 1}, to: {middle}") == []


async def test_meta_tells_what_the_answer_is_about(ask: Ask, indexed: Indexed) -> None:
    data = await ask(
        "{ _meta { chainId head seq epoch finalized block { number hash timestamp } } }"
    )
    assert data["_meta"]["chainId"] == indexed.chain_id
    assert data["_meta"]["block"]["number"] == data["_meta"]["head"]
    assert len(data["_meta"]["block"]["hash"]) == 66
    assert data["_meta"]["epoch"]


async def test_a_list_costs_the_same_statements_however_long_it_is(indexed: Indexed) -> None:
    from api.schema import Context, build_schema
    from indexer.store.snapshot import connect

    engine = connect(indexed.database_url, 1, 1.0)
    schema = build_schema()
    counts = []
    for limit in (1, 500):
        context = Context(engine)
        query = f"{{ trades(limit: {limit}) {{ price market {{ symbol base {{ symbol }} }} }} }}"
        result = await schema.execute(query, context_value=context)
        assert result.errors is None
        counts.append(context.snapshot.statements)
    await engine.dispose()
    assert counts == [2, 2], "the rows and their markets"


async def test_one_request_reads_one_snapshot(indexed: Indexed) -> None:
    """A commit between two reads of one request is not seen by the second."""
    import asyncpg

    from indexer.store.snapshot import Snapshot, connect

    engine = connect(indexed.database_url, 2, 1.0)
    snapshot = Snapshot(engine)
    writer: Any = await asyncpg.connect(indexed.database_url)
    before = await reads.position(snapshot)
    await writer.execute("update tidebook.cursors set seq = seq + 1")
    assert await reads.position(snapshot) == before
    await snapshot.close()
    assert await reads.position(snapshot) != before
    await snapshot.close()
    await writer.execute("update tidebook.cursors set seq = seq - 1")
    await writer.close()
    await engine.dispose()


async def test_graphiql_is_there_for_people(base_url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{base_url}/graphql", headers={"Accept": "text/html"}) as response:
        assert "graphiql" in (await response.text()).lower()
