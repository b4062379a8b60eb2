"""Which block an answer holds at: its headers, and whether a caller has the answer already."""

import hashlib

from api.reads import Position

EXPOSED_HEADERS = ("ETag", "X-Tidebook-Block", "X-Tidebook-Block-Hash")


def block_headers(position: Position, asked: str) -> dict[str, str]:
    """`ETag` is of the block, the seq there (promotions move it alone) and what was asked."""
    of = f"{position.epoch}/{position.seq}{asked}".encode(errors="replace")
    digest = hashlib.blake2b(of, digest_size=8).hexdigest()
    assert position.hash is not None, "a position without its block"
    return {
        "ETag": f'"{position.hash[2:18]}-{digest}"',
        "X-Tidebook-Block": str(position.number),
        "X-Tidebook-Block-Hash": position.hash,
        "Cache-Control": "no-cache",
    }


def matches(sent: str, tag: str) -> bool:
    """Whether an `If-None-Match` names a tag."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in sent.split(",") if one)
