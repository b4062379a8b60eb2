"""How long a range of blocks a node lets us ask for, learned from its refusals.

Every provider has its own limit and its own words for it. Some name the range that would have
worked, some name their limit, some neither; what they name is used, otherwise the range is halved.
"""

import re

import msgspec

from indexer.chain.errors import RpcError

MAX_RANGE_BLOCKS = 10_000
"""The longest range ever asked for."""

_NUMBER = r"(\d[\d,.]*k?)"

_SUGGESTIONS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"range should work:? \[(0x[0-9a-f]+), ?(0x[0-9a-f]+)\]",  # Alchemy
        r"try with this block range \[(0x[0-9a-f]+), ?(0x[0-9a-f]+)\]",  # Infura, zkSync, thirdweb
        r"retry with the range (\d+)-(\d+)",  # erigon, llamarpc
    )
]

_LIMITS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"maximum is set to " + _NUMBER,  # Avalanche
        r"max range: " + _NUMBER,  # Cloudflare
        r"maximum allowed number of requested blocks is " + _NUMBER,  # thirdweb
        r"limited to (?:a |0 ?- ?)?" + _NUMBER + r" ?(?:blocks? )?(?:range|block)",  # QuickNode …
        r"range allowed for your plan \(\d+ > (\d+)\)",  # Blast
        r"at most " + _NUMBER + " blocks",  # Coinbase
        r"max(?:imum)? block range(?: of|:)? ?" + _NUMBER,  # publicnode, Hyperliquid
        r"block range greater than " + _NUMBER + " max",  # Swell
        r"block range exceeds " + _NUMBER,  # Somnia
        r"max is " + _NUMBER + " blocks",  # Merkle
        r"must be smaller than size " + _NUMBER,  # Harmony
        r"too wide \(maximum " + _NUMBER + r"\)",  # Moonbeam
        r"up to a " + _NUMBER + " block range",  # Alchemy's free plan, Aurora
        r"blocks distance: " + _NUMBER,  # Ankr
        r"range \d+ exceeds (?:the )?limit of " + _NUMBER,  # Infura
        r"bigger than range limit " + _NUMBER,  # Tenderly
    )
]

_TOO_LONG = re.compile(
    r"query returned more than"  # geth, Infura
    r"|response size|response is too big|response too large"  # Alchemy, 1RPC, Ankr, Optimism
    r"|exceeds? max results|too many results|max results"  # llamarpc, nethermind
    r"|block range|range (?:is )?too (?:large|wide|big|long)"
    r"|range exceeded|exceed\w* max\w* .*range"
    r"|logs matched by query exceeds limit"  # Arbitrum
    r"|too many blocks|too many logs"
    r"|quer\w+ (?:timeout|timed out|duration)|execution timeout",
    re.IGNORECASE,
)


class Refusal(msgspec.Struct, frozen=True):
    """A range was too long: how many blocks to ask for instead, and whether to keep to that."""

    blocks: int
    lasting: bool


def refusal(error: RpcError, asked_blocks: int) -> Refusal | None:
    """What a node's error says of the range of `asked_blocks`; None if it is about another thing.

    The answer is always less than what was asked, and at least 1.
    """
    if asked_blocks <= 1:
        return None
    words = f"{error.message} {error.data}"
    half = asked_blocks // 2
    for pattern in _SUGGESTIONS:
        found = pattern.search(words)
        if found is not None:
            blocks = int(found[2], 0) - int(found[1], 0) + 1
            return Refusal(blocks if 0 < blocks < asked_blocks else half, lasting=False)
    for pattern in _LIMITS:
        found = pattern.search(words)
        if found is not None:
            blocks = _count(found[1])
            # a limit of N is an N-1 apart to some: what already was within it is halved
            return Refusal(blocks if 0 < blocks < asked_blocks else half, lasting=True)
    return Refusal(half, lasting=False) if _TOO_LONG.search(words) else None


def _count(text: str) -> int:
    digits = re.sub(r"[^\d]", "", text)
    return int(digits) * (1_000 if text[-1] in "kK" else 1)


class Ranges:
    """One node's ranges: a limit that it named lasts, one that a dense stretch set grows again."""

    def __init__(self) -> None:
        self.blocks = MAX_RANGE_BLOCKS
        """How many to ask for next."""
        self._limit = MAX_RANGE_BLOCKS

    def refused(self, refused: Refusal) -> None:
        self.blocks = refused.blocks
        if refused.lasting:
            self._limit = refused.blocks

    def halve(self) -> None:
        """The node broke down over a range, without a word about it."""
        self.blocks = max(self.blocks // 2, 1)

    def answered(self, blocks: int) -> None:
        """A range of this length was answered."""
        if blocks >= self.blocks:
            self.blocks = min(self.blocks * 2, self._limit)
