"""A block's logs, packed: bytes instead of hex, and what many of them share once.

It is what is kept of them everywhere, so each digit is turned into bits once. Places count from 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from operator import ge

import msgspec

from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash

WORD = 32
"""Bytes of a topic, and of a tx's hash."""
_WORD_DIGITS = 2 + 2 * WORD
MAX_INDEX = 2**31 - 1
MOST_KNOWN = 100_000
"""Kinds of log that are remembered."""

Kind = tuple[Address, str, int]
"""Who says it, its topic0 ("" of a log without topics), and how many topics follow that."""


class MalformedLog(Exception):
    """A log that is not what its topic promises. Stops the writer; nothing of the block is kept."""

    def __init__(self, log: Log, block: Block, expected: str, found: str) -> None:
        super().__init__(
            f"block {block.number} ({block.hash}), log {log.log_index}, contract {log.address}: "
            f"expected {expected}, found {found}"
        )


class Logs(msgspec.Struct, frozen=True, array_like=True):
    """The logs of one block, in order."""

    block: Block
    index: list[int]
    txs: bytes
    """The hashes, one after another, of the txs that they are of."""
    of_tx: list[int]
    """Of each log: the place of its tx."""
    kinds: list[Kind]
    of_kind: list[int]
    """Of each log: the place of its kind."""
    words: bytes
    """Of each log: its topics but the first, then its data."""
    ends: list[int]
    """Where those of each log end."""

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Log]:
        return map(self.log, range(len(self)))

    def log(self, at: int) -> Log:
        """One of them as a node would write it."""
        address, first, others = self.kinds[self.of_kind[at]]
        start = self.ends[at - 1] if at else 0
        data, tx = start + WORD * others, WORD * self.of_tx[at]
        words = [self.words[place : place + WORD] for place in range(start, data, WORD)]
        return Log(
            address,
            [first] * bool(first) + ["0x" + word.hex() for word in words],
            "0x" + self.words[data : self.ends[at]].hex(),
            self.block.hash,
            hex(self.block.number),
            Hash("0x" + self.txs[tx : tx + WORD].hex()),
            hex(self.index[at]),
        )

    def of(self, address: Address, topic0: str) -> list[Log]:
        """Those that a contract told of with a topic0."""
        kinds = enumerate(self.kinds)
        wanted = {at for at, (who, first, _) in kinds if first == topic0 and who == address}
        if not wanted:
            return []
        return [self.log(at) for at, kind in enumerate(self.of_kind) if kind in wanted]


def pack(block: Block, logs: Iterable[Log]) -> Logs:
    """A block's logs packed, unless they are.

    Raises MalformedLog for text that is not hex, and for logs that are not in order.
    """
    if isinstance(logs, Logs):
        return logs
    logs = list(logs)
    kinds: dict[Kind, int] = {}
    txs: dict[Hash, int] = {}
    texts: list[str] = []
    index, of_tx, of_kind, ends, end, wrong = [], [], [], [], 0, False
    for log in logs:
        topics, data = log.topics, log.data
        first, others = (topics[0], len(topics) - 1) if topics else ("", 0)
        kind = log.address, first, others
        index.append(int(log.log_index, 16))
        of_tx.append(txs.setdefault(log.transaction_hash, len(txs)))
        of_kind.append(kinds.setdefault(kind, len(kinds)))
        if others:
            for topic in islice(topics, 1, None):
                texts.append(topic[2:])
                wrong |= len(topic) != _WORD_DIGITS
        texts.append(data[2:])
        wrong |= len(data) % 2 == 1 or data[1:2] != "x"
        end += WORD * others + len(data) // 2 - 1
        ends.append(end)
    words, hashes = _bytes("".join(texts)), _bytes("".join([tx[2:] for tx in txs]))
    if (
        (words is None or len(words) != end or wrong)
        or (hashes is None or len(hashes) != WORD * len(txs))
        or (index and (index[-1] > MAX_INDEX or any(map(ge, index, islice(index, 1, None)))))
        or not all(map(_is_sound, kinds))
    ):
        raise _malformed(block, logs)
    return Logs(block, index, hashes, of_tx, list(kinds), of_kind, words, ends)


def _bytes(text: str) -> bytes | None:
    """What hex digits stand for: fewer than half as many bytes if there are blanks in between."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


@lru_cache(MOST_KNOWN)
def _is_sound(kind: Kind) -> bool:
    address, first, _ = kind
    return _is_hex(address, 20) and (not first or _is_hex(first, WORD))


def _is_hex(text: str, size: int) -> bool:
    found = _bytes(text[2:])
    return found is not None and len(found) == size and len(text) == 2 + 2 * size


def _malformed(block: Block, logs: Sequence[Log]) -> MalformedLog:
    """The first of them that is."""
    before = -1
    for log in logs:
        if not before < log.index <= MAX_INDEX:
            return MalformedLog(log, block, f"an index above {before}, of 31 bits", f"{log.index}")
        before = log.index
        words = [(text, WORD) for text in (log.transaction_hash, *log.topics)]
        for text, size in ((log.address, 20), *words, (log.data, len(log.data) // 2 - 1)):
            if not _is_hex(text, size):
                return MalformedLog(log, block, f"{size} bytes as hex digits", text[:1_000])
    raise AssertionError(f"nothing is wrong with the logs of {block.ref}")
