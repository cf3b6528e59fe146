"""Bytes to read from: a path, bytes in memory or an open binary file, behind one small interface."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from torchlite.errors import FormatError

ByteArray: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
ByteSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | ByteArray | BinaryIO
"""What readers accept; an array must be of uint8 and one-dimensional, and arrays read may be views of it."""


class Source:
    """A sized, seekable run of bytes that is read by position; what lies outside it is a `FormatError`."""

    size: int

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._start = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self._start

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from ``offset`` to ``offset + size``."""
        self._seek(offset, size)
        data = self._file.read(size)
        if len(data) != size:
            raise self.damaged(f"ended at byte {offset + len(data)} while {size} bytes from {offset} were read")
        return data

    def read_array(self, offset: int, size: int) -> ByteArray:
        """The same as a writable array of uint8; allocated only once the bytes are known to exist."""
        self._seek(offset, size)
        array = np.empty(size, dtype=np.uint8)
        view = array.data
        filled = 0
        while filled < size:
            chunk = self._file.read(min(size - filled, 1 << 24))
            if not chunk:
                raise self.damaged(f"ended at byte {offset + filled} while {size} bytes from {offset} were read")
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return array

    def map(self) -> ByteArray:
        """All bytes, mapped into memory copy-on-write and read when they are touched."""
        return np.asarray(np.memmap(self._file, dtype=np.uint8, mode="c"))

    def damaged(self, what: str) -> FormatError:
        """The error to raise about this file."""
        return FormatError(f"{self.name}: {what}")

    def _seek(self, offset: int, size: int) -> None:
        self._check(offset, size)
        self._file.seek(self._start + offset)

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.damaged(
                f"bytes {offset} to {offset + size} are asked for, but the file has {self.size} bytes; "
                "it is truncated or damaged"
            )


class MemorySource(Source):
    """Bytes in memory; those of a NumPy array are lent by `read_array`, all others copied."""

    def __init__(self, buffer: bytes | bytearray | memoryview | ByteArray, name: str) -> None:
        self.name = name
        self.size = len(buffer)
        self._buffer = buffer

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from ``offset`` to ``offset + size``."""
        self._check(offset, size)
        return bytes(self._buffer[offset : offset + size])

    def read_array(self, offset: int, size: int) -> ByteArray:
        """The same as a writable array of uint8."""
        self._check(offset, size)
        if isinstance(self._buffer, np.ndarray):
            return self._buffer[offset : offset + size]
        return np.frombuffer(self._buffer, np.uint8, size, offset).copy()


@contextmanager
def open_source(source: ByteSource, *, path_only: bool = False) -> Iterator[Source]:
    """Open ``source`` for reading; a file object is read from its current position and stays open.

    Raises:
        ValueError: ``path_only`` (the caller wants to map a file into memory) and ``source`` is no path.
        TypeError: ``source`` is none of a path, bytes or a binary file.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield Source(file, os.fspath(source))
    elif path_only:
        raise ValueError(f"mmap=True needs a path to a file, got {type(source).__name__}")
    elif isinstance(source, (bytes, bytearray, memoryview, np.ndarray)):
        yield MemorySource(source, "<bytes>")
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", f"<{type(source).__name__}>"))
        if not (hasattr(source, "seekable") and source.seekable()):
            content = source.read()
            if not isinstance(content, bytes):
                raise TypeError(f"{name} must be opened in binary mode ('rb')")
            yield MemorySource(content, name)
            return
        if not isinstance(source.read(0), (bytes, bytearray)):
            raise TypeError(f"{name} must be opened in binary mode ('rb')")
        yield Source(source, name)
    else:
        raise TypeError(f"expected a path, bytes or a binary file to read from, got {type(source).__name__}")
