"""What the outbox of a database holds, message by message."""

from typing import Any

from indexer import bundle


async def outbox(connection: Any) -> list[bundle.Line]:
    """All messages, by seq."""
    query = "select '0x' || encode(messages, 'hex') from tidebook.outbox order by seq"
    return [line for (packed,) in await connection.fetch(query) for line in bundle.lines(packed)]
