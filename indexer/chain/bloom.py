"""What a header's bloom promises: a second witness of a block's logs, in 2048 bits.

Every log sets three bits for its address and three for each topic. So a bit that no log explains is
a log that was kept from us, and a log whose bits are not set is one that the block does not have.
The reverse is no proof: bits of several logs may look like one more.
"""

from collections.abc import Iterable
from functools import lru_cache

from indexer.chain.keccak import keccak
from indexer.domain.log import Log

_DIGITS = 2 + 2 * 256


def parse(text: str) -> int | None:
    """A header's `logsBloom` as a number; None where the node tells none."""
    if len(text) != _DIGITS:
        return None
    try:
        return int(text, 16)
    except ValueError:
        return None


@lru_cache(maxsize=8_192)
def bits(word: str) -> int:
    """The three bits (or fewer) of an address or a topic, `0x…`; all bits of what is neither."""
    try:
        hashed = keccak(bytes.fromhex(word[2:]))
    except ValueError:
        return (1 << 2048) - 1  # which no block's bloom allows
    mask = 0
    for at in (0, 2, 4):
        mask |= 1 << (int.from_bytes(hashed[at : at + 2], "big") & 2047)
    return mask


def promises(bloom: int, word: str) -> bool:
    """Whether a log with this address or topic may be in the block."""
    mask = bits(word)
    return bloom & mask == mask


def of(logs: Iterable[Log]) -> int:
    """The bloom of these logs alone."""
    found = 0
    for log in logs:
        found |= bits(log.address)
        for topic in log.topics:
            found |= bits(topic)
    return found


def unexplained(bloom: int, logs: Iterable[Log]) -> int:
    """How many bits of a block's bloom none of its logs explains; 0 if they are all there."""
    return (bloom & ~of(logs)).bit_count()


def foreign(bloom: int, logs: Iterable[Log]) -> Log | None:
    """A log that a block with this bloom cannot have, by its address or its kind of event."""
    first: dict[str, Log] = {}
    for log in logs:  # hundreds, of a few contracts and kinds
        first.setdefault(log.address, log)
        if log.topics:
            first.setdefault(log.topics[0], log)
    return next((log for word, log in first.items() if not promises(bloom, word)), None)
