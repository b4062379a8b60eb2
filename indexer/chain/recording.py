"""Recordings: a chain as gzip'd JSON lines, a header and then a block a line.

The header is a deployment file, so a recording knows what to follow. Damage is told with the line
it was found on: a recording that ends in the middle of a line, or of its compression, is not one.
"""

import errno
import gzip
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated

import msgspec

from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.deployment import (
    MAX_STORED,
    NOT_THE_TYPE,
    BadDeployment,
    Deployment,
    parse_deployment,
)
from indexer.domain.log import Log
from indexer.domain.step import Advance, Step
from indexer.domain.units import Hash

Word = Annotated[Hash, msgspec.Meta(pattern=r"^0x[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_STORED)]


class RecordedBlock(msgspec.Struct, frozen=True, rename="camel"):
    """One line of a recording."""

    number: Count
    hash: Word
    parent_hash: Word
    timestamp: Count
    logs_bloom: str
    logs: list[Log]

    @property
    def block(self) -> Block:
        return Block(self.number, self.hash, self.parent_hash, self.timestamp)


class BadRecording(ValueError):
    """A file that is no sound recording; the message names the file, the line and the damage."""


class BadBlock(ValueError):
    """A block whose logs cannot be; the message says which, what was expected and found."""


_FORMS = {
    "address": r"0x[0-9a-f]{40}",
    "block_hash": r"0x[0-9a-f]{64}",
    "block_number": r"0x[0-9a-f]{1,16}",
    "transaction_hash": r"0x[0-9a-f]{64}",
    "log_index": r"0x0*[0-7]?[0-9a-f]{1,7}",
}
_TOPICS = r"(?: 0x[0-9a-f]{64}){0,4}"
_SOUND = re.compile(" ".join(_FORMS.values()) + _TOPICS)
"""All of them in one go."""


def check(block: RecordedBlock) -> RecordedBlock:
    """The block with its logs in lower case (some tools checksum addresses). Raises BadBlock."""
    logs = [_folded(log) for log in block.logs]
    before = -1
    for log in logs:
        if log.block_hash != block.hash:
            raise BadBlock(
                f"log {log.log_index} says block {log.block_hash}, expected {block.hash}"
            )
        if int(log.block_number, 16) != block.number:
            raise BadBlock(
                f"log {log.log_index} says block number {log.block_number}, "
                f"expected {block.number:#x}"
            )
        if log.index <= before:
            raise BadBlock(f"expected a log index above {before:#x}, found {log.log_index}")
        before = log.index
    return msgspec.structs.replace(block, logs=logs)


def _folded(log: Log) -> Log:
    """The log in lower case; itself, if it is so already. Raises BadBlock."""
    if _is_sound(log):
        return log
    texts = {name: getattr(log, name) for name in _FORMS}
    folded = msgspec.structs.replace(
        log,
        topics=[topic.lower() for topic in log.topics],
        data=log.data.lower(),
        **{name: text.lower() for name, text in texts.items()},
    )
    if _is_sound(folded):
        return folded
    for name, form in _FORMS.items():
        if not re.fullmatch(form, texts[name].lower()):
            raise BadBlock(
                f"log {log.log_index[:20]!r}: expected {name} like {form}, "
                f"found {texts[name][:80]!r}"
            )
    if not _is_data(folded.data):
        raise BadBlock(f"log {log.log_index}: expected data in hex, found {log.data[:80]!r}")
    raise BadBlock(
        f"log {log.log_index}: expected at most 4 topics like 0x[0-9a-f]{{64}}, "
        f"found {str(log.topics)[:400]}"
    )


def _is_sound(log: Log) -> bool:
    text = (
        f"{log.address} {log.block_hash} {log.block_number} {log.transaction_hash} "
        f"{log.log_index}{''.join([' ' + topic for topic in log.topics])}"
    )
    return _SOUND.fullmatch(text) is not None and _is_data(log.data)


def _is_data(text: str) -> bool:
    """As far as it can be told quickly; whether it is what its topic promises, `decode` says."""
    return text[:2] == "0x" and text == text.lower() and text.encode().isalnum()


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
        number = 0
        for number, line in self._lines():
            if number == 1:
                continue
            try:
                block = decoder.decode(line)
            except NOT_THE_TYPE as error:
                raise BadRecording(f"{self.path}: line {number} is no block: {error}") from error
            if before is not None:
                self._check_link(number, before, block)
            try:
                block = check(block)
            except BadBlock as error:
                raise BadRecording(
                    f"{self.path}: line {number}: block {block.number}: {error}"
                ) from error
            yield block
            before = block
        if number == 0:  # a short pipe, of which opening it has taken all
            raise BadRecording(f"{self.path}: expected a file, found what can be read only once")

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


class NewRecording:
    """A recording in the making: `FILE.new`, which becomes `FILE` when it is whole.

    The header, though first in the file, is known last (it tells the tokens of the blocks), so the
    blocks wait in a nameless file beside it: two members of one gzip file. The bytes depend on the
    contents only: no time stamp goes into the compression. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        self.blocks = 0
        self._path = path
        self._unfinished = path.with_name(path.name + ".new")
        self._encoder = msgspec.json.Encoder()
        with ExitStack() as opened:
            self._file = opened.enter_context(self._unfinished.open("wb"))
            opened.callback(self._unfinished.unlink, missing_ok=True)
            self._body = opened.enter_context(tempfile.TemporaryFile(dir=path.parent))
            self._zip = opened.enter_context(_compress(self._body))
            self._opened = opened.pop_all()

    def add(self, blocks: Iterable[RecordedBlock]) -> None:
        for block in blocks:
            self._zip.write(self._encoder.encode(block) + b"\n")
            self.blocks += 1

    def finish(self, deployment: Deployment) -> None:
        """Put the header before the blocks, and the whole in its place."""
        with _compress(self._file) as header:
            header.write(self._encoder.encode(deployment) + b"\n")
        self._zip.close()
        self._body.seek(0)
        shutil.copyfileobj(self._body, self._file)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unfinished.replace(self._path)

    def __enter__(self) -> "NewRecording":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def _compress(file: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", fileobj=file, mtime=0)


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
        self._below: Block | None = None
        """The last block passed over without having been compared."""

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        """Raises BadRecording; what came before the damage is kept."""
        deployment, canon = self._recording.deployment, self._canon
        tokens = tuple(t for a in deployment.tokens if (t := deployment.token(a)) is not None)
        batch: list[Step] = []
        logs = 0
        try:
            for recorded in self._recording.blocks():
                if self._is_known(recorded.block):
                    continue
                self.node_head = recorded.number
                canon.restart(recorded.block)
                batch.append(Advance(recorded.block, tuple(recorded.logs), tokens, "finalized"))
                logs += len(recorded.logs)
                if logs >= BATCH_LOGS:
                    yield batch
                    batch, logs = [], 0
        except BadRecording:
            if batch:
                yield batch  # whatever came before the damage is sound
            raise
        if batch:
            yield batch
        self._check_end()

    def _is_known(self, block: Block) -> bool:
        """Whether the database has the block; raises BadRecording if it has another there."""
        head, anchor = self._canon.head, self._canon.anchor
        if head is None or anchor is None:
            return False
        if block.hash in self._canon:
            self._below = None
            return True
        if block.number < anchor.number:
            self._below = block  # canon no longer says what was there: the blocks above will
            return True
        if block.parent_hash == head.hash and block.number == head.number + 1:
            self._below = None
            return False
        raise BadRecording(
            f"{self._recording.path}: block {block.ref} does not continue the database's chain, "
            f"whose head is {head.ref}: use another --data-dir"
        )

    def _check_end(self) -> None:
        """Raises BadRecording if no block could be compared with the database's."""
        if self._below is not None and self._canon.anchor is not None:
            raise BadRecording(
                f"{self._recording.path}: ends at block {self._below.ref}, below the oldest that "
                f"can be compared, {self._canon.anchor.number}: nothing to add, and it may be of "
                "another chain"
            )
