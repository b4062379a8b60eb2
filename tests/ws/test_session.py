"""Dialogues: what a client says, and what the session does about it. No sockets."""

import json
from typing import Any

import pytest

from indexer.domain.listing import Directory
from indexer.domain.units import Address
from tests.listed import listing
from ws.channels import Channel, stream_channel
from ws.door import Guest
from ws.limits import NOT_TEXT, POLICY, Limits
from ws.session import HangUp, Join, Leave, Refused, Say, Session

WETH_USDC = Address("0x" + "a1" * 20)
OTHER_WETH_USDC = Address("0x" + "a2" * 20)
DIRECTORY = Directory([listing(WETH_USDC, "WETH-USDC"), listing(OTHER_WETH_USDC, "WETH-USDC-2")])
TRADES = Channel(WETH_USDC, "trade")
DEPTH = Channel(WETH_USDC, "depth@1000ms")


def make_session(limits: Limits | None = None, *, combined: bool = False) -> Session:
    limits = limits or Limits(inbound_per_s=1000)
    return Session(DIRECTORY, limits, Guest("1.2.3.4", limits), combined=combined)


def ask(session: Session, method: str, *params: object, request_id: object = 1) -> list[Any]:
    request = {"method": method, "params": list(params), "id": request_id}
    return heard(session.receive(json.dumps(request), 0.0))


def heard(effects: list[Any]) -> list[Any]:
    """Effects with what was said as JSON."""
    return [json.loads(one.text) if isinstance(one, Say) else one for one in effects]


def error(session: Session, text: str) -> tuple[int, str, Any]:
    (answer,) = heard(session.receive(text, 0.0))
    assert answer["error"] == {"code": answer["code"], "msg": answer["msg"]}
    return answer["code"], answer["msg"], answer["id"]


def test_subscribing_joins_the_channels_and_answers_null() -> None:
    session = make_session()
    assert ask(session, "SUBSCRIBE", "wethusdc@trade", "weth-usdc@depth", request_id=7) == [
        Join("wethusdc@trade", TRADES),
        Join("weth-usdc@depth", DEPTH),
        {"result": None, "id": 7},
    ]
    assert ask(session, "LIST_SUBSCRIPTIONS") == [
        {"result": ["wethusdc@trade", "weth-usdc@depth"], "id": 1}
    ]


def test_subscribing_twice_is_subscribing_once() -> None:
    session = make_session()
    ask(session, "SUBSCRIBE", "wethusdc@trade")
    assert ask(session, "SUBSCRIBE", "wethusdc@trade") == [{"result": None, "id": 1}]


def test_unsubscribing_leaves_what_was_joined_and_nothing_else() -> None:
    session = make_session()
    ask(session, "SUBSCRIBE", "wethusdc@trade")
    answer = {"result": None, "id": None}
    assert ask(session, "UNSUBSCRIBE", "wethusdc@trade", "wethusdc@depth", request_id=None) == [
        Leave("wethusdc@trade", TRADES),
        answer,
    ]
    assert session.streams == {}


def test_the_url_subscribes() -> None:
    assert make_session().open(["wethusdc@trade"]) == [Join("wethusdc@trade", TRADES)]
    with pytest.raises(Refused, match="invalid stream btcusdt@trade"):
        make_session().open(["wethusdc@trade", "btcusdt@trade"])


def test_an_unknown_stream_subscribes_to_nothing() -> None:
    session = make_session()
    (answer,) = ask(session, "SUBSCRIBE", "wethusdc@trade", "btcusdt@trade")
    assert (answer["code"], answer["id"]) == (2, 1)
    assert session.streams == {}


@pytest.mark.parametrize("stream", ["wethusdc@depth@7ms", "wethusdc@kline_2s", "wethusdc", "@"])
def test_a_stream_we_do_not_keep_is_not_promised(stream: str) -> None:
    assert ask(make_session(), "SUBSCRIBE", stream)[0]["code"] == 2


def test_two_markets_of_one_symbol_have_names_of_their_own() -> None:
    named = {"wethusdc": WETH_USDC, "wethusdc2": OTHER_WETH_USDC, "weth-usdc-2": OTHER_WETH_USDC}
    for name, market in {**named, str(OTHER_WETH_USDC): OTHER_WETH_USDC}.items():
        assert stream_channel(DIRECTORY, f"{name}@trade") == Channel(market, "trade")


def test_the_combined_property_can_be_set_and_asked_for() -> None:
    session = make_session()
    assert ask(session, "GET_PROPERTY", "combined") == [{"result": False, "id": 1}]
    assert ask(session, "SET_PROPERTY", "combined", True) == [{"result": None, "id": 1}]
    assert ask(session, "GET_PROPERTY", "combined") == [{"result": True, "id": 1}]
    assert session.combined


@pytest.mark.parametrize("request_id", [0, -(2**63), 2**63 - 1, "x" * 36, None])
def test_every_documented_id_comes_back(request_id: object) -> None:
    answer = ask(make_session(), "LIST_SUBSCRIPTIONS", request_id=request_id)
    assert answer == [{"result": [], "id": request_id}]


@pytest.mark.parametrize("request_id", [1.5, 2**63, "x" * 37, True, [], {}])
def test_other_ids_are_refused(request_id: object) -> None:
    text = json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": request_id})
    expected = "Invalid request: request ID must be an unsigned integer"
    assert error(make_session(), text) == (2, expected, None)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", 3, "Invalid JSON: expected value at line 1 column"),
        ("{", 3, "Invalid JSON: expected value at line 1 column"),
        ("[" * 50_000, 3, "Invalid JSON"),
        ("[]", 2, "Invalid request: expected an object"),
        ('{"id":1}', 2, "Invalid request: missing field `method`"),
        ('{"method":"PLACE","id":1}', 2, "Invalid request: unknown variant `PLACE`, expected one"),
        ('{"method":5,"id":1}', 2, "Invalid request: unknown variant `5`"),
        ('{"method":"SUBSCRIBE","params":[],"id":1}', 2, "Invalid request: params must be stream"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "Invalid request: params must be stream"),
        ('{"method":"SUBSCRIBE","params":"a","id":1}', 2, "Invalid request: params must be an arr"),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["a"],"id":1}', 2, "Invalid request: too many"),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2, "Invalid request: property name must"),
        ('{"method":"GET_PROPERTY","params":["speed"],"id":1}', 0, "Unknown property"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "Invalid value type: exp"),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1, "Invalid value type: expec"),
    ],
)
def test_errors_have_binances_codes(text: str, code: int, words: str) -> None:
    found, message, _ = error(make_session(), text)
    assert found == code
    assert message.startswith(words)


def test_the_streams_of_a_connection_are_limited() -> None:
    session = make_session(Limits(streams_per_connection=1))
    ask(session, "SUBSCRIBE", "wethusdc@trade")
    (answer,) = ask(session, "SUBSCRIBE", "wethusdc@depth")
    assert "at most 1 per connection" in answer["msg"]


def test_who_talks_too_much_is_hung_up_on() -> None:
    session = make_session(Limits(inbound_per_s=2))
    asking = json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    for now_s in (10.0, 10.0):
        assert isinstance(session.receive(asking, now_s)[0], Say)
    assert session.receive(asking, 10.1) == [
        HangUp(POLICY, "more than 2 messages per second of one connection")
    ]
    assert isinstance(session.receive(asking, 10.7)[0], Say)


def test_binary_frames_are_hung_up_on() -> None:
    assert make_session().receive(b"{}", 0.0) == [HangUp(NOT_TEXT, "expected text frames")]
