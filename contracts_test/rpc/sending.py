"""Methods that put transactions into the pool, and what signs for the ten accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts_test.engine import InvalidTransaction, Tx, TxFields
from contracts_test.rpc import format as fmt
from contracts_test.rpc import params as p
from contracts_test.rpc.errors import InvalidParams, Rejected
from contracts_test.rpc.params import BlockId, CallRequest
from contracts_test.rpc.reads import PRIORITY_FEE
from contracts_test.rpc.registry import Table
from contracts_test.rpc.simulate import estimate

if TYPE_CHECKING:
    from contracts_test.rpc.node import Node

table = Table()
_PENDING = BlockId(tag="pending")


@table.method("eth_sendRawTransaction", params=(p.data,))
def send_raw_transaction(node: Node, raw: bytes) -> str:
    try:
        tx = node.chain.engine.decode(raw)
    except InvalidTransaction as error:
        raise InvalidParams(str(error)) from error
    return _submit(node, tx)


@table.method("eth_sendTransaction", params=(p.call_request,))
def send_transaction(node: Node, request: CallRequest) -> str:
    return _submit(node, prepare(node, request))


@table.method("eth_signTransaction", params=(p.call_request,))
def sign_transaction(node: Node, request: CallRequest) -> str:
    tx = prepare(node, request)
    return fmt.hexed(node.chain.engine.encode(tx))


@table.method("eth_sign", "personal_sign", params=(p.anything, p.anything))
def sign(node: Node, first: Any, second: Any) -> str:
    # eth_sign names the account first, personal_sign last: whichever has 20 bytes is the account
    message, account = p.data(second), p.data(first)
    if account not in node.keys:
        message, account = account, message
    key = node.keys.get(account)
    if key is None:
        raise InvalidParams("No Signer available")
    from eth_account import Account  # half a second to import, and rarely wanted
    from eth_account.messages import encode_defunct

    return fmt.hexed(bytes(Account.sign_message(encode_defunct(message), key).signature))


@table.method("eth_signTypedData_v4", "eth_signTypedData", params=(p.address, p.anything))
def sign_typed_data(node: Node, account: bytes, typed: Any) -> str:
    key = node.keys.get(account)
    if key is None:
        raise InvalidParams("No Signer available")
    if isinstance(typed, str):
        import json

        typed = json.loads(typed)
    from eth_account import Account

    try:
        return fmt.hexed(bytes(Account.sign_typed_data(key, full_message=typed).signature))
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidParams(f"typed data can not be read: {error}") from error


def prepare(node: Node, request: CallRequest) -> Tx:
    """Fills in what the caller left out and signs in the sender's name."""
    sender = request.sender or node.accounts[0]
    if sender not in node.keys and not node.may_impersonate(sender):
        raise InvalidParams("No Signer available")
    chain = node.chain
    nonce = request.nonce
    if nonce is None:
        nonce = chain.pool.next_nonce(sender, chain.account_nonce(sender))
    gas = request.gas
    if gas is None:
        gas = estimate(node, request, _PENDING)
    priority = request.max_priority_fee_per_gas
    if priority is None:
        priority = min(PRIORITY_FEE, request.max_fee_per_gas or PRIORITY_FEE)
    most = request.max_fee_per_gas
    if most is None:
        most = chain.next_env().base_fee * 2 + priority
    if request.gas_price is None and priority > most:
        raise InvalidParams("max priority fee per gas higher than max fee per gas")
    fields = TxFields(
        nonce=nonce,
        to=request.to,
        value=request.value,
        gas=gas,
        data=request.data,
        gas_price=request.gas_price,
        max_fee_per_gas=most,
        max_priority_fee_per_gas=priority,
        access_list=request.access_list,
    )
    try:
        if node.may_impersonate(sender):
            return chain.engine.impersonate(fields, sender)
        return chain.engine.sign(fields, node.keys[sender])
    except InvalidTransaction as error:
        raise InvalidParams(str(error)) from error


def _submit(node: Node, tx: Tx) -> str:
    try:
        node.chain.submit(tx)
    except InvalidTransaction as error:
        raise Rejected(str(error)) from error
    return fmt.hexed(tx.hash)
