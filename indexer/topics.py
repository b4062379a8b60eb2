"""Pure: which messages of the streams belong together, for whoever listens to a part of them.

trades depth klines                  <stream>:<market>
orders balances execution_reports    <stream>:<account>
system                               system
"""

from typing import NamedTuple

from indexer.wire import Message, Stream

MARKET_STREAMS: tuple[Stream, ...] = ("trades", "depth", "klines")
ACCOUNT_STREAMS: tuple[Stream, ...] = ("orders", "balances", "execution_reports")


class Topic(NamedTuple):
    """One channel. `subject` is the market's or account's address, nothing for `system`."""

    stream: Stream
    subject: str = ""

    @property
    def channel(self) -> str:
        """The channel as the outbox names it."""
        return f"{self.stream}:{self.subject}" if self.subject else self.stream


SYSTEM = Topic("system")


def topic_of(message: Message) -> Topic | None:
    """The topic a message is a link of, None for a word to all topics of its stream."""
    if message.stream == "system":
        return SYSTEM
    if message.op == "promote":
        return None
    if message.stream in MARKET_STREAMS:
        return Topic(message.stream, message.market or "")
    return Topic(message.stream, message.data["account"])


def brackets(message: Message) -> bool:
    """Whether a message tells every channel that a reorg begins or ends."""
    return message.stream == "system" and str(message.data.get("event", "")).startswith("reorg.")


def concerns(message: Message, topic: Topic) -> bool:
    """Whether the topic's subscribers hear of a message."""
    about = topic_of(message)
    if about is None:
        return message.stream == topic.stream
    return about == topic or brackets(message)
