"""Where blocks come from, as the steps see it. `node.Node` is the real one."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Protocol

from indexer.chain import bloom
from indexer.decode import TRANSFER, created_markets
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.logs import Logs
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash

ADDRESSES_AT_ONCE = 1_000
"""Of a filter: what most nodes allow, and anybody may create a market."""


class Watch:
    """Whose logs to ask for: the deployment's contracts and every order book seen so far.

    May hold more than is canonical; `decode.select` has the last word.
    """

    def __init__(self, deployment: Deployment, markets: Iterable[Address]) -> None:
        self.deployment = deployment
        self.markets: set[Address] = set(markets)

    def filters(self) -> list[dict[str, Any]]:
        """eth_getLogs filters, to which the blocks are still to be added."""
        contracts = self.deployment.contracts
        found = of_addresses({*contracts.addresses(), *self.markets})
        if paid := self._payouts():
            found.append({"topics": paid})
        return found

    def _payouts(self) -> list[str]:
        """The topics of gtx's payouts, which show as token transfers only; none elsewhere."""
        if self.deployment.protocol != "gtx":
            return []
        return [TRANSFER, "0x" + "0" * 24 + self.deployment.contracts.balance_manager[2:]]

    def wants(self, log: Log) -> bool:
        """Whether one of the filters lets this log through."""
        if log.address in self.markets or log.address in self.deployment.contracts.addresses():
            return True
        paid = self._payouts()
        return bool(paid) and log.topics[: len(paid)] == paid

    def misses(self, promised: int, logs: Iterable[Log]) -> bool:
        """Whether the bloom of a block speaks of a log of ours that is not among `logs`."""
        heard = {log.address for log in logs}
        for filter_ in self.filters():
            if "address" in filter_:
                silent = (address for address in filter_["address"] if address not in heard)
                if any(bloom.promises(promised, address) for address in silent):
                    return True
            elif all(bloom.promises(promised, topic) for topic in filter_["topics"]) and not any(
                log.topics[: len(filter_["topics"])] == filter_["topics"] for log in logs
            ):
                return True
        return False

    def created(self, found: Iterable[Iterable[Log]]) -> set[Address]:
        """The order books that the logs of these blocks announce."""
        return {one for logs in found for one in created_markets(logs, self.deployment)}

    def discover(self, logs: Iterable[Log]) -> set[Address]:
        """Remember the order books created in `logs`; returns those that are new."""
        new = created_markets(logs, self.deployment) - self.markets
        self.markets |= new
        return new


def of_addresses(addresses: Iterable[Address]) -> list[dict[str, Any]]:
    """Filters for the logs of contracts, each as long as nodes take it."""
    every = sorted(addresses)
    return [
        {"address": every[at : at + ADDRESSES_AT_ONCE]}
        for at in range(0, len(every), ADDRESSES_AT_ONCE)
    ]


class Source(Protocol):
    """A chain as one node tells it. Every method may raise the errors of chain/errors.py."""

    def heads(self) -> AsyncIterator[Block]:
        """The head, now and whenever it changes; heads in between may be left out."""

    async def head(self) -> Block:
        """The newest block."""

    async def finalized(self, head: Block) -> Block | None:
        """The newest block that no reorg reaches; None if there is none yet."""

    async def safe(self, head: Block) -> Block | None:
        """The newest block that the node calls safe; None where it calls none so."""

    async def by_number(self, number: int) -> Block | None:
        """The canonical block of that height now."""

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]:
        """The canonical blocks of those heights that exist, in order."""

    async def by_hash(self, hash_: Hash) -> Block:
        """Raises BlockGone."""

    async def logs_of(self, block: Block, watch: Watch) -> list[Log]:
        """Logs of one block that may concern us, by its hash. Raises BlockGone."""

    async def blocks_between(self, first: int, last: int, watch: Watch) -> list[Logs]:
        """Finalized blocks with logs that may concern us, the first and the last, in order.

        One node's word on one branch: headers and logs fit. RpcError where the range is too long,
        MalformedLog for logs that cannot be packed.
        """

    async def token(self, address: Address, at: Block) -> Token:
        """What a token says of itself at a block."""
