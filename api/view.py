"""Which block a list is about: the head, one that a caller names, or the newest that is final."""

import asyncio
import re
from enum import Enum
from typing import Annotated, Any

import strawberry

from api import chain_reads, past, reads
from api.errors import BadInput, BeyondRetention, BlockNotReached, Reorged
from api.limits import MAX_WAIT_S, TX_SEARCH_BLOCKS, WAIT_STEP_S
from api.reads import Position
from api.scalars import Long
from indexer.store.snapshot import Pool, Snapshot

_HASH = re.compile(r"0[xX][0-9a-fA-F]{64}", re.ASCII)


@strawberry.enum(description="How sure the chain is. `safe` and `finalized` are the node's words.")
class Finality(Enum):
    latest = "latest"
    safe = "safe"
    finalized = "finalized"


@strawberry.input(description="One of these.")
class BlockPin:
    number: Long | None = strawberry.field(
        default=None, description="The state after this canonical block."
    )
    hash: str | None = strawberry.field(
        default=None, description="The same; REORGED once the block is not canonical."
    )
    number_gte: Long | None = strawberry.field(
        default=None, description=f"The head, once it is this far: waits up to {MAX_WAIT_S:g} s."
    )


def _argument(description: str) -> Any:
    return strawberry.argument(description=description)


Pin = Annotated[BlockPin | None, _argument("The block to answer about; without, the head.")]
Final = Annotated[Finality | None, _argument("Nothing newer than the block that is so final.")]
AfterTx = Annotated[str | None, _argument("Answer once this tx's events are indexed.")]


def block_hash(field: str, text: str) -> str:
    """A hash of a block or a tx, in lower case."""
    if _HASH.fullmatch(text) is None:
        raise BadInput(field, "a hash (0x and 64 hex digits)", text)
    return text.lower()


async def resolve(
    snapshot: Snapshot,
    pin: BlockPin | None,
    finality: Finality | None,
    after_tx: str | None = None,
) -> int | None:
    """The number of the block to read at, None for the head. Raises the typed errors."""
    if pin is None and after_tx is None and finality in (None, Finality.latest):
        return None
    position = await reads.position(snapshot)
    if position is None or position.number is None:
        raise BlockNotReached("nothing is indexed yet", head=None)
    if after_tx is not None:
        await _check_tx(snapshot, position, after_tx)
    at = None if pin is None else await _pinned(snapshot, position, pin)
    if finality in (None, Finality.latest):
        return at
    final = position.safe if finality is Finality.safe else position.finalized
    if final is None:
        raise BlockNotReached(f"no block is {finality} yet", head=position.number)
    return final if at is None else min(at, final)


async def header_at(snapshot: Snapshot, at: int) -> chain_reads.Header:
    """The block that `resolve` found."""
    header = await chain_reads.header_by_number(snapshot, at)
    if header is None:
        raise BeyondRetention(f"block {at} is before the first one kept")
    return header


async def _pinned(snapshot: Snapshot, position: Position, pin: BlockPin) -> int | None:
    given = [one for one in (pin.number, pin.hash, pin.number_gte) if one is not None]
    head = position.number
    assert head is not None, "checked by resolve"
    if len(given) != 1:
        raise BadInput("block", "one of number, hash and numberGte", f"{len(given)} of them")
    if pin.number_gte is not None:
        if head < pin.number_gte:
            raise BlockNotReached(f"block {pin.number_gte} is not indexed yet", head=head)
        return None
    number = pin.number
    if pin.hash is not None:
        wanted = block_hash("block.hash", pin.hash)
        header = await chain_reads.header_by_hash(snapshot, wanted)
        if header is None:
            raise BlockNotReached(f"block {wanted} is not known", head=head)
        if not header.canonical:
            raise Reorged(f"block {wanted} was retracted", head=head)
        number = Long(header.number)
    assert number is not None, "one of three is given"
    if number > head:
        raise BlockNotReached(f"block {number} is not indexed yet", head=head)
    oldest = await past.oldest_block(snapshot)
    if oldest is None or number < oldest:
        raise BeyondRetention(f"block {number} is before the first one kept", oldest=oldest)
    return None if number == head else number


async def _check_tx(snapshot: Snapshot, position: Position, after_tx: str) -> None:
    tx = block_hash("afterTx", after_tx)
    assert position.number is not None, "checked by resolve"
    above = position.number - TX_SEARCH_BLOCKS
    if await chain_reads.tx_block(snapshot, tx, above=above) is None:
        raise BlockNotReached(f"tx {tx} is in none of our newest blocks", head=position.number)


async def wait(pool: Pool, number: int | None, txs: list[str]) -> None:
    """Return once the head has this number and these txs, or the wait has taken too long.

    Looks with snapshots of its own, so that the request's is opened behind it and sees what was
    waited for. Whether it came is for the resolvers to find out and to say.
    """
    try:
        async with asyncio.timeout(MAX_WAIT_S):
            while not await _reached(pool, number, txs):
                await asyncio.sleep(WAIT_STEP_S)
    except TimeoutError:
        return


async def _reached(pool: Pool, number: int | None, txs: list[str]) -> bool:
    snapshot = Snapshot(pool)
    try:
        position = await reads.position(snapshot)
        if position is None or position.number is None or position.number < (number or 0):
            return False
        above = position.number - TX_SEARCH_BLOCKS
        for tx in txs:
            if await chain_reads.tx_block(snapshot, tx, above=above) is None:
                return False
        return True
    finally:
        await snapshot.close()


def waited_for(arguments: list[dict[str, Any]]) -> tuple[int | None, list[str]]:
    """The block number and the txs that root fields' arguments want to wait for."""
    numbers, txs = [], []
    for given in arguments:
        pin, tx = given.get("block"), given.get("after_tx", given.get("afterTx"))
        number = pin.get("number_gte", pin.get("numberGte")) if isinstance(pin, dict) else None
        if number is not None:
            numbers.append(number)
        if isinstance(tx, str) and _HASH.fullmatch(tx) is not None:
            txs.append(tx.lower())
    return max(numbers, default=None), txs
