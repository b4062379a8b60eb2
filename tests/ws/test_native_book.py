"""Books, checksums and conflation: pure."""

import random
from pathlib import Path
from typing import Any

from indexer.domain.units import Address, Hash
from indexer.topics import Topic
from indexer.wire import BlockInfo, Message, Op, Stream
from ws.native import asyncapi
from ws.native.book import Book
from ws.native.conflate import Pending

MARKET = Address("0x" + "a1" * 20)
BLOCK = BlockInfo(156, Hash("0x" + "bb" * 32), 1_735_700_835)


def message(seq: int, data: dict[str, Any], op: Op = "apply", stream: Stream = "depth") -> Message:
    return Message(stream, "e1", seq, seq - 1, op, MARKET, BLOCK, None, 1, "latest", data)


def test_the_checksum_is_krakens() -> None:
    """A vector computed by other means: prices of two decimals, quantities of eight."""
    asks = [("10100", "1200000000", 1), ("10025", "150000000", 1), ("10030", "2000000", 1)]
    bids = [("10015", "300000000", 1), ("9990", "100000", 1), ("10020", "75000000", 1)]
    assert Book(bids, asks).checksum() == 1_583_594_488


def test_levels_are_best_first_and_zero_takes_away() -> None:
    book = Book([("5", "1", 1), ("7", "2", 1)], [("9", "1", 1), ("8", "3", 2)])
    book.apply({"bids": [("5", "0", 0), ("4", "0", 0)], "asks": [("9", "6", 1)]})
    assert book.levels() == {"bids": [("7", "2", 1)], "asks": [("8", "3", 2), ("9", "6", 1)]}
    assert book.levels(1)["asks"] == [("8", "3", 2)]


def test_a_book_by_diffs_is_the_book_by_merged_diffs() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    dice = random.Random(seed)
    one, other, pending = Book(), Book(), Pending(Topic("depth", MARKET))
    for seq in range(1, 200):
        data: dict[str, Any] = {
            side: [[str(dice.randint(1, 30)), str(dice.choice((0, 0, 1, 2))), 1]]
            for side in ("bids", "asks")
        }
        op: Op = dice.choice(("apply", "retract", "apply", "snapshot"))
        if op == "snapshot":
            one = Book()
        one.apply(data)
        pending.add(message(seq, data, op))
        if dice.random() < 0.2 and (event := pending.take("depth:X", one.checksum())):
            if event.op == "snapshot":
                other = Book()
            other.apply(event.data)
            assert other.levels() == one.levels()
            assert other.checksum() == event.checksum


def test_states_keep_their_last_word_and_facts_all_of_them() -> None:
    klines, trades = Pending(Topic("klines", MARKET)), Pending(Topic("trades", MARKET))
    for seq, minute in ((1, 60), (2, 120), (3, 60)):
        data = {"open_time": minute, "candle": {"close": str(seq)}}
        klines.add(message(seq, data, stream="klines"))
        trades.add(message(seq, {"price": str(seq)}, stream="trades"))
    candles, all_of_them = klines.take("k", None), trades.take("t", None)
    assert candles is not None
    assert all_of_them is not None
    assert [one["seq"] for one in candles.data["messages"]] == [2, 3]
    assert [one["seq"] for one in all_of_them.data["messages"]] == [1, 2, 3]
    assert (all_of_them.op, all_of_them.prev_seq, all_of_them.seq) == ("batch", 0, 3)
    assert trades.take("t", None) is None


def test_the_asyncapi_document_is_that_of_the_frames() -> None:
    """Else: python -m ws.native.asyncapi > ws/native/asyncapi.json."""
    written = Path(asyncapi.__file__).with_suffix(".json").read_text()
    assert written == asyncapi.text() + "\n"
    document = asyncapi.document()
    for channel in document["channels"]["v1"]["messages"].values():
        assert channel["$ref"].rpartition("/")[2] in document["components"]["messages"]
