"""`eth_*`, `net_*` and `web3_*` that only look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eth_hash.auto import keccak

from contracts_test.chain import fee_after
from contracts_test.engine import Block, CallResult
from contracts_test.rpc import format as fmt
from contracts_test.rpc import params as p
from contracts_test.rpc.errors import InvalidParams
from contracts_test.rpc.params import LATEST, BlockId, CallRequest, Optional
from contracts_test.rpc.registry import Table
from contracts_test.rpc.simulate import estimate, run

if TYPE_CHECKING:
    from contracts_test.rpc.node import Node

table = Table()
CLIENT_VERSION = "tidebook-devnet/v0.1.0"
PRIORITY_FEE = 1_000_000_000
MAX_FEE_HISTORY = 1_024


@table.method("web3_clientVersion")
def client_version(node: Node) -> str:
    return CLIENT_VERSION


@table.method("web3_sha3", params=(p.data,))
def sha3(node: Node, value: bytes) -> str:
    return fmt.hexed(keccak(value))


@table.method("eth_chainId")
def chain_id(node: Node) -> str:
    return hex(node.shown_chain_id)


@table.method("net_version")
def net_version(node: Node) -> str:
    return str(node.shown_chain_id)


@table.method("net_listening")
def listening(node: Node) -> bool:
    return True


@table.method("net_peerCount")
def peers(node: Node) -> str:
    return "0x0"


@table.method("eth_syncing", "eth_mining")
def syncing(node: Node) -> bool:
    return False


@table.method("eth_accounts", "eth_requestAccounts")
def accounts(node: Node) -> list[str]:
    return [fmt.hexed(a) for a in node.accounts]


@table.method("eth_coinbase")
def coinbase(node: Node) -> str:
    return fmt.hexed(node.chain.coinbase)


@table.method("eth_blockNumber")
def block_number(node: Node) -> str:
    return hex(node.view.head.number)


@table.method("eth_gasPrice")
def gas_price(node: Node) -> str:
    return hex(fee_after(node.view.head) + PRIORITY_FEE)


@table.method("eth_maxPriorityFeePerGas")
def priority_fee(node: Node) -> str:
    return hex(PRIORITY_FEE)


@table.method("eth_blobBaseFee")
def blob_base_fee(node: Node) -> str:
    return "0x1"


@table.method(
    "eth_feeHistory",
    params=(p.quantity, p.block_id, Optional(p.anything, ())),
)
def fee_history(
    node: Node, count: int, newest: BlockId, percentiles: list[float]
) -> dict[str, Any]:
    last = node.view.need(newest)
    first = max(0, last.number - min(count, MAX_FEE_HISTORY) + 1)
    blocks = list(node.chain.history.between(first, last.number))
    fees = [b.base_fee for b in blocks] + [fee_after(last)]
    answer: dict[str, Any] = {
        "oldestBlock": hex(first),
        "baseFeePerGas": [hex(fee) for fee in fees],
        "gasUsedRatio": [b.gas_used / b.gas_limit for b in blocks],
        "baseFeePerBlobGas": ["0x1"] * len(fees),
        "blobGasUsedRatio": [0.0] * len(blocks),
    }
    if percentiles:
        answer["reward"] = [_rewards(b, percentiles) for b in blocks]
    return answer


def _rewards(block: Block, percentiles: list[float]) -> list[str]:
    """Priority fees at the given shares of the block's gas."""
    paid = sorted((made.gas_price - block.base_fee, made.gas_used) for made in block.receipts)
    if not paid:
        return ["0x0"] * len(percentiles)
    rewards = []
    for percentile in percentiles:
        threshold, seen, tip = block.gas_used * percentile / 100, 0, paid[-1][0]
        for fee, gas in paid:
            seen += gas
            if seen >= threshold:
                tip = fee
                break
        rewards.append(hex(max(tip, 0)))
    return rewards


@table.method("eth_getBalance", params=(p.address, Optional(p.block_id, LATEST)))
def get_balance(node: Node, address: bytes, block: BlockId) -> str:
    return hex(node.account(address, block).balance)


@table.method("eth_getTransactionCount", params=(p.address, Optional(p.block_id, LATEST)))
def get_transaction_count(node: Node, address: bytes, block: BlockId) -> str:
    nonce = node.account(address, block).nonce
    if block.tag == "pending":
        nonce = node.chain.pool.next_nonce(address, nonce)
    return hex(nonce)


@table.method("eth_getCode", params=(p.address, Optional(p.block_id, LATEST)))
def get_code(node: Node, address: bytes, block: BlockId) -> str:
    return fmt.hexed(node.account(address, block).code)


