"""Recordings: a chain as gzip'd JSON lines, a header and then a block a line.

The header is a deployment file, so a recording knows what to follow. Damage is told with the line
it was found on: a recording that ends in the middle of a line, or of its compression, is not one.
"""

import gzip
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from indexer.decode import created_markets, select
from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.deployment import BadDeployment, Deployment, parse_deployment
from indexer.domain.log import Log
from indexer.domain.step import Advance, Step
from indexer.domain.units import Address, Hash


class RecordedBlock(msgspec.Struct, frozen=True, rename="camel"):
    """One line of a recording."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    logs_bloom: str
    logs: list[Log]

    @property
    def block(self) -> Block:
        return Block(self.number, self.hash, self.parent_hash, self.timestamp)


class BadRecording(ValueError):
    """A file that is no sound recording; the message names the file, the line and the damage."""


class Recording:
    """A recording file, read as a stream. Opening it reads the header only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for _, line in self._lines():
            try:
                self.deployment: Deployment = parse_deployment(line)
            except BadDeployment as error:
                raise BadRecording(f"{path}: line 1 is no header: {error}") from error
            return
        raise BadRecording(f"{path}: expected a header line, found an empty file")

    def blocks(self) -> Iterator[RecordedBlock]:
        """The blocks in the order of the file, each checked to follow the one before it."""
        decoder = msgspec.json.Decoder(RecordedBlock)
        before: RecordedBlock | None = None
        for number, line in self._lines():
            if number == 1:
                continue
            try:
                block = decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise BadRecording(f"{self.path}: line {number} is no block: {error}") from error
            if before is not None:
                self._check_link(number, before, block)
            stray = next((log for log in block.logs if log.block_hash != block.hash), None)
            if stray is not None:
                raise BadRecording(
                    f"{self.path}: line {number}: log {stray.log_index} says block "
                    f"{stray.block_hash}, expected {block.hash}"
                )
            yield block
            before = block

    def _check_link(self, line: int, before: RecordedBlock, block: RecordedBlock) -> None:
        if block.parent_hash != before.hash or block.number != before.number + 1:
            raise BadRecording(
                f"{self.path}: line {line}: block {block.number} has parent {block.parent_hash}, "
                f"expected a child of block {before.number} {before.hash}"
            )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with gzip.open(self.path, "rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        raise BadRecording(f"{self.path}: line {number} is cut off")
                    yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadRecording(f"{self.path}: not a whole gzip file: {error}") from error
        except OSError as error:
            raise BadRecording(f"{self.path}: {error.strerror or error}") from error


def write(path: Path, header: bytes, blocks: Iterable[RecordedBlock]) -> int:
    """Write a recording and return its number of blocks. `header` is one line of JSON.

    The bytes depend on the contents only: no time stamp goes into the compression.
    """
    encoder = msgspec.json.Encoder()
    count = 0
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        file.write(header + b"\n")
        for block in blocks:
            file.write(encoder.encode(block) + b"\n")
            count += 1
    return count


BATCH_LOGS = 5_000
"""Logs of a recording written in one transaction."""


class Playback:
    """A recording as a source of steps: all of it is past, and then it ends.

    Blocks that canon already has are passed over, so that playing a file twice adds nothing.
    """

    def __init__(self, recording: Recording, canon: Canon) -> None:
        self.node_head = 0
        self._recording = recording
        self._canon = canon

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        """Raises BadRecording; what came before the damage is kept."""
        deployment, canon = self._recording.deployment, self._canon
        tokens = tuple(t for a in deployment.tokens if (t := deployment.token(a)) is not None)
        markets: set[Address] = set()
        batch: list[Step] = []
        logs = 0
        try:
            for recorded in self._recording.blocks():
                selected = select(recorded.logs, deployment, markets)
                markets |= created_markets(selected, deployment)
                if self._is_known(recorded.block):
                    continue
                self.node_head = recorded.number
                canon.restart(recorded.block)
                batch.append(Advance(recorded.block, tuple(selected), tokens, "finalized"))
                logs += len(selected)
                if logs >= BATCH_LOGS:
                    yield batch
                    batch, logs = [], 0
        except BadRecording:
            if batch:
                yield batch  # whatever came before the damage is sound
            raise
        if batch:
            yield batch

    def _is_known(self, block: Block) -> bool:
        """Whether canon has the block; raises BadRecording if it has another in its place."""
        head = self._canon.head
        if head is None or block.parent_hash == head.hash:
            return False
        if block.number < head.number or block.hash == head.hash:
            return True
        raise BadRecording(
            f"{self._recording.path}: block {block.ref} does not continue the database's chain, "
            f"whose head is {head.ref}: use another --data-dir"
        )
