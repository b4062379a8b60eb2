"""Any past block can be asked about, and says what the fold said when it was there."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from api import schema
from api.account_reads import WORKING
from api.schema import Context, build_schema
from indexer.chain.recording import Recording
from indexer.decode import decode, select
from indexer.domain.order import Level
from indexer.domain.units import to_decimal
from indexer.mirror.fold import Mirror
from indexer.store import books, postgres
from indexer.store.snapshot import connect
from tests.api.served import Ask
from tests.api.test_graphql import decimals, first_market
from tests.indexed import Indexed

BLOCKS = (150, 400, 777)


@pytest.fixture(scope="module")
def mirrors(recordings: Path) -> dict[int, Mirror]:
    """The fold as it was after some blocks."""
    found = {}
    for last in BLOCKS:
        recording = Recording(recordings / "gtx_main.jsonl.gz")
        deployment = recording.deployment
        tokens = [t for a in deployment.tokens if (t := deployment.token(a)) is not None]
        mirror = Mirror(deployment)
        for one in recording.blocks():
            if one.block.number > last:
                break
            logs = select(one.logs, deployment, mirror.books)
            mirror.apply(one.block, decode(one.block, logs), tokens, final=True)
        found[last] = mirror
    return found


@pytest.mark.parametrize("block", BLOCKS)
async def test_depth_orders_and_balances_are_those_of_the_block(
    ask: Ask, indexed: Indexed, mirrors: dict[int, Mirror], block: int
) -> None:
    mirror = mirrors[block]
    account = indexed.trades[0].maker
    for market, book in mirror.books.items():
        data = await ask(
            "query($m: String!, $n: Long!, $a: String!) {"
            " depth(market: $m, limit: 1000, block: {number: $n}) { block { number }"
            " bids { rawPrice rawQuantity orderCount } asks { rawPrice rawQuantity orderCount } }"
            " orders(market: $m, limit: 1000, block: {number: $n}) { orderId status rawFilled }"
            " balances(account: $a, block: {number: $n}) { rawAvailable rawLocked } }",
            m=market,
            n=block,
            a=account,
        )
        assert data["depth"]["block"]["number"] == block
        held = [one for one in book.levels.rows.values() if one.quantity > 0]

        def told(levels: list[Level]) -> list[dict[str, Any]]:
            return [
                {
                    "rawPrice": str(one.price),
                    "rawQuantity": str(one.quantity),
                    "orderCount": one.order_count,
                }
                for one in levels
            ]

        bids = sorted((o for o in held if o.side == "buy"), key=lambda o: -o.price)
        asks = sorted((o for o in held if o.side == "sell"), key=lambda o: o.price)
        assert data["depth"]["bids"] == told(bids)
        assert data["depth"]["asks"] == told(asks)
        orders = sorted(
            book.orders.rows.values(), key=lambda o: (-o.placed_block, -o.placed_log_index)
        )
        assert data["orders"] == [
            {"orderId": o.order_id, "status": o.status, "rawFilled": str(o.filled)}
            for o in orders[:1000]
        ]
        ledger = mirror.ledger.balances.rows.values()
        own = sorted((b for b in ledger if b.account == account), key=lambda b: b.token)
        assert data["balances"] == [
            {"rawAvailable": str(b.available), "rawLocked": str(b.locked)} for b in own
        ]


@pytest.mark.parametrize("block", BLOCKS)
async def test_queues_tickers_candles_and_accounts_are_those_of_the_block(
    ask: Ask, indexed: Indexed, mirrors: dict[int, Mirror], block: int
) -> None:
    mirror = mirrors[block]
    pin = f"block: {{number: {block}}}"
    then = [one for one in indexed.trades if one.block_number <= block]
    for market, book in mirror.books.items():
        data = await ask(
            f'{{ book(market: "{market}", limit: 1000, {pin}) {{ bids {{ ...o }} asks {{ ...o }} }}'
            f' candles(market: "{market}", interval: "1m", limit: 1000, {pin}) {{ trades close }}'
            f' seconds: candles(market: "{market}", interval: "1s", limit: 1000, {pin})'
            " { trades } } fragment o on BookOrder { orderId rawPrice rawRemaining position }"
        )
        levels = [one for one in book.levels.rows.values() if one.quantity > 0]
        for side, key, sign in (("buy", "bids", -1), ("sell", "asks", 1)):
            expected = []
            for level in sorted(levels, key=lambda one: sign * one.price):
                if level.side == side:
                    queue = queue_of(book.orders.rows, level.head)
                    expected += [
                        {
                            "orderId": one.order_id,
                            "rawPrice": str(one.price),
                            "rawRemaining": str(one.remaining),
                            "position": place,
                        }
                        for place, one in enumerate(queue, 1)
                    ]
            assert data["book"][key] == expected
        traded = [one for one in then if one.market == market]
        for candles in (data["candles"], data["seconds"]):
            assert sum(one["trades"] for one in candles) == len(traded)
        base, quote = decimals(indexed, market)
        if traded:
            assert data["candles"][-1]["close"] == to_decimal(traded[-1].price, quote)
        fields = "last volume trades bid ask openTime"
        data = await ask(f'{{ tickers(market: "{market}", {pin}) {{ {fields} }} }}')
        (ticker,) = data["tickers"]
        inside = [one for one in traded if one.timestamp >= ticker["openTime"]]
        assert ticker["trades"] == len(inside)
        assert ticker["volume"] == to_decimal(sum(one.quantity for one in inside), base)
        assert ticker["last"] == (to_decimal(traded[-1].price, quote) if traded else None)
        bids = [one.price for one in levels if one.side == "buy"]
        assert ticker["bid"] == (to_decimal(max(bids), quote) if bids else None)
    account = indexed.trades[0].maker
    data = await ask(
        f'{{ account(address: "{account}", {pin}) {{ openOrders(limit: 1000) {{ orderId }} }} }}'
    )
    assert sorted(one["orderId"] for one in data["account"]["openOrders"]) == sorted(
        one.order_id
        for book in mirror.books.values()
        for one in book.orders.rows.values()
        if one.account == account and one.type == "limit" and one.status in WORKING
    )
    held = sorted({one.account for one in mirror.ledger.balances.rows.values()})
    data = await ask(f"{{ accounts(limit: 1000, {pin}) {{ address balances {{ rawLocked }} }} }}")
    assert [one["address"] for one in data["accounts"]] == held
    locked = sum(int(b["rawLocked"]) for one in data["accounts"] for b in one["balances"])
    assert locked == sum(one.locked for one in mirror.ledger.balances.rows.values())


def queue_of(orders: Any, head: int) -> list[Any]:
    """The orders of a level, along the contract's own pointers."""
    found = []
    while head:
        found.append(orders[head])
        head = found[-1].next
    return found


