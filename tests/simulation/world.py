"""A chain that grows, forks, shrinks, comes back and becomes final, as a seed says.

Every branch is a history of its own: what is mined on it depends on its own state, takes the
transactions of the branch it replaces in another order, and leaves some out.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from indexer.chain import bloom
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.units import Hash
from tests.simulation.exchange import STRANGER, TRADERS, State, Tx, sign, written

GENESIS_TIME = 1_735_689_600
GAPS_S = (1, 7, 12, 30, 61, 61)
"""Between two blocks: some close a candle each, some share one."""
DEPTHS = (1, 1, 1, 2, 2, 3, 5, 8)
TXS = (0, 1, 2, 3, 5)
"""In a block."""


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """A block with everything in it, and the line of its ancestors, itself the last."""

    block: Block
    line: tuple["Mined", ...]
    txs: tuple[Tx, ...]
    logs: tuple[Log, ...]
    bloom: int
    state: State

    @property
    def number(self) -> int:
        return self.block.number

    @property
    def parent(self) -> "Mined":
        return self.line[-2]

    def at(self, number: int) -> "Mined | None":
        """The block of that height on this one's branch."""
        line = (*self.line, self)
        return line[number] if 0 <= number < len(line) else None

    def descends_from(self, other: "Mined") -> bool:
        return self.at(other.number) is other


class World:
    """The chain as it is now, and every block there ever was."""

    def __init__(self, draw: random.Random, seen: Counter[str], deep: float = 0.0) -> None:
        self._draw = draw
        self._seen = seen
        self._salt = draw.getrandbits(64)
        self._deep = deep
        """How often a fork goes below what is final."""
        self._waiting: list[Tx] = []
        self._tips: list[Mined] = []
        """Heads that were left."""
        self.known: dict[str, Mined] = {}
        self.heard: list[Callable[[], None]] = []
        """Called when the head, or what is final, has moved."""
        self.head = self.mine(None, ())
        self.final = self.safe = self.head
        self.forks: list[int] = []
        """Depth of each so far."""
        self.grow(1, [sign(draw, "create"), sign(draw, "deposit")])
        self.grow(1, [sign(draw, "deposit", who) for who in TRADERS])

    def branch(self) -> tuple[Mined, ...]:
        """The winning branch, oldest first."""
        return (*self.head.line, self.head)

    # -- mining -----------------------------------------------------------------------------------

    def mine(self, parent: Mined | None, txs: Iterable[Tx]) -> Mined:
        """A block on any other; nobody follows it yet."""
        number = 0 if parent is None else parent.number + 1
        above = Hash("0x" + "0" * 64) if parent is None else parent.block.hash
        branch = len(self.known)
        name = f"{self._salt} {branch} {above}".encode()
        hash_ = Hash("0x" + hashlib.sha256(name).hexdigest())
        time = GENESIS_TIME if parent is None else parent.block.timestamp + self._gap_s()
        state = State() if parent is None else parent.state.copy()
        mined = tuple(txs)
        logs: list[Log] = []
        for tx in mined:
            for spoken in state.execute(tx, time, branch):
                logs.append(written(spoken, tx.hash, hash_, number, len(logs)))
            if tx.dice[5] % 4 == 0:  # somebody else's
                stranger = (STRANGER, ("Approval", tx.who, STRANGER, 1))
                logs.append(written(stranger, tx.hash, hash_, number, len(logs)))
        block = Block(number, hash_, above, time)
        line = () if parent is None else (*parent.line, parent)
        found = Mined(block, line, mined, tuple(logs), bloom.of(logs), state)
        self.known[hash_] = found
        return found

    def _gap_s(self) -> int:
        return self._draw.choice(GAPS_S)

    def grow(self, blocks: int, txs: Iterable[Tx] = ()) -> None:
        self.head = self.grown(self.head, blocks, list(txs))
        self._tell()

    def grown(self, head: Mined, blocks: int, txs: list[Tx] | None = None) -> Mined:
        """Blocks on top of a head, with what waits and what is new."""
        for _ in range(blocks):
            head = self.mine(head, txs or self._pick())
            txs = None
        return head

    def _pick(self) -> list[Tx]:
        picked = []
        for _ in range(self._draw.choice(TXS)):
            if self._waiting and self._draw.random() < 0.7:
                picked.append(self._waiting.pop(self._draw.randrange(len(self._waiting))))
            else:
                picked.append(sign(self._draw))
        if any(tx.kind == "create" for tx in picked):  # a market of tokens that nobody holds yet
            picked += [sign(self._draw, "deposit", who) for who in TRADERS]
        return picked

    # -- what happens -----------------------------------------------------------------------------

    def happen(self) -> str:
        """One thing, as the dice say; in words."""
        kinds = ("grow", "fork", "back", "finalize")
        kind = self._draw.choices(kinds, (56, 22, 7, 15))[0]
        match kind:
            case "grow":
                self.grow(self._draw.choice((1, 1, 1, 2, 4)))
                if self._draw.random() < 0.4:
                    self._secure(self.head.at(self.head.number - self._draw.choice((1, 2, 3))))
            case "fork":
                self.fork()
            case "back":
                self._back()
            case _:
                self.finalize(self.head.number - self._draw.choice((2, 4, 6, 9)))
        return f"{kind}: head {self.head.block.ref} final {self.final.number}"

    def fork(self, depth: int | None = None, blocks: int | None = None) -> None:
        """Take blocks back and mine others: fewer, none, as many or more."""
        room = self.head.number - self.final.number
        if depth is None:
            depth = self._draw.choice(DEPTHS)
            if self._draw.random() < self._deep:
                depth, room = depth + room, self.head.number
        depth = min(depth, room)
        if blocks is None:
            blocks = max(depth + self._draw.choice((-9, -2, -1, 0, 1, 1, 2)), 0)
        if not depth:
            return
        root = self.head.at(self.head.number - depth)
        assert root is not None, "a fork has a root"
        left = (*self.head.line, self.head)[root.number + 1 :]
        self._waiting += [tx for one in left for tx in one.txs if self._draw.random() < 0.8]
        self._leave(self.grown(root, blocks), depth)

    def _back(self) -> None:
        """A branch that was left wins again, if it still can."""
        tips = [tip for tip in self._tips if tip.descends_from(self.final)]
        if tips:
            tip = self._draw.choice(tips)
            shared = max(one.number for one in self.branch() if tip.at(one.number) is one)
            self._leave(tip, self.head.number - shared)

    def _leave(self, head: Mined, depth: int) -> None:
        if depth:
            self._tips.append(self.head)
            self.forks.append(depth)
        self.head = head
        if not head.descends_from(self.final):
            self._seen["a fork below what was final"] += 1
            shared = (one for one in (*self.final.line, self.final) if head.at(one.number) is one)
            self.final = max(shared, key=lambda one: one.number)
        if not head.descends_from(self.safe):
            self.safe = self.final
        self._tell()

    def finalize(self, number: int) -> None:
        mined = self.head.at(number)
        if mined is not None and number > self.final.number:
            self.final = mined
        self._secure(self.head.at(self._draw.choice(range(self.head.number + 1))))

    def _secure(self, safe: Mined | None) -> None:
        """What is safe never goes back by itself, nor below what is final."""
        marks = (self.safe, self.final, *(() if safe is None else (safe,)))
        self.safe = max(marks, key=lambda one: one.number)
        self._tell()

    def _tell(self) -> None:
        for listener in self.heard:
            listener()
