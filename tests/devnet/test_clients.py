"""Unmodified clients deploy, trade and read: web3.py, and viem and cast where npm has put them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractCustomError

from contracts_test.compile import ARTIFACTS
from contracts_test.exchange import artifact, checksum
from contracts_test.pytest_plugin import RunningDevnet

MODULES = Path(os.environ.get("TIDEBOOK_NODE_MODULES", "/tmp/npm/node_modules"))
PRICE, QUANTITY = 2_500 * 10**6, 10**18
CLIENT_TIMEOUT_S = 30


def test_web3_py_deploys_trades_and_reads(devnet: RunningDevnet) -> None:
    w3 = Web3(Web3.HTTPProvider(devnet.url))
    accounts: Sequence[Any] = w3.eth.accounts
    alice, bob = accounts[1], accounts[2]
    code = artifact("Token")
    creation = w3.eth.contract(abi=code["abi"], bytecode=code["bytecode"])
    receipt = w3.eth.wait_for_transaction_receipt(
        creation.constructor("Web3", "W3", 8).transact({"from": alice})
    )
    token = w3.eth.contract(address=receipt["contractAddress"], abi=code["abi"])
    assert token.functions.symbol().call() == "W3"

    market = devnet.exchange.market("WETH-USDC")
    book = _contract(w3, "OrderBook", market.book)
    balances = _contract(w3, "BalanceManager", devnet.exchange.balance_manager)
    for who, kind, amount in ((alice, market.base, 10**19), (bob, market.quote, 10**11)):
        money = _contract(w3, "Token", kind.address)
        money.functions.faucet(who, amount).transact({"from": who})
        money.functions.approve(balances.address, amount).transact({"from": who})
        balances.functions.deposit(money.address, amount).transact({"from": who})
    book.functions.placeLimit(1, PRICE, QUANTITY, 0, 0).transact({"from": alice})
    assert book.functions.bestPrice(1).call() == [PRICE, QUANTITY]
    taken = w3.eth.wait_for_transaction_receipt(
        book.functions.placeMarket(0, QUANTITY, 1).transact({"from": bob})
    )
    (match,) = book.events.OrderMatched().process_receipt(taken, errors=_discard())
    assert (match["args"]["executionPrice"], match["args"]["user"]) == (PRICE, bob)
    (logged,) = book.events.OrderMatched().get_logs(from_block=0)
    assert logged["transactionHash"] == taken["transactionHash"]
    with pytest.raises(ContractCustomError):
        book.functions.cancel(1).call({"from": alice})


async def test_web3_py_subscribes_over_binary_frames(devnet: RunningDevnet) -> None:
    async with AsyncWeb3(WebSocketProvider(devnet.ws_url)) as w3:
        await w3.eth.subscribe("newHeads")
        first, second = (await w3.eth.accounts)[:2]
        tx_hash = await w3.eth.send_transaction({"from": first, "to": second, "value": 1})
        async for message in w3.socket.process_subscriptions():
            head: Any = message["result"]
            block = await w3.eth.get_block(head["hash"])
            assert tx_hash in block["transactions"]
            break


def test_viem_deploys_trades_and_reads(devnet: RunningDevnet) -> None:
    if shutil.which("node") is None or not (MODULES / "viem").is_dir():
        pytest.skip(f"viem is not in {MODULES}: npm install viem, or set TIDEBOOK_NODE_MODULES")
    done = subprocess.run(
        ["node", str(Path(__file__).with_name("session.cjs")), devnet.url, str(ARTIFACTS)],
        env={**os.environ, "NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=CLIENT_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "symbol": "VIEM",
        "best": [str(PRICE), str(QUANTITY)],
        "events": ["OrderPlaced"],
        "traded": [str(PRICE), str(QUANTITY * 2 // 5), str(QUANTITY * 3 // 5)],
        "refused": "NotOrderOwner",
        "reverted": True,
        "logs": 6,  # rules; two orders; the maker's status, the match, the taker's status
    }


def test_cast_deploys_trades_and_reads(devnet: RunningDevnet) -> None:
    program = shutil.which("cast") or str(MODULES / ".bin" / "cast")
    if not Path(program).exists():
        pytest.skip("cast is not installed: npm install @foundry-rs/cast")

    def cast(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, "ETH_RPC_URL": devnet.url},
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    token = checksum(devnet.exchange.tokens[0].address)
    key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
    me = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    sent = cast("send", token, "faucet(address,uint256)", me, "77", "--private-key", key, "--json")
    receipt = json.loads(sent)
    assert receipt["status"] == "0x1"
    assert cast("call", token, "balanceOf(address)(uint256)", me) == "77"
    logs = json.loads(
        cast("logs", "--from-block", "0", "--address", token, "Transfer(address,address,uint256)",
             "--json")
    )  # fmt: skip
    assert [log["transactionHash"] for log in logs] == [receipt["transactionHash"]]
    assert cast("block-number") == str(int(receipt["blockNumber"], 16))
    assert int(cast("nonce", me)) == 1

    text = artifact("Token")["bytecode"]
    words = ("constructor(string,string,uint8)", "Cast", "CAST", "6")
    made = json.loads(cast("send", "--private-key", key, "--json", "--create", text, *words))
    assert cast("call", made["contractAddress"], "symbol()(string)") == '"CAST"'

    deployment: Any = devnet.exchange.deployment()
    manager = deployment["contracts"]["balance_manager"]
    book = deployment["markets"][0]["order_book"]
    weth, _, usdc = list(deployment["tokens"])[:3]
    other = "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"
    for side, owner, kind in ((1, key, weth), (0, other, usdc)):
        who, most = cast("wallet", "address", owner), str(10**19)
        by = ("--private-key", owner)
        cast("send", kind, "faucet(address,uint256)", who, most, *by)
        cast("send", kind, "approve(address,uint256)", manager, most, *by)
        cast("send", manager, "deposit(address,uint256)", kind, most, *by)
        place = "placeLimit(uint8,uint128,uint128,uint8,uint48)"
        cast("send", book, place, str(side), str(PRICE), str(QUANTITY), "0", "0", *by)
    matched = cast("logs", "--from-block", "0", "--address", book, MATCHED, "--json")
    assert len(json.loads(matched)) == 1
    assert cast("call", book, "bestPrice(uint8)(uint128,uint128)", "1").split() == ["0", "0"]


MATCHED = "OrderMatched(address,uint48,uint48,uint8,uint48,uint128,uint128)"


def _contract(w3: Web3, name: str, address: bytes) -> Any:
    return w3.eth.contract(address=w3.to_checksum_address(address), abi=artifact(name)["abi"])


def _discard() -> Any:
    from web3.logs import DISCARD

    return DISCARD
