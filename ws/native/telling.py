"""A message of the streams as the frame that carries it, and what goes into frames."""

import time

from msgspec import UNSET

from indexer.wire import Message
from ws.native.messages import Event


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def event_of(channel: str, message: Message, checksum: int | None, prev_seq: int | None) -> Event:
    """A message as the frame that carries it."""
    return Event(
        channel=channel,
        stream=message.stream,
        epoch=message.epoch,
        seq=message.seq,
        prev_seq=prev_seq,
        op=message.op,
        market=message.market,
        block=message.block,
        tx=message.tx,
        log_index=message.log_index,
        finality=message.finality,
        data=message.data,
        checksum=UNSET if checksum is None else checksum,
    )
