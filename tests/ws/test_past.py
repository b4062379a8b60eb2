"""What the live feed reads of Postgres, which may go away at any moment of it."""

from typing import Any

import pytest
from sqlalchemy import func, select

from tests.ws.served import Chain
from ws.markets import connect
from ws.native.past import Unavailable, _Reading


async def test_a_connection_lost_as_a_read_ends_is_told_as_unavailable(
    kept: Chain, database_url: str
) -> None:
    """It ended the whole gateway, for a heartbeat was what read."""
    pool = connect(database_url, pooled=True)

    async def read() -> Any:
        async with _Reading(pool) as connection:
            pid = await connection.scalar(select(func.pg_backend_pid()))
            async with kept.engine.connect() as other:
                await other.execute(select(func.pg_terminate_backend(pid, 1_000)))

    with pytest.raises(Unavailable, match="Postgres"):
        await read()
    async with _Reading(pool) as connection:
        assert await connection.scalar(select(1)) == 1
    await pool.dispose()
