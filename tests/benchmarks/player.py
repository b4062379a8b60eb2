"""A node that plays a synthetic chain, and is never what is waited for.

    .venv/bin/python -m tests.benchmarks.player 300000 --port 8600
    .venv/bin/python -m tests.benchmarks.player 300000 --raw

All answers are slices of JSON made before it serves: logs of a range are one piece of memory, so
10 MB of them cost a copy. The chain's last `--open` blocks are not final. With `--block-time` it
begins at block `--head` and mines the rest, announcing each; a line of JSON on stdout says when.
With `--when-watched` it waits for a subscriber first.
`--raw` measures the player itself: it is asked for everything as tidebook asks, and the answers
are parsed and thrown away.
"""

import argparse
import asyncio
import contextlib
import gzip
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import WSMsgType, web

from indexer.chain.recording import RecordedBlock
from indexer.domain.log import Log
from tests.benchmarks.chains import (
    BOOKS,
    DEPLOYMENT,
    EVENTS_A_BLOCK,
    MANAGER,
    POOL_MANAGER,
    chain,
)

MOST_ANSWER_BLOCKS = 10_000
MOST_REQUEST_BYTES = 4 << 20
RAW_BLOCKS = 340
"""About 20,000 events, 18 MB."""
LOGS = b'"logs":['
CONSTANT = (
    f'"sha3Uncles":"0x{"1d" * 32}","miner":"0x{"00" * 20}","stateRoot":"0x{"5a" * 32}",'
    f'"transactionsRoot":"0x{"7a" * 32}","receiptsRoot":"0x{"9a" * 32}","difficulty":"0x0",'
    '"gasLimit":"0x1c9c380","gasUsed":"0xe4e1c0","extraData":"0x","nonce":"0x0000000000000000",'
    f'"mixHash":"0x{"3c" * 32}","baseFeePerGas":"0x7","size":"0x3e8","uncles":[],"transactions":[]'
)
"""What headers of real nodes carry besides."""
TX = (
    f'"from":"0x{"f0" * 20}","to":"0x{"70" * 20}","gas":"0x5208","gasPrice":"0x7","input":"0x",'
    f'"nonce":"0x1","value":"0x0","type":"0x0","v":"0x1b","r":"0x{"1e" * 32}","s":"0x{"2e" * 32}"'
)
"""What transactions carry besides."""


class Tape:
    """A recording as the pieces of answers. Logs lie on disk, mapped: memory is the system's."""

    def __init__(self, recording: Path) -> None:
        self.headers: list[bytes] = []
        self.numbers: dict[str, int] = {}
        """Heights by hash."""
        self.addresses: set[str] = set()
        self.topics: set[str] = set()
        self.events = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        decoder = msgspec.json.Decoder(RecordedBlock)
        with tempfile.TemporaryFile() as file, gzip.open(recording) as lines:
            next(lines)
            at = 0
            for line in lines:
                block = decoder.decode(line)
                self.numbers[block.hash] = len(self.headers)
                self.headers.append(_header(block))
                self.addresses.update(log.address for log in block.logs)
                self.topics.update(log.topics[0] for log in block.logs)
                self.events += len(block.logs)
                logs = line[line.index(LOGS) + len(LOGS) : line.rindex(b"]")]
                at += file.write(b"," if logs and at else b"")
                self._starts.append(at)
                at += file.write(logs)
                self._ends.append(at)
            file.flush()
            self._map = mmap.mmap(file.fileno(), at, access=mmap.ACCESS_READ)
        self.last = len(self.headers) - 1

    def logs(
        self, first: int, last: int, addresses: Sequence[str], topics: Sequence[str] | None = None
    ) -> bytes:
        """What these contracts logged, as JSON without the brackets: one copy, if it is all.

        `topics` are those wanted at a log's first place; all, if there are none.
        """
        text = self._map[self._starts[first] : self._ends[last]].lstrip(b",")
        by, about = set(addresses), self.topics if topics is None else set(topics)
        if self.addresses <= by and self.topics <= about:
            return text
        every = msgspec.json.decode(b"[" + text + b"]", type=list[Log])
        wanted = [log for log in every if log.address in by and log.topics[0] in about]
        return msgspec.json.encode(wanted)[1:-1]

    def full(self, number: int) -> bytes:
        """A block with its txs, as nobody asks but who needs them: made when asked for."""
        text = self._map[self._starts[number] : self._ends[number]].lstrip(b",")
        logs = msgspec.json.decode(b"[" + text + b"]", type=list[Log])
        header = self.headers[number]
        txs = {log.transaction_index: log for log in logs}.values()
        return header[:-2] + ",".join(map(_tx, txs)).encode() + b"]}"


