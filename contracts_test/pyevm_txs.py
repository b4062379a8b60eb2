"""Transactions as py-evm has them: read, written and signed."""
# mypy: disable-error-code="arg-type, attr-defined, import-untyped, union-attr"

from __future__ import annotations

from typing import Any

from eth.abc import SignedTransactionAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_hash.auto import keccak
from eth_keys import keys
from eth_utils import ValidationError

from contracts_test.engine import InvalidTransaction, Tx, TxFields


class Transactions:
    """Those of one chain."""

    def __init__(self, chain_id: int) -> None:
        self.chain_id = chain_id
        """Also asked for by py-evm, which takes an engine for its chain context."""

    def decode(self, raw: bytes) -> Tx:
        try:
            native = PragueTransactionBuilder.decode(raw)
            native.check_signature_validity()
            sender = bytes(native.sender)
        except Exception as error:  # py-evm, rlp and eth-keys each raise their own kinds
            raise InvalidTransaction("Failed to decode transaction") from error
        chain_id = native.chain_id
        if chain_id is not None and chain_id != self.chain_id:
            raise InvalidTransaction(f"invalid chain id for signer: {chain_id}")
        return _tx(native, sender)

    def encode(self, tx: Tx) -> bytes:
        return tx.native if isinstance(tx.native, bytes) else bytes(tx.native.encode())

    def sign(self, fields: TxFields, key: bytes) -> Tx:
        private_key = keys.PrivateKey(key)
        native = self._unsigned(fields).as_signed_transaction(private_key, chain_id=self.chain_id)
        return _tx(native, private_key.public_key.to_canonical_address())

    def native(self, tx: Tx) -> Any:
        """py-evm's object of a transaction; one that comes back from history has only its bytes."""
        if not isinstance(tx.native, bytes):
            return tx.native
        native = PragueTransactionBuilder.decode(tx.native)
        native.__dict__["sender"] = tx.sender
        return native

    def impersonate(self, fields: TxFields, sender: bytes) -> Tx:
        # Signed by a key made of the address, so that equal fields of two senders differ in hash.
        native = self._unsigned(fields).as_signed_transaction(
            keys.PrivateKey(keccak(b"impersonated" + sender)), chain_id=self.chain_id
        )
        native.__dict__["sender"] = sender  # fills the cached property that would recover the key
        return _tx(native, sender)

    def _unsigned(self, fields: TxFields) -> Any:
        to = fields.to or CREATE_CONTRACT_ADDRESS
        common: dict[str, Any] = {
            "nonce": fields.nonce,
            "gas": fields.gas,
            "to": to,
            "value": fields.value,
            "data": fields.data,
        }
        builder = PragueTransactionBuilder
        try:
            if fields.gas_price is None:
                return builder.new_unsigned_dynamic_fee_transaction(
                    chain_id=self.chain_id,
                    max_priority_fee_per_gas=fields.max_priority_fee_per_gas,
                    max_fee_per_gas=fields.max_fee_per_gas,
                    access_list=fields.access_list,
                    **common,
                )
            if fields.access_list:
                return builder.new_unsigned_access_list_transaction(
                    chain_id=self.chain_id,
                    gas_price=fields.gas_price,
                    access_list=fields.access_list,
                    **common,
                )
            return builder.create_unsigned_transaction(gas_price=fields.gas_price, **common)
        except ValidationError as error:
            raise InvalidTransaction(str(error)) from error


def _tx(native: SignedTransactionAPI, sender: bytes) -> Tx:
    kind: int = native.type_id or 0
    typed = native._inner if kind else native
    return Tx(
        hash=bytes(native.hash),
        type=kind,
        sender=sender,
        nonce=native.nonce,
        to=bytes(native.to) or None,
        value=native.value,
        gas=native.gas,
        gas_price=native.gas_price if kind < 2 else 0,
        max_fee_per_gas=native.max_fee_per_gas,
        max_priority_fee_per_gas=native.max_priority_fee_per_gas,
        data=native.data,
        chain_id=native.chain_id,
        access_list=tuple((bytes(a), tuple(slots)) for a, slots in native.access_list),
        v=native.y_parity if kind else typed.v,
        r=native.r,
        s=native.s,
        native=native,
    )
