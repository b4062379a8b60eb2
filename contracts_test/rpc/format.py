"""Our values to the JSON that nodes speak."""

from __future__ import annotations

from typing import Any

from contracts_test.engine import Block, Log, Receipt, Tx

_EMPTY_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
_EMPTY_SHA256 = "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_ZERO_HASH = "0x" + "00" * 32


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def header(block: Block) -> dict[str, Any]:
    """What `newHeads` sends."""
    return {
        "hash": hexed(block.hash),
        "parentHash": hexed(block.parent_hash),
        "sha3Uncles": _EMPTY_UNCLES,
        "miner": hexed(block.coinbase),
        "stateRoot": hexed(block.state_root),
        "transactionsRoot": hexed(block.transactions_root),
        "receiptsRoot": hexed(block.receipts_root),
        "logsBloom": hexed(block.bloom),
        "difficulty": "0x0",
        "number": hex(block.number),
        "gasLimit": hex(block.gas_limit),
        "gasUsed": hex(block.gas_used),
        "timestamp": hex(block.timestamp),
        "extraData": hexed(block.extra_data),
        "mixHash": hexed(block.mix_hash),
        "nonce": "0x0000000000000000",
        "baseFeePerGas": hex(block.base_fee),
        "withdrawalsRoot": _EMPTY_ROOT,
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": _ZERO_HASH,
        "requestsHash": _EMPTY_SHA256,
    }


def block_object(block: Block, full: bool) -> dict[str, Any]:
    """What `eth_getBlockBy*` answers."""
    return {
        **header(block),
        "totalDifficulty": "0x0",
        "size": hex(block.size),
        "uncles": [],
        "transactions": [
            transaction(tx, block, i) if full else hexed(tx.hash) for i, tx in enumerate(block.txs)
        ],
        "withdrawals": [],
    }


def transaction(tx: Tx, block: Block | None, index: int | None) -> dict[str, Any]:
    """A transaction, in a block or still waiting for one."""
    found: dict[str, Any] = {
        "hash": hexed(tx.hash),
        "type": hex(tx.type),
        "from": hexed(tx.sender),
        "to": None if tx.to is None else hexed(tx.to),
        "nonce": hex(tx.nonce),
        "value": hex(tx.value),
        "gas": hex(tx.gas),
        "input": hexed(tx.data),
        "r": hex(tx.r),
        "s": hex(tx.s),
        "v": hex(tx.v),
        "blockHash": None if block is None else hexed(block.hash),
        "blockNumber": None if block is None else hex(block.number),
        "transactionIndex": None if index is None else hex(index),
    }
    if block is not None:
        found["blockTimestamp"] = hex(block.timestamp)
    if tx.chain_id is not None:
        found["chainId"] = hex(tx.chain_id)
    if tx.type >= 1:
        found["yParity"] = hex(tx.v)
        found["accessList"] = [
            {"address": hexed(a), "storageKeys": [f"0x{s:064x}" for s in slots]}
            for a, slots in tx.access_list
        ]
    if tx.type >= 2:
        found["maxFeePerGas"] = hex(tx.max_fee_per_gas)
        found["maxPriorityFeePerGas"] = hex(tx.max_priority_fee_per_gas)
        price = tx.max_fee_per_gas if block is None else tx.price_at(block.base_fee)
    else:
        price = tx.gas_price
    found["gasPrice"] = hex(price)
    return found


def receipt(block: Block, index: int) -> dict[str, Any]:
    """What became of a transaction."""
    tx, made = block.txs[index], block.receipts[index]
    first = first_log_index(block, index)
    return {
        "type": hex(tx.type),
        "status": "0x1" if made.succeeded else "0x0",
        "cumulativeGasUsed": hex(made.cumulative_gas_used),
        "logs": [log(block, index, first + i, entry) for i, entry in enumerate(made.logs)],
        "logsBloom": hexed(made.bloom),
        "transactionHash": hexed(tx.hash),
        "transactionIndex": hex(index),
        "blockHash": hexed(block.hash),
        "blockNumber": hex(block.number),
        "gasUsed": hex(made.gas_used),
        "effectiveGasPrice": hex(made.gas_price),
        "blobGasPrice": "0x1",
        "from": hexed(tx.sender),
        "to": None if tx.to is None else hexed(tx.to),
        "contractAddress": _address(made),
        "blockTimestamp": block.timestamp,  # a number here and hex in transactions, as with anvil
    }


def _address(made: Receipt) -> str | None:
    return None if made.contract_address is None else hexed(made.contract_address)


def first_log_index(block: Block, index: int) -> int:
    """Index within the block of a transaction's first log."""
    return sum(len(made.logs) for made in block.receipts[:index])


def log(
    block: Block, tx_index: int, log_index: int, entry: Log, removed: bool = False
) -> dict[str, Any]:
    """A log with its place."""
    return {
        "address": hexed(entry.address),
        "topics": [hexed(topic) for topic in entry.topics],
        "data": hexed(entry.data),
        "blockHash": hexed(block.hash),
        "blockNumber": hex(block.number),
        "blockTimestamp": hex(block.timestamp),
        "transactionHash": hexed(block.txs[tx_index].hash),
        "transactionIndex": hex(tx_index),
        "logIndex": hex(log_index),
        "removed": removed,
    }
