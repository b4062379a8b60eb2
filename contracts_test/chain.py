"""The devnet's chain: a pool, a clock, a canonical list of blocks and the ways to bend it.

Synchronous and single-threaded. Whoever wants to know what happened subscribes with `on_change`;
a reorg, a rollback and `evm_revert` all arrive as one `HeadChange`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eth_hash.auto import keccak

from contracts_test.accounts import ADDRESSES, INITIAL_BALANCE_WEI
from contracts_test.clock import Clock
from contracts_test.engine import Block, Edit, Engine, Env, InvalidTransaction, Tx
from contracts_test.history import History, Packed
from contracts_test.pool import Pool

GAS_LIMIT = 30_000_000
INITIAL_BASE_FEE = 1_000_000_000
ANCESTOR_HASHES = 256  # what BLOCKHASH may see
MAX_BLOCKS_PER_CALL = 100_000


class TimestampTooLow(ValueError):
    """A block may not be older than its parent."""


class TooDeep(ValueError):
    """There are fewer blocks than were to be taken back."""


@dataclass(frozen=True, slots=True)
class HeadChange:
    """What a step did to the canonical chain; `removed` is newest first, `added` oldest first."""

    removed: tuple[Block, ...]
    added: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of a chain that do not change while it runs."""

    chain_id: int = 31337
    genesis_timestamp: int = 1_700_000_000
    timestamp_step_s: int | None = None
    safe_distance: int = 4
    finalized_distance: int = 8
    gas_limit: int = GAS_LIMIT
    state_history: int = 1_024
    """Blocks whose state can still be asked for; 0 keeps every state."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a chain's next blocks depend on besides the blocks before them."""

    branch: int
    clock: tuple[int, int | None, int]
    coinbase: bytes
    gas_limit: int
    next_base_fee: int | None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    head: bytes
    post_root: bytes
    pool: tuple[Tx, ...]
    offset_s: int


