"""Transforms of a batch of waveforms (N, C, T); see `torchlite.vision.transforms` for what every transform does."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from torchlite.audio.durations import seconds
from torchlite.vision.transforms import uniforms

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class LogMel:
    """The logarithm of the energy in frequency bands that are as wide as ears hear them, frame by frame.

    Frames of `n_fft` samples, `hop` apart, under a Hann window; powers of their Fourier transform, summed under `mels`
    triangles on the mel scale m = 2595 log10(1 + f / 700); log(energy + 1e-6). `sample_rate` is that of the data.

    Shape: (C, T) of floats to (C, mels, 1 + (T - n_fft) // hop).
    """

    inferred: ClassVar[tuple[str, ...]] = ("sample_rate",)

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
    """Moves each waveform by up to `most`, samples or a text such as ``0.1 s``, to either side, round its ends."""

    inferred: ClassVar[tuple[str, ...]] = ("sample_rate",)

    def __init__(self, most: int | str, sample_rate: int | None = None) -> None:
        if isinstance(most, str):
            if sample_rate is None:
                raise ValueError(f"TimeShift: {most!r} needs a sample_rate; or give a number of samples")
            most = round(seconds(most) * sample_rate)
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


class AddNoise:
    """Adds white noise to each waveform, so much that signal and noise differ by a random number of decibels in `snr_db`."""

    def __init__(self, snr_db: tuple[float, float]) -> None:
        self.least, self.most = snr_db
        if self.least > self.most:
            raise ValueError(f"AddNoise: snr_db must be two numbers, the smaller one first, got {list(snr_db)}")

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The noisy batch."""
        self.infer(batch.shape[1:], str(batch.dtype))
        decibels = self.least + (self.most - self.least) * uniforms(keys, 1)[:, 0]
        noise = np.empty_like(batch)
        for row, key in zip(noise, keys, strict=True):
            row[...] = np.random.Generator(np.random.Philox(int(key))).standard_normal(row.shape, np.float32)
        power = np.square(batch).mean((1, 2)) / 10 ** (decibels / 10)
        return batch + noise * np.sqrt(power).astype(batch.dtype)[:, None, None]

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        if len(shape) != 2:
            raise ValueError(f"AddNoise: needs waveforms (C, T), got {shape}")
        if not dtype.startswith("float"):
            raise ValueError(f"AddNoise: needs floats, got {dtype}; put to_float before it")
        return shape, dtype

    def __repr__(self) -> str:
        return f"AddNoise(snr_db=({self.least}, {self.most}))"


class SpecAugment:
    """Replaces a random stretch of up to `freq` bands and one of up to `time` frames by the mean of the sample.

    Source: D. S. Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", 2019.
    """

    def __init__(self, freq: int = 8, time: int = 20) -> None:
        if min(freq, time) < 0:
            raise ValueError(f"SpecAugment: freq and time must not be negative, got {freq} and {time}")
        self.freq, self.time = freq, time

    def __call__(self, batch: Array, keys: Array) -> Array:
        """A copy of the batch with the stretches covered."""
        self.infer(batch.shape[1:], str(batch.dtype))
        random = uniforms(keys, 4)
        bands = _stretches(random[:, :2], self.freq, batch.shape[2])
        frames = _stretches(random[:, 2:], self.time, batch.shape[3])
        covered = (bands[:, :, None] | frames[:, None, :])[:, None]  # (N, 1, bands, frames)
        return np.where(covered, batch.mean((1, 2, 3), keepdims=True), batch)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        if len(shape) != 3:
            raise ValueError(f"SpecAugment: needs spectrograms (C, bands, frames), got {shape}; put log_mel before it")
        return shape, dtype

    def __repr__(self) -> str:
        return f"SpecAugment(freq={self.freq}, time={self.time})"


def _stretches(random: Array, most: int, length: int) -> Array:
    """For each of N pairs of uniform numbers a stretch of up to ``most`` places among ``length``: (N, length) of bool."""
    sizes = (random[:, 0] * (min(most, length) + 1)).astype(np.intp)
    first = (random[:, 1] * (length - sizes + 1)).astype(np.intp)
    places = np.arange(length)
    return (places >= first[:, None]) & (places < (first + sizes)[:, None])


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


TRANSFORMS: Mapping[str, type] = {
    "log_mel": LogMel,
    "time_shift": TimeShift,
    "add_noise": AddNoise,
    "spec_augment": SpecAugment,
}
