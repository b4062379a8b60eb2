"""Which block an answer holds at: its headers, and whether a caller has the answer already."""

import asyncio
import hashlib

from api import reads
from api.limits import BLOCK_PATIENCE_S
from api.reads import Position
from indexer.store.snapshot import Snapshot

BLOCK = "X-Tidebook-Block"
EXPOSED_HEADERS = ("ETag", BLOCK, "X-Tidebook-Block-Hash")


def place_headers(position: Position) -> dict[str, str]:
    """The block, of an answer that may be another one the next time."""
    assert position.hash is not None, "a position without its block"
    return {
        BLOCK: str(position.number),
        "X-Tidebook-Block-Hash": position.hash,
        "Cache-Control": "no-cache",
    }


async def newest_headers(snapshot: Snapshot) -> dict[str, str]:
    """The newest block, for a reply that reads none: a refusal's. Nothing if it cannot be told."""
    try:
        async with asyncio.timeout(BLOCK_PATIENCE_S):
            position = await reads.newest_position(snapshot)
    except Exception:  # whoever needs the database says what is wrong with it
        return {}
    return {} if position is None or position.hash is None else place_headers(position)


def block_headers(position: Position, asked: str) -> dict[str, str]:
    """`ETag` is of the block, the seq there (promotions move it alone) and what was asked."""
    of = f"{position.epoch}/{position.seq}{asked}".encode(errors="replace")
    digest = hashlib.blake2b(of, digest_size=8).hexdigest()
    assert position.hash is not None, "a position without its block"
    return {"ETag": f'"{position.hash[2:18]}-{digest}"', **place_headers(position)}


def matches(sent: str, tag: str) -> bool:
    """Whether an `If-None-Match` names a tag."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in sent.split(",") if one)