class Chain:
    """One chain with its side branches."""

    def __init__(self, engine: Engine, rules: Rules) -> None:
        self.engine = engine
        self.rules = rules
        self.clock = Clock(rules.timestamp_step_s)
        self.pool = Pool()
        self.coinbase = bytes(20)
        self.automine = True
        self.next_base_fee: int | None = None
        self.on_change: list[Callable[[HeadChange], None]] = []
        self.on_pending: list[Callable[[Tx], None]] = []
        self._snapshots: dict[int, _Snapshot] = {}
        self._snapshot_ids = 0
        self._ancestors: deque[bytes] = deque(maxlen=ANCESTOR_HASHES)
        self._branch = 0
        edits = {a: Edit(balance=INITIAL_BALANCE_WEI) for a in ADDRESSES}
        genesis = engine.genesis(
            edits,
            Env(
                number=0,
                timestamp=rules.genesis_timestamp,
                coinbase=self.coinbase,
                gas_limit=rules.gas_limit,
                base_fee=INITIAL_BASE_FEE,
                mix_hash=bytes(32),
                ancestors=(),
            ),
        )
        self.history = History(genesis, engine.encode)
        self._ancestors.appendleft(genesis.hash)
        self._swept_at = 0

    @property
    def head(self) -> Block:
        """The newest canonical block."""
        return self.history.head

    # --------------------------------------------------------------------------------- sending

    def submit(self, tx: Tx) -> None:
        """Puts a transaction into the pool, and mines it if the chain mines by itself."""
        self.admit(tx)
        if self.automine and self.pool.ready(self.account_nonce):
            self.mine()

    def admit(self, tx: Tx) -> None:
        """Puts a transaction into the pool. Raises InvalidTransaction with the reason."""
        account = self.engine.account(self.head.post_root, tx.sender)
        if tx.nonce < account.nonce:
            raise InvalidTransaction("nonce too low")
        if tx.gas > self.rules.gas_limit:
            raise InvalidTransaction("intrinsic gas too high")
        price = tx.max_fee_per_gas if tx.type >= 2 else tx.gas_price
        if account.balance < tx.gas * price + tx.value:
            raise InvalidTransaction("Insufficient funds for gas * price + value")
        self.pool.add(tx)
        if self.pool.next_nonce(tx.sender, account.nonce) <= tx.nonce:
            return  # there is a gap before it: nobody is told until it can be mined
        for listener in self.on_pending:
            listener(tx)

    def account_nonce(self, sender: bytes) -> int:
        """The next nonce of an account at the head."""
        return self.engine.account(self.head.post_root, sender).nonce

    # ---------------------------------------------------------------------------------- mining

    def mine(self, count: int = 1, interval_s: int | None = None) -> tuple[Block, ...]:
        """Mines `count` blocks, the pool's transactions into the first that has room."""
        if not 0 < count <= MAX_BLOCKS_PER_CALL:
            raise ValueError(f"between 1 and {MAX_BLOCKS_PER_CALL} blocks at once, not {count}")
        added = []
        for i in range(count):
            step = interval_s if i else None
            added.append(self._mine_one(self.pool.ready(self.account_nonce), step))
        self._changed(HeadChange((), tuple(added)))
        return tuple(added)

    def _mine_one(self, txs: Sequence[Tx], step_s: int | None = None) -> Block:
        parent = self.head
        built = self.engine.build(parent, txs, self.next_env(step_s))
        self.clock.consumed()
        self.next_base_fee = None
        for tx, _ in built.refused:
            self.pool.drop(tx.hash)
        self.pool.mined(built.block.txs)
        self._push(built.block)
        return built.block

    def _push(self, block: Block) -> None:
        self.history.push(block)
        self._ancestors.appendleft(block.hash)
        keep = self.rules.state_history
        if keep and block.number - self._swept_at >= keep:
            self._swept_at = block.number
            roots = self.history.newest_roots(keep)
            self.engine.sweep(roots + [s.post_root for s in self._snapshots.values()])

    def next_env(self, step_s: int | None = None) -> Env:
        """The surroundings of the block after the head."""
        parent = self.head
        timestamp = self.clock.next_timestamp(parent.timestamp, step_s)
        base_fee = self.next_base_fee if self.next_base_fee is not None else fee_after(parent)
        number = parent.number + 1
        seed = parent.hash + self._branch.to_bytes(8, "big")
        return Env(
            number=number,
            timestamp=timestamp,
            coinbase=self.coinbase,
            gas_limit=self.rules.gas_limit,
            base_fee=base_fee,
            mix_hash=keccak(seed),
            ancestors=tuple(self._ancestors),
        )

    def env_of(self, block: Block) -> Env:
        """The surroundings calls see "at" a block."""
        return Env(
            number=block.number,
            timestamp=block.timestamp,
            coinbase=block.coinbase,
            gas_limit=block.gas_limit,
            base_fee=block.base_fee,
            mix_hash=block.mix_hash,
            ancestors=self._ancestors_of(block),
        )

    def _ancestors_of(self, block: Block) -> tuple[bytes, ...]:
        behind = self.head.number - block.number
        return tuple(self._ancestors)[behind + 1 :]

    # --------------------------------------------------------------------------------- bending

    def rollback(self, depth: int) -> tuple[Block, ...]:
        """Takes the newest `depth` blocks back and leaves the head there."""
        removed = self._pop(depth)
        self._changed(HeadChange(removed, ()))
        return removed

    def reorg(
        self, depth: int, txs_by_block: Mapping[int, Sequence[Tx]] | None = None
    ) -> HeadChange:
        """Replaces the newest `depth` blocks by as many new ones.

        `txs_by_block` says which transactions go into the new blocks, counted from 0. Those of
        the old blocks are gone, as they are with anvil; `fork` keeps them.
        """
        removed = self._pop(depth)
        self.branch()
        added = tuple(self._mine_one((txs_by_block or {}).get(i, ())) for i in range(depth))
        change = HeadChange(removed, added)
        self._changed(change)
        return change

    def fork(self, depth: int, keep: Callable[[Tx], bool] = lambda tx: True) -> HeadChange:
        """A reorg as it happens in the wild: the same transactions, but for those not kept.

        The new branch is one block longer than the old, so that it wins.
        """
        removed = self._pop(depth)
        self.branch()
        left: list[Tx] = []
        added = []
        for block in [*reversed(removed), None]:
            txs = left + [tx for tx in (block.txs if block is not None else ()) if keep(tx)]
            mined = self._mine_one(txs)
            added.append(mined)
            # what this branch has no room for yet goes into its next block
            left = [tx for tx in txs if tx not in mined.txs]
        change = HeadChange(removed, tuple(added))
        self._changed(change)
        return change

    def branch(self) -> None:
        """From here on blocks come out different from any mined before at the same height."""
        self._branch += 1

    def _pop(self, depth: int, state: bytes | None = None) -> tuple[Block, ...]:
        """Takes blocks off the head, down to one with its own state or another."""
        if depth > self.head.number:
            raise TooDeep(f"current height {self.head.number}, depth {depth}")
        root = self.history.at(self.head.number - depth)
        assert root is not None, "history has no gaps"
        state = state or root.post_root
        self.engine.account(state, bytes(20))  # raises StatePruned before anything moves
        removed = tuple(self.history.pop() for _ in range(depth))
        self.head.post_root = state
        for _ in range(min(depth, len(self._ancestors))):
            self._ancestors.popleft()
        self._swept_at = min(self._swept_at, self.head.number)
        self._refill_ancestors()
        return removed

    def _refill_ancestors(self) -> None:
        while len(self._ancestors) < ANCESTOR_HASHES:
            older = self.history.hash_at(self.head.number - len(self._ancestors))
            if older is None:
                return
            self._ancestors.append(older)

    # ------------------------------------------------------------------------------- snapshots

    def snapshot(self) -> int:
        """Remembers the head, the pool and the clock."""
        number = self._snapshot_ids
        self._snapshot_ids += 1
        self._snapshots[number] = _Snapshot(
            self.head.hash, self.head.post_root, self.pool.all(), self.clock.offset_s
        )
        return number

    def revert(self, number: int) -> bool:
        """Goes back to a snapshot, which is used up with all later ones. False if unknown."""
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            return False
        block = self.history.by_hash(snapshot.head)
        if block is None:
            return False
        self._snapshots = {k: v for k, v in self._snapshots.items() if k < number}
        removed = self._pop(self.head.number - block.number, snapshot.post_root)
        self.pool.clear()
        for tx in snapshot.pool:
            self.pool.add(tx)
        self.clock.offset_s = snapshot.offset_s
        self.clock.consumed()
        self.branch()
        self._changed(HeadChange(removed, ()))
        return True

    # ------------------------------------------------------------------------------- surviving

    @property
    def settings(self) -> Settings:
        """What a kept chain needs besides blocks, states and pool to go on as it would have."""
        return Settings(
            self._branch, self.clock.hands, self.coinbase, self.rules.gas_limit, self.next_base_fee
        )

    def restore(self, blocks: Sequence[Packed], settings: Settings, waiting: Iterable[Tx]) -> None:
        """Becomes the chain that was kept; the engine has its states already."""
        self.history.restore(blocks)
        self._ancestors.clear()
        self._refill_ancestors()
        self._swept_at = self.head.number
        self._branch = settings.branch
        self.clock.hands = settings.clock
        self.coinbase = settings.coinbase
        self.next_base_fee = settings.next_base_fee
        self.set_gas_limit(settings.gas_limit)
        for tx in waiting:
            self.pool.add(tx)

    # ----------------------------------------------------------------------------------- state

    def edit(self, address: bytes, edit: Edit) -> None:
        """Changes an account at the head, without a block, as `anvil_set*` does."""
        self.head.post_root = self.engine.edit(self.head.post_root, {address: edit})

    def set_gas_limit(self, gas_limit: int) -> None:
        """For blocks from the next one on."""
        self.rules = replace(self.rules, gas_limit=gas_limit)

    def _changed(self, change: HeadChange) -> None:
        if change.removed or change.added:
            for listener in tuple(self.on_change):
                listener(change)


def fee_after(parent: Block) -> int:
    """Base fee of the next block: EIP-1559, but for genesis's child, which keeps it as in anvil."""
    if parent.number == 0:
        return parent.base_fee
    target = parent.gas_limit // 2
    if parent.gas_used == target:
        return parent.base_fee
    delta = parent.base_fee * abs(parent.gas_used - target) // target // 8
    if parent.gas_used > target:
        return parent.base_fee + max(delta, 1)
    return parent.base_fee - delta
