"""A node as the steps need it: heads as they come, headers, logs by hash, token words.

Logs at the head are asked for by block *hash*: a number names whatever block is there by now.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import msgspec
from eth_abi.abi import decode as decode_abi
from eth_abi.exceptions import DecodingError

from indexer.chain.errors import BadAnswer, BlockGone, RpcError, Unreachable, WrongNode
from indexer.chain.recording import RecordedBlock
from indexer.chain.rpc import HttpTransport, Rpc, WebsocketTransport
from indexer.chain.source import Watch
from indexer.domain.block import Block, Promotion
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash

POLL_S = 0.25
"""Pause between questions for a new head, where the node cannot tell by itself."""

Word = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """A block as eth_getBlockBy… writes it, less what we do not use."""

    number: str
    hash: Word
    parent_hash: Word
    timestamp: str
    logs_bloom: str = "0x"

    @property
    def block(self) -> Block:
        return Block(
            int(self.number, 16),
            Hash(self.hash),
            Hash(self.parent_hash),
            int(self.timestamp, 16),
        )


class Node:
    """One JSON-RPC endpoint: the real `Source`. Raises the errors of chain/errors.py."""

    def __init__(self, rpc: Rpc, socket: WebsocketTransport | None, confirmations: int) -> None:
        self._rpc = rpc
        self._socket = socket
        self._confirmations = confirmations
        self._tags = {"safe", "finalized"}

    @classmethod
    async def open(cls, url: str, deployment: Deployment, confirmations: int = 64) -> "Node":
        """Connect, and make sure that the node follows the deployment's chain.

        `confirmations` decides what is final where the node has no `finalized` tag.
        """
        socket = await WebsocketTransport.open(url) if url.startswith("ws") else None
        node = cls(Rpc(url, socket or HttpTransport(url)), socket, confirmations)
        try:
            chain_id = int(await node._rpc.call(str, "eth_chainId"), 16)
            if chain_id != deployment.chain_id:
                raise WrongNode(url, chain_id, deployment.chain_id)
        except BaseException:
            await node.close()
            raise
        return node

    async def close(self) -> None:
        await self._rpc.close()

    # -- blocks ---------------------------------------------------------------------------------

    async def heads(self) -> AsyncIterator[Block]:
        """The node's head, now and whenever it changes; heads in between may be left out."""
        head = await self.head()
        yield head
        if self._socket is None:
            while True:
                await asyncio.sleep(POLL_S)
                newest = await self.head()
                if newest.hash != head.hash:
                    head = newest
                    yield head
        await self._rpc.call(str, "eth_subscribe", "newHeads")
        yield await self.head()  # what came while we subscribed
        try:
            async for notice in self._socket.notices():
                yield _announced(notice)
        except ConnectionResetError as error:
            raise Unreachable(self._rpc.url, str(error)) from error

    async def head(self) -> Block:
        head = await self._block("eth_getBlockByNumber", "latest")
        if head is None:
            raise BadAnswer("eth_getBlockByNumber", "a latest block", "null")
        return head

    async def finalized(self, head: Block) -> Block | None:
        """The newest block that no reorg reaches, as the node's tag or our confirmations say."""
        tagged = await self._tagged("finalized")
        if tagged is not None:
            return tagged
        number = head.number - self._confirmations
        return await self.by_number(number) if number >= 0 else None

    async def safe(self, head: Block) -> Block | None:
        """The newest block that the node calls safe; None where it calls none so."""
        return await self._tagged("safe")

    async def _tagged(self, tag: Promotion) -> Block | None:
        if tag in self._tags:
            try:
                return await self._block("eth_getBlockByNumber", tag)
            except RpcError:
                self._tags.discard(tag)  # this node has never heard of it
        return None

    async def by_number(self, number: int) -> Block | None:
        return await self._block("eth_getBlockByNumber", hex(number))

    async def by_hash(self, hash_: Hash) -> Block:
        """Raises BlockGone."""
        block = await self._block("eth_getBlockByHash", hash_)
        if block is None:
            raise BlockGone(hash_)
        return block

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]:
        """Headers of these heights, those that exist, in one request."""
        calls = [("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
        return [h.block for h in await self._rpc.find_all(Header, calls) if h is not None]

    async def whole_blocks(self, numbers: Sequence[int]) -> list[RecordedBlock]:
        """Headers with all their logs, for a recording; those that exist."""
        calls = [("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
        headers = [h for h in await self._rpc.find_all(Header, calls) if h is not None]
        asked = [("eth_getLogs", ({"blockHash": header.hash},)) for header in headers]
        logs = await self._rpc.batch(list[Log], asked)
        return [
            RecordedBlock(
                header.block.number,
                Hash(header.hash),
                Hash(header.parent_hash),
                header.block.timestamp,
                header.logs_bloom,
                its_logs,
            )
            for header, its_logs in zip(headers, logs, strict=True)
        ]

    async def _block(self, method: str, which: str) -> Block | None:
        header = await self._rpc.find(Header, method, which, False)
        return None if header is None else header.block

    # -- logs -----------------------------------------------------------------------------------

    async def logs_of(self, block: Block, watch: Watch) -> list[Log]:
        """The logs of one block that may concern us, by its hash. Raises BlockGone."""
        try:
            logs = await self._logs({"blockHash": block.hash}, watch)
        except RpcError:
            await self.by_hash(block.hash)  # if it is gone, that is the reason
            raise
        if not logs and await self._block("eth_getBlockByHash", block.hash) is None:
            raise BlockGone(block.hash)  # some nodes answer [] for a block they do not know
        for log in logs:
            if log.block_hash != block.hash or log.removed:
                raise BlockGone(block.hash)
        return logs

    async def logs_between(self, first: int, last: int, watch: Watch) -> list[Log]:
        """The logs of a range of finalized blocks that may concern us."""
        return await self._logs({"fromBlock": hex(first), "toBlock": hex(last)}, watch)

    async def _logs(self, blocks: dict[str, str], watch: Watch) -> list[Log]:
        found: dict[tuple[str, int], Log] = {}
        filters = watch.filters()
        while filters:
            calls = [("eth_getLogs", ({**blocks, **filter_},)) for filter_ in filters]
            for logs in await self._rpc.batch(list[Log], calls):
                found.update(((log.block_hash, log.index), log) for log in logs)
            new = watch.discover(found.values())
            filters = [{"address": sorted(new)}] if new else []
        return sorted(found.values(), key=lambda log: (int(log.block_number, 16), log.index))

    # -- tokens ---------------------------------------------------------------------------------

    async def token(self, address: Address, at: Block) -> Token:
        """What a token says of itself at a block.

        Anybody can create a market of anything, so nothing here is fatal: a token that will not
        say its symbol is called by its address, one without decimals counts as having 18.
        """
        symbol, name, decimals = [
            await self._word(address, selector, at)
            for selector in ("0x95d89b41", "0x06fdde03", "0x313ce567")
        ]
        places = int.from_bytes(decimals[:32], "big") if len(decimals) >= 32 else 18
        short = f"{address[:6]}…{address[-4:]}"
        return Token(
            address,
            _text(symbol) or short,
            _text(name) or short,
            places if places <= 77 else 18,
        )

    async def _word(self, address: Address, selector: str, at: Block) -> bytes:
        call = {"to": address, "data": selector}
        for block in ({"blockHash": at.hash}, "latest"):  # a pruned node knows only now
            try:
                answer = await self._rpc.call(str, "eth_call", call, block)
                return bytes.fromhex(answer[2:])
            except (RpcError, ValueError):
                continue
        return b""


def _announced(notice: msgspec.Raw) -> Block:
    try:
        return msgspec.json.decode(notice, type=Header).block
    except (msgspec.MsgspecError, ValueError) as error:
        start = bytes(notice)[:80].decode(errors="replace")
        raise BadAnswer("newHeads", f"a header ({error})", start) from error


MAX_WORDS = 64
"""Characters kept of a token's symbol or name."""


def _text(answer: bytes) -> str:
    """A string, or (older tokens) a bytes32; printable characters only."""
    try:
        (text,) = decode_abi(["string"], answer)
    except (DecodingError, OverflowError, UnicodeDecodeError):
        text = answer[:32].rstrip(b"\0").decode(errors="replace") if len(answer) == 32 else ""
    return "".join(c for c in text[:MAX_WORDS] if c.isprintable()).strip()
