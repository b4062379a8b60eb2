"""What the devnet asks of an EVM: build blocks, answer calls, edit state. Nothing about RPC.

py-evm is archived upstream, so nothing outside `pyevm.py` and `pyevm_txs.py` may know it. Another
engine takes its place by implementing `Engine`; state is named by its root, blocks are values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol


class InvalidTransaction(Exception):
    """The transaction can not be accepted as it is; the message says why."""


class StatePruned(Exception):
    """The state at this root was swept away: it is older than the node's history limit."""


@dataclass(frozen=True, slots=True)
class Log:
    """A log as the EVM emitted it."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction whose sender is known. `native` is the engine's own object, or its bytes."""

    hash: bytes
    type: int
    sender: bytes
    nonce: int
    to: bytes | None
    value: int
    gas: int
    gas_price: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    data: bytes
    chain_id: int | None
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...]
    v: int
    r: int
    s: int
    native: Any = field(repr=False, compare=False)

    def price_at(self, base_fee: int) -> int:
        """What one unit of gas costs its sender in a block with this base fee."""
        if self.type < 2:
            return self.gas_price
        return min(self.max_fee_per_gas, base_fee + self.max_priority_fee_per_gas)


@dataclass(frozen=True, slots=True)
class TxFields:
    """An unsigned transaction, complete: every field is decided."""

    nonce: int
    to: bytes | None
    value: int
    gas: int
    data: bytes
    gas_price: int | None = None
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of a transaction in a block."""

    succeeded: bool
    gas_used: int
    cumulative_gas_used: int
    bloom: bytes
    logs: tuple[Log, ...]
    contract_address: bytes | None
    gas_price: int


@dataclass(slots=True)
class Block:
    """A mined block. `state_root` is the header's; `post_root` differs after `anvil_set*`."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    coinbase: bytes
    gas_limit: int
    gas_used: int
    base_fee: int
    mix_hash: bytes
    extra_data: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    bloom: bytes
    size: int
    txs: tuple[Tx, ...]
    receipts: tuple[Receipt, ...]
    post_root: bytes


@dataclass(frozen=True, slots=True)
class Env:
    """The surroundings of a block that is about to be built, or of a call."""

    number: int
    timestamp: int
    coinbase: bytes
    gas_limit: int
    base_fee: int
    mix_hash: bytes
    ancestors: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A message without a signature."""

    sender: bytes
    to: bytes | None
    value: int
    gas: int
    gas_price: int
    data: bytes
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call returned; `gas_used` is after refunds, `gas_spent` before."""

    succeeded: bool
    reverted: bool
    output: bytes
    error: str
    gas_used: int
    gas_spent: int


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one account made from outside, `None` leaving a field alone."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    storage: Mapping[int, int] | None = None
    replace_storage: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """The plain facts of an account."""

    balance: int
    nonce: int
    code: bytes


@dataclass(frozen=True, slots=True)
class Built:
    """A new block, and the transactions that could not be part of it with the reason."""

    block: Block
    refused: tuple[tuple[Tx, str], ...]
    postponed: tuple[Tx, ...]


class Engine(Protocol):
    """An EVM with a content-addressed state store."""

    fork: str

    def genesis(self, edits: Mapping[bytes, Edit], env: Env) -> Block:
        """Block 0 with these accounts."""
        ...

    def build(self, parent: Block, txs: Sequence[Tx], env: Env) -> Built:
        """A block on top of `parent`; transactions that do not fit are postponed."""
        ...

    def call(
        self, root: bytes, call: Call, env: Env, edits: Mapping[bytes, Edit] | None = None
    ) -> CallResult:
        """Runs a message on a state and forgets its effects."""
        ...

    def decode(self, raw: bytes) -> Tx:
        """A signed transaction from its bytes. Raises InvalidTransaction."""
        ...

    def encode(self, tx: Tx) -> bytes:
        """The bytes of a signed transaction."""
        ...

    def sign(self, fields: TxFields, key: bytes) -> Tx:
        """Signs with a private key."""
        ...

    def impersonate(self, fields: TxFields, sender: bytes) -> Tx:
        """A transaction in somebody's name, without a key; only this node accepts it."""
        ...

    def account(self, root: bytes, address: bytes) -> Account:
        """Balance, nonce and code at a state."""
        ...

    def storage(self, root: bytes, address: bytes, slot: int) -> int:
        """One storage word at a state."""
        ...

    def edit(self, root: bytes, edits: Mapping[bytes, Edit]) -> bytes:
        """The root after changing accounts by hand."""
        ...

    def sweep(self, keep: Iterable[bytes]) -> int:
        """Drops every state not reachable from these roots; returns the nodes dropped."""
        ...

    def nodes(self, roots: Iterable[bytes], known: Set[bytes]) -> dict[bytes, bytes]:
        """The parts of these states, by hash, without those under a known hash."""
        ...

    def adopt(self, nodes: Mapping[bytes, bytes]) -> None:
        """Takes parts of states in, as `nodes` gave them away."""
        ...
