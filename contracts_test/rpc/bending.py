"""`evm_*`, `anvil_*` and `txpool_*`: the methods only a test chain has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from contracts_test.chain import TooDeep
from contracts_test.engine import Edit, InvalidTransaction, Tx
from contracts_test.rpc import format as fmt
from contracts_test.rpc import params as p
from contracts_test.rpc.errors import InvalidParams, Rejected
from contracts_test.rpc.params import Optional
from contracts_test.rpc.registry import Table
from contracts_test.rpc.sending import prepare

if TYPE_CHECKING:
    from contracts_test.rpc.node import Node

table = Table()


# ------------------------------------------------------------------------------------- mining


@table.method("evm_mine", params=(Optional(p.anything),))
def evm_mine(node: Node, options: Any) -> str:
    count = 1
    if isinstance(options, dict):
        count = p.quantity(options.get("blocks", 1))
        if options.get("timestamp") is not None:
            _set_next_timestamp(node, p.quantity(options["timestamp"]))
    elif options is not None:
        _set_next_timestamp(node, p.quantity(options))
    _mine(node, count, None)
    return "0x0"


@table.method("anvil_mine", "hardhat_mine", params=(Optional(p.quantity, 1), Optional(p.quantity)))
def anvil_mine(node: Node, count: int, interval_s: int | None) -> None:
    _mine(node, count, interval_s)


def _mine(node: Node, count: int, interval_s: int | None) -> None:
    if count == 0:
        return
    try:
        node.chain.mine(count, interval_s)
    except ValueError as error:
        raise InvalidParams(str(error)) from error


@table.method("evm_setAutomine", "anvil_setAutomine", params=(p.boolean,))
def set_automine(node: Node, on: bool) -> None:
    node.chain.automine = on
    if on:
        node.set_interval(0)


@table.method("anvil_getAutomine", "hardhat_getAutomine")
def get_automine(node: Node) -> bool:
    return node.chain.automine


@table.method("evm_setIntervalMining", "anvil_setIntervalMining", params=(p.quantity,))
def set_interval_mining(node: Node, seconds: int) -> None:
    node.set_interval(seconds)
    node.chain.automine = False


@table.method("anvil_getIntervalMining")
def get_interval_mining(node: Node) -> int | None:
    return int(node.interval_s) or None


# --------------------------------------------------------------------------------------- time


@table.method("evm_increaseTime", "anvil_increaseTime", params=(p.quantity,))
def increase_time(node: Node, seconds: int) -> int:
    return node.chain.clock.increase(seconds)


@table.method("evm_setNextBlockTimestamp", "anvil_setNextBlockTimestamp", params=(p.quantity,))
def set_next_timestamp(node: Node, timestamp: int) -> None:
    _set_next_timestamp(node, timestamp)


def _set_next_timestamp(node: Node, timestamp: int) -> None:
    if timestamp <= node.chain.head.timestamp:
        raise InvalidParams(
            f"Timestamp error: {timestamp} is lower than previous block's timestamp"
        )
    node.chain.clock.set_next(timestamp)


@table.method("evm_setTime", "anvil_setTime", params=(p.quantity,))
def set_time(node: Node, timestamp: int) -> int:
    return node.chain.clock.set_now(timestamp)


@table.method("anvil_setBlockTimestampInterval", params=(p.quantity,))
def set_timestamp_interval(node: Node, seconds: int) -> None:
    node.chain.clock.step_s = seconds


@table.method("anvil_removeBlockTimestampInterval")
def remove_timestamp_interval(node: Node) -> bool:
    had = node.chain.clock.step_s is not None
    node.chain.clock.step_s = None
    return had


# ---------------------------------------------------------------------------------- branching


@table.method("evm_snapshot", "anvil_snapshot")
def snapshot(node: Node) -> str:
    return hex(node.chain.snapshot())


@table.method("evm_revert", "anvil_revert", params=(p.quantity,))
def revert(node: Node, number: int) -> bool:
    return node.chain.revert(number)


@table.method("anvil_rollback", params=(Optional(p.quantity, 1),))
def rollback(node: Node, depth: int) -> None:
    try:
        node.chain.rollback(depth)
    except TooDeep as error:
        raise InvalidParams(f"Rollback depth must not exceed current chain height: {error}") from (
            error
        )


@table.method("anvil_reorg", params=(p.anything, Optional(p.anything)))
def reorg(node: Node, options: Any, pairs: Any) -> None:
    """`[depth, [[tx, block], …]]`; a tx is raw bytes or an object, blocks count from 0.

    Objects get the nonces that follow those of the blocks that stay, in the order they are given.
    """
    if isinstance(options, dict):
        pairs = options.get("txBlockPairs", options.get("tx_block_pairs", pairs))
        options = options.get("depth")
    depth = p.quantity(options)
    if depth > node.chain.head.number:
        height = node.chain.head.number
        raise InvalidParams(
            "Reorg depth must not exceed current chain height: "
            f"current height {height}, depth {depth}"
        )
    txs: dict[int, list[Tx]] = {}
    nonces = _Nonces(node, node.chain.head.number - depth)
    for pair in pairs or ():
        if not isinstance(pair, list) or len(pair) != 2:
            raise InvalidParams("expected pairs of a transaction and a block index")
        index = p.quantity(pair[1])
        if index >= depth:
            raise InvalidParams(f"block index {index} is not below the depth {depth}")
        txs.setdefault(index, []).append(_transaction(node, pair[0], nonces))
    node.chain.reorg(depth, txs)


class _Nonces(dict[bytes, int]):
    """The next nonce of each sender on a branch that begins behind a block."""

    def __init__(self, node: Node, root: int) -> None:
        block = node.chain.history.at(root)
        assert block is not None, "history has no gaps"
        self._engine, self._root = node.chain.engine, block.post_root

    def __missing__(self, sender: bytes) -> int:
        return self._engine.account(self._root, sender).nonce


def _transaction(node: Node, value: Any, nonces: _Nonces) -> Tx:
    if isinstance(value, dict):
        request = p.call_request(value)
        sender = request.sender or node.accounts[0]
        nonce = nonces[sender] if request.nonce is None else request.nonce
        nonces[sender] = nonce + 1
        return prepare(node, replace(request, nonce=nonce))
    try:
        return node.chain.engine.decode(p.data(value))
    except InvalidTransaction as error:
        raise Rejected(str(error)) from error


# -------------------------------------------------------------------------------------- state


@table.method("anvil_setBalance", "hardhat_setBalance", params=(p.address, p.quantity))
def set_balance(node: Node, address: bytes, balance: int) -> None:
    node.chain.edit(address, Edit(balance=balance))


@table.method("anvil_setNonce", "hardhat_setNonce", "evm_setAccountNonce",
              params=(p.address, p.quantity))  # fmt: skip
def set_nonce(node: Node, address: bytes, nonce: int) -> None:
    node.chain.edit(address, Edit(nonce=nonce))


@table.method("anvil_setCode", "hardhat_setCode", params=(p.address, p.data))
def set_code(node: Node, address: bytes, code: bytes) -> None:
    node.chain.edit(address, Edit(code=code))


@table.method("anvil_setStorageAt", "hardhat_setStorageAt", params=(p.address, p.slot, p.word32))
def set_storage_at(node: Node, address: bytes, slot: int, value: int) -> bool:
    node.chain.edit(address, Edit(storage={slot: value}))
    return True


@table.method("anvil_setCoinbase", "hardhat_setCoinbase", params=(p.address,))
def set_coinbase(node: Node, address: bytes) -> None:
    node.chain.coinbase = address


@table.method(
    "anvil_setNextBlockBaseFeePerGas",
    "hardhat_setNextBlockBaseFeePerGas",
    params=(p.quantity,),
)
def set_next_base_fee(node: Node, fee: int) -> None:
    node.chain.next_base_fee = fee


@table.method("evm_setBlockGasLimit", "anvil_setBlockGasLimit", params=(p.quantity,))
def set_block_gas_limit(node: Node, limit: int) -> bool:
    node.chain.set_gas_limit(limit)
    return True


@table.method("anvil_impersonateAccount", "hardhat_impersonateAccount", params=(p.address,))
def impersonate(node: Node, address: bytes) -> None:
    node.impersonated.add(address)


@table.method(
    "anvil_stopImpersonatingAccount", "hardhat_stopImpersonatingAccount", params=(p.address,)
)
def stop_impersonating(node: Node, address: bytes) -> None:
    node.impersonated.discard(address)


@table.method("anvil_autoImpersonateAccount", params=(p.boolean,))
def auto_impersonate(node: Node, on: bool) -> None:
    node.impersonate_all = on


# ----------------------------------------------------------------------------------- the pool


@table.method("anvil_dropTransaction", "hardhat_dropTransaction", params=(p.hash32,))
def drop_transaction(node: Node, tx_hash: bytes) -> str | None:
    return fmt.hexed(tx_hash) if node.chain.pool.drop(tx_hash) else None


@table.method("anvil_dropAllTransactions")
def drop_all(node: Node) -> None:
    for tx in node.chain.pool.all():
        node.chain.pool.drop(tx.hash)


@table.method("txpool_status")
def txpool_status(node: Node) -> dict[str, str]:
    ready = len(node.chain.pool.ready(node.chain.account_nonce))
    return {"pending": hex(ready), "queued": hex(len(node.chain.pool) - ready)}


@table.method("txpool_content")
def txpool_content(node: Node) -> dict[str, Any]:
    ready = {tx.hash for tx in node.chain.pool.ready(node.chain.account_nonce)}
    content: dict[str, Any] = {"pending": {}, "queued": {}}
    for tx in node.chain.pool.all():
        part = content["pending" if tx.hash in ready else "queued"]
        part.setdefault(fmt.hexed(tx.sender), {})[str(tx.nonce)] = fmt.transaction(tx, None, None)
    return content


@table.method("anvil_nodeInfo")
def node_info(node: Node) -> dict[str, Any]:
    head = node.chain.head
    env = node.chain.next_env()
    return {
        "currentBlockNumber": hex(head.number),
        "currentBlockTimestamp": head.timestamp,
        "currentBlockHash": fmt.hexed(head.hash),
        "hardFork": node.chain.engine.fork.capitalize(),
        "transactionOrder": "fifo",
        "environment": {
            "baseFee": hex(env.base_fee),
            "chainId": node.chain.rules.chain_id,
            "gasLimit": hex(env.gas_limit),
            "gasPrice": hex(env.base_fee + 1_000_000_000),
        },
        "forkConfig": {"forkUrl": None, "forkBlockNumber": None, "forkRetryBackoff": None},
    }


@table.method("anvil_metadata", "hardhat_metadata")
def metadata(node: Node) -> dict[str, Any]:
    head = node.chain.head
    return {
        "clientVersion": node.client_version,
        "clientSemver": node.client_version.partition("/v")[2],
        "clientCommitSha": "",
        "chainId": node.chain.rules.chain_id,
        "instanceId": fmt.hexed(node.instance_id),
        "latestBlockNumber": head.number,
        "latestBlockHash": fmt.hexed(head.hash),
        "forkedNetwork": None,
        "snapshots": {},
    }
