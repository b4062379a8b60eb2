"""Keeps a chain in a directory, so that it goes on where it was after any kind of end.

What is written are results, not causes: the blocks with their receipts and the parts of the state
that are new. So nothing is executed again at the start, and what no transaction explains (edits,
reorgs, reverts, impersonation) needs no care of its own. `write` compares the chain with the file
and appends the difference as one record: before a listener hears of a block and before a caller
gets an answer. What anybody was told is therefore in the file.

States older than KEPT_STATES blocks are dead weight in it. When more was appended than the file
began with, it is written anew without them; so also at a clean stop.
"""

from __future__ import annotations

import json
import logging
import pickle
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from contracts_test.chain import HeadChange, Settings
from contracts_test.engine import Block, Log, Receipt, Tx
from contracts_test.exchange import Exchange
from contracts_test.history import Packed
from contracts_test.journal import DataDirOtherChain, Journal, Lock
from contracts_test.rpc.node import Node

VERSION = 1
KEPT_STATES = 256  # blocks behind the head whose states survive a start
REWRITE_AFTER_BYTES = 16 * 1024 * 1024
SMALL_CHANGE_BYTES = 64 * 1024  # appended, these are not worth writing a file anew at a stop
_log = logging.getLogger("tidebook.devnet")


@dataclass(frozen=True, slots=True)
class About:
    """Which chain a directory holds."""

    chain_id: int
    genesis_timestamp: int
    genesis_hash: str
    deployment: dict[str, Any] | None

    def exchange(self) -> Exchange | None:
        """What was deployed when the directory was begun."""
        return None if self.deployment is None else Exchange.from_deployment(self.deployment)


@dataclass(frozen=True, slots=True)
class _Step:
    """One record: what to do to the chain of the records before it."""

    keep: int  # blocks that stay; the newer ones are taken back
    head_root: tuple[int, bytes] | None  # the state after a block that stays was changed by hand
    blocks: list[Packed]
    nodes: bytes  # new parts of states by hash, squeezed
    settings: Settings
    impersonated: frozenset[bytes]
    impersonate_all: bool
    pool_in: list[Tx]
    pool_out: list[bytes]


# All these are pickled: a changed field makes another format even if nobody counts VERSION up.
_PICKLED = (_Step, Packed, Block, Tx, Receipt, Log, Settings)
_LAYOUT = zlib.crc32(repr([[f.name for f in fields(kind)] for kind in _PICKLED]).encode())


