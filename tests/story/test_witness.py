"""The second witness at the command: what the chain did, what it would do, and pure matching."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.story.market import run

MATCHED = "0x432c3a35a43fc665c09f0291c507707d040b5ad016703de7b2462a71c767b39a"


@pytest.fixture(autouse=True)
def own_database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", database_url)


async def test_every_fill_of_a_recording_is_verified(recordings: Path) -> None:
    await run("replay", str(recordings / "gtx_chaos.jsonl.gz"))
    code, out, err = await run("verify")
    assert (code, err) == (0, "")
    assert b"866 trades: 866 verified, 0 undecided, 0 divergences" in out
    state = json.loads((await run("export"))[1])
    assert all(t["verified"] is True for m in state["markets"] for t in m["trades"])


async def test_a_forged_price_is_found_and_told(recordings: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged.jsonl.gz"
    block, log_index = forge(recordings / "gtx_main.jsonl.gz", forged)
    await run("replay", str(forged))
    code, out, err = await run("verify")
    assert code == 1
    assert err == "tidebook: the chain did not do what its rules say: 1 divergences\n"
    assert f"block {block}, log {log_index}" in out.decode()
    assert "wrong_price" in out.decode()
    assert (await run("verify", "--to", str(block - 1)))[0] == 0
    status = json.loads((await run("status", "--json"))[1])
    assert status["divergences"] == 1
    state = json.loads((await run("export"))[1])
    refuted = [t for m in state["markets"] for t in m["trades"] if t["verified"] is not True]
    assert [(t["block_number"], t["log_index"]) for t in refuted] == [(block, log_index)]
    assert refuted[0]["verified"] is False


def forge(source: Path, target: Path) -> tuple[int, int]:
    """Add one to the price of the last trade of a block in the middle; says which."""
    with gzip.open(source, "rt") as lines:
        text = list(lines)
    for at in range(500, len(text)):
        block: dict[str, Any] = json.loads(text[at])
        matched = [log for log in block["logs"] if log["topics"][0] == MATCHED]
        if not matched:
            continue
        log = matched[-1]
        words = [log["data"][2 + 64 * n : 66 + 64 * n] for n in range(4)]
        words[2] = f"{int(words[2], 16) + 1:064x}"
        log["data"] = "0x" + "".join(words)
        text[at] = json.dumps(block) + "\n"
        with gzip.open(target, "wt") as out:
            out.writelines(text)
        return block["number"], int(log["logIndex"], 16)
    raise AssertionError("a recording without trades")


async def test_an_order_can_be_asked_about_at_the_head_and_in_the_past(recordings: Path) -> None:
    await run("replay", str(recordings / "gtx_main.jsonl.gz"))
    order = ("--market", "WETH-USDC", "--side", "buy", "--quantity", str(10**18))
    code, out, err = await run("simulate", *order)
    assert code == 0, err
    now = json.loads(out)
    assert now["status"] == "filled"
    assert now["filled"] == 10**18
    then = json.loads((await run("simulate", *order, "--block", "300"))[1])
    assert then["fills"] != now["fills"]
    code, out, err = await run("simulate", *order[2:], "--market", "DOGE-USDC")
    assert code == 2
    assert "expected one of WETH-USDC" in err


async def test_what_cannot_be_judged_or_asked_is_refused(recordings: Path) -> None:
    await run("replay", str(recordings / "gtx_chaos.jsonl.gz"))
    state = json.loads((await run("export"))[1])
    market = state["markets"][-1]
    maker = next(o for o in reversed(market["orders"]) if o["status"] == "open")
    side = "sell" if maker["side"] == "buy" else "buy"
    order = ("--side", side, "--quantity", str(10**18), "--price", maker["price"])
    lower = ("--market", market["address"], *order, "--account", maker["account"])
    shouted = _capitals(maker["account"])
    capitals = ("--market", _capitals(market["address"]), *order, "--account", shouted)
    expected = await run("simulate", *lower)
    assert expected[0] == 0
    assert await run("simulate", *capitals) == expected
    for past, option in ((("--block", "999999"), "--block"), (("--account", "me"), "--account")):
        code, out, err = await run("simulate", *lower, *past)
        assert (code, out) == (2, b"")
        assert option in err
    for none in (("--from", "999999"), ("--from", "10", "--to", "5")):
        code, out, err = await run("verify", *none)
        assert (code, out) == (2, b"")
        assert "expected blocks that are indexed" in err
    code, out, err = await run("acknowledge", "NOPE")
    assert (code, out) == (2, b"")
    assert "expected a marked market, of which there are none; found NOPE" in err


def _capitals(address: str) -> str:
    return "0x" + address[2:].upper()


async def test_commands_in_fills_out() -> None:
    commands = [
        {"op": "place", "id": "a", "account": "x", "side": "sell", "price": 100, "quantity": 5},
        {"op": "place", "id": "b", "account": "y", "side": "sell", "price": 100, "quantity": 5},
        {"op": "take", "id": "t", "side": "buy", "quantity": 7, "price": 100},
        {"op": "depth", "levels": 2},
        {"op": "cancel", "id": "nobody"},
    ]
    text = "".join(json.dumps(command) + "\n" for command in commands) + "not json\n"
    code, out, err = await run("match", stdin=text.encode())
    assert (code, err) == (0, "")
    answers = [json.loads(line) for line in out.splitlines()]
    assert answers[2] == {
        "fills": [
            {"maker": "a", "taker": "t", "price": 100, "quantity": 5},
            {"maker": "b", "taker": "t", "price": 100, "quantity": 2},
        ],
        "status": "filled",
        "remaining": 0,
    }
    assert answers[3] == {"bids": [], "asks": [[100, 3]]}
    assert answers[4]["error"].startswith("id: ")
    assert answers[5]["error"].startswith("not JSON")
