"""Image files as arrays (channels, height, width) of bytes.

Pillow reads all of them but some: PNG, PGM and PPM files that already have the size and the channels that are wanted are read
here, so that examples need nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from torchlite.errors import DataError, DeviceError
from torchlite.vision.png import SIGNATURE, decode_png, png_header

Array = np.ndarray[Any, Any]
Fit = Literal["crop", "stretch", "exact"]

_NETPBM = re.compile(rb"P(?P<kind>[56])(?:\s+(?:#[^\n]*\n\s*)*)(?P<width>\d+)\s+(?P<height>\d+)\s+(?P<top>\d+)\s")
_MOST_HEADER, _LEAST_PNG = 1024, 26


def image_size(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone.

    Raises:
        DataError: when the file is no image. DeviceError: without Pillow, where it needs that.
    """
    head = _netpbm_header(path)
    if head is not None:
        return int(head["height"]), int(head["width"])
    if path.suffix.lower() == ".png" and (known := _png_header(path)) is not None:
        return known[:2]
    with _opened(path) as image:
        return image.height, image.width


def read_image(path: Path, size: tuple[int, int], channels: int, fit: Fit = "crop") -> Array:
    """The image, grey (1 channel) or in colours (3), of ``size`` (height, width).

    One of another size is scaled so that it covers ``size`` and loses what stands over (crop), or scaled in both directions
    (stretch), or refused (exact). One that a camera has turned is turned back.

    Shape: (channels, height, width) of uint8.

    Raises:
        DataError: when the file is no image, or must not be scaled. DeviceError: without Pillow, where it needs that.
    """
    head = _netpbm_header(path)
    if head is not None:
        plain = int(head["kind"]) == (5 if channels == 1 else 6) and int(head["top"]) == 255
        if plain and (int(head["height"]), int(head["width"])) == size:
            return _netpbm_pixels(path, head.end(), size, channels)
    if path.suffix.lower() == ".png" and _png_header(path) == (*size, channels):
        return _or_data_error(path, lambda: decode_png(path.read_bytes()))
    with _opened(path) as image:
        if fit == "exact" and (image.height, image.width) != size:
            raise DataError(f"'{path}' has {image.height}x{image.width} pixels, not {size[0]}x{size[1]}")
        return _decoded(path, image, size, channels, fit)


def _png_header(path: Path) -> tuple[int, int, int] | None:
    """Height, width and channels of a PNG file; None where it is something else."""
    head = _beginning(path)
    return png_header(head) if head.startswith(SIGNATURE) and len(head) >= _LEAST_PNG else None


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_HEADER)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from None


def _netpbm_header(path: Path) -> re.Match[bytes] | None:
    if path.suffix.lower() not in (".pgm", ".ppm"):
        return None
    return _NETPBM.match(_beginning(path))


def _netpbm_pixels(path: Path, start: int, size: tuple[int, int], channels: int) -> Array:
    pixels = np.frombuffer(path.read_bytes(), np.uint8, offset=start)
    count = size[0] * size[1] * channels
    if len(pixels) < count:
        raise DataError(f"'{path}' is cut off: it holds {len(pixels)} of {count} bytes")
    return np.ascontiguousarray(pixels[:count].reshape(*size, channels).transpose(2, 0, 1))


def _opened(path: Path) -> Any:
    try:
        pillow: Any = import_module("PIL.Image")
    except ImportError:
        raise DeviceError(
            f"reading '{path.name}' needs Pillow: pip install 'torchlite[images]' (PNG, PGM and PPM files of the right size do not)"
        ) from None
    return _or_data_error(path, lambda: pillow.open(path))


def _decoded(path: Path, image: Any, size: tuple[int, int], channels: int, fit: Fit) -> Array:
    bilinear, operations = import_module("PIL.Image").Resampling.BILINEAR, import_module("PIL.ImageOps")

    def decode() -> Any:
        upright = operations.exif_transpose(image).convert("L" if channels == 1 else "RGB")
        width_first = (size[1], size[0])
        if upright.size == width_first:
            return upright
        if fit == "stretch":
            return upright.resize(width_first, bilinear)
        return operations.fit(upright, width_first, bilinear)

    pixels = np.asarray(_or_data_error(path, decode)).reshape(*size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _or_data_error(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'") from None
    except Exception as error:  # decoders raise whatever a damaged file brings them to
        raise DataError(f"'{path}' is no image that can be read: {error}") from None
