"""Pure: what a channel of `/v1` is called: a topic, with markets by any of their names."""

import re

from indexer.domain.listing import Directory
from indexer.topics import ACCOUNT_STREAMS, MARKET_STREAMS, SYSTEM, Topic

_ADDRESS = re.compile("0x[0-9a-f]{40}")


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
    """What we call a topic: markets by their symbol, unless an older market has it."""
    listing = directory.find(topic.subject) if topic.stream in MARKET_STREAMS else None
    named = listing is not None and directory.find(listing.symbol) is listing
    return f"{topic.stream}:{listing.symbol}" if listing and named else topic.channel
