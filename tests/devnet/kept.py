"""Kept chains for tests: opening them, what they tell, and what a kill leaves of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts_test.accounts import ADDRESSES
from contracts_test.node import Config, build_node
from contracts_test.rpc.node import Node

GENESIS = 1_700_000_000
ALICE, BOB, STRANGER = ("0x" + a.hex() for a in (ADDRESSES[1], ADDRESSES[2], b"\xab" * 20))


def kept(directory: Path | None, **more: Any) -> Config:
    return Config(port=0, genesis_timestamp=GENESIS, timestamp_step_s=1, data_dir=directory, **more)


@contextmanager
def opened(config: Config) -> Iterator[Node]:
    node, _ = build_node(config)
    try:
        yield node
    finally:
        if node.keeper is not None:
            node.keeper.close()


def ask(node: Node, method: str, *params: Any) -> Any:
    answer = node.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    assert "error" not in answer, answer
    return answer["result"]


def told_by(node: Node) -> dict[str, Any]:
    """Everything a client may have been told of a chain's past, and what depends on its state."""
    everything = {"fromBlock": "0x0", "toBlock": "latest"}
    height = node.chain.head.number
    blocks = [ask(node, "eth_getBlockByNumber", hex(n), True) for n in range(height + 1)]
    return {
        "blocks": blocks,
        "by hash": [ask(node, "eth_getBlockByHash", b["hash"], True) for b in blocks],
        "receipts": [ask(node, "eth_getBlockReceipts", b["number"]) for b in blocks],
        "receipt": [
            ask(node, "eth_getTransactionReceipt", t["hash"])
            for b in blocks
            for t in b["transactions"]
        ],
        "logs": ask(node, "eth_getLogs", everything),
        "marks": [ask(node, "eth_getBlockByNumber", t, False) for t in ("safe", "finalized")],
        "pending": ask(node, "eth_getBlockByNumber", "pending", True),
        "pool": ask(node, "txpool_content"),
        "balances": [ask(node, "eth_getBalance", a, "latest") for a in (ALICE, BOB, STRANGER)],
        "past": ask(node, "eth_getBalance", ALICE, hex(max(0, height - 2))),
        "accounts": ask(node, "eth_accounts"),
        "fees": ask(node, "eth_feeHistory", "0x4", "latest", []),
    }


def killed(directory: Path, to: Path) -> Path:
    """What a process killed at this moment would leave: its files, and no lock."""
    (to / "devnet").mkdir(parents=True)
    shutil.copy(directory / "devnet" / "chain", to / "devnet" / "chain")
    return to


def send(value: int, sender: str = ALICE, **more: Any) -> dict[str, Any]:
    return {"from": sender, "to": BOB, "value": hex(value), **more}
