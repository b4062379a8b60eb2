"""A filter chooses what the same words in Python choose, and a count is of all pages."""

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from api.limits import MAX_CONDITIONS
from indexer.domain.order import Trade
from tests.api.served import Ask
from tests.api.test_graphql import first_market
from tests.indexed import Indexed

Chosen = Callable[[Trade], bool]


def cases(indexed: Indexed) -> list[tuple[dict[str, Any], Chosen]]:
    middle = indexed.trades[len(indexed.trades) // 2]
    price, block, maker = middle.price, middle.block_number, middle.maker
    return [
        ({"rawPrice": str(price)}, lambda t: t.price == price),
        ({"rawPrice_gte": str(price)}, lambda t: t.price >= price),
        ({"blockNumber_lt": block, "takerSide": "buy"}, both(block)),
        ({"takerSide_not": "buy"}, lambda t: t.taker_side != "buy"),
        ({"maker_in": [maker.upper().replace("0X", "0x")]}, lambda t: t.maker == maker),
        ({"maker_not_in": [maker]}, lambda t: t.maker != maker),
        ({"tx": middle.tx}, lambda t: t.tx == middle.tx),
        (
            {"OR": [{"maker": maker}, {"AND": [{"taker": maker}, {"rawPrice_gt": str(price)}]}]},
            lambda t: t.maker == maker or (t.taker == maker and t.price > price),
        ),
        ({"blockNumber": block, "OR": []}, lambda t: t.block_number == block),
        ({"rawPrice_in": []}, lambda t: False),
        ({"rawPrice": None}, lambda t: True),
    ]


def both(block: int) -> Chosen:
    return lambda t: t.block_number < block and t.taker_side == "buy"


async def test_trades_are_those_that_the_words_choose(ask: Ask, indexed: Indexed) -> None:
    query = """query($w: TradeFilter, $m: String) {
      trades(where: $w, limit: 1000) { blockNumber logIndex }
      tradesConnection(where: $w, market: $m, first: 2) { totalCount edges { cursor } } }"""
    market = first_market(indexed)
    for where, chosen in cases(indexed):
        data = await ask(query, w=where, m=market)
        expected = [one for one in reversed(indexed.trades) if chosen(one)]
        assert [(one["blockNumber"], one["logIndex"]) for one in data["trades"]] == [
            (one.block_number, one.log_index) for one in expected[:1000]
        ], where
        count = sum(one.market == market for one in expected)
        assert data["tradesConnection"]["totalCount"] == count, where
        assert len(data["tradesConnection"]["edges"]) == min(2, count)


async def test_orders_are_chosen_at_the_head_and_in_the_past(ask: Ask, indexed: Indexed) -> None:
    market = first_market(indexed)
    query = """query($w: OrderFilter, $m: String, $b: BlockPin) {
      orders(where: $w, market: $m, block: $b, limit: 1000) { orderId status rawFilled side }
      ordersConnection(where: $w, market: $m, block: $b, first: 1) { totalCount } }"""
    wanted = {"status_in": ["open", "filled"], "rawFilled_lt": str(10**18), "side": "buy"}
    head = (await ask("{ _meta { block { number } } }"))["_meta"]["block"]["number"]
    for number in (400, head):
        # the newest thousand of the head are those placed from some block on
        since = 0 if number == 400 else head - 300
        block = {"number": number}
        everything = await ask(query, w={"placedBlock_gte": since}, m=market, b=block)
        assert len(everything["orders"]) < 1000
        expected = [
            one
            for one in everything["orders"]
            if one["status"] in ("open", "filled")
            and int(one["rawFilled"]) < 10**18
            and one["side"] == "buy"
        ]
        data = await ask(query, w={**wanted, "placedBlock_gte": since}, m=market, b=block)
        assert data["orders"] == expected != []
        assert data["ordersConnection"]["totalCount"] == len(expected)


async def test_fills_are_chosen_too(ask: Ask, indexed: Indexed) -> None:
    account = indexed.trades[0].maker
    middle = indexed.trades[len(indexed.trades) // 2]
    query = """query($a: String!, $w: FillFilter) {
      fills(account: $a, where: $w, limit: 1000) { blockNumber logIndex } }"""
    where = {"rawPrice_gte": str(middle.price), "blockNumber_lte": middle.block_number}
    found = (await ask(query, a=account, w=where))["fills"]
    expected = [
        (one.block_number, one.log_index)
        for one in indexed.trades
        for who in (one.maker, one.taker)
        if who == account and one.price >= middle.price and one.block_number <= middle.block_number
    ]
    assert sorted((one["blockNumber"], one["logIndex"]) for one in found) == expected != []


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ('{rawPrice_gt: "1.5"}', "BAD_INPUT"),
        ('{rawPrice_gt: "-1"}', "BAD_INPUT"),
        ('{rawPrice_gt: "٣"}', "BAD_INPUT"),
        (f'{{rawPrice: "{"9" * 79}"}}', "BAD_INPUT"),
        ('{maker: "me"}', "BAD_INPUT"),
        ('{tx: "0x12"}', "BAD_INPUT"),
        ("{takerSide_gt: buy}", "BAD_INPUT"),
        ("{AND: [" + "{}," * (MAX_CONDITIONS + 1) + "]}", "LIMIT_EXCEEDED"),
        ("{blockNumber_in: [" + "1," * (MAX_CONDITIONS + 1) + "]}", "LIMIT_EXCEEDED"),
    ],
)
async def test_a_filter_we_cannot_use_is_told_so(
    base_url: str, http: aiohttp.ClientSession, where: str, code: str
) -> None:
    query = f"{{ trades(where: {where}) {{ price }} }}"
    async with http.post(f"{base_url}/graphql", json={"query": query}) as response:
        (error,) = (await response.json())["errors"]
    assert error["extensions"]["code"] == code
    if code == "BAD_INPUT" and "gt: buy" not in where:
        assert error["extensions"]["field"] in where


@pytest.mark.parametrize("depth", [MAX_CONDITIONS + 1, 400, 2000])
async def test_a_filter_nested_without_end_is_refused(
    base_url: str, http: aiohttp.ClientSession, depth: int
) -> None:
    query = "query($w: TradeFilter) { trades(where: $w) { price } }"
    where = '{"AND":[' * depth + "]}" * depth
    body = f'{{"query": "{query}", "variables": {{"w": {where}}}}}'
    headers = {"content-type": "application/json"}
    async with http.post(f"{base_url}/graphql", data=body, headers=headers) as response:
        assert response.status in (200, 400)
        (error,) = (await response.json())["errors"]
    assert error["extensions"]["code"] in ("LIMIT_EXCEEDED", "BAD_INPUT")
