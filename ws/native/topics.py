"""Pure: what a channel of `/v1` is called, and which messages of the streams belong to it.

trades depth klines                  <stream>:<market>, by any of the market's names
orders balances execution_reports    <stream>:<account>
system                               system
"""

import re
from typing import NamedTuple

from indexer.domain.listing import Directory
from indexer.wire import Message, Stream

MARKET_STREAMS: tuple[Stream, ...] = ("trades", "depth", "klines")
ACCOUNT_STREAMS: tuple[Stream, ...] = ("orders", "balances", "execution_reports")

_ADDRESS = re.compile("0x[0-9a-f]{40}")


class Topic(NamedTuple):
    """One channel. `subject` is the market's or account's address, nothing for `system`."""

    stream: Stream
    subject: str = ""

    @property
    def channel(self) -> str:
        """The channel as the outbox names it."""
        return f"{self.stream}:{self.subject}" if self.subject else self.stream


SYSTEM = Topic("system")


def topic_named(channel: str, directory: Directory) -> Topic | None:
    """The topic that a client names `depth:WETH-USDC`, None if there is none."""
    if channel == "system":
        return SYSTEM
    stream, _, subject = channel.partition(":")
    for known in MARKET_STREAMS:
        if stream == known:
            listing = directory.find(subject)
            return Topic(known, listing.address) if listing else None
    for known in ACCOUNT_STREAMS:
        if stream == known and _ADDRESS.fullmatch(subject.lower()):
            return Topic(known, subject.lower())
    return None


def name_of(topic: Topic, directory: Directory) -> str:
    """What we call a topic: markets by their symbol."""
    listing = directory.find(topic.subject) if topic.stream in MARKET_STREAMS else None
    return f"{topic.stream}:{listing.symbol}" if listing else topic.channel


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
