"""Finalized logs on disk: what was fetched once is read from there the next time.

An entry is one range, MessagePack in zstd: a header that says what was asked for, and then each
block that has logs of ours, and the range's last, its logs packed as they are for the store anyhow
(domain/logs.py), so what is read from here is ready. Its place says the same as the header: the
folder is named by the chain and the filter, the file by the range and the two blocks it lies
between. So entries of different chains, branches or deployments never meet, and a folder can be
copied to another machine.

Nothing depends on it: an entry that is damaged is told of, dropped, and fetched anew.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from backports import zstd

from indexer.chain.source import Source
from indexer.domain.block import Block
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.logs import Logs
from indexer.domain.units import Hash

HASH_DIGITS = 16
"""Of a block's hash in a file's name."""

_PACKING: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 1,  # most of it is zeros
    zstd.CompressionParameter.checksum_flag: 1,  # or a flipped bit would be another log
}
_NAME = re.compile(r"(\d+)-(\d+)-([0-9a-f]{16})-([0-9a-f]{16})\.logs\.zst")


class Filter(msgspec.Struct, frozen=True):
    """Whose logs an entry has: those of these contracts, and of every market they announce."""

    protocol: str
    chain_id: int
    contracts: Contracts


class _Header(msgspec.Struct, frozen=True):
    filter: Filter
    first: int
    last: int


class _Contents(msgspec.Struct, frozen=True):
    header: _Header
    blocks: list[Logs]


class Entry(msgspec.Struct, frozen=True):
    """A range on disk. `after` and `hash` begin the hashes of the block before it and its last."""

    path: Path
    first: int
    last: int
    after: str
    hash: str


class Damaged(Exception):
    """An entry that cannot be used; the message says why."""


class LogCache:
    """The entries of one deployment. What goes wrong with one is told, and never fatal."""

    def __init__(
        self, root: Path, deployment: Deployment, tell: Callable[[str], None] = lambda line: None
    ) -> None:
        self.filter = Filter(deployment.protocol, deployment.chain_id, deployment.contracts)
        key = sha256(msgspec.json.encode(self.filter)).hexdigest()[:HASH_DIGITS]
        self.folder = root / f"{deployment.chain_id}-{key}"
        self._tell = tell
        self._entries: dict[tuple[int, str], Entry] = {}
        """By their first block, and the hash before it."""
        self._damaged: set[Entry] = set()
        self._writing: asyncio.Task[None] | None = None
        self._unkept: str | None = None
        """Why a range could not be kept, as it was told."""

    async def open(self, node: Source, start: Block, final: Block) -> None:
        """See what there is between two blocks that this node's chain still has.

        Entries follow each other by the hashes of the blocks between them, so a handful of
        questions finds how far they go together with the node.
        """
        try:
            entries = await asyncio.to_thread(self._list)
        except OSError as error:
            self._tell(f"{self.folder}: cannot be read: {error.strerror or error}")
            entries = {}
        chain: list[Entry] = []
        at = start.number + 1, short(start.hash)
        while (entry := entries.get(at)) is not None and entry.last <= final.number:
            chain.append(entry)
            at = entry.last + 1, entry.hash
        low, high = 0, len(chain)
        while low < high:
            middle = (low + high + 1) // 2
            block = await node.by_number(chain[middle - 1].last)
            if block is not None and short(block.hash) == chain[middle - 1].hash:
                low = middle
            else:
                high = middle - 1
        if low < len(chain):
            self._tell(f"{self.folder}: {len(chain) - low} ranges are of another branch: not used")
        self._entries = {(entry.first, entry.after): entry for entry in chain[:low]}

    async def read(self, before: Block) -> list[Logs] | None:
        """Blocks with logs of the range behind a block, and its last; None if there is none."""
        entry = self._entries.get((before.number + 1, short(before.hash)))
        if entry is None or entry in self._damaged:
            return None
        try:
            packed = await asyncio.to_thread(_unpack, entry.path)
            return self._decode(entry, packed)
        except Damaged as error:
            self._tell(f"{entry.path}: damaged, and fetched anew: {error}")
            self._damaged.add(entry)
            with contextlib.suppress(OSError):  # a folder may be read-only: it stays there
                await asyncio.to_thread(entry.path.unlink)
            return None

    def gap(self, before: Block, final: int) -> int:
        """The last block that is to be fetched behind one where there is nothing to be read."""
        entry = self._entries.get((before.number + 1, short(before.hash)))
        return final if entry is None else entry.last

    async def keep(self, before: Block, found: Sequence[Logs]) -> None:
        """Write what was found behind a block, in the background; one range at a time."""
        await self.kept()
        self._writing = asyncio.create_task(self._keep(before, found))

    async def kept(self) -> None:
        """Wait until all is written."""
        if self._writing is not None:
            await self._writing

    async def _keep(self, before: Block, found: Sequence[Logs]) -> None:
        last = found[-1].block
        header = _Header(self.filter, before.number + 1, last.number)
        name = f"{header.first}-{header.last}-{short(before.hash)}-{short(last.hash)}.logs.zst"
        try:
            await asyncio.to_thread(_write, self.folder / name, _Contents(header, list(found)))
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._unkept:  # or a full disk would be told of with each range
                self._tell(f"{self.folder}: logs are not kept: {why}")
            self._unkept = why

    def _list(self) -> dict[tuple[int, str], Entry]:
        found = {}
        for path in sorted(self.folder.glob("*.logs.zst")):
            name = _NAME.fullmatch(path.name)
            if name is not None:
                first, last, after, hash_ = name.groups()
                found[int(first), after] = Entry(path, int(first), int(last), after, hash_)
        return found

    def _decode(self, entry: Entry, packed: bytes) -> list[Logs]:
        try:
            contents = _DECODER.decode(packed)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Damaged(str(error)) from error
        header, blocks = contents.header, contents.blocks
        if header != _Header(self.filter, entry.first, entry.last):
            raise Damaged(f"expected {entry.path.name}, found the header {header}")
        end = blocks[-1].block if blocks else None
        if end is None or (end.number, short(end.hash)) != (entry.last, entry.hash):
            raise Damaged(f"expected block {entry.last} at its end")
        return blocks


_DECODER = msgspec.msgpack.Decoder(_Contents)


def short(hash_: Hash) -> str:
    """What of a block's hash a name carries."""
    return hash_[2 : 2 + HASH_DIGITS]


def _unpack(path: Path) -> bytes:
    try:
        return zstd.decompress(path.read_bytes())
    except (OSError, zstd.ZstdError) as error:
        raise Damaged(str(error)) from error


def _write(path: Path, contents: _Contents) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".new")
    packed = zstd.compress(msgspec.msgpack.encode(contents), options=_PACKING)
    try:
        unfinished.write_bytes(packed)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()  # or a full disk would be filled with halves
        raise
