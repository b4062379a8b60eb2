"""Checkpoints: what the mirror held at a finalized block, so that a start folds what came since.

One is the records as JSON (amounts outgrow MessagePack), compressed, with a version and a checksum.
At the head it is packed slice by slice between blocks, and saved behind one (store/behind.py).
Nothing depends on them: a damaged or foreign one is passed over for an older one, and without any
the start reads the tables. A reorg deeper than *finalized* finds its ground at the newest that the
node still has. Orders that the mirror had forgotten by then are not in it: their rows have not
changed since, or `recalled` has them as they were.
"""

import logging
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
from backports import zstd

from indexer.decode import created_tokens, decode
from indexer.domain.block import Block, BlockRef
from indexer.domain.canon import Canon
from indexer.domain.change import Delta, Deltas
from indexer.domain.deployment import Deployment
from indexer.domain.market import Token
from indexer.domain.units import Hash
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.mirror.settled import SettledState, size
from indexer.store import tables
from indexer.store.database import Database
from indexer.store.database import Row as AnyRow
from indexer.store.log_rows import PACKED, logs_of
from indexer.store.recall import recall, recalled_since
from indexer.store.undo import RECORD_TYPES

log = logging.getLogger(__name__)

VERSION = 2
"""Of the format and of the fold's meaning: raise it when either changes."""

EVERY_EVENTS = 100_000
"""Events between two checkpoints at least: about a second of folding. A memory of more records than
that waits for as many events, so that saving costs an event the same."""

KEEP = 3
"""Checkpoints kept; older ones go."""

_State = msgspec.defstruct(
    "_State",
    [(kind, list.__class_getitem__(type_)) for kind, type_ in RECORD_TYPES.items()],
    array_like=True,
)
_DECODER = msgspec.json.Decoder(_State)


class Damaged(Exception):
    """A checkpoint that cannot be used; the message says why."""


class Row(msgspec.Struct):
    """A checkpoint as it is stored."""

    block_number: int
    block_hash: Hash
    version: int
    checksum: int
    state: str


class Checkpoints:
    """One writer's checkpoints: saved now and then, read at a start."""

    def __init__(self, database: Database, every_events: int = EVERY_EVENTS) -> None:
        self._database = database
        self._every_events = every_events
        self._events = 0
        self._numbers: list[int] = []

    async def start(self, deployment: Deployment, canon: Canon) -> Mirror | None:
        """The mirror at canon's head by the newest good checkpoint; None if there is none."""
        self._events = 0
        await self._list()
        for number in reversed(self._numbers):
            try:
                return await self._go_on(await self._read(number), deployment, canon)
            except Damaged as error:
                log.warning("the checkpoint at block %s is passed over: %s", number, error)
        return None

    async def refs(self) -> list[BlockRef]:
        """The blocks that have a good checkpoint, newest first."""
        await self._list()  # what was saved may not have been committed
        good = []
        for number in reversed(self._numbers):
            row = await self._read(number)
            try:
                decode_state(row)
            except Damaged:
                continue  # `start` has told of it
            good.append(BlockRef(number, row.block_hash))
        return good

    async def state(self, at: BlockRef) -> Deltas:
        """Records that have changed since, as of a checkpoint; none without it. Raises Damaged."""
        if at.number not in self._numbers:
            return Deltas()
        deltas = decode_state(await self._read(at.number))
        before = await recalled_since(self._database, at)
        for held in deltas.orders:
            before.pop((held.record.market, held.record.order_id), None)
        returned = tuple(Delta(None, order) for order in before.values())
        return msgspec.structs.replace(deltas, orders=deltas.orders + returned)

    def count(self, events: int) -> None:
        """So many events more than the newest checkpoint knows."""
        self._events += events

    def due(self, mirror: Mirror, final: Block) -> SettledState | None:
        """The state at `final`, the newest final block, if it is worth saving by now."""
        if self._events < self._every_events or final.number in self._numbers:
            return None
        if self._events < size(mirror):
            return None
        self._events = 0
        return SettledState(mirror, final)

    async def save(self, row: Row) -> None:
        """Save what was due, and let the oldest go."""
        await self._database.append(tables.checkpoints, [row])
        self._numbers = [*self._numbers, row.block_number][-KEEP:]
        await self._database.delete_below(tables.checkpoints, self._numbers[0])
        await self._database.delete_below(tables.recalled, self._numbers[0])

    async def _list(self) -> None:
        """See which checkpoints there are."""
        found = await self._database.read(
            tables.checkpoints, ("block_number",), order=("block_number",)
        )
        self._numbers = [row["block_number"] for row in found]

    async def _read(self, number: int) -> Row:
        columns = Row.__struct_fields__
        (found, *_) = await self._database.read(
            tables.checkpoints, columns, ("block_number", number), ("block_number",)
        )
        return Row(**found)

    async def _go_on(self, row: Row, deployment: Deployment, canon: Canon) -> Mirror:
        """Fold the stored blocks behind a checkpoint; the journal holds what is not final."""
        anchor = canon.anchor
        assert anchor is not None, "a checkpoint without a chain"
        deltas = decode_state(row)
        stored = await self._database.canonical_blocks(_BLOCK, row.block_number)
        blocks = [Block(**one) for one in stored]
        if not blocks or blocks[0].hash != row.block_hash:
            raise Damaged(f"its block {row.block_hash} is not canonical")
        mirror = Mirror(deployment, blocks[0])
        mirror.put(deltas)
        stored_tokens = await self._database.read(tables.tokens, _TOKEN)
        tokens = {one["address"]: Token(**one) for one in stored_tokens}
        rows = await self._logs_from(blocks[0].number + 1)
        memory, known = Memory(mirror), await recalled_since(self._database, blocks[0].ref)
        for block in blocks[1:]:
            found = rows.get(block.number)
            its = () if found is None else logs_of(block, found)
            events = decode(block, its)
            await recall(self._database, memory, events, known)
            # each where it came to be: a rollback takes it back with its block
            made = [tokens[address] for address in created_tokens(its, deployment)]
            mirror.apply(block, events, made, final=block.number <= anchor.number)
            self._events += len(its)
        mirror.take_unsaved()  # all of it is in the tables
        mirror.safe = canon.safe.number if canon.safe else -1
        return mirror

    async def _logs_from(self, number: int) -> dict[int, AnyRow]:
        """Rows of blocks from a height on, by their numbers."""
        rows = await self._database.read(tables.logs, PACKED, ("block_number", number))
        return {row["block_number"]: row for row in rows}


