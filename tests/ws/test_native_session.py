"""Dialogues on `/v1`: what a client says, and what is done about it. No sockets."""

import json
from typing import Any

import pytest

from indexer.domain.listing import Directory
from indexer.domain.units import Address
from indexer.topics import Topic
from tests.listed import listing
from ws.door import Guest
from ws.limits import NOT_TEXT, POLICY, Limits
from ws.native.messages import Subscribe, Subscribed
from ws.native.session import Await, Open, Say, Session, Shut
from ws.session import HangUp

MARKET = Address("0x" + "a1" * 20)
ACCOUNT = "0x" + "ab" * 20
DEPTH = Topic("depth", MARKET)
NOW_MS = 1_735_700_835_000


def make_session(limits: Limits | None = None) -> Session:
    limits = limits or Limits()
    guest = Guest("1.2.3.4", limits)
    return Session(Directory([listing(MARKET, "WETH-USDC")]), limits, guest)


def ask(session: Session, kind: str, request_id: object = 7, **data: object) -> list[Any]:
    text = json.dumps({"id": request_id, "type": kind, "data": data})
    return heard(session.receive(text, NOW_MS))


def heard(effects: list[Any]) -> list[Any]:
    return [json.loads(one.frame) if isinstance(one, Say) else one for one in effects]


def error(effects: list[Any]) -> tuple[str, str]:
    (answer,) = effects
    assert answer["type"] == "error"
    return answer["data"]["code"], answer["data"]["message"]


def test_the_first_word_is_ours() -> None:
    (hello,) = heard(make_session().open("e1", 12, NOW_MS))
    assert (hello["type"], hello["id"], hello["timestamp"]) == ("hello", None, NOW_MS)
    assert (hello["data"]["epoch"], hello["data"]["seq"]) == ("e1", 12)
    assert hello["data"]["limits"]["channels"] == 1024


def test_a_subscription_is_opened_and_answered_when_its_past_is_known() -> None:
    session = make_session()
    (opened,) = ask(session, "subscribe", channel="depth:weth-usdc")
    assert opened == Open(7, DEPTH, Subscribe("depth:weth-usdc"))
    outcome = Subscribed("depth:WETH-USDC", False, "fresh", "e1", 3, "raw")
    said = session.joined(opened, outcome, NOW_MS)
    assert said is not None
    answer = json.loads(said.frame)
    assert (answer["id"], answer["type"], answer["data"]["reason"]) == (7, "subscribed", "fresh")


def test_who_has_left_meanwhile_is_told_nothing() -> None:
    session = make_session()
    (opened,) = ask(session, "subscribe", channel="depth:WETH-USDC")
    shut, gone = ask(session, "unsubscribe", channel="depth:WETHUSDC")
    assert (shut, gone["type"]) == (Shut(DEPTH), "unsubscribed")
    outcome = Subscribed("depth:WETH-USDC", False, "fresh", "e1", 3, "raw")
    assert session.joined(opened, outcome, NOW_MS) is None


def test_positions_blocks_and_cadences_are_understood() -> None:
    session = make_session()
    position = {"epoch": "e1", "seq": 5}
    (opened,) = ask(session, "subscribe", channel=f"orders:{ACCOUNT.upper()}".replace("X", "x"))
    assert opened.topic == Topic("orders", ACCOUNT)
    asked = {"channel": "trades:WETH-USDC", "from": position, "conflate": "block"}
    (opened,) = heard(session.receive(json.dumps({"type": "subscribe", "data": asked}), NOW_MS))
    assert (opened.asked.from_position.seq, opened.asked.conflate) == (5, "block")
    (opened,) = ask(session, "subscribe", channel="system", fromBlock=9)
    assert opened.asked.from_block == 9


def test_a_tx_is_waited_for() -> None:
    session, tx = make_session(), "0x" + "Cc" * 32
    told, effect = ask(session, "waitFor", tx=tx)
    assert (told["type"], effect) == ("waiting", Await(7, tx.lower()))


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("subscribe", {"channel": "depth:BTC-USD"}, "unknown_channel"),
        ("subscribe", {"channel": "orders:me"}, "unknown_channel"),
        ("subscribe", {"channel": "gossip"}, "unknown_channel"),
        ("subscribe", {"channel": "system", "conflate": "5ms"}, "invalid"),
        ("subscribe", {"channel": "system", "frm": 1}, "invalid"),
        ("subscribe", {}, "invalid"),
        (
            "subscribe",
            {"channel": "system", "from": {"epoch": "e", "seq": 1}, "fromBlock": 1},
            "invalid",
        ),
        ("unsubscribe", {"channel": "system"}, "not_subscribed"),
        ("waitFor", {"tx": "0x12"}, "invalid"),
        ("waitFor", {"tx": "0x" + "zz" * 32}, "invalid"),
        ("place", {}, "invalid"),
    ],
)
def test_what_we_do_not_do_is_answered_with_a_code(
    kind: str, data: dict[str, Any], code: str
) -> None:
    assert error(ask(make_session(), kind, **data))[0] == code


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"type":1}', '{"id":1.5,"type":"ping"}', "[" * 9999]
)
def test_what_is_no_frame_is_an_error_and_not_the_end(text: str) -> None:
    session = make_session()
    assert error(heard(session.receive(text, NOW_MS)))[0] == "invalid"
    assert ask(session, "ping")[0]["type"] == "pong"


def test_limits_are_reached() -> None:
    session = make_session(Limits(streams_per_connection=1, native_inbound_per_s=3))
    ask(session, "subscribe", channel="system")
    assert error(ask(session, "subscribe", channel="depth:WETH-USDC"))[0] == "too_many"
    ask(session, "ping")
    words = "more than 3 messages per second of one connection"
    assert ask(session, "ping") == [HangUp(POLICY, words)]
    assert make_session().receive(b"{}", NOW_MS) == [HangUp(NOT_TEXT, "expected text frames")]
