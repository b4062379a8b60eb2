"""Golden transcripts of `/v1`: dialogues made by the session itself, for whoever writes a client.

python -m ws.native.transcripts > ws/native/transcripts.jsonl

Each line is `{"dialogue", "from", "frame"}`, in the order in which they are said. The clock stands
still; what a gateway finds in its stores is given here instead. Pure.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import UNSET

from indexer.domain.block import Finality
from indexer.domain.listing import Directory, Listing
from indexer.domain.market import Market, Token
from indexer.domain.units import Address, Hash
from indexer.topics import Topic
from indexer.wire import BlockInfo, Message, Op, Stream
from ws.door import Guest
from ws.limits import Limits
from ws.native.book import Book
from ws.native.messages import Heartbeat, Notice, Position, Resolved, Subscribed, say
from ws.native.session import Open, Say, Session
from ws.native.telling import event_of
from ws.native.topics import name_of
from ws.native.usher import scale_of

NOW_MS = 1_735_700_835_250
MARKET = Address("0x" + "a1" * 20)
ACCOUNT = "0x" + "ab" * 20
TX = Hash("0x" + "cc" * 32)
BASE, QUOTE = Address("0x" + "ba" * 20), Address("0x" + "c0" * 20)
DEPTH = "depth:WETH-USDC"
DIRECTORY = Directory(
    [
        Listing(
            Market(MARKET, "WETH-USDC", Hash("0x" + "00" * 32), BASE, QUOTE, 1, 0),
            Token(BASE, "WETH", "Wrapped Ether", 18),
            Token(QUOTE, "USDC", "USD Coin", 6),
        )
    ]
)


class Line(NamedTuple):
    """One frame, and who says it."""

    dialogue: str
    speaker: str
    frame: dict[str, Any]


class Dialogue:
    """One connection: what the client says goes to a session, what that answers is kept."""

    def __init__(self, name: str) -> None:
        self._name = name
        limits = Limits()
        self._session = Session(DIRECTORY, limits, Guest("192.0.2.1", limits))
        self.lines: list[Line] = []
        for effect in self._session.open("e1", 40, NOW_MS):
            assert isinstance(effect, Say)
            self.gateway(effect.frame)

    def client(self, kind: str, **data: Any) -> Open | None:
        """Say something; the channel to be opened, if that is what came of it."""
        frame = {"id": len(self.lines), "type": kind, "data": data}
        self.lines.append(Line(self._name, "client", frame))
        opened = None
        for effect in self._session.receive(json.dumps(frame), NOW_MS):
            match effect:
                case Say(answer):
                    self.gateway(answer)
                case Open():
                    opened = effect
                case _:
                    pass
        return opened

    def begin(self, opened: Open | None, seq: int, **more: Any) -> None:
        """What the gateway finds for an opened channel."""
        assert opened is not None, "opens a channel"
        told = Subscribed(
            channel=name_of(opened.topic, DIRECTORY),
            recovered=more.get("reason") is None,
            reason=more.get("reason"),
            epoch="e1",
            seq=seq,
            conflate=opened.asked.conflate,
            market=scale_of(opened.topic, DIRECTORY) or UNSET,
            snapshot=more.get("snapshot", UNSET),
            checksum=more.get("checksum", UNSET),
        )
        said = self._session.joined(opened, told, NOW_MS)
        assert said is not None, "nobody has left"
        self.gateway(said.frame)

    def gateway(self, frame: bytes) -> None:
        self.lines.append(Line(self._name, "gateway", json.loads(frame)))

    def event(
        self, topic: Topic, message: Message, book: Book | None, *, link: bool = True
    ) -> None:
        """A message of the streams on its way to the client."""
        if book is not None and link:
            book.apply(message.data)
        checksum = book.checksum() if book is not None and link else None
        prev_seq = message.prev_seq if link else None
        event = event_of(name_of(topic, DIRECTORY), message, checksum, prev_seq)
        self.gateway(say(event, NOW_MS))


def message(
    stream: Stream, op: Op, seq: int, prev_seq: int, number: int, data: dict[str, Any]
) -> Message:
    market = MARKET if stream != "system" else None
    finality: Finality = "safe" if op == "promote" else "latest"
    block = BlockInfo(number, Hash(f"0x{number:064x}"), 1_735_700_000 + number)
    tx = TX if stream == "trades" else None
    return Message(stream, "e1", seq, prev_seq, op, market, block, tx, None, finality, data)


def levels(*bids: tuple[str, str, int]) -> dict[str, Any]:
    return {"bids": list(bids), "asks": []}


def a_book_through_a_reorg() -> list[Line]:
    topic, talk = Topic("depth", MARKET), Dialogue("a book through a reorg")
    book = Book([("1999000000", "5000000000000000000", 1)], [("2001000000", "7", 1)])
    opened = talk.client("subscribe", channel=DEPTH)
    snapshot = dict(book.levels())
    talk.begin(opened, 38, reason="fresh", snapshot=snapshot, checksum=book.checksum())
    bid = ("1998000000", "1000000000000000000", 1)
    talk.event(topic, message("depth", "apply", 41, 38, 157, levels(bid)), book)
    about = {"ancestor": {"number": 156, "hash": f"0x{156:064x}"}, "depth": 1}
    begin, end = ({"event": f"reorg.{one}", **about} for one in ("begin", "end"))
    talk.event(topic, message("system", "system", 42, 30, 156, begin), book, link=False)
    gone = levels(("1998000000", "0", 0))
    talk.event(topic, message("depth", "retract", 43, 41, 157, gone), book)
    talk.event(topic, message("system", "system", 44, 42, 156, end), book, link=False)
    other = levels(("1998500000", "2000000000000000000", 1))
    talk.event(topic, message("depth", "apply", 45, 43, 157, other), book)
    promoted = {"block": {"number": 156, "hash": f"0x{156:064x}"}, "finality": "safe"}
    talk.event(topic, message("depth", "promote", 46, 39, 156, promoted), book, link=False)
    talk.gateway(say(Heartbeat("e1", 46, 157, 156, 150, {DEPTH: 45}), NOW_MS))
    talk.client("unsubscribe", channel=DEPTH)
    return talk.lines


def a_place_taken_again() -> list[Line]:
    topic, talk = Topic("trades", MARKET), Dialogue("a place taken again")
    opened = talk.client(
        "subscribe", channel="trades:WETH-USDC", **{"from": {"epoch": "e1", "seq": 35}}
    )
    talk.begin(opened, 35)
    data = {"block_number": 157, "log_index": 4, "price": "2001000000", "quantity": "7"}
    talk.event(topic, message("trades", "apply", 40, 35, 157, data), None)
    opened = talk.client(
        "subscribe", channel=f"orders:{ACCOUNT}", **{"from": {"epoch": "e0", "seq": 9}}
    )
    talk.begin(opened, 12, reason="epoch_changed", snapshot={"orders": []})
    position = Position("e1", 40)
    channels = ["trades:WETH-USDC", f"orders:{ACCOUNT}"]
    talk.gateway(say(Notice("shutdown", position, channels, 1234), NOW_MS))
    return talk.lines


def a_tx_waited_for() -> list[Line]:
    talk = Dialogue("a tx waited for")
    talk.client("waitFor", tx=TX)
    for state in ("latest", "retracted", "latest", "safe", "finalized"):
        block = None if state == "retracted" else 157
        talk.gateway(say(Resolved(TX, state, block), NOW_MS, 1))
    return talk.lines


def what_is_refused() -> list[Line]:
    talk = Dialogue("what is refused")
    talk.client("ping")
    talk.client("subscribe", channel="depth:BTC-USD")
    talk.client("subscribe", channel="system", conflate="5ms")
    talk.client("unsubscribe", channel="system")
    talk.client("place")
    talk.client("waitFor", tx="0x12")
    return talk.lines


def lines() -> Iterator[Line]:
    for dialogue in (a_book_through_a_reorg, a_place_taken_again, a_tx_waited_for, what_is_refused):
        yield from dialogue()


def text() -> str:
    return "".join(
        json.dumps({"dialogue": one.dialogue, "from": one.speaker, "frame": one.frame}) + "\n"
        for one in lines()
    )


if __name__ == "__main__":
    sys.stdout.write(text())
