"""Which contracts to follow, and by whose rules: what a deployment file says."""

from typing import Annotated, Literal

import msgspec

from indexer.domain.market import Token
from indexer.domain.units import Address

Protocol = Literal["gtx", "scalex", "tidebook"]

MAX_STORED = 2**63 - 1
"""The largest number that a column of ours holds."""
MAX_DECIMALS = 77
"""10^77 is the largest power of ten in a uint256."""

NOT_THE_TYPE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on JSON that is none, or not of the type asked for."""

Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*\Z")]
"""What Postgres takes as text."""


class Contracts(msgspec.Struct, frozen=True):
    """The addresses that never change; order books are discovered."""

    pool_manager: Address
    balance_manager: Address
    router: Address | None = None

    def addresses(self) -> tuple[Address, ...]:
        named = (self.pool_manager, self.balance_manager, self.router)
        return tuple(address for address in named if address is not None)


class TokenWords(msgspec.Struct, frozen=True):
    """A token's metadata as a recording's header carries it."""

    symbol: Text
    name: Text
    decimals: Annotated[int, msgspec.Meta(ge=0, le=MAX_DECIMALS)]


class Deployment(msgspec.Struct, frozen=True):
    """A deployment file. A recording's header is one; what we do not know in it is ignored."""

    protocol: Protocol
    chain_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_STORED)]
    contracts: Contracts
    fee_receiver: Address
    start_block: Annotated[int, msgspec.Meta(ge=0, le=MAX_STORED)] = 0
    fees_per_mille: dict[str, int] = {}
    """Maker and taker rates at a recording's last block: for a reader, not for the fold."""
    tokens: dict[Address, TokenWords] = {}

    def token(self, address: Address) -> Token | None:
        """What the file says of a token, if it does."""
        words = self.tokens.get(address)
        if words is None:
            return None
        return Token(address, words.symbol, words.name, words.decimals)


class BadDeployment(ValueError):
    """A deployment file that cannot be used; the message names the field."""


def parse_deployment(text: bytes) -> Deployment:
    """Read a deployment file, or a recording's first line. Addresses come out lower case."""
    try:
        raw = msgspec.json.decode(text, type=Deployment)
    except NOT_THE_TYPE as error:
        raise BadDeployment(str(error)) from error
    router = raw.contracts.router
    contracts = Contracts(
        _address(raw.contracts.pool_manager, "contracts.pool_manager"),
        _address(raw.contracts.balance_manager, "contracts.balance_manager"),
        router and _address(router, "contracts.router"),
    )
    return msgspec.structs.replace(
        raw,
        contracts=contracts,
        fee_receiver=_address(raw.fee_receiver, "fee_receiver"),
        tokens={_address(key, "tokens"): words for key, words in raw.tokens.items()},
    )


def _address(text: str, field: str) -> Address:
    lower = text.lower()
    if len(lower) != 42 or not lower.startswith("0x") or set(lower[2:]) - set("0123456789abcdef"):
        raise BadDeployment(f"{field}: expected an address (0x and 40 hex digits), found {text!r}")
    return Address(lower)
