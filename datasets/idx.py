"""The IDX format of MNIST and its successors.

A file is: two zero bytes, a dtype code, the number of dimensions, each dimension as a big-endian uint32, then
the values, big-endian, last dimension fastest. Source: the description on MNIST's homepage.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from torchlite.errors import FormatError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 8
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, max_bytes: int = 1 << 30) -> np.ndarray[Any, Any]:
    """The array in an IDX file, gzip-compressed or not, in the machine's byte order.

    Reads no more than the header announces, and that only where it is at most `max_bytes`.

    Raises:
        FormatError: the file is not a well-formed IDX file, or holds more than `max_bytes` of values.
    """
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        try:
            if packed:
                with gzip.open(file) as stream:
                    return _parse(stream, max_bytes)
            return _parse(file, max_bytes)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FormatError(f"{path}: damaged gzip data ({error})") from error


def parse_idx(content: bytes, *, max_bytes: int = 1 << 30) -> np.ndarray[Any, Any]:
    """The array in the bytes of an uncompressed IDX file.

    Raises:
        FormatError: as `read_idx`.

    >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 5, 7]))
    array([[5, 7]], dtype=uint8)
    """
    return _parse(io.BytesIO(content), max_bytes)


def _parse(stream: BinaryIO | gzip.GzipFile, max_bytes: int) -> np.ndarray[Any, Any]:
    header = stream.read(4)
    if len(header) < 4 or header[:2] != b"\0\0":
        raise FormatError(f"an IDX file starts with two zero bytes and two of type, got {header.hex(' ')!r}")
    code, ndim = header[2:]
    if code not in _DTYPES:
        known = ", ".join(f"0x{known:02x}" for known in _DTYPES)
        raise FormatError(f"unknown IDX dtype code 0x{code:02x} (known: {known})")
    if not 1 <= ndim <= _MAX_NDIM:
        raise FormatError(f"an IDX array has 1 to {_MAX_NDIM} dimensions here, the header says {ndim}")
    sizes = stream.read(4 * ndim)
    if len(sizes) != 4 * ndim:
        raise FormatError(f"the file ends inside the {ndim} dimensions of its header")
    shape = struct.unpack(f">{ndim}I", sizes)

    dtype = np.dtype(_DTYPES[code])
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes > max_bytes:
        raise FormatError(f"the header says {shape}, {size_bytes} bytes, more than the {max_bytes} allowed")
    content = stream.read(size_bytes)
    if len(content) != size_bytes:
        raise FormatError(f"the header says {shape}, {size_bytes} bytes, but {len(content)} bytes follow")
    if stream.read(1):
        raise FormatError(f"more bytes follow than the {size_bytes} that the header says, {shape}")
    # A copy where the byte order changes, else a read-only view of the bytes just read.
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
