"""What takes a block back survives its packing, and the migration to it."""

import zlib

import msgspec
from alembic import command
from backports import zstd
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from indexer.domain.balance import Balance
from indexer.domain.change import Delta, Deltas
from indexer.domain.market import Token
from indexer.domain.order import Level
from indexer.domain.units import Address, Amount, Price
from indexer.store.undo import RECORD_TYPES, pack, unpack
from migrations import history

HERE = Address("0x" + "ab" * 20)
BEFORE = Balance(HERE, HERE, Amount(2**256), Amount(0), Amount(-1), Amount(7), 3, 4)
LEVEL = Level(HERE, "buy", Price(5))
DELTAS = Deltas(
    tokens=(Delta(None, Token(HERE, 'a"\\\n\x00', "🦄", 18)),),
    levels=(Delta(LEVEL, None),),
    balances=(Delta(BEFORE, msgspec.structs.replace(BEFORE, locked=Amount(1))),),
)


def test_what_is_packed_comes_back() -> None:
    assert unpack(pack(DELTAS)) == DELTAS
    assert unpack(pack(Deltas())) == Deltas()


def test_what_was_deflated_is_still_read() -> None:
    stored = zstd.decompress(bytes.fromhex(pack(DELTAS)[2:]))
    assert unpack("0x" + zlib.compress(stored, 1).hex()) == DELTAS


async def test_a_migration_packs_what_blocks_have_done(database_url: str) -> None:
    """And back, and there again."""

    def move(connection: Connection, revision: str) -> None:
        way = command.downgrade if revision == "0012" else command.upgrade
        way(history.configuration(connection), revision)

    engine = create_async_engine(database_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    rows = [
        {"kind": kind, "ordinal": ordinal, "before": _json(one.before), "after": _json(one.after)}
        for ordinal, (kind, one) in enumerate(
            (kind, one) for kind in RECORD_TYPES for one in getattr(DELTAS, kind)
        )
    ]
    async with engine.begin() as connection:
        await connection.run_sync(move, "0012")
        statement = "insert into tidebook.undo values (7, :ordinal, :kind, :before, :after)"
        await connection.execute(text(statement), rows)
        for revision in ("0013", "0012", "0013"):
            await connection.run_sync(move, revision)
        stored = (await connection.execute(text("select * from tidebook.undo"))).all()
    await engine.dispose()
    ((number, images),) = stored
    assert number == 7
    assert unpack("0x" + images.hex()) == DELTAS


def _json(record: msgspec.Struct | None) -> str | None:
    return None if record is None else msgspec.json.encode(record).decode()
