"""A scripted chain: blocks that grow, fork, shrink, come back and become final, as a seed says.

Its logs are a recording's, in their order: a block takes the next few bundles behind its parent's.
So every branch is a history the contracts could have had, and branches differ in where they cut it.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from indexer.chain import bloom
from indexer.chain.recording import Recording
from indexer.decode import created_markets, select
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash

RECORDING = Path(__file__).parents[1] / "golden" / "recordings" / "gtx_chaos.jsonl.gz"
LAST_RECORDED = 260
FIRST_TRADES = 46
"""Bundles before it only deposit; blocks take many of them at once."""


@dataclass(frozen=True, slots=True)
class Mined:
    block: Block
    parent: "Mined | None"
    logs: tuple[Log, ...]
    bloom: int
    taken: int
    """Bundles of the tape up to here."""


@cache
def tape() -> tuple[Deployment, list[list[Log]]]:
    """Whose contracts, and their logs block by block, blocks without any left out."""
    recording = Recording(RECORDING)
    markets: set[Address] = set()
    bundles: list[list[Log]] = []
    for recorded in recording.blocks():
        if recorded.number > LAST_RECORDED:
            break
        logs = select(recorded.logs, recording.deployment, markets)
        markets |= created_markets(logs, recording.deployment)
        if logs:
            bundles.append(logs)
    return recording.deployment, bundles


class World:
    """The chain as it is now, and every block there ever was."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._salt = draw.getrandbits(64)
        self.known: dict[str, Mined] = {}
        self.head = self._mine(None, 0)
        self.final = self.head
        self.abandoned: list[Mined] = []
        self.reorgs: list[int] = []
        """Depths of the forks so far."""

    def _mine(self, parent: Mined | None, bundles: int) -> Mined:
        number = 0 if parent is None else parent.block.number + 1
        above = "0x" + "0" * 64 if parent is None else parent.block.hash
        name = f"{self._salt} {len(self.known)} {above}".encode()
        hash_ = Hash("0x" + hashlib.sha256(name).hexdigest())
        time = 1_735_689_600 + 7 * number
        start = 0 if parent is None else parent.taken
        _, recorded = tape()
        taken = [log for bundle in recorded[start : start + bundles] for log in bundle]
        logs = tuple(
            msgspec.structs.replace(
                log, block_hash=hash_, block_number=hex(number), log_index=hex(index)
            )
            for index, log in enumerate(taken)
        )
        end = min(start + bundles, len(recorded))
        mined = Mined(Block(number, hash_, Hash(above), time), parent, logs, bloom.of(logs), end)
        self.known[hash_] = mined
        return mined

    def canonical(self, number: int) -> Mined | None:
        at: Mined | None = self.head
        while at is not None and at.block.number > number:
            at = at.parent
        return at if at is not None and at.block.number == number else None

    def is_canonical(self, mined: Mined) -> bool:
        return self.canonical(mined.block.number) is mined

    def branch(self) -> list[Mined]:
        """The winning branch, oldest first."""
        found = [self.head]
        while (parent := found[-1].parent) is not None:
            found.append(parent)
        return found[::-1]

    # -- what happens -----------------------------------------------------------------------------

    def happen(self) -> str:
        """One thing, as the dice say; in words."""
        kinds = ("grow", "fork", "back", "finalize")
        match self._draw.choices(kinds, (60, 22, 6, 12))[0]:
            case "grow":
                self.grow(self._draw.choice((1, 1, 1, 2, 4)))
            case "fork":
                self._fork()
            case "back":
                self._back()
            case _:
                self._finalize()
        return f"head {self.head.block.ref} final {self.final.block.number}"

    def grow(self, blocks: int) -> None:
        for _ in range(blocks):
            setting_up = self.head.taken < FIRST_TRADES
            bundles = self._draw.choice((4, 9) if setting_up else (0, 1, 1, 2))
            self.head = self._mine(self.head, bundles)

    def _fork(self) -> None:
        room = self.head.block.number - self.final.block.number
        if not room:
            return
        depth = min(self._draw.choice((1, 1, 2, 2, 3, 5, 8)), room)
        self.abandoned.append(self.head)
        self.reorgs.append(depth)
        for _ in range(depth):
            assert self.head.parent is not None, "genesis is final"
            self.head = self.head.parent
        self.grow(max(depth + self._draw.choice((-2, -1, 0, 1, 1, 2)), 0))

    def _back(self) -> None:
        """An abandoned branch wins again, if it still can."""
        if self.abandoned:
            tip = self._draw.choice(self.abandoned)
            at: Mined | None = tip
            while at is not None and at.block.number > self.final.block.number:
                at = at.parent
            if at is self.final:
                self.abandoned.append(self.head)
                self.head = tip

    def _finalize(self) -> None:
        number = self.head.block.number - self._draw.choice((2, 4, 6, 9))
        mined = self.canonical(number)
        if mined is not None and number > self.final.block.number:
            self.final = mined
