"""NumPy's ``.npz`` archives of named arrays, read without pickle and written deterministically."""

import io
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from torchlite.errors import FormatError
from torchlite.serialization.atomic import write_file
from torchlite.serialization.dtypes import Array
from torchlite.serialization.limits import DEFAULT_LIMITS, Limits
from torchlite.serialization.source import ByteSource, open_source
from torchlite.serialization.zip_archive import ZipArchive, zip_chunks

_REGISTERED_BY_OTHERS = 2  # numpy.dtype.isbuiltin of bfloat16 and float8
_SUFFIX = ".npy"
_KINDS = "biufcSU"
_LONGEST_HEADER = 10_000
_MOST_DIMENSIONS = 64


def read_npz(source: ByteSource, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Array]:
    """The arrays of a file that ``numpy.savez`` or ``numpy.savez_compressed`` wrote, by name.

    Numbers, bools and fixed-length strings are read; arrays of objects, which need unpickling, are refused.

    Raises:
        FormatError: the file is damaged, hostile or holds other arrays.
    """
    with open_source(source) as opened:
        archive = ZipArchive(opened, limits)
        arrays = {}
        for name, member in archive.members.items():
            if not name.endswith(_SUFFIX):
                raise opened.damaged(f"{name} is not a {_SUFFIX} member")
            try:
                arrays[name.removesuffix(_SUFFIX)] = read_npy(archive.read(member))
            except FormatError as error:
                raise opened.damaged(f"{name}: {error}") from None
        return arrays


def read_npy(data: bytes) -> Array:
    """The array in the bytes of a ``.npy`` file, in native byte order and writable.

    Raises:
        FormatError: the bytes are not exactly a header and the values it announces.
    """
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise FormatError(f"version {version} of the .npy format is not read")
        read_array_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read_array_header(stream, max_header_size=_LONGEST_HEADER)
    except FormatError:
        raise
    except Exception as error:  # NumPy's parser of the header documents no complete list
        raise FormatError(f"damaged .npy header: {str(error)[:200]}") from None
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise FormatError(f"arrays of dtype {dtype} are not read; expected numbers, bools or strings")
    if len(shape) > _MOST_DIMENSIONS or any(type(length) is not int or length < 0 for length in shape):
        raise FormatError(f"an array cannot have the shape {str(shape)[:200]}")
    if math.prod(length for length in shape if length) * dtype.itemsize >= 1 << 62:
        raise FormatError(f"an array cannot have the shape {str(shape)[:200]}")
    size = math.prod(shape) * dtype.itemsize
    begin = stream.tell()
    if len(data) - begin != size:
        raise FormatError(f"{size} bytes of values are announced, {len(data) - begin} are there")
    if dtype.kind == "b" and size and max(data[begin:]) > 1:
        raise FormatError("an array of bools has other bytes than 0 and 1")
    if dtype.kind == "U" and size and int(np.frombuffer(data, dtype.str[0] + "u4", offset=begin).max()) > 0x10FFFF:
        raise FormatError("a string has characters that do not exist")
    values = np.frombuffer(data, dtype, offset=begin).reshape(shape, order="F" if fortran_order else "C")
    return values.astype(dtype.newbyteorder("="), order="K", copy=True)


def write_npz(target: str | os.PathLike[str] | BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write arrays as ``numpy.load(..., allow_pickle=False)`` reads them.

    A path is replaced in one durable step. The same arrays give the same bytes, whenever they are written.

    Raises:
        TypeError: a name that is no string, or a dtype that ``.npz`` cannot hold (bfloat16, float8, objects).
        ValueError: a name is not a plain relative path.
        OSError: the write failed; an old file is as it was.
    """
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"{name!r} cannot be the name of an array")
        if (
            array.dtype.kind not in _KINDS
            or array.dtype.itemsize == 0
            or array.dtype.isbuiltin == _REGISTERED_BY_OTHERS
        ):
            raise TypeError(f"array {name!r} is of dtype {array.dtype}, which .npz cannot hold; use safetensors or .pt")
    chunks = zip_chunks(_members(arrays), alignment=64)
    if isinstance(target, (str, os.PathLike)):
        write_file(target, chunks)
    else:
        for chunk in chunks:
            target.write(chunk)


def _members(arrays: Mapping[str, Array]) -> Iterator[tuple[str, Any]]:
    for name, array in arrays.items():
        buffer = io.BytesIO()
        npy.write_array(buffer, array, version=(1, 0), allow_pickle=False)
        yield name + _SUFFIX, buffer.getbuffer()
