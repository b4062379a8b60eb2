"""A node as the steps need it: heads as they come, headers, logs by hash, token words.

Logs at the head are asked for by block *hash*: a number names whatever block is there by now. What
a node says is held against what it said before (chain/headers.py) and a block's logs against the
bloom in its header (chain/bloom.py): a node that contradicts itself raises BadAnswer.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import chain
from random import Random

from indexer.chain import bloom, proof, token_words
from indexer.chain.answers import Told, as_number, by_block, foreign, together
from indexer.chain.backfill import told_between
from indexer.chain.errors import BadAnswer, BlockGone, RpcError, Unreachable, WrongNode
from indexer.chain.headers import Header, Headers, unlinked
from indexer.chain.heads import Heads
from indexer.chain.proof import LAG_PAUSES_S
from indexer.chain.ranges import Ranges, refusal
from indexer.chain.recording import RecordedBlock
from indexer.chain.rpc import Patience, Rpc, Transport, WebsocketTransport, connect
from indexer.chain.source import Watch, of_addresses
from indexer.domain.block import Block, Promotion
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.logs import Logs
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash

FAR_BELOW = 256
"""Blocks below the head from which on a block is not followed up to it parent by parent."""

_UNKNOWN_BLOCK = re.compile(
    r"unknown block|(?:block|header|resource|hash)\b.*\bnot (?:be )?found|not found.*block"
    r"|missing (?:block|header)|is not available",
    re.IGNORECASE,
)

Connect = Callable[[str], Awaitable[Transport]]


class Node:
    """One JSON-RPC endpoint: the real `Source`. Raises the errors of chain/errors.py."""

    def __init__(
        self,
        rpc: Rpc,
        socket: WebsocketTransport | None,
        confirmations: int,
        ranges: Ranges | None = None,
    ) -> None:
        self._rpc = rpc
        self._socket = socket
        self._confirmations = confirmations
        self._tags = {"safe", "finalized"}
        self._headers = Headers()
        self._ranges = ranges or Ranges()

    @classmethod
    async def open(
        cls,
        url: str,
        deployment: Deployment,
        confirmations: int = 64,
        *,
        connect: Connect = connect,
        patience: Patience | None = None,
        random: Random | None = None,
        ranges: Ranges | None = None,
    ) -> "Node":
        """Connect, and make sure that the node follows the deployment's chain.

        `confirmations` decides what is final where the node has no `finalized` tag.
        """
        transport = await connect(url)
        socket = transport if isinstance(transport, WebsocketTransport) else None
        node = cls(Rpc(url, transport, patience, random), socket, confirmations, ranges)
        try:
            answer = await node._rpc.call(str, "eth_chainId")
            chain_id = as_number("eth_chainId", answer)
            if chain_id != deployment.chain_id:
                raise WrongNode(url, chain_id, deployment.chain_id)
        except BaseException:
            await node.close()
            raise
        return node

    async def close(self) -> None:
        await self._rpc.close()

    @property
    def faults(self) -> Counter[str]:
        """What went wrong between us and the node so far, by kind."""
        return self._rpc.faults

    @property
    def rpc(self) -> Rpc:
        """For questions about contracts' state (chain/getters.py)."""
        return self._rpc

    @property
    def last_fault(self) -> str:
        """The words of the newest one."""
        return self._rpc.last_fault

    # -- blocks ---------------------------------------------------------------------------------

    def heads(self) -> AsyncGenerator[Block, None]:
        """The node's head, now and whenever it changes; heads in between may be left out.

        One that stands still is told again now and then: what is final may have changed.
        """
        heads = Heads(self._rpc, self._headers, self.head)
        return heads.polled() if self._socket is None else heads.announced(self._socket)

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
        block = await self._block("eth_getBlockByNumber", hex(number))
        if block is not None and block.number != number:
            raise BadAnswer("eth_getBlockByNumber", f"block {number}", f"{block.ref}")
        return block

    async def by_hash(self, hash_: Hash) -> Block:
        """Raises BlockGone. A block that was announced a moment ago is waited for shortly."""
        for pause_s in (*LAG_PAUSES_S, None):
            block = await self._find(hash_)
            if block is not None:
                return block
            if pause_s is None or await self._left(hash_):
                break
            await asyncio.sleep(pause_s)
        raise BlockGone(hash_)

    async def _find(self, hash_: Hash) -> Block | None:
        block = await self._block("eth_getBlockByHash", hash_)
        if block is not None and block.hash != hash_:
            raise BadAnswer("eth_getBlockByHash", f"block {hash_}", f"{block.hash}")
        return block

    async def _left(self, hash_: Hash) -> bool:
        """Whether the node has never told of a block, or has another in its place by now."""
        height = self._headers.height(hash_)
        if height is None:
            return True
        canonical = await self.by_number(height)
        return canonical is not None and canonical.hash != hash_

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]:
        """Headers of these heights, those that exist, in one request."""
        torn = None
        for pause_s in (*LAG_PAUSES_S, None):
            blocks = [
                self._headers.learn("eth_getBlockByNumber", header)
                for header in await self._numbered(numbers)
            ]
            torn = unlinked(blocks)
            if torn is None:
                return blocks
            if pause_s is not None:  # a reorg may have come in between
                await asyncio.sleep(pause_s)
        assert torn is not None
        parent, child = torn
        raise BadAnswer(
            "eth_getBlockByNumber",
            f"block {child.number} as a child of {parent.hash}",
            f"parent {child.parent_hash}",
        )

    async def _numbered(self, numbers: Sequence[int]) -> list[Header]:
        calls = [("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
        found = []
        for number, header in zip(numbers, await self._rpc.find_all(Header, calls), strict=True):
            if header is None:
                continue
            if int(header.number, 16) != number:
                raise BadAnswer("eth_getBlockByNumber", f"block {number}", f"{header.block.ref}")
            found.append(header)
        return found

    async def whole_blocks(self, numbers: Sequence[int]) -> list[RecordedBlock]:
        """Headers with all their logs, for a recording; those that exist."""
        headers = await self._numbered(numbers)
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
        return None if header is None else self._headers.learn(method, header)

    # -- logs -----------------------------------------------------------------------------------

    async def logs_of(self, block: Block, watch: Watch) -> list[Log]:
        """The logs of one block that may concern us, by its hash. Raises BlockGone."""
        if not self._headers.has_told(block.hash):  # another node did
            await self.by_hash(block.hash)
        logs = await self._logs_at(block, watch)
        promised = self._headers.bloom(block.hash)
        if promised is None:
            if not logs and await self._find(block.hash) is None:
                raise BlockGone(block.hash)  # some nodes answer [] for a block they do not know
            return logs
        if watch.misses(promised, logs):
            logs = await self._settled(block, promised, logs, watch)
        stray = bloom.foreign(promised, logs)
        if stray is not None:
            raise BadAnswer(
                "eth_getLogs",
                f"logs that the bloom of block {block.ref} allows",
                f"log {stray.log_index} of {stray.address}",
            )
        return logs

    async def proven_logs(self, block: Block, watch: Watch) -> list[Log] | None:
        """The logs of one block that concern us, proven by its hash; None where they cannot be."""
        every_log = await proof.proven(self._rpc, block)
        if every_log is None:
            return None
        return _wanted(every_log, watch)

    async def _logs_at(self, block: Block, watch: Watch) -> list[Log]:
        """By the filter, or out of all the block's logs.

        Anybody can fill a block with more than a node tells at once.
        """
        try:
            return await self._filtered_at(block, watch)
        except RpcError as error:
            promised = self._headers.bloom(block.hash)
            if promised is None or refusal(error, 2) is None:
                raise
            every_log = await proof.every_log(self._rpc, block, promised)
            if every_log is None:
                raise
            return _wanted(every_log, watch)

    async def _filtered_at(self, block: Block, watch: Watch) -> list[Log]:
        for pause_s in (*LAG_PAUSES_S, None):
            try:
                logs = together(await self._logs({"blockHash": block.hash}, watch))
                break
            except RpcError as error:
                await self.by_hash(block.hash)  # if it is gone, that is the reason
                if pause_s is None or not _UNKNOWN_BLOCK.search(error.message):
                    raise
                await asyncio.sleep(pause_s)
        for log in logs:
            if log.removed:
                raise BlockGone(block.hash)
            if log.block_hash != block.hash or int(log.block_number, 16) != block.number:
                if await self._left(block.hash):  # the hash was looked up by its number
                    raise BlockGone(block.hash)
                raise BadAnswer(
                    "eth_getLogs",
                    f"logs of block {block.ref}",
                    f"a log of block {int(log.block_number, 16)} ({log.block_hash})",
                )
        return logs

    async def _settled(
        self, block: Block, promised: int, told: list[Log], watch: Watch
    ) -> list[Log]:
        """The block's logs that concern us, when its bloom says that there may be more."""
        try:
            every_log = await proof.every_log(self._rpc, block, promised)
        except BadAnswer:
            if await self._left(block.hash):
                raise BlockGone(block.hash) from None
            raise
        if every_log is None:  # it can tell the logs of no whole block: ask again, then believe
            self.faults["unproven"] += 1
            again = await self._logs_at(block, watch)
            return again if len(again) > len(told) else told
        return _wanted(every_log, watch)

    async def blocks_between(self, first: int, last: int, watch: Watch) -> list[Logs]:
        """Finalized blocks with logs that may concern us, the first and the last, in order."""
        return await told_between(self, first, last, watch)

    async def logs_between(self, first: int, last: int, watch: Watch) -> Told:
        """The logs of finalized blocks that may concern us, in as many pieces as the node wants."""
        found: Told = []
        while first <= last:
            blocks = min(last - first + 1, self._ranges.blocks)
            until = first + blocks - 1
            try:
                where = {"fromBlock": hex(first), "toBlock": hex(until)}
                told = by_block(await self._logs(where, watch))
            except RpcError as error:
                refused = refusal(error, blocks)
                if refused is None:
                    raise
                self._rpc.faults["range"] += 1
                self._ranges.refused(refused)
                continue
            except Unreachable:
                self._ranges.halve()  # perhaps it was too much for it: less, the next time
                raise
            stray = foreign(told, first, until)
            if stray is not None:
                raise BadAnswer(
                    "eth_getLogs",
                    f"logs of blocks {first} to {until}",
                    f"one of block {int(stray.block_number, 16)}",
                )
            self._ranges.answered(blocks)
            found += told
            first = until + 1
        return found

    async def _logs(self, blocks: dict[str, str], watch: Watch) -> list[list[Log]]:
        """Answers that have them together, some perhaps more than once."""
        answers: list[list[Log]] = []
        filters = watch.filters()
        while filters:
            calls = [("eth_getLogs", ({**blocks, **filter_},)) for filter_ in filters]
            told = await self._rpc.batch(list[Log], calls)
            answers += filter(None, told)
            new = watch.discover(chain.from_iterable(told))
            filters = of_addresses(new)
        return answers

    async def token(self, address: Address, at: Block) -> Token:
        """What a token says of itself at a block, or at the head, of a node that has pruned it.

        Raises BlockGone.
        """
        try:
            return await token_words.token(self._rpc, address, at)
        except (RpcError, Unreachable):
            await self.by_hash(at.hash)  # if it is gone, that is the reason
            now = await self.head()
            if not await self._descends(now, at):
                raise BlockGone(at.hash) from None
        return await token_words.token(self._rpc, address, now, is_last=True)

    async def _descends(self, block: Block, ancestor: Block) -> bool:
        """Whether one comes after the other; what is far below the head, by its height alone."""
        if block.number - ancestor.number > FAR_BELOW:
            at = await self.by_number(ancestor.number)
            return at is not None and at.hash == ancestor.hash
        while block.number > ancestor.number:
            block = await self.by_hash(block.parent_hash)
        return block.hash == ancestor.hash


def _wanted(every_log: Sequence[Log], watch: Watch) -> list[Log]:
    """Of all logs of a block those that concern us."""
    watch.discover(every_log)
    return [log for log in every_log if watch.wants(log)]
