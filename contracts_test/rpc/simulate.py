"""Calls and estimates: messages that leave no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts_test.engine import Call, CallResult, Edit, InvalidTransaction
from contracts_test.rpc import params as p
from contracts_test.rpc.errors import InvalidParams, Rejected, Reverted, ServerError
from contracts_test.rpc.params import BlockId, CallRequest

if TYPE_CHECKING:
    from contracts_test.rpc.node import Node

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")


def run(
    node: Node,
    request: CallRequest,
    block_id: BlockId,
    overrides: Any = None,
    gas: int | None = None,
) -> CallResult:
    """Runs a call. Raises Reverted with the returned data, or ServerError for other failures."""
    result = attempt(node, request, block_id, overrides, gas)
    if result.succeeded:
        return result
    if result.reverted:
        raise Reverted(reason(result.output), "0x" + result.output.hex())
    raise ServerError(f"EVM error: {result.error}")


def attempt(
    node: Node,
    request: CallRequest,
    block_id: BlockId,
    overrides: Any = None,
    gas: int | None = None,
) -> CallResult:
    """Runs a call and returns whatever came of it."""
    block = node.view.need(block_id)
    limit = node.chain.rules.gas_limit
    if gas is None:
        gas = min(request.gas or limit, limit)
    env = node.chain.env_of(block)
    if block_id.tag == "pending":
        env = node.chain.next_env()
    call = Call(
        sender=request.sender or bytes(20),
        to=request.to,
        value=request.value,
        gas=gas,
        gas_price=request.gas_price or request.max_fee_per_gas or 0,
        data=request.data,
        access_list=request.access_list,
    )
    try:
        return node.chain.engine.call(block.post_root, call, env, _edits(overrides))
    except InvalidTransaction as error:
        raise Rejected(str(error)) from error


def estimate(node: Node, request: CallRequest, block_id: BlockId, overrides: Any = None) -> int:
    """The least gas with which the call succeeds, found by halving."""
    first = run(node, request, block_id, overrides)
    low, high = first.gas_used - 1, request.gas or node.chain.rules.gas_limit
    # What was spent before refunds is nearly always enough: try it before halving.
    guess = min(first.gas_spent * 64 // 63 + 2_300, high) if request.to else first.gas_spent
    if attempt(node, request, block_id, overrides, first.gas_spent).succeeded:
        return first.gas_spent
    if attempt(node, request, block_id, overrides, guess).succeeded:
        high = guess
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        if attempt(node, request, block_id, overrides, middle).succeeded:
            high = middle
        else:
            low = middle
    return high


def reason(output: bytes) -> str:
    """What a revert says, in words where it says any."""
    if output[:4] == _ERROR_STRING and len(output) >= 68:
        size = int.from_bytes(output[36:68], "big")
        return f"execution reverted: {output[68 : 68 + size].decode(errors='replace')}"
    if output[:4] == _PANIC and len(output) >= 36:
        return f"execution reverted: panic: 0x{output[35]:02x}"
    if output:
        tail = f"{output[4:].hex()}" if len(output) > 4 else ""
        return f"execution reverted: custom error 0x{output[:4].hex()}" + (
            f": {tail}" if tail else ""
        )
    return "execution reverted"


def _edits(overrides: Any) -> dict[bytes, Edit] | None:
    """State overrides as geth defines them."""
    if overrides is None:
        return None
    if not isinstance(overrides, dict):
        raise InvalidParams("state overrides are an object by address")
    edits = {}
    for key, value in overrides.items():
        if not isinstance(value, dict):
            raise InvalidParams("a state override is an object")
        whole, some = value.get("state"), value.get("stateDiff")
        slots = {p.word32(k): p.word32(v) for k, v in (whole or some or {}).items()}
        edits[p.address(key)] = Edit(
            balance=_optional(value, "balance", p.quantity),
            nonce=_optional(value, "nonce", p.quantity),
            code=_optional(value, "code", p.data),
            storage=slots or None,
            replace_storage=whole is not None,
        )
    return edits


def _optional(value: dict[str, Any], key: str, parser: p.Parser) -> Any:
    return None if value.get(key) is None else parser(value[key])
