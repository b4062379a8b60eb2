"""Pure: one client's conversation on `/v1`. Text in, effects out; no sockets, no clock.

Say    a frame to the client         Open, Shut    a channel from now on, or no more
Await  look out for a tx             HangUp        close, with code and reason
"""

from dataclasses import dataclass
from typing import assert_never

import msgspec

from indexer.domain.listing import Directory
from indexer.topics import Topic
from ws.allowance import Budget
from ws.door import Guest
from ws.limits import NOT_TEXT, POLICY, Limits
from ws.native.messages import (
    REQUESTS,
    Error,
    Hello,
    Id,
    Limit,
    Ping,
    Pong,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    WaitFor,
    Waiting,
    say,
)
from ws.native.topics import name_of, topic_named
from ws.session import HangUp

MAX_ID_CHARS = 36
MAX_WAITS = 64
"""Txs one connection may look out for at once."""
WAIT_TIMEOUT_S = 120
HASH_CHARS = 66


@dataclass(frozen=True, slots=True)
class Say:
    frame: bytes


@dataclass(frozen=True, slots=True)
class Open:
    """Answer a request for a channel: `joined` says what came of it."""

    request_id: Id
    topic: Topic
    asked: Subscribe


@dataclass(frozen=True, slots=True)
class Shut:
    topic: Topic


@dataclass(frozen=True, slots=True)
class Await:
    request_id: Id
    tx: str


Effect = Say | Open | Shut | Await | HangUp


class Frame(msgspec.Struct, frozen=True):
    type: str
    id: Id = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Wrong(Exception):
    """A request we do not do, with the error that says so."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


class Session:
    """Which channels one connection has asked for, and what it still waits for."""

    def __init__(self, directory: Directory, limits: Limits, guest: Guest) -> None:
        self._directory = directory
        self._limits = limits
        self._guest = guest
        self._budget = Budget(limits.native_inbound_per_s, limits.inbound_bytes_per_s, "connection")
        self.topics: dict[Topic, Subscribe] = {}
        self.waits: dict[str, Id] = {}

    def open(self, epoch: str | None, seq: int, now_ms: int) -> list[Effect]:
        limits = self._limits
        limit = Limit(
            limits.streams_per_connection,
            limits.native_inbound_per_s,
            limits.inbound_bytes,
            limits.replay_messages,
        )
        return [Say(say(Hello(epoch, seq, int(limits.heartbeat_s * 1000), limit), now_ms))]

    def receive(self, text: str | bytes, now_ms: int) -> list[Effect]:
        """Answer one frame of the client's."""
        for budget in (self._budget, self._guest.budget):
            if words := budget.hear(text, now_ms / 1000):
                return [HangUp(POLICY, words)]
        if isinstance(text, bytes):
            return [HangUp(NOT_TEXT, "expected text frames")]
        request_id: Id = None
        try:
            frame = _decode(text)
            request_id = frame.id
            return self._answer(frame, now_ms)
        except Wrong as wrong:
            return [Say(say(wrong.error, now_ms, request_id))]

    def _answer(self, frame: Frame, now_ms: int) -> list[Effect]:
        match _request(frame):
            case Subscribe() as asked:
                return [self._subscribe(frame.id, asked)]
            case Unsubscribe(channel):
                topic = self._topic(channel)
                if topic not in self.topics:
                    raise Wrong(Error("not_subscribed", f"{channel} is not subscribed"))
                self._drop(topic)
                gone = Unsubscribed(name_of(topic, self._directory))
                return [Shut(topic), Say(say(gone, now_ms, frame.id))]
            case WaitFor(tx):
                tx = tx.lower()
                if len(tx) != HASH_CHARS or not tx.startswith("0x") or not _is_hex(tx[2:]):
                    raise Wrong(Error("invalid", "tx: expected 0x and 64 hex digits"))
                if tx not in self.waits and len(self.waits) >= MAX_WAITS:
                    raise Wrong(Error("too_many", f"at most {MAX_WAITS} txs at once"))
                self.waits[tx] = frame.id
                told = Say(say(Waiting(tx, WAIT_TIMEOUT_S * 1000), now_ms, frame.id))
                return [told, Await(frame.id, tx)]
            case Ping():
                return [Say(say(Pong(), now_ms, frame.id))]
            case other:
                raise AssertionError(other)

    def _subscribe(self, request_id: Id, asked: Subscribe) -> Open:
        topic = self._topic(asked.channel)
        if asked.from_position is not None and asked.from_block is not None:
            raise Wrong(Error("invalid", "from and fromBlock exclude each other"))
        if topic not in self.topics:
            guest, limits = self._guest, self._limits
            for held, most, whose in (
                (len(self.topics), limits.streams_per_connection, "connection"),
                (guest.subscriptions, limits.subscriptions_per_address, "address"),
            ):
                if held >= most:
                    raise Wrong(Error("too_many", f"at most {most} channels per {whose}"))
            guest.subscriptions += 1
        self.topics[topic] = asked
        return Open(request_id, topic, asked)

    def joined(self, opened: Open, outcome: Subscribed | Error, now_ms: int) -> Say | None:
        """What came of an Open; None if the client has changed its mind meanwhile."""
        if self.topics.get(opened.topic) is not opened.asked:
            return None
        match outcome:
            case Subscribed():
                pass
            case Error():
                self._drop(opened.topic)
            case _:
                assert_never(outcome)
        return Say(say(outcome, now_ms, opened.request_id))

    def _drop(self, topic: Topic) -> None:
        del self.topics[topic]
        self._guest.subscriptions -= 1

    def _topic(self, channel: str) -> Topic:
        topic = topic_named(channel, self._directory)
        if topic is None:
            raise Wrong(Error("unknown_channel", f"there is no channel {channel[:64]}"))
        return topic


def _decode(text: str) -> Frame:
    try:
        frame = msgspec.json.decode(text, type=Frame)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise Wrong(Error("invalid", f"not a frame: {error}"[:200])) from error
    if isinstance(frame.id, str) and len(frame.id) > MAX_ID_CHARS:
        raise Wrong(Error("invalid", f"id: at most {MAX_ID_CHARS} characters"))
    return frame


def _request(frame: Frame) -> msgspec.Struct:
    kind = REQUESTS.get(frame.type)
    if kind is None:
        known = ", ".join(REQUESTS)
        raise Wrong(Error("invalid", f"type {frame.type[:64]!r}: expected one of {known}"))
    try:
        request: msgspec.Struct = msgspec.json.decode(frame.data, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Wrong(Error("invalid", f"{frame.type}: {error}"[:200])) from error
    return request


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in digits)
