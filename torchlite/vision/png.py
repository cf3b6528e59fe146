"""PNG files, read and written by themselves."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_PIXELS = 1 << 28


def decode_png(content: bytes) -> Array:
    """The image in a PNG file as bytes (C, H, W): one channel of grey, or red, green and blue; transparency is left out.

    Raises:
        ValueError: for a file that is damaged or interlaced.
    """
    try:
        return _decoded(content)
    except (IndexError, KeyError, struct.error, zlib.error) as error:
        raise ValueError(f"it is damaged: {error}") from None


def png_header(content: bytes) -> tuple[int, int, int]:
    """Height, width and channels (1 or 3) that the beginning of a PNG file says."""
    width, height, _, kind = struct.unpack_from(">IIBB", content, 16)
    return height, width, 1 if kind in (0, 4) else 3


def _decoded(content: bytes) -> Array:
    chunks: dict[bytes, bytes] = {}
    place = len(SIGNATURE)
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
        if checksum != zlib.crc32(name + data):
            raise ValueError(f"the checksum of its part {name!r} is wrong")
        chunks[name] = chunks.get(name, b"") + data
        place += 12 + length
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = _CHANNELS[kind]
    if interlaced or depth not in (1, 2, 4, 8, 16) or not 0 < width * height <= _MOST_PIXELS:
        raise ValueError("it is interlaced, or of a depth or size that is not supported")
    bits = depth * channels
    row_bytes = (width * bits + 7) // 8
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(chunks[b"IDAT"], height * (row_bytes + 1))
    lines = np.frombuffer(data, np.uint8).reshape(height, row_bytes + 1)
    rows = _unfiltered(lines[:, 0], lines[:, 1:], max(bits // 8, 1))
    pixels = _samples(rows, depth, width * channels).reshape(height, width, channels)
    if kind == 3:
        palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        pixels = palette[pixels[:, :, 0]]
    elif depth < 8:
        pixels = (pixels.astype(np.uint16) * 255 // ((1 << depth) - 1)).astype(np.uint8)
    kept = pixels[:, :, : 3 if pixels.shape[2] >= 3 else 1]
    return np.ascontiguousarray(kept.transpose(2, 0, 1))


def _samples(rows: Array, depth: int, count: int) -> Array:
    """The numbers of each row, of which the upper byte is taken where they have two."""
    if depth == 16:
        return rows[:, ::2]
    if depth == 8:
        return rows
    bits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, depth)
    return (bits @ (1 << np.arange(depth)[::-1])).astype(np.uint8)[:, :count]


def _unfiltered(filters: Array, lines: Array, step: int) -> Array:
    """Rows of bytes from their differences to what is to the left and above (PNG, section 9)."""
    out = np.zeros((len(lines) + 1, lines.shape[1]), np.uint8)
    for y, (kind, line) in enumerate(zip(filters, lines, strict=True), 1):
        if kind == 0:
            out[y] = line
        elif kind == 1:
            for offset in range(step):
                out[y, offset::step] = np.cumsum(line[offset::step], dtype=np.uint8)
        elif kind == 2:
            out[y] = line + out[y - 1]
        else:
            _unfilter_sequentially(int(kind), line.tolist(), out[y - 1].tolist(), step, out[y])
    return out[1:]


def _unfilter_sequentially(kind: int, line: list[int], above: list[int], step: int, out: Array) -> None:
    if kind not in (3, 4):
        raise ValueError(f"a row has the filter {kind}, which there is not")
    row = [0] * step + line
    corner = [0] * step + above
    for i in range(len(line)):
        left, up, diagonal = row[i], above[i], corner[i]
        if kind == 3:
            expected = (left + up) >> 1
        else:
            near = left + up - diagonal
            distances = abs(near - left), abs(near - up), abs(near - diagonal)
            expected = (left, up, diagonal)[distances.index(min(distances))]
        row[i + step] = (line[i] + expected) & 255
    out[:] = row[step:]


def encode_png(image: Array) -> bytes:
    """Bytes (H, W, 1 or 3) as a PNG file."""
    height, width, channels = image.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)  # filter 0 each
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")
