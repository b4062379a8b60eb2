"""Decoding: as strict as eth_abi, and clear about what is wrong."""

from typing import Any

import msgspec
import pytest
from eth_abi.abi import decode as decode_abi
from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from hypothesis import given, settings
from hypothesis import strategies as st

import abis
from indexer.decode import EVENTS, SIDES, STATUSES, TIMES_IN_FORCE, are_ours, decode, select
from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.log import Log
from indexer.domain.logs import MalformedLog, pack
from indexer.domain.units import Address, Hash

BOOK = Address("0x" + "b0" * 20)
MANAGER = Address("0x" + "ba" * 20)
POOLS = Address("0x" + "ee" * 20)
BLOCK = Block(7, Hash("0x" + "07" * 32), Hash("0x" + "06" * 32), 1_700_000_000)
DEPLOYMENT = Deployment("gtx", 1, Contracts(POOLS, MANAGER), Address("0x" + "fe" * 20))


def log_of(abi: abis.EventAbi, values: list[Any], address: Address = BOOK) -> Log:
    """A log as a contract would write it, made by eth_abi."""
    topics, words = [abi.topic0], b""
    for field, value in zip(abi.fields, values, strict=True):
        word = encode([field.type], [value])
        if field.indexed:
            topics.append("0x" + word.hex())
        else:
            words += word
    return Log(
        address, topics, "0x" + words.hex(), BLOCK.hash, "0x7", Hash("0x" + "aa" * 32), "0x3"
    )


def abi(name: str, words: int | None = None) -> abis.EventAbi:
    return next(a for a in abis.registry().values() if a.name == name and words in (None, a.words))


def value_of(field: abis.Field) -> st.SearchStrategy[Any]:
    if field.name == "side":
        return st.integers(0, 1)
    if field.name == "status":
        return st.integers(0, 5)
    if field.name == "timeInForce":
        return st.integers(0, 3)
    if field.type == "bool":
        return st.booleans()
    if field.type == "address":
        return st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())
    if field.type == "bytes32":
        return st.binary(min_size=32, max_size=32)
    if field.name in ("id", "currencyId"):  # a currency id is a token's address
        return st.integers(0, 2**160 - 1)
    return st.integers(0, 2 ** int(field.type.removeprefix("uint")) - 1)


@pytest.mark.parametrize("shape", abis.registry().values(), ids=lambda a: f"{a.name}-{a.words}")
@given(data=st.data())
def test_every_event_says_what_eth_abi_wrote(shape: abis.EventAbi, data: st.DataObject) -> None:
    values = [data.draw(value_of(field)) for field in shape.fields]
    (event,) = decode(BLOCK, [log_of(shape, values)])
    assert (event.address, event.log_index) == (BOOK, 3)
    if shape.name not in EVENTS:
        assert isinstance(event, ev.Noted)
        assert event.name == shape.name
        return
    said = dict(zip([field.name for field in shape.fields], values, strict=True))
    for ours, source in EVENTS[shape.name][1].items():
        theirs, _, reading = source.partition(":")
        expected = READINGS.get(reading, lambda value: value)(said.get(theirs, 0))
        if isinstance(expected, bytes):
            expected = "0x" + expected.hex()
        assert getattr(event, ours) == expected, ours


READINGS: dict[str, Any] = {
    "token": lambda number: f"0x{number:040x}",
    "SIDES": SIDES.__getitem__,
    "STATUSES": STATUSES.__getitem__,
    "TIMES_IN_FORCE": TIMES_IN_FORCE.__getitem__,
    "TYPES": ("limit", "market").__getitem__,
}


@pytest.mark.parametrize(
    "shape", [a for a in abis.registry().values() if a.name in EVENTS], ids=lambda a: a.name
)
@settings(max_examples=20)
@given(data=st.data())
def test_a_word_that_eth_abi_refuses_is_refused_and_named(
    shape: abis.EventAbi, data: st.DataObject
) -> None:
    values = [data.draw(value_of(field)) for field in shape.fields]
    at = data.draw(st.integers(0, len(values) - 1))
    bits = data.draw(st.sets(st.integers(0, 255), max_size=2))
    word = f"{sum(1 << bit for bit in bits):064x}"
    log, field = with_word(log_of(shape, values), shape, at, word), shape.fields[at]
    reading = next((r for r in EVENTS[shape.name][1].values() if r.split(":")[0] == field.name), "")
    if not reading or accepts(field.type, reading.partition(":")[2], word):
        decode(BLOCK, [log])
    else:
        with pytest.raises(MalformedLog, match=rf"expected {field.name}: .*{word}"):
            decode(BLOCK, [log])


def with_word(log: Log, shape: abis.EventAbi, at: int, word: str) -> Log:
    """A log with the word of one field replaced."""
    place = sum(one.indexed == shape.fields[at].indexed for one in shape.fields[:at])
    if shape.fields[at].indexed:
        topics = [*log.topics[: place + 1], "0x" + word, *log.topics[place + 2 :]]
        return msgspec.structs.replace(log, topics=topics)
    start = 2 + 64 * place
    text = log.data[:start] + word + log.data[start + 64 :]
    return msgspec.structs.replace(log, data=text)


