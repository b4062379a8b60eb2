"""A file of records that survives being killed at any byte, and the errors of a kept chain.

DataDirError
├── DataDirInUse         another process has the directory
├── DataDirOtherVersion  written by a release whose format this one does not read
├── DataDirOtherChain    holds a chain with another id or genesis than was asked for
└── DataDirDamaged       bytes are not what was written

The file is a magic line, a format, and records with their length and two checksums: one of the
length, so that damage there is not taken for an end, and one of the content. Only the last record
may be incomplete: that is what a killed writer leaves, and it is dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_MAGIC = b"tidebook devnet\n"
_FORMAT = struct.Struct(">II")  # version, layout
_FRAME = struct.Struct(">QI")  # length of the content, its checksum
_CHECK = struct.Struct(">I")  # checksum of the frame
_HEAD = _FRAME.size + _CHECK.size


class DataDirError(Exception):
    """The devnet can not use its directory; the message says why and what to do."""

    def __init__(self, path: Path, problem: str, remedy: str | None = None) -> None:
        remedy = remedy or f"remove {path} to begin a new chain, and any index of the old one"
        super().__init__(f"{path}: {problem}; {remedy}")
        self.path = path


class DataDirInUse(DataDirError):
    """Another process has the directory."""


class DataDirOtherVersion(DataDirError):
    """The directory was written by a release with another format."""


class DataDirOtherChain(DataDirError):
    """The directory holds another chain than was asked for."""


class DataDirDamaged(DataDirError):
    """What is in the directory is not what was written."""


class Lock:
    """A directory for one process; freed by `close`, or by the process's end whatever ends it."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / "lock").open("a+")
        except OSError as error:
            raise DataDirError(
                directory, error.strerror or str(error), "choose another --data-dir"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "unknown"
            self._file.close()
            problem = f"another devnet runs on it (process {owner})"
            raise DataDirInUse(directory, problem, "stop it or choose another --data-dir") from (
                error
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def close(self) -> None:
        """Frees the directory."""
        self._file.close()


class Journal:
    """One such file, open for more records."""

    def __init__(self, path: Path, version: int, layout: int) -> None:
        self.path = path
        self.size = 0
        self._format = _FORMAT.pack(version, layout)
        self._version = version
        self._file: IO[bytes] | None = None

    def read(self, at_least: int) -> list[bytes]:
        """All whole records; what is left of a torn one is cut off.

        The first `at_least` came with the file and can not be torn. Raises DataDirOtherVersion
        and DataDirDamaged, which leave the file as it is.
        """
        data = memoryview(self.path.read_bytes())
        start = len(_MAGIC) + _FORMAT.size
        if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
            raise self._damaged(0)
        version, _ = _FORMAT.unpack(data[len(_MAGIC) : start])
        if data[len(_MAGIC) : start] != self._format:
            found = f"format {version}" if version != self._version else "another layout"
            raise DataDirOtherVersion(
                self.path.parent,
                f"was written by another release ({found}, this one reads {self._version})",
                f"use that release, or remove {self.path.parent} to begin a new chain",
            )
        records = []
        while (content := self._next(data, start)) is not None:
            records.append(bytes(content))
            start += _HEAD + len(content)
        if len(records) < at_least:
            raise self._damaged(start)
        self._file = self.path.open("r+b")
        self._file.truncate(start)
        self._file.seek(start)
        self.size = start
        return records

    def _next(self, data: memoryview, at: int) -> memoryview | None:
        """The content of the record at an offset; None where the file ends or is torn."""
        frame, check = data[at : at + _FRAME.size], data[at + _FRAME.size : at + _HEAD]
        # Zeros to the end are what a crashed machine, not a killed process, leaves of a record.
        if len(check) < _CHECK.size or not any(data[at:]):
            return None
        if check != _CHECK.pack(zlib.crc32(frame)):
            raise self._damaged(at)
        length, checksum = _FRAME.unpack(frame)
        content = data[at + _HEAD : at + _HEAD + length]
        if len(content) < length:
            return None
        if zlib.crc32(content) != checksum:
            if at + _HEAD + length == len(data):
                return None
            raise self._damaged(at)
        return content

    def _damaged(self, at: int) -> DataDirDamaged:
        return DataDirDamaged(self.path.parent, f"{self.path.name} is damaged at byte {at}")

    def append(self, content: bytes) -> None:
        """Adds a record and hands it to the operating system: a killed process loses nothing."""
        assert self._file is not None, "read or rewrite comes before append"
        try:
            self._file.write(_framed(content))
            self._file.flush()
        except OSError:
            # A full disk must not leave half a record in front of later ones. What is still
            # buffered would be written by the next flush, so the handle goes, too.
            with contextlib.suppress(OSError):
                self._file.close()
            os.truncate(self.path, self.size)
            self._file = self.path.open("r+b")
            self._file.seek(self.size)
            raise
        self.size += _HEAD + len(content)

    def rewrite(self, records: Iterable[bytes]) -> None:
        """Puts a new file in the old one's place: after a crash there is one or the other."""
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(_MAGIC + self._format)
            for content in records:
                file.write(_framed(content))
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        new.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the new name, too
        finally:
            os.close(directory)
        self.close()
        self._file = self.path.open("r+b")
        self._file.seek(size)
        self.size = size

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _framed(content: bytes) -> bytes:
    frame = _FRAME.pack(len(content), zlib.crc32(content))
    return frame + _CHECK.pack(zlib.crc32(frame)) + content