def test_every_root_takes_a_block_and_a_finality() -> None:
    roots = build_schema()._schema.query_type
    assert roots is not None
    for name, root in roots.fields.items():
        assert {"block", "finality", "afterTx"} <= root.args.keys(), name


async def test_what_is_newer_than_the_block_is_left_out(ask: Ask, indexed: Indexed) -> None:
    at = BLOCKS[1]
    data = await ask(
        "query($a: String!, $b: BlockPin) { blocks(limit: 1, block: $b) { number }"
        " fills(account: $a, limit: 1000, block: $b) { blockNumber } reorgs(block: $b) { depth }"
        " divergences(block: $b) { blockNumber } _meta(block: $b) { block { number } }"
        " markets(block: $b) { createdBlock } tokens(block: $b) { address } first: tokens(block:"
        ' {number: 0}) { address } market(symbol: "WETH-USDC", block: {number: 0}) { symbol }'
        " account(address: $a, block: $b) { trades(limit: 1) { blockNumber } } }",
        a=indexed.trades[0].maker,
        b={"number": at},
    )
    assert data["blocks"] == [{"number": at}] == [data["_meta"]["block"]]
    rows = data["fills"] + data["account"]["trades"]
    assert rows
    assert all(one["blockNumber"] <= at for one in rows)
    assert all(one["createdBlock"] <= at for one in data["markets"])
    assert (len(data["tokens"]), data["first"], data["market"]) == (4, [], None)