@table.method("eth_getStorageAt", params=(p.address, p.slot, Optional(p.block_id, LATEST)))
def get_storage_at(node: Node, address: bytes, slot: int, block: BlockId) -> str:
    root = node.view.need(block).post_root
    return f"0x{node.chain.engine.storage(root, address, slot):064x}"


@table.method("eth_getBlockByNumber", params=(p.block_id, Optional(p.boolean, False)))
def get_block_by_number(node: Node, block: BlockId, full: bool) -> dict[str, Any] | None:
    if block.tag == "pending":
        return node.pending_block(full)
    found = node.view.find(block)
    return None if found is None else fmt.block_object(found, full)


@table.method("eth_getBlockByHash", params=(p.hash32, Optional(p.boolean, False)))
def get_block_by_hash(node: Node, block_hash: bytes, full: bool) -> dict[str, Any] | None:
    found = node.view.find(BlockId(hash=block_hash))
    return None if found is None else fmt.block_object(found, full)


@table.method("eth_getBlockReceipts", params=(p.block_id,))
def get_block_receipts(node: Node, block: BlockId) -> list[dict[str, Any]] | None:
    found = node.view.find(block)
    return None if found is None else [fmt.receipt(found, i) for i in range(len(found.txs))]


@table.method("eth_getBlockTransactionCountByNumber", params=(p.block_id,))
def count_by_number(node: Node, block: BlockId) -> str | None:
    found = node.view.find(block)
    return None if found is None else hex(len(found.txs))


@table.method("eth_getBlockTransactionCountByHash", params=(p.hash32,))
def count_by_hash(node: Node, block_hash: bytes) -> str | None:
    found = node.view.find(BlockId(hash=block_hash))
    return None if found is None else hex(len(found.txs))


@table.method("eth_getUncleCountByBlockNumber", params=(p.block_id,))
def uncles_by_number(node: Node, block: BlockId) -> str | None:
    return None if node.view.find(block) is None else "0x0"


@table.method("eth_getUncleCountByBlockHash", params=(p.hash32,))
def uncles_by_hash(node: Node, block_hash: bytes) -> str | None:
    return None if node.view.find(BlockId(hash=block_hash)) is None else "0x0"


@table.method("eth_getTransactionByHash", params=(p.hash32,))
def get_transaction(node: Node, tx_hash: bytes) -> dict[str, Any] | None:
    place = node.place_of(tx_hash)
    if place is not None:
        block, index = place
        return fmt.transaction(block.txs[index], block, index)
    waiting = node.chain.pool.get(tx_hash)
    return None if waiting is None else fmt.transaction(waiting, None, None)


@table.method("eth_getTransactionReceipt", params=(p.hash32,))
def get_receipt(node: Node, tx_hash: bytes) -> dict[str, Any] | None:
    place = node.place_of(tx_hash)
    return None if place is None else fmt.receipt(*place)


@table.method("eth_getRawTransactionByHash", params=(p.hash32,))
def get_raw_transaction(node: Node, tx_hash: bytes) -> str | None:
    place = node.place_of(tx_hash)
    tx = place[0].txs[place[1]] if place is not None else node.chain.pool.get(tx_hash)
    return None if tx is None else fmt.hexed(node.chain.engine.encode(tx))


@table.method("eth_getTransactionByBlockNumberAndIndex", params=(p.block_id, p.quantity))
def transaction_by_number(node: Node, block: BlockId, index: int) -> dict[str, Any] | None:
    return _transaction_in(node.view.find(block), index)


@table.method("eth_getTransactionByBlockHashAndIndex", params=(p.hash32, p.quantity))
def transaction_by_hash(node: Node, block_hash: bytes, index: int) -> dict[str, Any] | None:
    return _transaction_in(node.view.find(BlockId(hash=block_hash)), index)


def _transaction_in(block: Block | None, index: int) -> dict[str, Any] | None:
    if block is None or index >= len(block.txs):
        return None
    return fmt.transaction(block.txs[index], block, index)


@table.method(
    "eth_call",
    params=(
        p.call_request,
        Optional(p.block_id, LATEST),
        Optional(p.anything),
        Optional(p.anything),
    ),
)
def call(
    node: Node, request: CallRequest, block: BlockId, overrides: Any, block_overrides: Any
) -> str:
    if block_overrides:
        raise InvalidParams("block overrides are not supported")
    result: CallResult = run(node, request, block, overrides)
    return fmt.hexed(result.output)


@table.method(
    "eth_estimateGas",
    params=(p.call_request, Optional(p.block_id, LATEST), Optional(p.anything)),
)
def estimate_gas(node: Node, request: CallRequest, block: BlockId, overrides: Any) -> str:
    return hex(estimate(node, request, block, overrides))
