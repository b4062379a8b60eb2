"""A recorded chain as it might have been: blocks come late or empty, and branches differ."""

import random
from collections.abc import Sequence

import msgspec

from indexer.domain.block import Block
from indexer.domain.step import Advance, Rollback, Step
from indexer.domain.units import Hash
from tests.store.chains import Chain


class Branches:
    """Grows a chain out of a recording's logs, and cuts it back; every new block is a new hash."""

    def __init__(self, chain: Chain, start: int, pick: random.Random) -> None:
        self._chain = chain
        self._pick = pick
        self._made = 0
        self._line: list[tuple[Advance, int]] = [(chain.advances[start], start)]
        """From the block that stays: each block, and the recorded one whose logs came last."""

    @property
    def head(self) -> Block:
        return self._line[-1][0].block

    @property
    def line(self) -> list[Step]:
        """The blocks that are left, as a chain without reorgs would have brought them."""
        return [step for step, _ in self._line[1:]]

    @property
    def depth(self) -> int:
        """Blocks that can be taken back."""
        return len(self._line) - 1

    def grow(self, blocks: int) -> list[Step]:
        return [self._next() for _ in range(blocks)]

    def _next(self) -> Advance:
        parent, taken = self.head, self._line[-1][1]
        late = self._pick.random() < 0.3 or taken + 1 == len(self._chain.advances)
        recorded = self._chain.advances[taken if late else taken + 1]
        self._made += 1
        block = Block(
            parent.number + 1,
            Hash(f"0x{self._pick.getrandbits(200):056x}{self._made:08x}"),
            parent.hash,
            parent.timestamp if late else max(recorded.block.timestamp, parent.timestamp),
        )
        logs = () if late else recorded.logs
        step = msgspec.structs.replace(recorded, block=block, logs=logs, finality="latest")
        self._line.append((step, taken if late else taken + 1))
        return step

    def back(self, blocks: int) -> list[Step]:
        """A rollback of some blocks; nothing for none."""
        if not blocks:
            return []
        del self._line[-blocks:]
        return [Rollback(self.head)]

    def steps(self) -> Sequence[Step]:
        """A few random steps: perhaps back, then on."""
        pick = self._pick
        deep = pick.randrange(min(self.depth, 12) + 1) if pick.random() < 0.6 else 0
        return [*self.back(deep), *self.grow(pick.randrange(1, 12))]
