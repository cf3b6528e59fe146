"""safetensors files: a JSON header of names, dtypes, shapes and offsets, then the bytes of all tensors.

Format: https://github.com/huggingface/safetensors#format. The header is checked as strictly as by the
reference implementation: offsets must cover the whole buffer without gap or overlap, in any order of names.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from torchlite.errors import FormatError
from torchlite.serialization.atomic import write_file
from torchlite.serialization.dtypes import DTYPES, SAFETENSORS, Array, has_invalid_bools, little_endian
from torchlite.serialization.limits import DEFAULT_LIMITS, Limits
from torchlite.serialization.source import ByteSource, Source, open_source

_CODES = {dtype: code for code, dtype in SAFETENSORS.items()}
_METADATA = "__metadata__"
_MOST_DIMENSIONS = 64


def read_safetensors(
    source: ByteSource, *, mmap: bool = False, limits: Limits = DEFAULT_LIMITS
) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a file by name, in the order of its header, and its metadata.

    Args:
        source: a path, bytes or a binary file.
        mmap: map a file into memory (copy-on-write) in place of reading it; it must not shrink meanwhile.
        limits: budgets; see `Limits`.

    Raises:
        FormatError: the file is damaged or hostile. (The format has no checksum of the values.)
        ValueError: ``mmap`` is asked for something that is not a path.
    """
    with open_source(source, path_only=mmap) as opened:
        entries, metadata, begin = read_header(opened, limits)
        if mmap:
            content: Array = opened.map()[begin:]
        else:
            content = opened.read_array(begin, opened.size - begin)
        arrays = {}
        for name, (dtype, shape, offset, size) in entries.items():
            if content[offset:].ctypes.data % dtype.itemsize:
                array = content[offset : offset + size].copy().view(dtype).reshape(shape)
            else:
                array = content[offset : offset + size].view(dtype).reshape(shape)
            if has_invalid_bools(array):
                raise opened.damaged(f"tensor {name!r} is of bools but has other bytes than 0 and 1")
            arrays[name] = array
        return arrays, metadata


def write_safetensors(
    target: str | os.PathLike[str] | BinaryIO,
    arrays: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays by name; a path is replaced in one durable step. The same arrays give the same bytes.

    Raises:
        TypeError: a dtype that the format does not have, or metadata that is not of strings.
        OSError: the write failed; an old file is as it was.
    """
    chunks = safetensors_chunks(arrays, metadata)
    if isinstance(target, (str, os.PathLike)):
        write_file(target, chunks)
    else:
        for chunk in chunks:
            target.write(chunk)


def safetensors_chunks(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> Iterator[Any]:
    """The bytes of a file in pieces: its header, then each array in turn (aligned to its items).

    Raises:
        TypeError: a dtype that the format does not have, or metadata that is not of strings.
    """
    header: dict[str, Any] = {}
    if metadata:
        if not all(isinstance(part, str) for item in metadata.items() for part in item):
            raise TypeError("safetensors metadata must map strings to strings")
        header[_METADATA] = dict(sorted(metadata.items()))
    for name, array in arrays.items():
        if not isinstance(name, str) or name == _METADATA:
            raise TypeError(f"{name!r} cannot be the name of a tensor in a safetensors file")
        if array.dtype.name not in _CODES:
            raise TypeError(
                f"tensor {name!r} is of dtype {array.dtype}, which safetensors does not have; "
                f"expected one of {', '.join(_CODES)}"
            )
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    offset = 0
    for name in names:
        array = arrays[name]
        end = offset + array.nbytes
        code = _CODES[array.dtype.name]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return _chunks(len(text).to_bytes(8, "little") + text, [arrays[name] for name in names])


def array_bytes(array: Array) -> Array:
    """The little-endian bytes of an array in C order, as a flat array of uint8 (a view where possible)."""
    return np.ascontiguousarray(little_endian(array)).reshape(-1).view(np.uint8)


def read_header(
    source: Source, limits: Limits = DEFAULT_LIMITS
) -> tuple[dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]], dict[str, str], int]:
    """The header alone: ``{name: (dtype, shape, offset, size)}``, the metadata and where the buffer begins.

    Raises:
        FormatError: the header does not describe the file exactly.
    """
    if source.size < 8:
        raise source.damaged(f"not a safetensors file: it has {source.size} bytes")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > min(limits.header_bytes, source.size - 8):
        raise source.damaged(
            f"not a safetensors file: the header should have {length} bytes, the file has {source.size} "
            f"and the limit is {limits.header_bytes}"
        )
    header = _parse_header(source, source.read(8, length))
    metadata = header.pop(_METADATA, {})
    if type(metadata) is not dict or not all(type(text) is str for text in metadata.values()):
        raise source.damaged("its metadata is not a map of strings")
    entries = {name: _checked_entry(source, name, entry) for name, entry in header.items()}
    reached = 0
    for name, (_, _, offset, size) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if offset != reached:
            raise source.damaged(f"tensor {name!r} begins at byte {offset} of the buffer, expected {reached}")
        reached += size
    if 8 + length + reached != source.size:
        raise source.damaged(
            f"its header describes {8 + length + reached} bytes, but the file has {source.size}: "
            "truncated, or bytes were added"
        )
    return entries, metadata, 8 + length


def _chunks(header: bytes, arrays: list[Array]) -> Iterator[Any]:
    yield header
    for array in arrays:
        yield array_bytes(array)


def _parse_header(source: Source, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise FormatError("a name occurs twice")
        return result

    def refuse(token: str) -> Any:
        raise FormatError(f"{token} is not a number")

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise source.damaged(f"the safetensors header is not valid JSON: {error}") from None
    if type(header) is not dict or not text.startswith(b"{"):
        raise source.damaged("the safetensors header is not a JSON object")
    return header


def _checked_entry(source: Source, name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    match entry:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [begin, end], **rest} if not rest:
            if code not in SAFETENSORS:
                raise source.damaged(
                    f"tensor {name!r} is of dtype {code[:32]!r}, expected one of {', '.join(SAFETENSORS)}"
                )
            dtype = DTYPES[SAFETENSORS[code]]
            numbers = [*shape, begin, end]
            if len(shape) <= _MOST_DIMENSIONS and all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
                # NumPy multiplies the lengths that are not zero even when the array is empty.
                fits = math.prod(length for length in shape if length) * dtype.itemsize < 1 << 62
                if fits and math.prod(shape) * dtype.itemsize == end - begin:
                    return dtype, tuple(shape), begin, end - begin
    raise source.damaged(f"the header entry of tensor {name!r} is damaged: {str(entry)[:200]}")
