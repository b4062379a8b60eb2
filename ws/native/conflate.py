"""Pure: many messages of a channel as one, for clients that would rather have fewer.

A book's changes are absolute, so the last word on each level stands for all of them. Other channels
keep their messages as they were, in a `batch`; where they carry a state to set, only the last one.
"""

from typing import Any, Literal

import msgspec

from indexer.topics import Topic
from indexer.wire import Message
from ws.native.messages import Event

TOLD_AS_STATE = {"klines": "open_time", "orders": "order_id", "balances": "token"}
"""Streams whose messages set a state, and what they set it of."""


class Pending:
    """What one channel gathers until its window closes."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._messages: list[Message] = []

    @property
    def first(self) -> Message | None:
        return self._messages[0] if self._messages else None

    @property
    def newest(self) -> Message | None:
        return self._messages[-1] if self._messages else None

    def add(self, message: Message) -> None:
        """Gather a link of the channel."""
        self._messages.append(message)

    def take(self, channel: str, checksum: int | None) -> Event | None:
        """Everything gathered as one event; None if there is nothing."""
        if not self._messages:
            return None
        messages, self._messages = self._messages, []
        first, last = messages[0], messages[-1]
        depth = self._topic.stream == "depth"
        if depth:
            data = _levels(messages)
        else:
            data = {"messages": [_item(one) for one in _latest(messages)]}
        op: Literal["batch", "snapshot", "apply"] = "batch"
        if depth:
            op = "snapshot" if any(one.op == "snapshot" for one in messages) else "apply"
        return Event(
            channel=channel,
            stream=last.stream,
            epoch=last.epoch,
            seq=last.seq,
            prev_seq=first.prev_seq,
            op=op,
            market=last.market,
            block=last.block,
            tx=None,
            log_index=None,
            finality=last.finality,
            data=data,
            checksum=msgspec.UNSET if checksum is None else checksum,
        )


def _levels(messages: list[Message]) -> dict[str, Any]:
    """The last word on each level, best first; from a snapshot on, only what came after."""
    sides: dict[str, dict[int, Any]] = {"bids": {}, "asks": {}}
    for message in messages:
        for side, levels in sides.items():
            if message.op == "snapshot":
                levels.clear()
            levels.update({int(level[0]): level for level in message.data[side]})
    return {
        "bids": [sides["bids"][price] for price in sorted(sides["bids"], reverse=True)],
        "asks": [sides["asks"][price] for price in sorted(sides["asks"])],
    }


def _latest(messages: list[Message]) -> list[Message]:
    """Without those that a later one makes void."""
    subject = TOLD_AS_STATE.get(messages[0].stream)
    if subject is None:
        return messages
    last = {(one.market, one.data[subject]): one for one in messages}
    return sorted(last.values(), key=lambda one: one.seq)


def _item(message: Message) -> dict[str, Any]:
    return {
        "seq": message.seq,
        "op": message.op,
        "market": message.market,
        "block": message.block,
        "tx": message.tx,
        "log_index": message.log_index,
        "data": message.data,
    }
