"""`Engine` on py-evm. Only this module and pyevm_txs.py import it.

Blocks are assembled here rather than by py-evm's chain: canonical order, side chains and history
are the node's affair, and a block needs its parent's state root and nothing else of it.
"""
# py-evm tells addresses, hashes and bytes apart by NewTypes, and exports without __all__; our
# `Engine` has bytes, and here the two meet.
# mypy: disable-error-code="arg-type, attr-defined, assignment, import-untyped, union-attr"

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import rlp
from eth.abc import ComputationAPI
from eth.constants import CREATE_CONTRACT_ADDRESS, EMPTY_UNCLE_HASH
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.db.trie import make_trie_root_and_nodes
from eth.exceptions import StateRootNotFound
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.prague.state import PragueState
from eth.vm.interrupt import EVMMissingData
from eth.vm.message import Message
from eth_bloom import BloomFilter
from eth_hash.auto import keccak
from eth_utils import ValidationError

from contracts_test.engine import (
    Account,
    Block,
    Built,
    Call,
    CallResult,
    Edit,
    Env,
    InvalidTransaction,
    Log,
    Receipt,
    StatePruned,
    Tx,
)
from contracts_test.intrinsic import floor_gas, intrinsic_gas
from contracts_test.pyevm_txs import Transactions
from contracts_test.sweep import reachable

EMPTY_ROOT = keccak(rlp.encode(b""))
_PRECOMPILES = tuple(n.to_bytes(20, "big") for n in range(1, 11))