_BLOCK = Block.__struct_fields__
_TOKEN = Token.__struct_fields__


class Packing:
    """A checkpoint on its way to be a row, slice by slice."""

    def __init__(self, state: SettledState) -> None:
        self._state = state
        self._slices = _as_json(state)
        self._compressor = zstd.ZstdCompressor(1)
        self._checksum = 0
        self._pieces = ["0x"]

    def step(self) -> bool:
        """Pack one slice more; false if there was none."""
        text = next(self._slices, None)
        if text is None:
            packed = self._compressor.compress(b"]]", zstd.ZstdCompressor.FLUSH_FRAME)
        else:
            packed = self._compressor.compress(text)
        self._checksum = zlib.crc32(packed, self._checksum)
        self._pieces.append(packed.hex())
        return text is not None

    @property
    def is_lost(self) -> bool:
        """There is no more to come, and never will be."""
        return self._state.is_lost

    def row(self) -> Row:
        """What it came to, when all slices are packed."""
        final = self._state.final
        return Row(final.number, final.hash, VERSION, self._checksum, "".join(self._pieces))


def _as_json(state: SettledState) -> Iterator[bytes]:
    """An array of the records of each kind, piece by piece, but for the last two brackets."""
    begun, comma = None, b""
    for kind, records in state.slices():
        lead = b""
        if kind != begun:
            lead = b"[[" if begun is None else b"],["
            begun, comma = kind, b""
        if records:
            yield lead + comma + msgspec.json.encode(records)[1:-1]
            comma = b","
        else:
            yield lead


def encode_state(state: SettledState) -> Row:
    """All of it at once."""
    packing = Packing(state)
    while packing.step():
        pass
    return packing.row()


def decode_state(row: Row) -> Deltas:
    """The records, ready to be put into an empty mirror. Raises Damaged."""
    packed = bytes.fromhex(row.state[2:])
    if row.version != VERSION:
        raise Damaged(f"expected version {VERSION}, found {row.version}")
    if (found := zlib.crc32(packed)) != row.checksum:
        raise Damaged(f"expected checksum {row.checksum}, found {found}")
    try:
        records: Any = _DECODER.decode(zstd.decompress(packed))
    except (zstd.ZstdError, msgspec.MsgspecError) as error:
        raise Damaged(str(error)) from error
    return Deltas(
        **{
            kind: tuple(Delta(None, record) for record in getattr(records, kind))
            for kind in RECORD_TYPES
        }
    )
