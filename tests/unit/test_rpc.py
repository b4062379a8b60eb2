"""JSON-RPC against nodes that misbehave on a real socket."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from indexer.chain import node as node_module
from indexer.chain import rpc as rpc_module
from indexer.chain.errors import BadAnswer, BlockGone, RpcError, Unreachable, WrongNode
from indexer.chain.node import Node
from indexer.chain.rpc import HttpTransport, Rpc, WebsocketTransport
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.units import Address, Hash

DEPLOYMENT = Deployment(
    "tidebook",
    31337,
    Contracts(Address("0x" + "01" * 20), Address("0x" + "02" * 20)),
    Address("0x" + "03" * 20),
)
BLOCK = Block(7, Hash("0x" + "07" * 32), Hash("0x" + "06" * 32), 1_700_000_000)
HEADER = {
    "number": "0x7",
    "hash": BLOCK.hash,
    "parentHash": BLOCK.parent_hash,
    "timestamp": hex(BLOCK.timestamp),
    "logsBloom": "0x",
}

Answer = Callable[[Any], Any]
"""From a request (an object or a list) to a reply: JSON, or an aiohttp response."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "PATIENCE", rpc_module.Patience(first_retry_s=0.001))
    monkeypatch.setattr(node_module, "LAG_PAUSES_S", (0.001,))


@asynccontextmanager
async def node(*answers: Answer) -> AsyncIterator[tuple[str, list[Any]]]:
    """A node that gives these answers in turn, the last one for ever; its URL and what it heard."""
    heard: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        heard.append(asked)
        said = answers[min(len(heard), len(answers)) - 1](asked)
        return said if isinstance(said, web.StreamResponse) else web.json_response(said)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    await runner.cleanup()


def result(value: Any) -> Answer:
    def answer(asked: Any) -> Any:
        if isinstance(asked, list):
            return [answer(one) for one in asked]
        return {"jsonrpc": "2.0", "id": asked["id"], "result": value}

    return answer


def failure(code: int, message: str) -> Answer:
    return lambda asked: {
        "jsonrpc": "2.0",
        "id": asked["id"],
        "error": {"code": code, "message": message},
    }


def raw(text: str, status: int = 200) -> Answer:
    return lambda asked: web.Response(text=text, status=status)


@asynccontextmanager
async def asking(*answers: Answer) -> AsyncIterator[tuple[Rpc, list[Any]]]:
    async with node(*answers) as (url, heard):
        rpc = Rpc(url, HttpTransport(url))
        yield rpc, heard
        await rpc.close()


async def test_null_is_an_answer_where_one_may_be_missing() -> None:
    async with asking(result(None)) as (rpc, heard):
        assert await rpc.find(dict, "eth_getBlockByHash", "0x", False) is None
        with pytest.raises(BadAnswer, match="expected a result, found null"):
            await rpc.call(str, "eth_chainId")
        assert len(heard) == 2, "a missing thing is not asked for again"


@pytest.mark.parametrize(
    "trouble",
    [
        raw("slow down", 429),
        raw("bad gateway", 502),
        raw('{"jsonrpc":"2.0","id":1,"resu'),
        raw(""),
        raw("<html>"),
        lambda asked: {"jsonrpc": "2.0", "id": -1, "result": "0x1"},
    ],
)
async def test_a_busy_or_broken_answer_is_asked_for_again(trouble: Answer) -> None:
    async with asking(trouble, trouble, result("0x7a69")) as (rpc, heard):
        assert await rpc.call(str, "eth_chainId") == "0x7a69"
        assert len(heard) == 3


async def test_a_node_that_stays_broken_is_unreachable() -> None:
    async with asking(raw("down", 503)) as (rpc, heard):
        with pytest.raises(Unreachable, match=r"HTTP 503 \(6 attempts\)"):
            await rpc.call(str, "eth_chainId")
        assert len(heard) == rpc_module.ATTEMPTS


async def test_an_error_is_told_with_the_nodes_words() -> None:
    async with asking(failure(-32601, "no such method")) as (rpc, heard):
        with pytest.raises(RpcError, match="eth_dance: the node says -32601 no such method"):
            await rpc.call(str, "eth_dance")
        assert len(heard) == 1


async def test_an_answer_of_the_wrong_shape_is_told_with_what_was_found() -> None:
    async with asking(result([1, 2])) as (rpc, _):
        with pytest.raises(BadAnswer, match=r"found \[1,"):
            await rpc.call(str, "eth_chainId")


async def test_a_batch_with_one_answer_of_the_wrong_shape_is_told_by_that_one() -> None:
    def mixed(asked: Any) -> Any:
        return [result("0x1")(asked[0]), result([1, 2])(asked[1])]

    async with asking(mixed) as (rpc, heard):
        with pytest.raises(BadAnswer, match=r"^b: .*found \[1,"):
            await rpc.batch(str, [("a", ()), ("b", ())])
        assert len(heard) == 1


async def test_a_batch_may_come_back_shuffled() -> None:
    def shuffled(asked: Any) -> Any:
        return [
            {"jsonrpc": "2.0", "id": one["id"], "result": one["params"][0]}
            for one in reversed(asked)
        ]

    async with asking(shuffled) as (rpc, _):
        calls = [("echo", (str(n),)) for n in range(5)]
        assert await rpc.batch(str, calls) == ["0", "1", "2", "3", "4"]


