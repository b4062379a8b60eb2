"""GraphQL's second witness: simulated orders equal the mirror's own, divergences are told."""

import json
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest

from indexer.domain.execution import Intent
from indexer.domain.units import Price, Quantity, to_decimal
from indexer.mirror.simulate import simulate
from tests.api.served import Ask
from tests.indexed import Indexed
from tests.model.recorded import recorded

ASK = """
query ($market: String!, $orders: [OrderIntent!]!, $block: BlockPin) {
  simulateOrder(market: $market, orders: $orders, block: $block) {
    blockNumber
    executions {
      status rejection rawFilled rawQuoteFilled rawRemaining averagePrice priceImpactBps fee
      fills { makerOrderId rawPrice rawQuantity } resting { position quantityAhead } cancelled
    }
  }
}
"""


def pairs(indexed: Indexed, symbol: str) -> list[tuple[Intent, dict[str, Any]]]:
    """Orders around the best prices as the mirror and as GraphQL take them."""
    market = next(m for m in indexed.mirror.markets.rows.values() if m.symbol == symbol)
    book, tokens = indexed.mirror.books[market.address], indexed.mirror.tokens.rows
    base, quote = tokens[market.base], tokens[market.quote]
    account = next(o.account for o in book.orders.rows.values() if o.queued)
    found = []
    for side in ("buy", "sell"):
        best = book.depth("sell" if side == "buy" else "buy")
        for at in (0, len(best) // 2, None):
            price = None if at is None else best[at].price
            quantity = 3 * best[0].quantity
            for who in (None, account):
                intent = Intent(side, Quantity(quantity), price and Price(price), who)
                asked: dict[str, Any] = {"side": side, "account": who}
                asked["quantity"] = to_decimal(quantity, base.decimals)
                asked["price"] = None if price is None else to_decimal(price, quote.decimals)
                found.append((intent, asked))
    return found


def same(told: dict[str, Any], expected: Any) -> None:
    assert (told["status"], told["rejection"]) == (expected.status, expected.rejection)
    assert told["rawFilled"] == str(expected.filled)
    assert told["rawQuoteFilled"] == str(expected.quote_filled)
    assert told["rawRemaining"] == str(expected.remaining)
    assert [(f["makerOrderId"], f["rawPrice"], f["rawQuantity"]) for f in told["fills"]] == [
        (f.maker_order_id, str(f.price), str(f.quantity)) for f in expected.fills
    ]
    resting = told["resting"] and told["resting"]["position"]
    assert resting == (expected.resting and expected.resting.position)
    assert told["cancelled"] == list(expected.cancelled)


@pytest.mark.parametrize("symbol", ["WETH-USDC", "WBTC-USDC"])
async def test_a_simulation_at_the_head_equals_the_mirrors(
    ask: Ask, indexed: Indexed, symbol: str
) -> None:
    asked = pairs(indexed, symbol)
    answer = (await ask(ASK, market=symbol, orders=[one for _, one in asked]))["simulateOrder"]
    mirror = indexed.mirror
    assert answer["blockNumber"] == mirror.head.number
    market = next(m.address for m in mirror.markets.rows.values() if m.symbol == symbol)
    expected = simulate(mirror, market, [intent for intent, _ in asked], mirror.head.timestamp)
    assert any(execution.fills for execution in expected)
    for told, execution in zip(answer["executions"], expected, strict=True):
        same(told, execution)


async def test_a_simulation_in_the_past_meets_the_book_of_then(ask: Ask, indexed: Indexed) -> None:
    deployment, tokens, blocks = recorded("gtx_main")
    mirror = type(indexed.mirror)(deployment)
    for block, events in blocks:
        if block.number <= 300:
            mirror.apply(block, events, tokens, final=True)
    orders = pairs(indexed, "WETH-USDC")
    answer = (
        await ask(ASK, market="WETH-USDC", orders=[o for _, o in orders], block={"number": 300})
    )["simulateOrder"]
    assert answer["blockNumber"] == 300
    market = next(m.address for m in mirror.markets.rows.values() if m.symbol == "WETH-USDC")
    expected = simulate(mirror, market, [intent for intent, _ in orders], mirror.head.timestamp)
    for told, execution in zip(answer["executions"], expected, strict=True):
        same(told, execution)


@pytest.mark.parametrize(
    ("variables", "field"),
    [
        ({"market": "DOGE-USDC", "orders": [{"side": "buy", "quantity": "1"}]}, "market"),
        ({"market": "WETH-USDC", "orders": []}, "orders"),
        ({"market": "WETH-USDC", "orders": [{"side": "buy", "quantity": "0"}]}, "quantity"),
        ({"market": "WETH-USDC", "orders": [{"side": "buy", "quantity": "-1"}]}, "quantity"),
        (
            {"market": "WETH-USDC", "orders": [{"side": "buy", "quantity": "1", "price": "1e3"}]},
            "price",
        ),
        (
            {
                "market": "WETH-USDC",
                "block": {"number": 1},
                "orders": [{"side": "buy", "quantity": "1"}],
            },
            "block",
        ),
    ],
)
async def test_what_cannot_be_simulated_is_said_by_field(
    ask_all: Ask, variables: dict[str, Any], field: str
) -> None:
    (error,) = (await ask_all(ASK, **variables))["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_INPUT", field)


async def test_a_market_is_marked_until_its_divergences_are_acknowledged(
    ask: Ask, indexed: Indexed, base_url: str, http: aiohttp.ClientSession
) -> None:
    market = next(m for m in indexed.mirror.markets.rows.values() if m.symbol == "WETH-USDC")
    connection: Any = await asyncpg.connect(indexed.database_url)
    insert = (
        "insert into tidebook.divergences (market, block_number, log_index, tx, order_id, kind,"
        " expected) values ($1, 7, 3, $1, 5, 'missing_fill', $2)"
    )
    expected = msgspec.json.encode({"effect": "fill", "price": 1}).decode()
    marks = "{ markets { symbol diverged openDivergences } }"
    listing = """query ($acknowledged: Boolean, $after: String) {
      divergences(market: "WETH-USDC", acknowledged: $acknowledged, first: 1, after: $after) {
        cursor market blockNumber kind expected found acknowledged } }"""
    try:
        for _ in range(2):
            await connection.execute(insert, bytes.fromhex(market.address[2:]), expected)
        marked = {m["symbol"]: m for m in (await ask(marks))["markets"]}
        assert marked["WETH-USDC"]["openDivergences"] == 2
        assert [m["diverged"] for m in marked.values()].count(True) == 1
        (newest,) = (await ask(listing))["divergences"]
        assert json.loads(newest["expected"]) == {"effect": "fill", "price": 1}
        assert (newest["market"], newest["found"]) == (market.address, None)
        (older,) = (await ask(listing, after=newest["cursor"]))["divergences"]
        assert int(older["cursor"]) < int(newest["cursor"])
        async with http.get(f"{base_url}/metrics") as response:
            shown = await response.text()
        gauge = 'tidebook_divergences_total{acknowledged="false",market="WETH-USDC"} 2.0'
        assert gauge in shown.splitlines()
        await connection.execute("update tidebook.divergences set acknowledged = true")
        assert (await ask(listing, acknowledged=False))["divergences"] == []
        assert not any(m["diverged"] for m in (await ask(marks))["markets"])
    finally:
        await connection.execute("delete from tidebook.divergences")
        await connection.close()
