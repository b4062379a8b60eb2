"""SQL of every answer: the chain and its markets. One function a statement, named after its find.

Here and in market_reads and account_reads all run in a request's Snapshot and take the block up to
which the chain counts (`upto`): the past is read from facts, never from current state.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ARRAY, ColumnElement, any_, bindparam, func, select

from analytics.errors import BadInput, NotFound, Unavailable
from indexer.domain.block import Finality
from indexer.domain.market import Market, Token
from indexer.domain.order import Trade
from indexer.domain.units import Hash
from indexer.store import relations as t
from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot


class AsOf(msgspec.Struct, frozen=True):
    """The block an answer is of."""

    number: int
    hash: Hash
    timestamp: int
    finality: Finality


class Listing(msgspec.Struct, frozen=True):
    """A market with its two tokens."""

    market: Market
    base: Token
    quote: Token


# -- the chain -------------------------------------------------------------------------------------


async def chain_id(snapshot: Snapshot) -> int | None:
    rows = await snapshot.read(select(t.cursors.c.chain_id))
    return rows[0].chain_id if rows else None


async def as_of(snapshot: Snapshot, block: int | None, finality: Finality) -> AsOf:
    """The newest block of a finality, or the block asked for if it is one of those."""
    rows = await snapshot.read(_NEWEST[finality])
    if not rows:
        raise Unavailable(f"no {finality} block is indexed yet")
    head = AsOf(*tuple(rows[0]))
    if block is None or block == head.number:
        return head
    rows = await snapshot.read(_BLOCK, {"number": block})
    if not rows or block > head.number:
        raise BadInput("block", f"an indexed block, up to {head.number} ({finality})", block)
    return AsOf(*tuple(rows[0]))


_b, _c = t.blocks.c, t.cursors.c
_AS_OF = select(_b.number, _b.hash, _b.timestamp, _b.finality).where(_b.canonical)
_HEAD = _AS_OF.where(_b.number <= select(_c.block_number).scalar_subquery())
_HEAD = _HEAD.order_by(_b.number.desc()).limit(1)
_NEWEST: dict[Finality, Query] = {
    "latest": Query(_HEAD),
    "safe": Query(_HEAD.where(_b.finality.in_(("safe", "finalized")))),
    "finalized": Query(_HEAD.where(_b.finality == "finalized")),
}
_BLOCK = Query(_AS_OF.where(_b.number == bindparam("number")))
_CANONICAL = Query(
    select(_b.hash).where(_b.canonical, _b.hash == any_(bindparam("hashes", type_=ARRAY(Hex))))
)


async def block_ends(
    snapshot: Snapshot, seconds: int, since: int, upto: int, limit: int
) -> list[tuple[int, int]]:
    """The last block of each interval (0: every block), (number, timestamp), the newest `limit`."""
    b = t.blocks.c
    number: ColumnElement[int] = b.number
    timestamp: ColumnElement[int] = b.timestamp
    if seconds:
        number, timestamp = func.max(b.number), func.max(b.timestamp)
    columns: list[Any] = [number, timestamp]
    statement = select(*columns).where(b.canonical, b.number.between(since, upto))
    if seconds:
        statement = statement.group_by(b.timestamp // seconds)
    rows = await snapshot.read(statement.order_by(number.desc()).limit(limit))
    return [(row[0], row[1]) for row in reversed(rows)]


async def block_at(snapshot: Snapshot, timestamp: int, upto: int) -> int:
    """The newest block that is not later than a time; -1 before the first."""
    b = t.blocks.c
    newest = select(func.max(b.number)).where(
        b.canonical, b.number <= upto, b.timestamp <= timestamp
    )
    found = (await snapshot.read(newest))[0][0]
    return -1 if found is None else int(found)


class View:
    """The chain as one request sees it: a snapshot, and the block it asks for."""

    def __init__(self, snapshot: Snapshot, at: AsOf) -> None:
        self.snapshot = snapshot
        self.at = at
        self._canonical: dict[Hash, bool] = {at.hash: True}

    async def canonical(self, hashes: Collection[Hash]) -> set[Hash]:
        """Which of these blocks the chain still has. Asks once for each."""
        unknown = set(hashes) - self._canonical.keys()
        if unknown:
            found = await self.snapshot.read(_CANONICAL, {"hashes": list(unknown)})
            still = {row.hash for row in found}
            self._canonical |= {hash_: hash_ in still for hash_ in unknown}
        return {hash_ for hash_ in hashes if self._canonical[hash_]}


async def rollbacks(snapshot: Snapshot, limit: int) -> Sequence[Any]:
    """The newest reorgs."""
    r = t.rollbacks
    return await snapshot.read(select(r).order_by(r.c.id.desc()).limit(limit))


# -- markets ---------------------------------------------------------------------------------------

_base, _quote = t.tokens.alias("base_token"), t.tokens.alias("quote_token")


_m = t.markets
_LISTINGS = Query(
    select(*_m.c, *_base.c, *_quote.c)
    .select_from(
        _m.join(_base, _base.c.address == _m.c.base).join(_quote, _quote.c.address == _m.c.quote)
    )
    .where(_m.c.created_block > bindparam("behind"), _m.c.created_block <= bindparam("upto"))
    .order_by(_m.c.created_block, _m.c.created_log_index)
)


async def new_listings(snapshot: Snapshot, behind: int, upto: int) -> list[Listing]:
    """The markets created behind a block, up to another, oldest first."""
    names = [field.name for field in msgspec.structs.fields(Market)]
    keys, width, token = _m.c.keys(), len(_m.c), len(_base.c)
    found = []
    for row in map(tuple, await snapshot.read(_LISTINGS, {"behind": behind, "upto": upto})):
        values = dict(zip(keys, row[:width], strict=True))
        found.append(
            Listing(
                Market(**{name: values[name] for name in names}),
                Token(*row[width : width + token]),
                Token(*row[width + token :]),
            )
        )
    return found


TRADE_COLUMNS: list[Any] = [t.trades.c[each.name] for each in msgspec.structs.fields(Trade)]


def require_few(rows: Sequence[Any], limit: int, field: str) -> None:
    if len(rows) > limit:
        raise BadInput(field, f"something of at most {limit} stored changes", "more")


def find_symbol(found: Sequence[Listing], field: str, symbol: str) -> Listing:
    """The market a person means: the exact symbol, else whatever the case and dash. Or NotFound."""
    plain = symbol.lower().replace("-", "")
    exact = [one for one in found if one.market.symbol == symbol]
    like = [one for one in found if one.market.symbol.lower().replace("-", "") == plain]
    for one in exact + like:
        return one
    raise NotFound(field, "the symbol of a market, such as WETH-USDC", symbol)


def find_token(found: Sequence[Listing], field: str, text: str | None) -> Token:
    """A token by symbol or address; None: the quote token of the oldest market."""
    known = [token for one in found for token in (one.quote, one.base)]
    if text is None and known:
        return known[0]
    wanted = (text or "").lower()
    for token in known:
        if wanted in (token.address, token.symbol.lower()):
            return token
    raise NotFound(field, "a token that some market trades, by symbol or address", text)
