"""Pure: a message of the streams as the frame that carries it."""

from msgspec import UNSET

from indexer.wire import Message
from ws.native.messages import Event


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