class Keeper:
    """One directory. `load` or `begin`, then `write` whenever something may have happened."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = data_dir / "devnet"
        self._lock = Lock(self.directory)
        self._journal = Journal(self.directory / "chain", VERSION, _LAYOUT)
        self._node: Node | None = None
        self._about: About | None = None
        self._steps: list[_Step] = []
        self._rewrite_at = 0
        self._small_bytes = 0  # how big the file was when it was last written anew
        # What is in the file:
        self._hashes: list[bytes] = []
        self._head_root = b""
        self._settings: tuple[Settings, frozenset[bytes], bool] | None = None
        self._pool: set[bytes] = set()
        self._nodes: set[bytes] = set()  # with every node all below it, so a walk ends at these

    # --------------------------------------------------------------------------------- starting

    def load(self) -> About | None:
        """Reads the file and says which chain it holds; None when there is none yet."""
        if not self._journal.path.exists():
            return None
        records = self._journal.read(at_least=2)
        self._about = About(**json.loads(records[0]))
        self._steps = [pickle.loads(record) for record in records[1:]]
        self._is_small(len(records[0]) + len(records[1]))
        return self._about

    def restore(self, node: Node) -> None:
        """Makes a fresh node the kept one and keeps it from now on. Raises DataDirOtherChain."""
        assert self._about is not None, "load comes before restore"
        genesis = node.chain.head.hash.hex()
        if genesis != self._about.genesis_hash:
            raise self.other_chain("genesis", self._about.genesis_hash, genesis)
        blocks: list[Packed] = []
        waiting: dict[bytes, Tx] = {}
        nodes: dict[bytes, bytes] = {}
        for step in self._steps:
            del blocks[step.keep :]
            if step.head_root is not None:
                number, root = step.head_root
                old = blocks[number]
                blocks[number] = Packed(old.hash, root, old.tx_hashes, old.packed)
            blocks += step.blocks
            nodes.update(_unsqueezed(step.nodes))
            for tx_hash in step.pool_out:
                waiting.pop(tx_hash, None)
            waiting.update((tx.hash, tx) for tx in step.pool_in)
        last = self._steps[-1]
        self._steps = []
        node.chain.engine.adopt(nodes)
        node.chain.restore(blocks, last.settings, waiting.values())
        node.impersonated = set(last.impersonated)
        node.impersonate_all = last.impersonate_all
        self._watch(node)
        self._nodes = set(nodes)
        self._pool = set(waiting)
        self._written()

    def begin(self, node: Node, exchange: Exchange | None) -> None:
        """Keeps a node that was not kept before, with what was deployed on it."""
        chain = node.chain
        genesis = chain.history.at(0)
        assert genesis is not None, "every chain has block 0"
        deployment = None if exchange is None else exchange.deployment()
        self._about = About(chain.rules.chain_id, genesis.timestamp, genesis.hash.hex(), deployment)
        self._watch(node)
        self._rewrite()

    def _watch(self, node: Node) -> None:
        self._node = node
        node.keeper = self
        node.chain.pool.touched = {}
        # First in the list: what others hear of is in the file already.
        node.chain.on_change.insert(0, self._on_change)

    def other_chain(self, what: str, found: object, asked: object) -> DataDirOtherChain:
        """The error of a directory with a chain that was not asked for."""
        return DataDirOtherChain(
            self.directory, f"holds a chain with {what} {found}, but {asked} was asked for"
        )

    # ---------------------------------------------------------------------------------- writing

    def write(self) -> None:
        """Appends what has changed since the last time, if anything has."""
        found = self._difference()
        if found is None:
            return
        step, nodes = found
        self._journal.append(pickle.dumps(step))
        self._nodes.update(nodes)
        self._pool.update(tx.hash for tx in step.pool_in)
        self._pool.difference_update(step.pool_out)
        self._written(step.keep)
        if self._journal.size > self._rewrite_at:
            self._make_small()

    def close(self) -> None:
        """Writes what is left, makes the file small and frees the directory."""
        try:
            if self._node is not None:
                self.write()
                if self._journal.size > self._small_bytes + SMALL_CHANGE_BYTES:
                    self._make_small()
        finally:
            if self._node is not None:
                self._node.keeper = None
                self._node.chain.pool.touched = None
                self._node.chain.on_change.remove(self._on_change)
                self._node = None
            self._journal.close()
            self._lock.close()

    def _on_change(self, change: HeadChange) -> None:
        self.write()

    def _difference(self) -> tuple[_Step, dict[bytes, bytes]] | None:
        node = self._kept
        chain, pool, height = node.chain, node.chain.pool, node.chain.head.number
        history, touched = chain.history, pool.touched
        assert touched is not None, "the pool tells us what it does"
        keep = min(len(self._hashes), height + 1)
        while keep and self._hashes[keep - 1] != history.hash_at(keep - 1):
            keep -= 1
        roots = [block.post_root for block in history.between(keep, height)]
        head_root = None
        root = history.root_at(keep - 1)
        # Only a head can be edited: anything older than the head we wrote is as we wrote it.
        if root is not None and (keep < len(self._hashes) or root != self._head_root):
            head_root = (keep - 1, root)
            roots.append(root)
        settings = self._settings_now()
        if not (roots or touched or settings != self._settings):
            return None
        entered = (tx for h in touched if h not in self._pool and (tx := pool.get(h)) is not None)
        nodes = chain.engine.nodes(roots, self._nodes)
        step = _Step(
            keep,
            head_root,
            [history.packed(number) for number in range(keep, height + 1)],
            _squeezed(nodes),
            *settings,
            pool_in=[history.portable(tx) for tx in entered],
            pool_out=[h for h in touched if h in self._pool and pool.get(h) is None],
        )
        return step, nodes

    def _settings_now(self) -> tuple[Settings, frozenset[bytes], bool]:
        node = self._kept
        return node.chain.settings, frozenset(node.impersonated), node.impersonate_all

    def _written(self, keep: int = 0) -> None:
        """Notes that the file now says what the chain is; `keep` blocks it said before."""
        chain = self._kept.chain
        self._hashes[keep:] = chain.history.hashes_from(keep)
        self._head_root = chain.head.post_root
        self._settings = self._settings_now()
        chain.pool.touched = {}

    def _make_small(self) -> None:
        try:
            self._rewrite()
        except OSError as error:  # everything is in the file as it is
            self._rewrite_at = self._journal.size * 2
            _log.warning("%s was not made smaller: %s", self._journal.path, error)

    def _is_small(self, size: int) -> None:
        self._small_bytes = size
        self._rewrite_at = size + max(REWRITE_AFTER_BYTES, size)

    def _rewrite(self) -> None:
        """One record in place of all, without states that nobody may ask for any more."""
        assert self._about is not None, "we know what we keep"
        chain = self._kept.chain
        states = max(KEPT_STATES, chain.rules.finalized_distance + 1)
        if chain.rules.state_history:
            states = min(states, chain.rules.state_history)
        nodes = chain.engine.nodes(chain.history.newest_roots(states), frozenset())
        waiting = chain.pool.all()
        step = _Step(
            0,
            None,
            [chain.history.packed(number) for number in range(chain.head.number + 1)],
            _squeezed(nodes),
            *self._settings_now(),
            pool_in=[chain.history.portable(tx) for tx in waiting],
            pool_out=[],
        )
        about = json.dumps(asdict(self._about)).encode()
        self._journal.rewrite([about, pickle.dumps(step)])
        self._is_small(self._journal.size)
        self._nodes = set(nodes)
        self._pool = {tx.hash for tx in waiting}
        self._written()

    @property
    def _kept(self) -> Node:
        assert self._node is not None, "restore or begin comes first"
        return self._node


def _squeezed(nodes: dict[bytes, bytes]) -> bytes:
    return zlib.compress(pickle.dumps(nodes), 1)


def _unsqueezed(nodes: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = pickle.loads(zlib.decompress(nodes))
    return found
