"""Our messages in Binance's words."""

import json
from typing import Any

import pytest

from indexer.domain.units import Address, Hash
from indexer.wire import BlockInfo, Message, Op, Stream
from tests.listed import listing
from ws.channels import Channel, channel_of, payload

MARKET = Address("0x" + "a1" * 20)
LISTING = listing(MARKET, "WETH-USDC")
BLOCK = BlockInfo(156, Hash("0x" + "bb" * 32), 1_735_700_835)
TRADE = {
    "block_number": 156,
    "log_index": 5,
    "timestamp": 1_735_700_835,
    "price": "2000500000",
    "quantity": "1500000000000000000",
    "taker_side": "buy",
}
LEVELS = {
    "bids": [["2000000000", "1000000000000000000", 1], ["1999000000", "0", 0]],
    "asks": [["2001000000", "5", 1]],
}


def say(stream: Stream, op: Op, data: dict[str, Any], seq: int = 12, prev_seq: int = 9) -> Message:
    return Message(stream, "e1", seq, prev_seq, op, MARKET, BLOCK, Hash("0x"), 5, "latest", data)


def test_a_trade_has_binances_fields_and_types() -> None:
    assert json.loads(payload("trade", say("trades", "apply", TRADE), LISTING)) == {
        "e": "trade",
        "E": 1_735_700_835_000,
        "s": "WETHUSDC",
        "t": 156 * 2**20 + 5,
        "p": "2000.5",
        "q": "1.5",
        "T": 1_735_700_835_000,
        "m": False,
        "M": True,
    }


def test_a_diff_carries_the_links_of_both_families() -> None:
    assert json.loads(payload("depth", say("depth", "apply", LEVELS), LISTING)) == {
        "e": "depthUpdate",
        "E": 1_735_700_835_000,
        "s": "WETHUSDC",
        "U": 10,
        "u": 12,
        "pu": 9,
        "b": [["2000", "1"], ["1999", "0"]],
        "a": [["2001", "0.000000000000000005"]],
    }


@pytest.mark.parametrize(
    ("stream", "op", "channel"),
    [
        ("trades", "apply", Channel(MARKET, "trade")),
        ("trades", "retract", None),
        ("depth", "apply", Channel(MARKET, "depth")),
        ("depth", "retract", Channel(MARKET, "depth")),
        ("depth", "snapshot", None),
        ("orders", "apply", None),
        ("system", "system", None),
    ],
)
def test_strict_clients_get_what_their_dialect_can_say(
    stream: Stream, op: Op, channel: Channel | None
) -> None:
    assert channel_of(say(stream, op, {})) == channel
