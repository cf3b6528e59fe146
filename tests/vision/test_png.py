"""PNG files: every filter, depth and kind, and what is damaged."""

import struct
import zlib

import numpy as np
import pytest

from torchlite.errors import DataError
from torchlite.vision.images import image_size, read_image
from torchlite.vision.png import decode_png, encode_png, png_header

rng = np.random.default_rng(0)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(rows, width, depth, kind, *more, interlaced=0):
    header = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def filtered(pixels, step):
    """Rows (H, W · step) of bytes with the filters 0 to 4 in turns, as section 9 of the standard defines them."""
    rows, above = [], np.zeros(pixels.shape[1], np.int64)
    for y, row in enumerate(pixels.astype(np.int64)):
        left = np.concatenate([np.zeros(step, np.int64), row[:-step]])
        corner = np.concatenate([np.zeros(step, np.int64), above[:-step]])
        near = left + above - corner
        a, b, c = abs(near - left), abs(near - above), abs(near - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))
        expected = (np.zeros_like(row), left, above, (left + above) // 2, paeth)[y % 5]
        rows.append(bytes([y % 5]) + ((row - expected) % 256).astype(np.uint8).tobytes())
        above = row
    return rows


@pytest.mark.parametrize(("kind", "channels", "kept"), [(0, 1, 1), (2, 3, 3), (4, 2, 1), (6, 4, 3)])
def test_filters_and_channels(kind, channels, kept):
    pixels = rng.integers(0, 256, (11, 7, channels)).astype(np.uint8)
    content = png_of(filtered(pixels.reshape(11, -1), channels), 7, 8, kind)
    assert png_header(content) == (11, 7, kept)
    np.testing.assert_array_equal(decode_png(content), pixels[:, :, :kept].transpose(2, 0, 1))


def test_depths_and_palettes():
    assert decode_png(png_of([b"\0\xb0"], 4, 1, 0)).tolist() == [[[255, 0, 255, 255]]]
    assert decode_png(png_of([b"\0\x1b\x40"], 5, 2, 0)).tolist() == [[[0, 85, 170, 255, 85]]]
    assert decode_png(png_of([b"\0\x12\x34\xff\x00"], 2, 16, 0)).tolist() == [[[0x12, 0xFF]]]
    assert decode_png(png_of([b"\0\x10"], 2, 4, 3, chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])))).tolist() == [
        [[4, 1]],
        [[5, 2]],
        [[6, 3]],
    ]


def test_images_of_the_right_size_need_no_pillow(tmp_path):
    image = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(image))
    assert image_size(tmp_path / "a.png") == (5, 6)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (5, 6), 3), image.transpose(2, 0, 1))


WHOLE = encode_png(np.zeros((4, 4, 1), np.uint8))


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n",
        WHOLE[:-30],
        WHOLE.replace(b"IDAT", b"IDAU"),
        png_of([b"\x07\0"], 1, 8, 0),
        png_of([b"\0\0"], 1, 8, 0, interlaced=1),
        png_of([b"\0\0"], 1, 8, 5),
        png_of([b"\0"], 1, 8, 0),
    ],
)
def test_damaged_files(content):
    with pytest.raises(ValueError, match=r".+"):
        decode_png(content)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(WHOLE[:-30])
    with pytest.raises(DataError, match=r"a\.png' is no image"):
        read_image(tmp_path / "a.png", (4, 4), 1)
