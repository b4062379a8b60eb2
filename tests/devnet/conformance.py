"""One session of JSON-RPC calls, told to two nodes; what each answers is compared call by call.

`SESSION` names every step. A step's answer is reduced to its shape (keys, kinds, lengths), so that
hashes and times may differ; `exact` steps must agree to the letter.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_hash.auto import keccak

from contracts_test.abi import encode_call, encode_strings_and_words, word
from contracts_test.accounts import ADDRESSES, KEY_OF
from contracts_test.engine import TxFields
from contracts_test.exchange import bytecode, checksum
from contracts_test.pyevm import PyEvmEngine

ALICE, BOB, STRANGER = ("0x" + a.hex() for a in (ADDRESSES[0], ADDRESSES[1], b"\x12" * 20))
NOBODY = "0x" + "34" * 20
ZERO_HASH = "0x" + "00" * 32
TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
APPROVAL = "0x" + keccak(b"Approval(address,address,uint256)").hex()
POLL_S = 0.02
TIMEOUT_S = 10.0

Memory = dict[str, Any]
Params = list[Any] | Callable[[Memory], list[Any]]


@dataclass(frozen=True)
class Step:
    """One call; `keep` stores its result for later steps, `mined` waits for its transaction."""

    method: str
    params: Params = field(default_factory=list)
    exact: bool = False
    keep: str | None = None
    mined: bool = False


class Peer:
    """A node behind a URL and what was remembered of its answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.memory: Memory = {}
        self._signer = PyEvmEngine(31337)

    def post(self, body: Any) -> Any:
        """The parsed answer to any body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            text = response.read()
        return json.loads(text) if text else None

    def ask(self, method: str, params: list[Any]) -> Any:
        """`{"result": …}` or `{"error": …}`."""
        answer = self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return {k: v for k, v in answer.items() if k in ("result", "error")}

    def play(self, step: Step) -> Any:
        """Does a step; returns the answer."""
        params = step.params(self.memory) if callable(step.params) else step.params
        answer = self.ask(step.method, params)
        if step.mined and "result" in answer:
            self.await_receipt(answer["result"])
        if step.keep is not None:
            self.memory[step.keep] = answer.get("result")
        return answer

    def await_receipt(self, tx_hash: str) -> Any:
        """anvil answers a sending before the block is there."""
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            receipt = self.ask("eth_getTransactionReceipt", [tx_hash])["result"]
            if receipt is not None:
                return receipt
            time.sleep(POLL_S)
        raise TimeoutError(f"{tx_hash} was not mined in {TIMEOUT_S} s")

    def raw(self, nonce: int, data: bytes, to: str | None, gas: int = 200_000) -> str:
        """A signed transaction of Bob's."""
        target = None if to is None else bytes.fromhex(to[2:])
        fields = TxFields(nonce, target, 0, gas, data, None, 10**11, 10**9)
        return "0x" + self._signer.encode(self._signer.sign(fields, KEY_OF[ADDRESSES[1]])).hex()


def reach(url: str) -> bool:
    """Does something answer there?"""
    try:
        Peer(url).ask("eth_chainId", [])
    except (urllib.error.URLError, OSError):
        return False
    return True


