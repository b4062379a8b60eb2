"""Heads that come faster than they are taken: the newest is told, and its branch is one batch."""

import asyncio
from typing import Any

import msgspec
import pytest

from indexer.chain.node import Node
from indexer.chain.rpc import WebsocketTransport, _Notice
from indexer.domain.block import Block
from tests.unit.scripted import Chain


def notice(block: Block) -> _Notice:
    header = {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
    }
    return _Notice("0x1", msgspec.Raw(msgspec.json.encode(header)))


class Socket(WebsocketTransport):
    """A socket whose notices a test puts there."""

    def __init__(self) -> None:
        self._notices = asyncio.Queue()


class Subscribed:
    async def call(self, *_: Any) -> str:
        return "0x1"


async def test_of_the_heads_that_wait_the_newest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    chain, socket = Chain(), Socket()

    async def head(_: Node) -> Block:
        return chain["a0"]

    monkeypatch.setattr(Node, "head", head)
    rpc: Any = Subscribed()
    heads = Node(rpc, socket, 64).heads()
    assert [await anext(heads), await anext(heads)] == [chain["a0"]] * 2
    for name in ("a1", "a2", "a3"):
        socket._notices.put_nowait(notice(chain[name]))
    assert await anext(heads) == chain["a3"]
    socket._notices.put_nowait(notice(chain["a4"]))
    assert await anext(heads) == chain["a4"]
    socket._notices.put_nowait(notice(chain["a5"]))
    socket._notices.put_nowait(None)  # the node closes behind it: its last word still counts
    assert await anext(heads) == chain["a5"]