def _tx(log: Log) -> str:
    """The transaction that a log is from."""
    return (
        f'{{"hash":"{log.transaction_hash}","transactionIndex":"{log.transaction_index}",'
        f'"blockHash":"{log.block_hash}","blockNumber":"{log.block_number}",{TX}}}'
    )


def _header(block: RecordedBlock) -> bytes:
    return (
        f'{{"number":"{block.number:#x}","hash":"{block.hash}","parentHash":"{block.parent_hash}",'
        f'"timestamp":"{block.timestamp:#x}","logsBloom":"{block.logs_bloom}",{CONSTANT}}}'
    ).encode()


class Player:
    """A chain that plays, over HTTP and websocket."""

    def __init__(self, tape: Tape, head: int | None = None, open_blocks: int = 10) -> None:
        self.tape = tape
        self.head = tape.last if head is None else head
        self.requests = 0
        self._open_blocks = open_blocks
        self._watchers: set[web.WebSocketResponse] = set()
        self.watched = asyncio.Event()
        """Somebody has subscribed."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MOST_REQUEST_BYTES)
        app.router.add_post("/", self._http)
        app.router.add_get("/", self._websocket)
        app.router.add_get("/deployment", self._deployment)
        return app

    async def mine(self) -> None:
        """One block more, announced to who has subscribed."""
        self.head += 1
        header = self.tape.headers[self.head]
        notice = (
            b'{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":'
            + header
            + b"}}"
        ).decode()
        for socket in list(self._watchers):
            await socket.send_str(notice)

    async def _deployment(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(DEPLOYMENT), content_type="application/json")

    async def _http(self, request: web.Request) -> web.Response:
        body = self.answer(await request.read())
        return web.Response(body=body, content_type="application/json")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MOST_REQUEST_BYTES)
        await socket.prepare(request)
        try:
            async for frame in socket:
                if frame.type is not WSMsgType.TEXT:
                    continue
                await socket.send_str(self.answer(frame.data.encode()).decode())
                if "eth_subscribe" in frame.data:
                    self._watchers.add(socket)
                    self.watched.set()
        finally:
            self._watchers.discard(socket)
        return socket

    def answer(self, body: bytes) -> bytes:
        """The answer to a request, or to a batch of them."""
        asked = msgspec.json.decode(body)
        self.requests += 1
        if isinstance(asked, list):
            return b"[" + b",".join(map(self._one, asked)) + b"]"
        return self._one(asked)

    def _one(self, asked: dict[str, Any]) -> bytes:
        start = b'{"jsonrpc":"2.0","id":%d,' % asked["id"]
        try:
            return b"".join(
                (start, b'"result":', *self._result(asked["method"], asked.get("params", [])), b"}")
            )
        except LookupError as error:
            words = msgspec.json.encode(str(error))
            return start + b'"error":{"code":-32000,"message":' + words + b"}}"

    def _result(self, method: str, params: list[Any]) -> tuple[bytes, ...]:
        match method:
            case "eth_getLogs":
                return (b"[", self._logs(params[0]), b"]")
            case "eth_getBlockByNumber":
                return (self._block(self._height(params[0]), params[1]),)
            case "eth_getBlockByHash":
                return (self._block(self.tape.numbers.get(params[0], -1), params[1]),)
            case "eth_chainId":
                return (f'"{DEPLOYMENT.chain_id:#x}"'.encode(),)
            case "eth_subscribe":
                return (b'"0x1"',)
            case _:
                raise LookupError(f"the method {method} does not exist")

    def _height(self, name: str) -> int:
        match name:
            case "latest":
                return self.head
            case "finalized" | "safe":
                return max(self.head - self._open_blocks, 0)
            case _:
                return int(name, 16)

    def _block(self, number: int, full: bool) -> bytes:
        if not 0 <= number <= self.head:
            return b"null"
        return self.tape.full(number) if full else self.tape.headers[number]

    def _logs(self, asked: dict[str, Any]) -> bytes:
        if "blockHash" in asked:
            first = last = self.tape.numbers.get(asked["blockHash"], self.head + 1)
            if first > self.head:
                raise LookupError("unknown block")
        else:
            first, last = int(asked["fromBlock"], 16), min(int(asked["toBlock"], 16), self.head)
            if last - first >= MOST_ANSWER_BLOCKS:
                raise LookupError(f"block range is limited to {MOST_ANSWER_BLOCKS}")
            if first > last:
                return b""
        addresses = asked.get("address") or list(self.tape.addresses)
        topics: list[list[str]] = asked.get("topics", [])
        match topics:
            case []:
                return self.tape.logs(first, last, addresses)
            case [list(wanted)]:
                return self.tape.logs(first, last, addresses, wanted)
            case _:
                raise LookupError(f"topics {topics} are more than a player understands")


async def serve(player: Player, port: int, block_time_s: float, *, when_watched: bool) -> None:
    """Serve until cancelled; mine, if there is a block time, and say when on stdout.

    `when_watched`: not before somebody has subscribed, and a second more.
    """
    runner = web.AppRunner(player.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    _say(port=runner.addresses[0][1], head=player.head, last=player.tape.last)
    try:
        if when_watched:
            await player.watched.wait()
            await asyncio.sleep(1)
        while block_time_s and player.head < player.tape.last:
            await asyncio.sleep(block_time_s)
            ns = time.time_ns()
            await player.mine()
            _say(mined=player.head, ns=ns)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _say(**words: int) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(words) + b"\n")
    sys.stdout.flush()


@contextmanager
def playing(events: int, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A player in a process of its own: its URL, and the process, whose stdout tells the blocks."""
    command = [sys.executable, "-m", "tests.benchmarks.player", str(events), "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = msgspec.json.decode(process.stdout.readline())["port"]
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait()


class _Answer(msgspec.Struct):
    result: list[Log]


async def fetch_raw(url: str, last: int, blocks: int = RAW_BLOCKS) -> tuple[int, float, float]:
    """Fetch and parse every log up to a block, and no more: events, seconds, our CPU seconds."""
    decoder = msgspec.json.Decoder(_Answer)
    addresses = [POOL_MANAGER, MANAGER, *BOOKS]
    events, began, cpu = 0, time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession() as session:
        for first in range(1, last + 1, blocks):
            until = min(first + blocks - 1, last)
            where = {"fromBlock": hex(first), "toBlock": hex(until), "address": addresses}
            asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [where]}
            async with session.post(url, data=msgspec.json.encode(asked)) as response:
                events += len(decoder.decode(await response.read()).result)
    return events, time.perf_counter() - began, time.process_time() - cpu