def shape(value: Any) -> Any:
    """What kind of answer this is, without the particulars."""
    if isinstance(value, dict):
        if "code" in value and "message" in value:
            return {"code": value["code"]}
        return {k: shape(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return [shape(v) for v in value]
    if isinstance(value, str):
        if not value.startswith("0x"):
            return "text"
        if len(value) < 42:
            return "quantity"
        # r and s of a signature lose their leading zeros
        return "word" if 58 <= len(value) <= 66 else f"{(len(value) - 2) // 2} bytes"
    if isinstance(value, bool) or value is None:
        return value
    return "number"


def token_code() -> str:
    arguments = encode_strings_and_words("Peer", "PEER", 18)
    return "0x" + (bytecode("Token") + arguments).hex()


def calldata(signature: str, *values: int | str) -> str:
    return "0x" + encode_call(signature, *values).hex()


def _call(m: Memory, data: str, **more: Any) -> dict[str, Any]:
    return {"from": ALICE, "to": m["token"], "data": data, **more}


def _learn_token(m: Memory) -> list[Any]:
    creator, nonce = ADDRESSES[0], b"\x80"
    m["token"] = checksum(keccak(bytes([0xD6]) + b"\x94" + creator + nonce)[12:]).lower()
    return [m["deployment"]]


def _signed(nonce: int, signature: str, *values: int | str) -> Callable[[Memory], list[Any]]:
    def params(m: Memory) -> list[Any]:
        data = encode_call(signature, *values)
        return [Peer("").raw(nonce, data, m["token"])]

    return params


FAUCET = "faucet(address,uint256)"
_storage_key = "0x" + keccak(word(ADDRESSES[0]) + word(3)).hex()

SESSION: tuple[Step, ...] = (
    Step("web3_clientVersion"),
    Step("web3_sha3", ["0x68656c6c6f"], exact=True),
    Step("eth_chainId", exact=True),
    Step("net_version", exact=True),
    Step("net_listening", exact=True),
    Step("eth_syncing", exact=True),
    Step("eth_accounts", exact=True),
    Step("eth_blockNumber", exact=True),
    Step("eth_gasPrice", exact=True),
    Step("eth_maxPriorityFeePerGas", exact=True),
    Step("eth_blobBaseFee"),
    Step("eth_getBalance", [ALICE, "latest"], exact=True),
    Step("eth_getTransactionCount", [ALICE, "latest"], exact=True),
    Step("eth_getBlockByNumber", ["earliest", True]),
    Step("eth_getBlockByNumber", ["0x1000", False], exact=True),
    Step("eth_getBlockByHash", [ZERO_HASH, False], exact=True),
    Step(
        "eth_sendTransaction",
        [{"from": ALICE, "data": token_code()}],
        keep="deployment",
        mined=True,
    ),
    Step("eth_getTransactionReceipt", _learn_token, keep="receipt"),
    Step("eth_getTransactionByHash", lambda m: [m["deployment"]]),
    Step("eth_getTransactionByHash", [ZERO_HASH], exact=True),
    Step("eth_getTransactionReceipt", [ZERO_HASH], exact=True),
    Step("eth_getCode", lambda m: [m["token"], "latest"], exact=True),
    Step("eth_call", lambda m: [_call(m, calldata("decimals()")), "latest"], exact=True),
    Step("eth_call", lambda m: [_call(m, calldata("symbol()"))], exact=True),
    Step("eth_call", lambda m: [_call(m, calldata("transfer(address,uint256)", BOB, 1)), "latest"]),
    Step("eth_call", [{"to": ALICE, "data": "0x"}, "0xffff"]),
    Step(
        "eth_call",
        lambda m: [
            _call(m, calldata("balanceOf(address)", ALICE)),
            "latest",
            {m["token"]: {"stateDiff": {_storage_key: "0x" + "00" * 31 + "07"}}},
        ],
        exact=True,
    ),
    Step("eth_estimateGas", lambda m: [_call(m, calldata(FAUCET, ALICE, 5))]),
    Step("eth_estimateGas", lambda m: [_call(m, calldata("transfer(address,uint256)", BOB, 1))]),
    Step(
        "eth_sendTransaction",
        lambda m: [_call(m, calldata(FAUCET, ALICE, 1000), gas="0x30d40")],
        keep="minted",
        mined=True,
    ),
    Step("eth_getTransactionReceipt", lambda m: [m["minted"]]),
    Step(
        "eth_sendTransaction",
        lambda m: [_call(m, calldata("transfer(address,uint256)", BOB, 10**6), gas="0x30d40")],
        keep="failed",
        mined=True,
    ),
    Step("eth_getTransactionReceipt", lambda m: [m["failed"]]),
    Step("eth_sendRawTransaction", _signed(0, FAUCET, BOB, 7), mined=True, keep="raw"),
    Step("eth_sendRawTransaction", _signed(0, FAUCET, BOB, 7)),
    Step("eth_sendRawTransaction", _signed(0, FAUCET, BOB, 8)),
    Step("eth_sendRawTransaction", ["0x1234"]),
    Step("eth_sendTransaction", [{"from": STRANGER, "to": ALICE}]),
    Step("eth_sendTransaction", [{"from": BOB, "to": ALICE, "value": "0xffffffffffffffffffffff"}]),
    Step("eth_getTransactionReceipt", lambda m: [m["raw"]]),
    Step("eth_getBlockByNumber", ["latest", False], keep="latest"),
    Step("eth_getBlockByNumber", ["latest", True]),
    Step("eth_getBlockByHash", lambda m: [m["latest"]["hash"], True]),
    Step("eth_getBlockReceipts", ["latest"]),
    Step("eth_getBlockTransactionCountByNumber", ["latest"], exact=True),
    Step("eth_getBlockTransactionCountByHash", lambda m: [m["latest"]["hash"]], exact=True),
    Step("eth_getTransactionByBlockNumberAndIndex", ["latest", "0x0"]),
    Step("eth_getTransactionByBlockHashAndIndex", lambda m: [m["latest"]["hash"], "0x0"]),
    Step("eth_getTransactionByBlockNumberAndIndex", ["latest", "0x5"], exact=True),
    Step("eth_getUncleCountByBlockNumber", ["latest"], exact=True),
    Step("eth_getUncleCountByBlockHash", lambda m: [m["latest"]["hash"]], exact=True),
    Step("eth_getRawTransactionByHash", lambda m: [m["raw"]], exact=True),
    Step("eth_feeHistory", ["0x3", "latest", [25, 75]]),
    Step("eth_getStorageAt", lambda m: [m["token"], _storage_key, "latest"], exact=True),
    Step("eth_getStorageAt", lambda m: [m["token"], "0x2", "0x1"], exact=True),
    Step("eth_getLogs", lambda m: [{"fromBlock": "0x0", "toBlock": "latest"}]),
    Step("eth_getLogs", lambda m: [{"blockHash": m["latest"]["hash"]}]),
    Step("eth_getLogs", lambda m: [{"fromBlock": "0x0", "topics": [[TRANSFER, APPROVAL]]}]),
    Step("eth_getLogs", lambda m: [{"fromBlock": "0x0", "topics": [APPROVAL]}], exact=True),
    Step(
        "eth_getLogs",
        lambda m: [
            {"fromBlock": "0x0", "topics": [TRANSFER, None, "0x" + word(ADDRESSES[1]).hex()]}
        ],
    ),
    Step("eth_getLogs", [{"fromBlock": "0x0", "address": [ALICE, BOB]}], exact=True),
    Step("eth_getLogs", [{"blockHash": ZERO_HASH}]),
    Step("eth_getLogs", [{"fromBlock": "0x500", "toBlock": "0x501"}]),
    Step("eth_newFilter", [{"fromBlock": "0x0"}], keep="filter"),
    Step("eth_newBlockFilter", keep="blocks"),
    Step("eth_newPendingTransactionFilter", keep="pending"),
    Step("evm_setAutomine", [False], exact=True),
    Step("anvil_getAutomine", exact=True),
    Step("eth_sendRawTransaction", _signed(1, FAUCET, BOB, 9), keep="waiting"),
    Step("eth_sendRawTransaction", _signed(3, FAUCET, BOB, 9), keep="queued"),
    Step("eth_getTransactionReceipt", lambda m: [m["waiting"]], exact=True),
    Step("eth_getTransactionByHash", lambda m: [m["waiting"]]),
    Step("eth_getTransactionCount", [BOB, "pending"], exact=True),
    Step("txpool_status", exact=True),
    Step("txpool_content"),
    Step("eth_getFilterChanges", lambda m: [m["pending"]]),
    Step("anvil_dropTransaction", lambda m: [m["queued"]]),
    Step("anvil_dropTransaction", [ZERO_HASH], exact=True),
    Step("evm_mine", exact=True),
    Step("eth_getFilterChanges", lambda m: [m["filter"]]),
    Step("eth_getFilterChanges", lambda m: [m["blocks"]]),
    Step("eth_getFilterLogs", lambda m: [m["filter"]]),
    Step("eth_uninstallFilter", lambda m: [m["filter"]], exact=True),
    Step("eth_uninstallFilter", lambda m: [m["filter"]], exact=True),
    Step("eth_getFilterChanges", lambda m: [m["filter"]]),
    Step("evm_setAutomine", [True], exact=True),
    Step("evm_snapshot", keep="snapshot", exact=True),
    Step("anvil_mine", ["0xa"], exact=True),
    Step("anvil_mine", ["0x2", "0x3c"], exact=True),
    Step("eth_blockNumber", exact=True),
    Step("eth_getBlockByNumber", ["safe", False]),
    Step("eth_getBlockByNumber", ["finalized", False]),
    Step("eth_getBlockByNumber", ["pending", False]),
    Step("anvil_setBalance", [NOBODY, "0xde0b6b3a7640000"], exact=True),
    Step("eth_getBalance", [NOBODY, "latest"], exact=True),
    Step("anvil_setNonce", [NOBODY, "0x9"], exact=True),
    Step("eth_getTransactionCount", [NOBODY, "latest"], exact=True),
    Step("anvil_setCode", [STRANGER, "0x602a60005260206000f3"], exact=True),
    Step("eth_call", [{"to": STRANGER}, "latest"], exact=True),
    Step("anvil_setStorageAt", [STRANGER, "0x1", "0x" + "00" * 31 + "2a"], exact=True),
    Step("eth_getStorageAt", [STRANGER, "0x1", "latest"], exact=True),
    Step("anvil_impersonateAccount", [NOBODY], exact=True),
    Step("eth_sendTransaction", [{"from": NOBODY, "to": ALICE, "value": "0x1"}], mined=True),
    Step("anvil_stopImpersonatingAccount", [NOBODY], exact=True),
    Step("eth_sendTransaction", [{"from": NOBODY, "to": ALICE, "value": "0x1"}]),
    Step("evm_increaseTime", [3600]),
    Step("evm_setNextBlockTimestamp", ["0xf0000000"], exact=True),
    Step("evm_mine", exact=True),
    Step("eth_getBlockByNumber", ["latest", False]),
    Step("evm_setNextBlockTimestamp", ["0x1"]),
    Step("anvil_setNextBlockBaseFeePerGas", ["0x3b9aca00"], exact=True),
    Step("anvil_mine", exact=True),
    Step("eth_blockNumber", exact=True),
    Step("anvil_rollback", [2], exact=True),
    Step("eth_blockNumber", exact=True),
    Step("anvil_reorg", [3, []], exact=True),
    Step("eth_blockNumber", exact=True),
    Step("anvil_reorg", [2, [[{"from": ALICE, "to": BOB, "value": "0x5"}, 0]]], exact=True),
    Step("eth_getBlockTransactionCountByNumber", ["latest"], exact=True),
    Step("anvil_reorg", [5000, []]),
    Step("anvil_rollback", [5000]),
    Step("evm_revert", lambda m: [m["snapshot"]], exact=True),
    Step("evm_revert", lambda m: [m["snapshot"]], exact=True),
    Step("eth_blockNumber", exact=True),
    Step("evm_setIntervalMining", [0], exact=True),
    Step("anvil_getIntervalMining", exact=True),
    Step("anvil_nodeInfo"),
    Step("anvil_metadata"),
    Step("eth_sign", [ALICE, "0x68656c6c6f"], exact=True),
    Step("personal_sign", ["0x68656c6c6f", ALICE], exact=True),
    Step("eth_nonsense"),
    Step("eth_getBalance"),
    Step("eth_getBalance", ["0x12", "latest"]),
    Step("eth_getBalance", [ALICE, "0xfffff"]),
    Step("eth_getBlockByNumber", ["soon", False]),
    Step("eth_getLogs", ["everything"]),
    Step("eth_subscribe", ["newHeads"]),
)

BODIES: dict[str, Any] = {
    "a batch": [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": "two", "method": "eth_nonsense", "params": []},
        {"jsonrpc": "2.0", "id": 3, "method": "eth_chainId"},
    ],
    "an empty batch": [],
    "not JSON": b"{",
    "not a request": {"id": 1},
}