def accepts(kind: str, reading: str, word: str) -> bool:
    """Whether eth_abi, and where the word is one of ours that, would take it."""
    try:
        (value,) = decode_abi(["address" if reading == "token" else kind], bytes.fromhex(word))
    except DecodingError:
        return False
    choices = {"SIDES": 2, "STATUSES": 6, "TIMES_IN_FORCE": 4, "TYPES": 2}
    return reading not in choices or int(value) < choices[reading]


BAD_WORDS = [
    ("uint48 too large", 0, "ff" * 32, "expiry: uint48"),
    ("no such status", 4, f"{9:064x}", "status: one of open/"),
    ("no bool", 3, f"{2:064x}", "isMarketOrder: one of limit/market"),
]


@pytest.mark.parametrize(("what", "word", "text", "expected"), BAD_WORDS, ids=lambda v: str(v)[:20])
def test_a_word_out_of_range_is_named(what: str, word: int, text: str, expected: str) -> None:
    shape = abi("OrderPlaced", 5)
    good = log_of(shape, [1, BOOK, 0, 5, 6, 7, False, 0])
    at = {0: 2, 3: 3, 4: 4}[word]  # price, quantity, expiry, isMarketOrder, status
    data = good.data[: 2 + 64 * at] + text + good.data[2 + 64 * (at + 1) :]
    with pytest.raises(MalformedLog) as caught:
        decode(BLOCK, [msgspec.structs.replace(good, data=data)])
    assert expected in str(caught.value), what
    assert f"block 7 ({BLOCK.hash}), log 0x3" in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ({"data": "0x"}, "Deposit with 3 topics and 32 bytes of data, found 3 topics and 0 bytes"),
        ({"data": "0x" + "00" * 31}, "32 bytes of data, found 3 topics and 31 bytes"),
        ({"topics": [abi("Deposit").topic0]}, "32 bytes of data, found 1 topics and 32 bytes"),
        ({"data": "0x" + "zz" * 32}, "32 bytes as hex digits, found 0xzzzz"),
    ],
)
def test_a_log_of_the_wrong_form_is_told_with_expected_and_found(
    bad: dict[str, Any], found: str
) -> None:
    good = log_of(abi("Deposit"), [BOOK, 5, 6])
    with pytest.raises(MalformedLog, match=f"log 0x3, .*: expected .*{found}"):
        decode(BLOCK, [msgspec.structs.replace(good, **bad)])


def test_a_topic_that_no_abi_knows_becomes_an_unknown_event() -> None:
    strange = msgspec.structs.replace(
        log_of(abi("Deposit"), [BOOK, 5, 6]), topics=["0x" + "5a" * 32]
    )
    anonymous = msgspec.structs.replace(strange, topics=[], log_index="0x4")
    events = decode(BLOCK, [strange, anonymous])
    assert [type(event) for event in events] == [ev.Unknown, ev.Unknown]
    assert isinstance(events[0], ev.Unknown)
    assert events[0].topic0 == "0x" + "5a" * 32
    assert [event.log_index for event in events] == [3, 4]


def test_a_market_counts_from_the_log_that_creates_it() -> None:
    created = log_of(abi("PoolCreated"), [b"p" * 32, BOOK, MANAGER, POOLS], POOLS)
    cancelled = log_of(abi("OrderCancelled"), [1, BOOK, 5, 3], BOOK)
    assert select([cancelled, created, cancelled], DEPLOYMENT, ()) == [created, cancelled]
    forged = msgspec.structs.replace(created, address=BOOK)
    assert select([forged, cancelled], DEPLOYMENT, ()) == []


def test_a_payout_counts_only_where_it_has_no_event_of_its_own() -> None:
    paid = log_of(abi("Transfer"), [MANAGER, BOOK, 5], Address("0x" + "70" * 20))
    received = log_of(abi("Transfer"), [BOOK, MANAGER, 5], Address("0x" + "70" * 20))
    assert select([paid, received], DEPLOYMENT, ()) == [paid]
    received = msgspec.structs.replace(received, log_index="0x4")
    assert are_ours(pack(BLOCK, [paid]), DEPLOYMENT, ())
    assert not are_ours(pack(BLOCK, [paid, received]), DEPLOYMENT, ())
    scalex = msgspec.structs.replace(DEPLOYMENT, protocol="scalex")
    assert select([paid, received], scalex, ()) == []
    assert not are_ours(pack(BLOCK, [paid]), scalex, ())


@pytest.mark.parametrize(
    "bad",
    [{"data": "0x"}, {"data": "0x" + "00" * 64}, {"receiver": "0x" + "ff" * 32}],
)
def test_what_only_looks_like_a_payout_stops_nobody(bad: dict[str, Any]) -> None:
    paid = log_of(abi("Transfer"), [MANAGER, BOOK, 5], Address("0x" + "70" * 20))
    if "receiver" in bad:
        bad = {"topics": [*paid.topics[:2], bad["receiver"]]}
    forged = msgspec.structs.replace(paid, log_index="0x4", **bad)
    assert not are_ours(pack(BLOCK, [paid, forged]), DEPLOYMENT, ())
    assert select([paid, forged], DEPLOYMENT, ()) == [paid]
    assert len(decode(BLOCK, select(pack(BLOCK, [paid, forged]), DEPLOYMENT, ()))) == 1