def cpu_s(process: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(events: int) -> None:
    """Say what the player can do: it is asked for everything, and the answers are parsed."""
    with playing(events) as (url, process):
        before = cpu_s(process.pid)
        last = Tape(chain(events)).last
        found, seconds, ours = asyncio.run(fetch_raw(url, last))
        its = cpu_s(process.pid) - before
    sys.stdout.write(
        f"player: {found:,} events fetched and parsed raw in {seconds:.2f} s: "
        f"{found / seconds:,.0f} events/s; CPU {its * 1e5 / found:.2f} s per 100k events the "
        f"player's, {ours * 1e5 / found:.2f} s ours\n"
    )


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("events", type=int)
    parse.add_argument("--per-block", type=int, default=EVENTS_A_BLOCK)
    parse.add_argument("--port", type=int, default=8600)
    parse.add_argument("--head", type=int)
    parse.add_argument("--open", type=int, default=10, dest="open_blocks")
    parse.add_argument("--block-time", type=float, default=0)
    parse.add_argument("--when-watched", action="store_true")
    parse.add_argument("--raw", action="store_true")
    told = parse.parse_args()
    if told.raw:
        measure(told.events)
        return
    tape = Tape(chain(told.events, per_block=told.per_block))
    with contextlib.suppress(KeyboardInterrupt):
        player = Player(tape, told.head, told.open_blocks)
        asyncio.run(serve(player, told.port, told.block_time, when_watched=told.when_watched))


if __name__ == "__main__":
    main()