async def test_a_past_book_is_read_by_index_alone(indexed: Indexed) -> None:
    """No statement goes through a table: the cost does not grow with the chain."""
    asked = {"markets": [first_market(indexed)], "at": BLOCKS[0]}
    query = books._BOOKS
    connection = await postgres.connect(indexed.database_url)
    await connection.execute("set enable_seqscan = off")  # a table this small would be scanned
    await connection.execute("set enable_bitmapscan = off")
    plan = await connection.fetch(f"explain analyze {query.text}", *query.arguments(asked))
    await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan" not in text
    assert "level_changes_market_block_number" in text
    assert "books_pk" in text


async def test_a_page_is_followed_by_the_next(ask: Ask, indexed: Indexed) -> None:
    query = (
        "query($after: String) { tradesConnection(first: 100, after: $after) {"
        " edges { cursor node { blockNumber logIndex } } pageInfo { hasNextPage endCursor } } }"
    )
    found: list[Any] = []
    after = None
    while True:
        page = (await ask(query, after=after))["tradesConnection"]
        found += [edge["node"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [(one["blockNumber"], one["logIndex"]) for one in found] == [
        (one.block_number, one.log_index) for one in reversed(indexed.trades)
    ]


async def test_finality_leaves_out_what_is_newer(ask: Ask) -> None:
    data = await ask(
        "{ _meta { safe finalized head } trades(finality: finalized, limit: 1000) { blockNumber } }"
    )
    final = data["_meta"]["finalized"]
    assert all(one["blockNumber"] <= final for one in data["trades"])


async def code_of(ask_all: Ask, query: str) -> str:
    (error,) = (await ask_all(query))["errors"]
    assert error["extensions"]["hint"]
    code: str = error["extensions"]["code"]
    return code


async def test_a_block_that_cannot_be_answered_about_is_typed(
    ask_all: Ask, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.view.MAX_WAIT_S", 0.05)
    unknown = '"0x' + "ab" * 32 + '"'
    for pin, code in (
        ("{number: 99999999}", "BLOCK_NOT_REACHED"),
        ("{numberGte: 99999999}", "BLOCK_NOT_REACHED"),
        (f"{{hash: {unknown}}}", "BLOCK_NOT_REACHED"),
        ("{number: -5}", "BEYOND_RETENTION"),
        ('{hash: "0x12"}', "BAD_INPUT"),
        ("{}", "BAD_INPUT"),
        ("{number: 5, numberGte: 5}", "BAD_INPUT"),
    ):
        assert await code_of(ask_all, f"{{ trades(block: {pin}) {{ price }} }}") == code, pin
    late = f"{{ trades(afterTx: {unknown}) {{ price }} }}"
    assert await code_of(ask_all, late) == "BLOCK_NOT_REACHED"
    connection: Any = await asyncpg.connect(indexed.database_url)
    retracted = bytes.fromhex("cd" * 32)
    await connection.execute(
        "insert into tidebook.blocks (hash, number, parent_hash, timestamp, finality, canonical)"
        " values ($1, 5, $1, 1, 'latest', false)",
        retracted,
    )
    gone = f'{{ trades(block: {{hash: "0x{retracted.hex()}"}}) {{ price }} }}'
    assert await code_of(ask_all, gone) == "REORGED"
    await connection.execute("delete from tidebook.blocks where hash = $1", retracted)
    await connection.close()


async def test_a_request_waits_for_the_block_and_then_sees_it(
    ask: Ask, ask_all: Ask, indexed: Indexed
) -> None:
    import asyncio

    connection: Any = await asyncpg.connect(indexed.database_url)
    block = await connection.fetchrow("select block_number, block_hash from tidebook.cursors")
    newest = block["block_number"]
    query = f"{{ trades(block: {{numberGte: {newest}}}, limit: 1) {{ price }} _meta {{ seq }} }}"
    back = await connection.fetchval("select hash from tidebook.blocks where number = $1", 900)
    move = "update tidebook.cursors set block_number = $1, block_hash = $2"
    await connection.execute(move, 900, back)
    try:
        waiting = asyncio.ensure_future(ask(query))
        done, _ = await asyncio.wait({waiting}, timeout=0.15)
        assert not done
        await connection.execute(move, newest, block["block_hash"])
        assert (await asyncio.wait_for(waiting, 5))["trades"]
    finally:
        await connection.execute(move, newest, block["block_hash"])
        await connection.close()
    tx = indexed.trades[-1].tx
    assert await ask(f'{{ trades(afterTx: "{tx}", limit: 1) {{ price }} }}')


async def test_the_rest_of_the_roots_agree_with_the_fold(ask: Ask, indexed: Indexed) -> None:
    market = first_market(indexed)
    account = indexed.trades[-1].maker
    data = await ask(
        "query($m: String!, $a: String!) {"
        " blocks(limit: 2) { number hash parentHash finality } reorgs { depth }"
        " tickers { market { address } last volume trades }"
        " fills(account: $a, limit: 1000) { cursor isMaker orderId price blockNumber logIndex }"
        " book(market: $m, limit: 1000) { bids { orderId rawPrice position rawRemaining } }"
        " account(address: $a) { balances { rawLocked } openOrders { orderId } trades(limit: 1)"
        " { price } } }",
        m=market,
        a=account,
    )
    newest, before = data["blocks"]
    assert newest["parentHash"] == before["hash"]
    assert data["reorgs"] == []
    assert {one["market"]["address"] for one in data["tickers"]} == set(indexed.mirror.markets.rows)
    seen = [t for t in indexed.trades for who in (t.maker, t.taker) if who == account]
    assert len(data["fills"]) == min(len(seen), 1000)
    book = next(b for a, b in indexed.mirror.books.items() if a == market)
    by_price: dict[str, int] = {}
    for one in data["book"]["bids"]:
        by_price[one["rawPrice"]] = by_price.get(one["rawPrice"], 0) + int(one["rawRemaining"])
    assert by_price == {
        str(level.price): level.quantity
        for level in book.levels.rows.values()
        if level.side == "buy" and level.quantity > 0
    }


async def test_a_document_costs_the_same_statements_however_many_rows(indexed: Indexed) -> None:
    engine = connect(indexed.database_url, 1, 1.0)
    built = build_schema()
    for root, most in (
        ("tradesConnection(first: %d) { edges { node { market { symbol } } } }", 2),
        ("orders(limit: %d, block: {number: 500}) { market { symbol } }", 4),
        ("tickers(limit: %d) { market { symbol } last }", 3),
        ("tickers(limit: %d, block: {number: 500}) { market { symbol } last }", 7),
        ("accounts(limit: %d) { address balances { locked token { symbol } } }", 3),
        ("accounts(limit: %d, block: {number: 500}) { balances { token { symbol } } }", 5),
        (f'fills(account: "{indexed.trades[0].maker}", limit: %d) {{ market {{ symbol }} }}', 2),
        ('book(market: "WETH-USDC", limit: %d, block: {number: 500}) { bids { orderId } }', 8),
        ("trades(where: {takerSide: buy}, limit: %d) { market { symbol } }", 2),
    ):
        counts = []
        for rows in (1, 400):
            context = Context(engine)
            result = await built.execute("{ " + root % rows + " }", context_value=context)
            assert result.errors is None
            counts.append(context.snapshot.statements)
        assert counts[0] == counts[1] <= most, root
    await engine.dispose()


def test_the_committed_schema_is_what_is_served() -> None:
    committed = Path(schema.__file__).with_name("schema.graphql")
    assert committed.read_text() == schema.text(), "python -m api.schema > api/schema.graphql"