async def test_a_batch_with_answers_missing_is_asked_for_again() -> None:
    def short(asked: Any) -> Any:
        return result("x")(asked)[:-1]

    async with asking(short, result("x")) as (rpc, heard):
        assert await rpc.batch(str, [("a", ()), ("b", ())]) == ["x", "x"]
        assert len(heard) == 2


async def test_a_batch_that_is_refused_as_a_whole() -> None:
    def refused(asked: Any) -> Any:
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "too many"}}

    async with asking(refused) as (rpc, _):
        with pytest.raises(RpcError, match="too many"):
            await rpc.batch(str, [("a", ()), ("b", ())])


def a_node(answers: dict[str, Any]) -> Answer:
    """A node that answers by method."""

    def answer(asked: Any) -> Any:
        if isinstance(asked, list):
            return [answer(one) for one in asked]
        said = answers.get(asked["method"], "0x7a69")
        return {"jsonrpc": "2.0", "id": asked["id"], "result": said}

    return answer


async def test_a_node_of_another_chain_is_refused() -> None:
    async with node(result("0x1")) as (url, _):
        with pytest.raises(WrongNode, match="follows chain 1, the deployment says chain_id 31337"):
            await Node.open(url, DEPLOYMENT)


async def test_a_block_that_is_not_there_any_more_is_gone() -> None:
    answers: dict[str, Any] = {
        "eth_getBlockByHash": None,
        "eth_getLogs": [],
        "eth_getBlockByNumber": HEADER,
    }
    async with node(a_node(answers)) as (url, _):
        opened = await Node.open(url, DEPLOYMENT)
        with pytest.raises(BlockGone):
            await opened.by_hash(BLOCK.hash)
        with pytest.raises(BlockGone):  # no logs, because there is no block
            await opened.logs_of(BLOCK, Watch(DEPLOYMENT, ()))
        assert await opened.by_number(7) == BLOCK
        await opened.close()


async def test_logs_that_are_refused_are_not_taken_for_a_block_that_is_gone() -> None:
    def answer(asked: Any) -> Any:
        if asked["method"] == "eth_getLogs":
            return failure(-32601, "needs a paid plan")(asked)
        return result("0x7a69" if asked["method"] == "eth_chainId" else HEADER)(asked)

    async with node(answer) as (url, _):
        opened = await Node.open(url, DEPLOYMENT)
        with pytest.raises(RpcError, match="needs a paid plan"):
            await opened.logs_of(BLOCK, Watch(DEPLOYMENT, ()))
        await opened.close()


async def test_a_log_of_another_block_is_not_taken_for_this_one() -> None:
    stray = {
        "address": "0x" + "01" * 20,
        "topics": [],
        "data": "0x",
        "blockHash": "0x" + "99" * 32,
        "blockNumber": "0x7",
        "transactionHash": "0x" + "aa" * 32,
        "logIndex": "0x0",
    }
    answers = {"eth_getLogs": [stray], "eth_getBlockByHash": HEADER, "eth_getBlockByNumber": HEADER}
    async with node(a_node(answers)) as (url, _):
        opened = await Node.open(url, DEPLOYMENT)
        with pytest.raises(BadAnswer, match=r"found a log of block 7 \(0x9999"):
            await opened.logs_of(BLOCK, Watch(DEPLOYMENT, ()))
        await opened.close()


async def test_a_node_without_a_finalized_tag_is_counted_by_confirmations() -> None:
    def answer(asked: Any) -> Any:
        if asked["method"] == "eth_chainId":
            return result("0x7a69")(asked)
        if asked["params"][0] == "finalized":
            return failure(-32602, "unknown tag")(asked)
        return result({**HEADER, "number": asked["params"][0]})(asked)

    async with node(answer) as (url, heard):
        opened = await Node.open(url, DEPLOYMENT, confirmations=5)
        found = await opened.finalized(BLOCK)
        assert found is not None
        assert found.number == 2
        await opened.finalized(BLOCK)
        tags = [asked["params"][0] for asked in heard if asked["params"]]
        assert tags.count("finalized") == 1, "what it does not know is asked once"
        await opened.close()


async def test_heads_come_by_websocket_as_they_are_announced() -> None:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            asked = json.loads(frame.data)
            said = {"eth_chainId": "0x7a69", "eth_subscribe": "0xsub"}.get(asked["method"], HEADER)
            await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": said})
            if asked["method"] == "eth_getBlockByNumber" and subscribed:
                for number in ("0x8", "0x9"):
                    header = {**HEADER, "number": number, "hash": "0x" + number[2:].zfill(64)}
                    header["parentHash"] = "0x" + "55" * 32
                    params = {"subscription": "0xsub", "result": header}
                    notice = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                    await socket.send_json(notice)
                await socket.close()
            if asked["method"] == "eth_subscribe":
                subscribed.append(True)
        return socket

    subscribed: list[bool] = []
    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened = await Node.open(f"ws://127.0.0.1:{runner.addresses[0][1]}", DEPLOYMENT)
    heard = []

    async def listen() -> None:
        async for head in opened.heads():
            heard.append(head.number)

    with pytest.raises(Unreachable, match="closed the websocket"):
        await listen()
    assert [number for number in heard if number != 8] == [7, 7, 9]  # 8 may have waited with 9
    await opened.close()
    await runner.cleanup()


async def test_nobody_there_by_websocket() -> None:
    with pytest.raises(Unreachable):
        await WebsocketTransport.open("ws://127.0.0.1:1")
