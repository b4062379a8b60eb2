"""Pure: every frame of `/v1`, both ways. The AsyncAPI document is made from this module.

Each frame is `{"id", "type", "timestamp", "data"}`: `id` is the client's own and comes back with
the answer, `timestamp` is milliseconds. Numbers of the chain are integers in contract units, as
text; `market` of `subscribed` says how many decimals they have.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from indexer.domain.block import Finality
from indexer.wire import BlockInfo, Op, Stream

Conflation = Literal["raw", "block", "100ms", "1000ms"]
Id = int | str | None
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What Postgres can count."""

# -- what a client says --------------------------------------------------------------------------


class Position(msgspec.Struct, frozen=True):
    """A place in the feed: the newest `seq` a client has of an epoch."""

    epoch: str
    seq: Count


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Have a channel: from now, from a position on, or from the beginning of a block."""

    channel: str
    from_position: Position | None = msgspec.field(name="from", default=None)
    from_block: Count | None = msgspec.field(name="fromBlock", default=None)
    conflate: Conflation = "raw"


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    channel: str


class WaitFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say when a tx is processed, and again when it becomes safe, final, or is taken back."""

    tx: str


class Ping(msgspec.Struct, frozen=True):
    pass


# -- what we say ---------------------------------------------------------------------------------


class Limit(msgspec.Struct, frozen=True):
    channels: int
    inbound_per_s: int
    inbound_bytes: int
    replay_messages: int


class Hello(msgspec.Struct, frozen=True):
    """The first frame: where the feed stands, and what a client may ask of it."""

    epoch: str | None
    seq: int
    heartbeat_ms: int
    limits: Limit


class Scale(msgspec.Struct, frozen=True):
    """A market, and the decimals of its prices and quantities."""

    address: str
    symbol: str
    price_decimals: int
    quantity_decimals: int


class Subscribed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The channel is yours. Either `recovered`, and all since your position follows, or not.

    If not, `snapshot` is the state to begin with and `reason` says why; the next link has `seq` as
    its `prev_seq`. A replay from a block is recovered and begins with the book before that block.
    """

    channel: str
    recovered: bool
    reason: str | None
    epoch: str | None
    seq: int
    conflate: Conflation
    market: Scale | UnsetType = UNSET
    snapshot: dict[str, Any] | UnsetType = UNSET
    checksum: int | UnsetType = UNSET


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a channel.

    `prev_seq` is the seq of the link before: a gap if it is greater than yours. It is null in what
    is no link: `promote`, and `system`, which brackets a reorg. `checksum` is of the book after it.
    """

    channel: str
    stream: Stream
    epoch: str
    seq: int
    prev_seq: int | None
    op: Op | Literal["batch"]
    market: str | None
    block: BlockInfo
    tx: str | None
    log_index: int | None
    finality: Finality
    data: dict[str, Any]
    checksum: int | UnsetType = UNSET


class Heartbeat(msgspec.Struct, frozen=True):
    """Every second: where the feed stands, and the newest link of each of your channels."""

    epoch: str | None
    seq: int
    head: int | None
    safe: int | None
    finalized: int | None
    channels: dict[str, int]


class Unsubscribed(msgspec.Struct, frozen=True):
    channel: str


class Pong(msgspec.Struct, frozen=True):
    pass


class Waiting(msgspec.Struct, frozen=True):
    """We look out for the tx for this long."""

    tx: str
    timeout_ms: int


class Resolved(msgspec.Struct, frozen=True):
    """What became of a tx: one frame a step, `latest` to `finalized`; no more after that."""

    tx: str
    state: Literal["latest", "safe", "finalized", "retracted", "timeout"]
    block: int | None = None


class Notice(msgspec.Struct, frozen=True):
    """What a client should know: `slow` (a fresh snapshot follows) or `shutdown`."""

    reason: Literal["slow", "shutdown"]
    position: Position | None
    channels: list[str] = []
    reconnect_after_ms: int = 0


class Error(msgspec.Struct, frozen=True):
    code: Literal["invalid", "unknown_channel", "too_many", "not_subscribed", "unavailable"]
    message: str


REQUESTS: dict[str, type[msgspec.Struct]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "waitFor": WaitFor,
    "ping": Ping,
}
ANSWERS: dict[str, type[msgspec.Struct]] = {
    "hello": Hello,
    "subscribed": Subscribed,
    "unsubscribed": Unsubscribed,
    "event": Event,
    "heartbeat": Heartbeat,
    "pong": Pong,
    "waiting": Waiting,
    "resolved": Resolved,
    "notice": Notice,
    "error": Error,
}
_TYPES = {answer: name for name, answer in ANSWERS.items()}


def say(data: msgspec.Struct, now_ms: int, request_id: Id = None) -> bytes:
    """One frame of ours as JSON."""
    name = _TYPES[type(data)]
    frame = {"id": request_id, "type": name, "timestamp": now_ms, "data": data}
    return msgspec.json.encode(frame)
