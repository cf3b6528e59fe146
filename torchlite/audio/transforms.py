"""Transforms of a batch of waveforms (N, C, T); see `torchlite.vision.transforms` for what every transform does."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class LogMel:
    """The logarithm of the energy in frequency bands that are as wide as ears hear them, frame by frame.

    Frames of `n_fft` samples, `hop` apart, under a Hann window; powers of their Fourier transform, summed under `mels`
    triangles on the mel scale m = 2595 log10(1 + f / 700); log(energy + 1e-6).

    Shape: (C, T) of floats to (C, mels, 1 + (T - n_fft) // hop).
    """

    def __init__(self, sample_rate: int, n_fft: int = 256, hop: int = 128, mels: int = 32) -> None:
        if min(sample_rate, n_fft, hop, mels) < 1:
            raise ValueError("LogMel: sample_rate, n_fft, hop and mels must be at least 1")
        self.sample_rate, self.n_fft, self.hop, self.mels = sample_rate, n_fft, hop, mels

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The bands of every frame, as float32."""
        del keys
        self.infer(batch.shape[1:], str(batch.dtype))
        frames = np.lib.stride_tricks.sliding_window_view(batch, self.n_fft, axis=-1)[..., :: self.hop, :]
        window = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        power = np.square(np.abs(np.fft.rfft(frames * window, axis=-1)))  # (N, C, frames, n_fft / 2 + 1)
        energy = power @ triangles(self.sample_rate, self.n_fft, self.mels)
        return np.log(energy + 1e-6).swapaxes(-1, -2).astype(np.float32)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The shape of the bands, float32."""
        if len(shape) != 2 or shape[1] < self.n_fft:
            raise ValueError(f"LogMel: needs waveforms (C, T) of at least {self.n_fft} samples, got {shape}")
        if not dtype.startswith("float"):
            raise ValueError(f"LogMel: needs floats, got {dtype}; put to_float before it")
        return (shape[0], self.mels, 1 + (shape[1] - self.n_fft) // self.hop), "float32"

    def __repr__(self) -> str:
        return f"LogMel({self.sample_rate}, n_fft={self.n_fft}, hop={self.hop}, mels={self.mels})"


class TimeShift:
    """Moves each waveform by up to `most` samples to either side, round its ends."""

    def __init__(self, most: int) -> None:
        if most < 0:
            raise ValueError(f"TimeShift: most must not be negative, got {most}")
        self.most = most

    def __call__(self, batch: Array, keys: Array) -> Array:
        """A copy of the batch, each waveform moved as its key says."""
        length = batch.shape[-1]
        shifts = (keys % np.uint64(2 * self.most + 1)).astype(np.int64) - self.most
        places = (np.arange(length) - shifts[:, None]) % length  # (N, T)
        return np.take_along_axis(batch, np.broadcast_to(places[:, None], batch.shape), axis=-1)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        if len(shape) != 2:
            raise ValueError(f"TimeShift: needs waveforms (C, T), got {shape}")
        return shape, dtype

    def __repr__(self) -> str:
        return f"TimeShift({self.most})"


def triangles(sample_rate: int, n_fft: int, mels: int) -> Array:
    """The weights (n_fft / 2 + 1, mels) that sum powers into bands, from 0 to half the sample rate.

    >>> triangles(8000, 256, 32).shape
    (129, 32)
    """
    frequencies = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + sample_rate / 1400), mels + 2) / 2595) - 1)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


TRANSFORMS: Mapping[str, type] = {"log_mel": LogMel, "time_shift": TimeShift}
