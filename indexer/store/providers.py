"""How the writer's nodes are doing, kept where `status` reads it.

On a connection of its own, outside the steps' transactions: what a node does to us is news also
while no step is made.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from indexer.store import postgres


class Provider(Protocol):
    """What is kept of one (chain/health.py has the words)."""

    @property
    def url(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def score(self) -> int: ...
    @property
    def head(self) -> int | None: ...
    @property
    def faults(self) -> dict[str, int]: ...
    @property
    def last_fault(self) -> str | None: ...


async def keep(database_url: str, reports: AsyncIterator[Sequence[Provider]]) -> None:
    """Store each report in place of the one before, until cancelled."""
    connection = await postgres.connect(database_url)
    try:
        async for report in reports:
            await write(connection, report)
    finally:
        await connection.close()


async def write(connection: postgres.Connection, report: Sequence[Provider]) -> None:
    """The report, and nothing of providers that are not in it."""
    async with connection.transaction():
        await connection.execute(
            "delete from tidebook.providers where url_masked <> all($1)",
            [provider.url for provider in report],
        )
        await connection.executemany(
            _UPSERT,
            [
                (
                    _text(provider.url),
                    provider.state,
                    provider.score,
                    provider.head,
                    msgspec.json.encode(provider.faults).decode(),
                    None if provider.last_fault is None else _text(provider.last_fault),
                )
                for provider in report
            ],
        )


async def read(connection: postgres.Connection) -> list[dict[str, Any]]:
    """All providers, for `status`."""
    rows = await connection.fetch("select * from tidebook.providers order by url_masked")
    return [
        {
            **row,
            "faults": msgspec.json.decode(row["faults"]),
            "updated_at": row["updated_at"].isoformat(),
        }
        for row in rows
    ]


def _text(words: str) -> str:
    """A node's words as Postgres takes them."""
    return words.replace("\0", "").encode(errors="replace").decode()


_UPSERT = """
insert into tidebook.providers (url_masked, state, score, head_number, faults, last_fault)
values ($1, $2, $3, $4, $5, $6)
on conflict (url_masked) do update set
  state = excluded.state, score = excluded.score, head_number = excluded.head_number,
  faults = excluded.faults, last_fault = excluded.last_fault, updated_at = now()
"""
