"""Messages of channels behind a position, from the bundles of the outbox."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from indexer import bundle
from indexer.store.columns import Hex

PAGE = 50
"""Bundles read at once: to unpack one of a full block takes a fifth of a millisecond."""

BEHIND = (
    text("""
select seq, messages from tidebook.outbox
 where seq > :after and channels && :channels order by seq limit :page
""")
    .bindparams(
        bindparam("channels", type_=ARRAY(Text)),
        bindparam("after", type_=BigInteger),
        bindparam("page", type_=BigInteger, value=PAGE),
    )
    .columns(seq=BigInteger, messages=Hex)
)

Read = Callable[[dict[str, Any]], Awaitable[Sequence[Any]]]
"""Reads BEHIND with some values."""


async def behind(read: Read, channels: Collection[str], after: int, most: int) -> list[bytes]:
    """The messages of `channels` after seq `after`, oldest first; more than `most` end the search.

    As JSON. Each links to the one before it of its channel, so who reads them sees a gap.
    """
    found: list[bytes] = []
    at = after
    while len(found) <= most:
        rows = await read({"channels": sorted(channels), "after": at})
        for seq, messages in rows:
            at = seq
            mine = bundle.lines(messages, channels)
            found += [line.message for line in mine if line.seq > after]
        if len(rows) < PAGE:
            break
    return found
