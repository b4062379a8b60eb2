"""The chain as callers see it: tags resolved, chaos knobs applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contracts_test.chain import Chain
from contracts_test.chaos import Chaos
from contracts_test.engine import Block
from contracts_test.rpc import format as fmt
from contracts_test.rpc.errors import InvalidParams, ServerError
from contracts_test.rpc.params import BlockId, LogFilter

MAX_LOGS = 100_000


class View:
    """Reads that every gateway of the chain shares. `chaos` may hide blocks and logs."""

    def __init__(self, chain: Chain, chaos: Chaos) -> None:
        self.chain = chain
        self.chaos = chaos

    @property
    def head(self) -> Block:
        """The newest block that is shown."""
        frozen = self.chaos.stale_at
        head = self.chain.head
        if frozen is None or frozen >= head.number:
            return head
        block = self.chain.history.at(frozen)
        assert block is not None, "history has no gaps"
        return block

    def number(self, block: BlockId) -> int:
        """The height a tag or number means; it need not exist."""
        match block.tag:
            case None:
                assert block.number is not None, "a hash has no height yet"
                return block.number
            case "latest" | "pending":
                return self.head.number
            case "earliest":
                return 0
            case "safe":
                return max(0, self.head.number - self.chain.rules.safe_distance)
            case "finalized":
                return max(0, self.head.number - self.chain.rules.finalized_distance)
            case other:
                raise InvalidParams(f"unknown block tag {other}")

    def find(self, block: BlockId) -> Block | None:
        """The block, or None when there is none."""
        if block.hash is not None:
            found = self.chain.history.by_hash(block.hash)
        else:
            found = self.chain.history.at(self.number(block))
        return found if found is not None and found.number <= self.head.number else None

    def need(self, block: BlockId) -> Block:
        """The block whose state is asked for. Raises as anvil does when there is none."""
        found = self.find(block)
        if found is not None:
            return found
        if block.hash is not None:
            raise ServerError("unknown block")
        raise InvalidParams(
            f"BlockOutOfRangeError: block height is {self.head.number} "
            f"but requested was {self.number(block)}"
        )

    def logs(self, wanted: LogFilter) -> list[dict[str, Any]]:
        """Everything a filter matches."""
        found: list[dict[str, Any]] = []
        for block in self._range(wanted):
            found += matching_logs(block, wanted, self.chaos)
            if len(found) > MAX_LOGS:
                raise ServerError(f"more than {MAX_LOGS} logs, ask for fewer blocks")
        return found

    def _range(self, wanted: LogFilter) -> Iterator[Block]:
        if wanted.block_hash is not None:
            return iter((self.need(BlockId(hash=wanted.block_hash)),))
        first = self.number(wanted.first) if wanted.first.hash is None else -1
        last = self.number(wanted.last) if wanted.last.hash is None else -1
        if first < 0 or last < 0:
            raise InvalidParams("fromBlock and toBlock are numbers or tags")
        head = self.head.number
        if first > head:
            raise InvalidParams(
                f"BlockOutOfRangeError: block height is {head} but requested was {first}"
            )
        return self.chain.history.between(first, min(last, head))


def matching_logs(
    block: Block, wanted: LogFilter, chaos: Chaos, removed: bool = False
) -> list[dict[str, Any]]:
    """The logs of one block that a filter matches, in order."""
    found = []
    index = 0
    for tx_index, receipt in enumerate(block.receipts):
        for entry in receipt.logs:
            if _matches(wanted, entry.address, entry.topics) and not chaos.hides(block, index):
                found.append(fmt.log(block, tx_index, index, entry, removed))
            index += 1
    return found


def _matches(wanted: LogFilter, address: bytes, topics: tuple[bytes, ...]) -> bool:
    if wanted.addresses and address not in wanted.addresses:
        return False
    if len(wanted.topics) > len(topics):
        return False
    return all(
        not any_of or topic in any_of for any_of, topic in zip(wanted.topics, topics, strict=False)
    )
