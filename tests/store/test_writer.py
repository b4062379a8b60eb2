"""The writer: one step, one transaction, one number; recovery is starting."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from indexer.store import postgres, statements
from indexer.store.errors import WrongChain, WrongDeployment
from tests.store.chains import Chain, exported, load, messages, play, tables

LAST = 240


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


@pytest.fixture
async def clean(chain: Chain, other_database_url: str) -> dict[str, list[Any]]:
    """All tables after a run that nothing disturbed."""
    await play(other_database_url, chain, chain.to(0, LAST))
    return await tables(other_database_url)


async def test_reorgs_leave_what_the_winning_branch_alone_would(
    chain: Chain, clean: dict[str, list[Any]], database_url: str
) -> None:
    await play(
        database_url,
        chain,
        chain.to(0, 160),
        [chain.back_to(155), *chain.to(156, 180)],
        [chain.back_to(120)],  # a head that is our ancestor: a rollback with no advance
        chain.to(121, 200),
        [chain.finalize(170), chain.back_to(171), *chain.to(172, LAST)],
    )
    assert await tables(database_url) == clean


async def test_a_start_after_any_end_goes_on_as_if_there_had_been_none(
    chain: Chain, clean: dict[str, list[Any]], database_url: str
) -> None:
    await play(database_url, chain, chain.to(0, 150))
    await play(database_url, chain, chain.to(151, 190), [chain.finalize(140)])
    await play(database_url, chain, [chain.back_to(145)])  # undoes what two earlier lives did
    await play(database_url, chain, chain.to(146, 160), chain.to(161, LAST))
    assert await tables(database_url) == clean


async def test_a_loaded_mirror_is_the_mirror_that_was_saved(
    chain: Chain, database_url: str
) -> None:
    await play(database_url, chain, chain.to(0, 190), [chain.finalize(160)])
    loaded = await load(database_url, chain)
    assert [applied.block.number for applied in loaded.journal] == list(range(161, 191))
    await play(database_url, chain, chain.to(191, LAST), [chain.back_to(190)])
    again = await load(database_url, chain)
    assert again.journal == loaded.journal
    for market, book in loaded.books.items():
        assert again.books[market].orders.rows == book.orders.rows
        assert again.books[market].levels.rows == book.levels.rows
    assert again.ledger.balances.rows == loaded.ledger.balances.rows


async def test_messages_are_numbered_without_gap_and_chained_by_channel(
    chain: Chain, database_url: str
) -> None:
    await play(database_url, chain, chain.to(0, 160), [chain.back_to(150)])
    await play(database_url, chain, chain.to(151, 180))
    told = await messages(database_url)
    assert [message["seq"] for message in told] == list(range(1, len(told) + 1))
    newest: dict[tuple[Any, ...], int] = {}
    for message in told:
        data = message["data"]
        channel: tuple[Any, ...] = (message["stream"], data.get("account") or message["market"])
        if message["stream"] == "system":
            channel = ("system",)
        assert message["prev_seq"] == newest.get(channel, 0), message
        newest[channel] = message["seq"]


async def test_a_client_of_messages_alone_ends_with_the_book(
    chain: Chain, database_url: str
) -> None:
    await play(database_url, chain, chain.to(0, 190))
    await play(database_url, chain, [chain.back_to(140), *chain.to(141, 170)], [chain.back_to(166)])
    books: dict[str, dict[str, dict[str, list[Any]]]] = {}
    trades: list[tuple[int, int]] = []
    for message in await messages(database_url):
        data = message["data"]
        if message["stream"] == "depth":
            book = books.setdefault(message["market"], {"bids": {}, "asks": {}})
            for side in ("bids", "asks"):
                book[side].update({level[0]: level for level in data[side]})
        elif message["stream"] == "trades":
            name = (data["block_number"], data["log_index"])
            if message["op"] == "apply":
                trades.append(name)
            else:
                assert trades.pop() == name, "retracted newest first"
    assert trades, "blocks with trades"
    state = await exported(database_url)
    for market in state["markets"]:
        book = books.get(market["address"], {"bids": {}, "asks": {}})
        for side in ("bids", "asks"):
            kept = [level for level in book[side].values() if level[1] != "0"]
            kept.sort(key=lambda level: int(level[0]), reverse=side == "bids")
            assert kept == market[side]
    assert sorted(trades) == sorted(
        (trade["block_number"], trade["log_index"])
        for market in state["markets"]
        for trade in market["trades"]
    )


async def test_a_rollback_is_told_between_brackets(chain: Chain, database_url: str) -> None:
    await play(database_url, chain, chain.to(0, 160))
    before = len(await messages(database_url))
    await play(database_url, chain, [chain.back_to(157)])
    begin, *retracted, end = (await messages(database_url))[before:]
    assert begin["data"]["event"] == "reorg.begin"
    assert (begin["data"]["ancestor"]["number"], begin["data"]["depth"]) == (157, 3)
    assert end["data"]["event"] == "reorg.end"
    assert retracted
    assert {message["op"] for message in retracted} == {"retract"}
    heights = [message["block"]["number"] for message in retracted]
    assert heights == sorted(heights, reverse=True)


async def test_a_database_of_other_contracts_is_refused(chain: Chain, database_url: str) -> None:
    await play(database_url, chain, chain.to(0, 3))
    before = await tables(database_url)
    for change, error in (({"chain_id": 1}, WrongChain), ({"protocol": "scalex"}, WrongDeployment)):
        other = Chain.__new__(Chain)
        other.deployment = msgspec.structs.replace(chain.deployment, **change)
        with pytest.raises(error, match="use another database"):
            await play(database_url, other)
    assert await tables(database_url) == before


async def test_a_chain_id_of_any_size(recordings: Path, database_url: str) -> None:
    chain = Chain(recordings / "gtx_main.jsonl.gz", 3)
    chain.deployment = msgspec.structs.replace(chain.deployment, chain_id=2**62)
    await play(database_url, chain, chain.to(0, 3))
    assert (await exported(database_url))["chain_id"] == 2**62


async def test_a_divergence_is_stored_told_and_taken_back_with_its_block(
    recordings: Path, database_url: str
) -> None:
    forged = Chain(recordings / "gtx_chaos.jsonl.gz", LAST)
    number = forge_a_price(forged, 200)
    await play(database_url, forged, forged.to(0, number))
    (told,) = [m for m in await messages(database_url) if m["data"].get("event") == "divergence"]
    assert (told["op"], told["data"]["kind"]) == ("apply", "wrong_price")
    assert told["block"]["number"] == number
    await play(database_url, forged, [forged.back_to(number - 1)])
    taken_back = (await messages(database_url))[-1]
    (again,) = [
        m
        for m in await messages(database_url)
        if m["op"] == "retract" and m["data"].get("event") == "divergence"
    ]
    assert again["data"] == told["data"]
    assert taken_back["data"]["event"] == "reorg.end"


def forge_a_price(chain: Chain, first: int) -> int:
    """Add one to the price of the last match of a block from `first` on; which block."""
    for at in range(first, len(chain.advances)):
        advance = chain.advances[at]
        for position, log in reversed(list(enumerate(advance.logs))):
            if log.topics[0].startswith("0x432c3a35"):
                price = int(log.data[130:194], 16) + 1
                data = f"{log.data[:130]}{price:064x}{log.data[194:]}"
                logs = list(advance.logs)
                logs[position] = msgspec.structs.replace(log, data=data)
                chain.advances[at] = msgspec.structs.replace(advance, logs=tuple(logs))
                return at
    raise AssertionError("a recording without matches")


async def test_a_promotion_is_told_once_per_block_and_stream(
    chain: Chain, database_url: str
) -> None:
    await play(
        database_url,
        chain,
        [*chain.to(0, 170), chain.secure(160)],
        [chain.finalize(156)],
    )
    await play(  # another life; the safe blocks 158 to 160 go and come again
        database_url,
        chain,
        [chain.back_to(157), *chain.to(158, 172), chain.secure(165), chain.finalize(165)],
        [chain.secure(166)],
    )
    told = await messages(database_url)
    applied = {(m["stream"], m["block"]["number"]) for m in told if m["op"] == "apply"}
    for finality, last, again in (("safe", 166, {158, 159, 160}), ("finalized", 165, set())):
        promoted = [
            (m["stream"], m["block"]["number"])
            for m in told
            if m["op"] == "promote" and m["finality"] == finality
        ]
        system = {("system", number) for number in range(1, last + 1)}
        assert set(promoted) == {one for one in applied if one[1] <= last} | system
        twice = {number for _, number in promoted if promoted.count(("system", number)) > 1}
        assert twice == again, finality


async def test_a_promotion_looks_at_no_block_that_was_final_before(
    chain: Chain, database_url: str
) -> None:
    """It is made with nearly every block: its cost must not grow with the chain."""
    await play(database_url, chain, [*chain.to(0, 170), chain.finalize(156)])
    connection = await postgres.connect(database_url)
    await connection.execute("set enable_seqscan = off")  # a table this small would be scanned
    await connection.execute("set enable_bitmapscan = off")
    plan = await connection.fetch(f"explain analyze {statements._PROMOTE}", 158, "finalized")
    final = "select count(*) from tidebook.blocks where finality = 'finalized'"
    assert await connection.fetchval(final) == 159
    await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert "blocks_canonical_number" in text
    assert "Index Cond: ((number >" in text
    assert "Removed" not in text
