"""WAV files as arrays, by the `wave` module of the standard library."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchlite.errors import DataError

Array = np.ndarray[Any, Any]


class WavHeader(NamedTuple):
    """What a WAV file says of itself: samples a second, channels, bytes a sample, and how many samples each channel has."""

    sample_rate: int
    channels: int
    width: int
    length: int


def wav_header(path: Path) -> WavHeader:
    """The header of a WAV file.

    Raises:
        DataError: when the file is no WAV file of whole numbers.
    """
    with _opened(path) as file:
        return WavHeader(file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes())


def read_wav(path: Path, most: int | None = None) -> Array:
    """The first ``most`` samples, or all; of several channels the mean.

    Shape: (T,) of int16, whatever width the file's samples have.

    Raises:
        DataError: when the file is no WAV file of whole numbers.
    """
    with _opened(path) as file:
        width, channels = file.getsampwidth(), file.getnchannels()
        count = file.getnframes() if most is None else min(most, file.getnframes())
        samples = _as_int16(file.readframes(count), width, path)
    frames = samples[: len(samples) // channels * channels].reshape(-1, channels)
    return frames[:, 0].copy() if channels == 1 else np.rint(frames.mean(1)).astype(np.int16)


def _as_int16(content: bytes, width: int, path: Path) -> Array:
    content = content[: len(content) // width * width]
    if width == 1:  # unsigned, as the format has it
        return (np.frombuffer(content, np.uint8).astype(np.int16) - 128) << 8
    if width not in (2, 3, 4):
        raise DataError(f"'{path}' has samples of {width} bytes, expected 1 to 4")
    # Little-endian: the two bytes that count most stand last.
    return np.frombuffer(content, np.uint8).reshape(-1, width)[:, -2:].copy().view("<i2")[:, 0].astype(np.int16)


def _opened(path: Path) -> wave.Wave_read:
    try:
        return wave.open(str(path), "rb")
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'") from None
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"'{path}' is no WAV file of whole numbers: {error or 'it is cut off'}") from None