class PyEvmEngine(Transactions):
    """Prague rules, state in memory."""

    fork = "prague"

    def __init__(self, chain_id: int) -> None:
        super().__init__(chain_id)
        self._nodes: dict[bytes, bytes] = {}
        self._db = AtomicDB(MemoryDB(self._nodes))
        self._vm = PragueVM(_Chainless(self._db), self._db, self, None)
        self._reader: tuple[bytes, PragueState] | None = None

    # ---------------------------------------------------------------------------------- blocks

    def genesis(self, edits: Mapping[bytes, Edit], env: Env) -> Block:
        root = self.edit(EMPTY_ROOT, edits)
        return self._seal(bytes(32), env, root, (), (), 0)

    def build(self, parent: Block, txs: Sequence[Tx], env: Env) -> Built:
        state = self._state(parent.post_root, env)
        vm = self._vm
        vm._state = state  # the VM's own way to a state leads through py-evm's chain database
        header = _header(parent.hash, env)
        done: list[Tx] = []
        receipts: list[Receipt] = []
        natives: list[Any] = []
        refused: list[tuple[Tx, str]] = []
        postponed: list[Tx] = []
        gas_used = 0
        waiting: set[bytes] = set()  # senders whose earlier transaction did not fit
        for tx in txs:
            if tx.sender in waiting or gas_used + tx.gas > env.gas_limit:
                if tx.gas > env.gas_limit:
                    refused.append((tx, "intrinsic gas exceeds the block gas limit"))
                    continue
                waiting.add(tx.sender)
                postponed.append(tx)
                continue
            if tx.max_fee_per_gas < env.base_fee:
                waiting.add(tx.sender)
                postponed.append(tx)
                continue
            try:
                native = self.native(tx)
                vm.validate_transaction_against_header(header, native)
                state.lock_changes()
                computation = state.apply_transaction(native)
            except (ValidationError, EVMMissingData) as error:
                refused.append((tx, str(error)))
                continue
            made = vm.make_receipt(header, native, computation, state)
            header = header.copy(gas_used=made.gas_used)
            natives.append(made)
            receipts.append(_receipt(tx, made, computation, gas_used, env.base_fee))
            gas_used = made.gas_used
            done.append(tx)
        state.persist()
        root = state.state_root
        block = self._seal(parent.hash, env, root, tuple(done), tuple(receipts), gas_used, natives)
        return Built(block, tuple(refused), tuple(postponed))

    def _seal(
        self,
        parent_hash: bytes,
        env: Env,
        root: bytes,
        txs: tuple[Tx, ...],
        receipts: tuple[Receipt, ...],
        gas_used: int,
        natives: Sequence[Any] = (),
    ) -> Block:
        tx_root, _ = make_trie_root_and_nodes([self.native(tx) for tx in txs])
        receipt_root, _ = make_trie_root_and_nodes(natives)
        bloom = 0
        for receipt in receipts:
            bloom |= int.from_bytes(receipt.bloom, "big")
        header = _header(parent_hash, env).copy(
            state_root=root,
            transaction_root=tx_root,
            receipt_root=receipt_root,
            bloom=bloom,
            gas_used=gas_used,
        )
        encoded = rlp.encode(header)
        body = sum(len(self.encode(tx)) + 3 for tx in txs)
        return Block(
            number=env.number,
            hash=keccak(encoded),
            parent_hash=parent_hash,
            timestamp=env.timestamp,
            coinbase=env.coinbase,
            gas_limit=env.gas_limit,
            gas_used=gas_used,
            base_fee=env.base_fee,
            mix_hash=env.mix_hash,
            extra_data=b"",
            state_root=root,
            transactions_root=tx_root,
            receipts_root=receipt_root,
            bloom=bloom.to_bytes(256, "big"),
            size=len(encoded) + body + 6,
            txs=txs,
            receipts=receipts,
            post_root=root,
        )

    # ----------------------------------------------------------------------------------- calls

    def call(
        self, root: bytes, call: Call, env: Env, edits: Mapping[bytes, Edit] | None = None
    ) -> CallResult:
        needed = intrinsic_gas(call.data, call.to is None, call.access_list)
        if call.gas < needed:
            return CallResult(False, False, b"", "intrinsic gas too low", needed, needed)
        state = self._state(root, env)
        for address, edit in (edits or {}).items():
            _apply(state, address, edit)
        if call.value and state.get_balance(call.sender) < call.value:
            raise InvalidTransaction("Insufficient funds for gas * price + value")
        state.lock_changes()
        to = call.to
        for address in (call.sender, env.coinbase, *_PRECOMPILES, *((to,) if to else ())):
            state.mark_address_warm(address)
        for address, slots in call.access_list:
            state.mark_address_warm(address)
            for slot in slots:
                state.mark_storage_warm(address, slot)
        context = CancunTransactionContext(call.gas_price, call.sender)
        computation: ComputationAPI
        if to is None:
            nonce = state.get_nonce(call.sender)
            state.increment_nonce(call.sender)
            created = keccak(rlp.encode([call.sender, nonce]))[12:]
            message = Message(
                gas=call.gas - needed,
                to=CREATE_CONTRACT_ADDRESS,
                sender=call.sender,
                value=call.value,
                data=b"",
                code=call.data,
                create_address=created,
            )
            computation = state.computation_class.apply_create_message(state, message, context)
        else:
            code, _ = state.get_transaction_executor().get_code_at_address(to)
            message = Message(
                gas=call.gas - needed,
                to=to,
                sender=call.sender,
                value=call.value,
                data=call.data,
                code=code,
            )
            computation = state.computation_class.apply_message(state, message, context)
        state.clear_transient_storage()
        spent = call.gas - computation.get_gas_remaining()
        refund = min(computation.get_gas_refund() if computation.is_success else 0, spent // 5)
        used = max(spent - refund, floor_gas(call.data))
        error = "" if computation.is_success else _name(computation.error)
        return CallResult(
            succeeded=computation.is_success,
            reverted=error == "Revert",
            output=computation.output,
            error=error,
            gas_used=used,
            gas_spent=max(spent, used),
        )

    # ----------------------------------------------------------------------------------- state

    def account(self, root: bytes, address: bytes) -> Account:
        state = self._read(root)
        return Account(
            state.get_balance(address), state.get_nonce(address), state.get_code(address)
        )

    def storage(self, root: bytes, address: bytes, slot: int) -> int:
        return self._read(root).get_storage(address, slot)

    def edit(self, root: bytes, edits: Mapping[bytes, Edit]) -> bytes:
        state = self._state(root, _NOWHERE)
        for address, edit in edits.items():
            _apply(state, address, edit)
        state.persist()
        return bytes(state.state_root)

    def sweep(self, keep: Iterable[bytes]) -> int:
        self._reader = None
        alive = reachable(self._nodes, keep)
        dead = [key for key in self._nodes if key not in alive]
        for key in dead:
            del self._nodes[key]
        return len(dead)

    def nodes(self, roots: Iterable[bytes], known: Set[bytes]) -> dict[bytes, bytes]:
        found = self._nodes
        needed = reachable(found, roots, known)  # codes among them, known or not
        return {key: found[key] for key in needed if key in found and key not in known}

    def adopt(self, nodes: Mapping[bytes, bytes]) -> None:
        self._nodes.update(nodes)

    def _read(self, root: bytes) -> PragueState:
        """A state nobody changes, kept while the same root is asked for."""
        if self._reader is None or self._reader[0] != root:
            self._reader = (root, self._state(root, _NOWHERE))
        return self._reader[1]

    def _state(self, root: bytes, env: Env) -> PragueState:
        if root != EMPTY_ROOT and root not in self._nodes:
            raise StatePruned(f"state 0x{root.hex()} is older than this node keeps")
        context = ExecutionContext(
            coinbase=env.coinbase,
            timestamp=env.timestamp,
            block_number=env.number,
            difficulty=0,
            mix_hash=env.mix_hash,
            gas_limit=env.gas_limit,
            prev_hashes=env.ancestors,
            chain_id=self.chain_id,
            base_fee_per_gas=env.base_fee,
            excess_blob_gas=0,
        )
        try:
            return PragueState(self._db, context, root)
        except StateRootNotFound as error:
            raise StatePruned(str(error)) from error


class _Chainless:
    """Stands for the header py-evm's VM wants at birth and never looks at here."""

    def __init__(self, db: AtomicDB) -> None:
        self.db = db


_NOWHERE = Env(0, 0, bytes(20), 30_000_000, 0, bytes(32), ())


def _header(parent_hash: bytes, env: Env) -> PragueBlockHeader:
    return PragueBlockHeader(
        parent_hash=parent_hash,
        uncles_hash=EMPTY_UNCLE_HASH,
        coinbase=env.coinbase,
        difficulty=0,
        block_number=env.number,
        gas_limit=env.gas_limit,
        timestamp=env.timestamp,
        mix_hash=env.mix_hash,
        base_fee_per_gas=env.base_fee,
        extra_data=b"",
        nonce=bytes(8),
        blob_gas_used=0,
        excess_blob_gas=0,
    )


def _apply(state: PragueState, address: bytes, edit: Edit) -> None:
    if edit.balance is not None:
        state.set_balance(address, edit.balance)
    if edit.nonce is not None:
        state.set_nonce(address, edit.nonce)
    if edit.code is not None:
        state.set_code(address, edit.code)
    if edit.replace_storage:
        state.delete_storage(address)
    for slot, value in (edit.storage or {}).items():
        state.set_storage(address, slot, value)


def _receipt(
    tx: Tx, made: Any, computation: ComputationAPI, gas_before: int, base_fee: int
) -> Receipt:
    succeeded = computation.is_success
    return Receipt(
        succeeded=succeeded,
        gas_used=made.gas_used - gas_before,
        cumulative_gas_used=made.gas_used,
        bloom=int(BloomFilter(made.bloom)).to_bytes(256, "big"),
        logs=tuple(
            Log(log.address, tuple(t.to_bytes(32, "big") for t in log.topics), log.data)
            for log in made.logs
        ),
        contract_address=computation.msg.storage_address if tx.to is None else None,
        gas_price=tx.price_at(base_fee),
    )


def _name(error: object) -> str:
    return type(error).__name__
