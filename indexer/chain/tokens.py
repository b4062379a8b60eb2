"""Words about the tokens that new markets trade, asked for once each."""

from collections.abc import Iterable

from indexer.chain.source import Source
from indexer.decode import created_tokens
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.market import Token
from indexer.domain.units import Address


class Tokens:
    """What is known of tokens on one branch: the deployment's words go before the tokens' own."""

    def __init__(self, node: Source, deployment: Deployment) -> None:
        self._node = node
        self._deployment = deployment
        self._known: dict[Address, Token] = {}

    async def of(self, block: Block, logs: Iterable[Log]) -> tuple[Token, ...]:
        """The tokens of markets created in this block.

        Told with every creation, for a rollback may have taken them back.
        """
        told = []
        for address in created_tokens(logs, self._deployment):
            if address not in self._known:
                known = self._deployment.token(address)
                self._known[address] = known or await self._node.token(address, block)
            told.append(self._known[address])
        return tuple(told)

    def forget(self) -> None:
        """On another branch they may be others behind the same addresses."""
        self._known.clear()
