"""A whole Tidebook as a user starts it: `tidebook up` in a process of its own."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE_S = 60.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """The first true answer of `condition`, asked again and again."""
    deadline = time.monotonic() + DEADLINE_S
    while not (answer := await condition()):
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:.0f} s for {what}"
        await asyncio.sleep(0.05)
    return answer


async def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Run a command to its end: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tidebook",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), DEADLINE_S)
    assert process.returncode is not None
    return process.returncode, out, err.decode()


async def gone(market: "Market") -> bool:
    return not market.processes()


async def level_with(market: "Market") -> bool:
    """The writer has indexed the node's head."""
    return int(await market.rpc("eth_blockNumber"), 16) == await market.indexed()


async def past(market: "Market", number: int) -> bool:
    """The writer has indexed a block."""
    return await market.indexed() >= number


async def clean_run(market: "Market", last: int, database_url: str) -> dict[str, Any]:
    """The same chain, recorded and replayed into an empty database: nobody disturbed that."""
    file, home = str(market.data_dir / "chain.jsonl.gz"), ("--database-url", database_url)
    node = ("--rpc", market.node)
    code, _, err = await run("record", file, "--from", "0", "--to", str(last), *node)
    assert code == 0, err
    code, _, err = await run("replay", file, *home)
    assert code == 0, err
    code, out, err = await run("export", *home)
    assert code == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer


class Market:
    """`tidebook up` on free ports. Blocks come quickly and are busy."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.devnet_port, self.api_port, self.ws_port = free_port(), free_port(), free_port()
        self.analytics_port = free_port()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def node(self) -> str:
        return f"http://127.0.0.1:{self.devnet_port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}/ws"

    async def start(self, *options: str) -> str:
        """Start it, and return what it has printed once it is up."""
        ports = zip(
            ("--devnet-port", "--api-port", "--ws-port", "--analytics-port"),
            (self.devnet_port, self.api_port, self.ws_port, self.analytics_port),
            strict=True,
        )
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidebook", "up", "--data-dir", str(self.data_dir)),
            *(text for flag, port in ports for text in (flag, str(port))),
            *("--rate", "25", "--block-time", "0.3"),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.data_dir,
        )
        return await self.hear("logs ")

    async def hear(self, words: str) -> str:
        """What it prints from now on, up to the line that has these words."""
        assert self.process is not None
        assert self.process.stdout is not None
        said = ""
        async with asyncio.timeout(DEADLINE_S):
            while words not in said:
                line = await self.process.stdout.readline()
                assert line, f"`up` ended: {said}"
                said += line.decode()
        return said

    async def stop(self, number: int = signal.SIGINT) -> int:
        """End it with a signal; its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), DEADLINE_S)

    def service(self, name: str) -> int:
        """The process id of one of its services."""
        found = [pid for pid, words in self.processes() if name in words and "-m" in words]
        assert len(found) == 1, f"{name}: {found}"
        return found[0]

    def settings(self, name: str) -> dict[str, str]:
        """What a service of its was told: variables, and flags with their values."""
        process = Path(f"/proc/{self.service(name)}")
        pairs = [text.partition("=") for text in (process / "environ").read_text().split("\0")]
        words = (process / "cmdline").read_text().split("\0")
        return {key: value for key, _, value in pairs} | dict(pairwise(words))

    def server(self, kind: str) -> int:
        """The process id of "postgres" or "valkey"."""
        return int((self.data_dir / kind / "server.lock").read_text())

    def processes(self) -> list[tuple[int, list[str]]]:
        """Everything alive that works for this market: its services and servers."""
        ports = (self.devnet_port, self.api_port, self.ws_port, self.analytics_port)
        marks = {str(self.data_dir), *map(str, ports)}
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                environment = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue  # it has just ended, or is not ours to read
            ours = any(mark in word for word in words for mark in marks)
            if ours or f"host={self.data_dir}" in environment:
                found.append((int(entry.name), words))
        return found

    async def rpc(self, method: str, *params: Any) -> Any:
        """Ask the devnet."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with aiohttp.ClientSession() as session, session.post(self.node, json=body) as reply:
            return (await reply.json())["result"]

    async def ask(self, query: str) -> Any:
        """Ask GraphQL."""
        url = f"http://127.0.0.1:{self.api_port}/graphql"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"query": query}) as reply,
        ):
            answer = await reply.json()
            assert "errors" not in answer, answer
            return answer["data"]

    async def indexed(self) -> int:
        """The height of what its API answers about."""
        told = await self.ask("{ _meta { block { number } } }")
        return int(told["_meta"]["block"]["number"])

    async def status(self) -> dict[str, Any]:
        code, out, err = await run("status", "--json", "--data-dir", str(self.data_dir))
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer

    async def export(self) -> dict[str, Any]:
        code, out, err = await run("export", "--data-dir", str(self.data_dir))
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer
