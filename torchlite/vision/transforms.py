"""Transforms of a whole batch of images at once, whose randomness belongs to the sample and not to the batch.

Every transform is called with a batch, a NumPy array (N, C, H, W), and with one random word a sample,
`keys` (N,) of uint64; it returns a new array and leaves the batch as it is. `sample_keys` makes the words
from (seed, epoch, index of the sample), so that a sample is augmented in the same way whatever batch it is
in, whoever loads it, and however often training was interrupted. Deterministic transforms ignore the keys.

`infer` follows shape and dtype of one sample through a transform without data, for checks before training.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Transform(Protocol):
    """What every transform does."""

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The transformed batch; `keys` holds one uint64 word for each of its samples."""

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """Shape and dtype of a sample after this transform, from those before it.

        Raises:
            ValueError: the transform cannot be applied to such samples.
        """


class Compose:
    """Transforms in a row; each gets random words of its own, derived from the sample's and its position.

    >>> pipeline = Compose([ToFloat(scale=255), Normalize(0.5, 0.5)])
    >>> pipeline.infer((1, 28, 28), "uint8")
    ((1, 28, 28), 'float32')
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The batch after the last transform."""
        for position, transform in enumerate(self.transforms, start=1):
            batch = transform(batch, _mix(keys + _steps(position)))
        return batch

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """Shape and dtype after the last transform; see `Transform.infer`."""
        for transform in self.transforms:
            shape, dtype = transform.infer(shape, dtype)
        return shape, dtype

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class ToFloat:
    """x ↦ x / scale, as float32.

    `scale` is the largest value of the input, 255 for bytes, which maps it to 0..1.
    """

    def __init__(self, scale: float = 255.0) -> None:
        if not scale > 0:
            raise ValueError(f"ToFloat: scale must be positive, got {scale}")
        self.scale = scale

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The batch divided by `scale`, as float32."""
        del keys
        return np.divide(batch, np.float32(self.scale), dtype=np.float32)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape, float32."""
        del dtype
        return shape, "float32"

    def __repr__(self) -> str:
        return f"ToFloat(scale={self.scale})"


class ToInt64:
    """x as int64, as the tokens of an embedding are."""

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The batch as int64."""
        del keys
        return batch.astype(np.int64)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape, int64."""
        if dtype in _FLOATS:
            raise ValueError(f"ToInt64: needs whole numbers, got {dtype}")
        return shape, "int64"

    def __repr__(self) -> str:
        return "ToInt64()"


STATISTICS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Means and standard deviations of the channels of well-known training sets, of pixels from 0 to 1."""


class Normalize:
    """x ↦ (x - mean) / std, with one mean and std for all channels or one for each.

    The batch must hold floats; put `ToFloat` before it. A text in place of the mean names both, as models that were trained
    on such data expect them: imagenet or cifar10.
    """

    def __init__(
        self, mean: float | Sequence[float] | Literal["imagenet", "cifar10"], std: float | Sequence[float] | None = None
    ) -> None:
        if isinstance(mean, str) == (std is not None):
            raise ValueError("Normalize: give mean and std, or the name of a training set alone")
        if isinstance(mean, str):
            mean, std = STATISTICS[mean]
        assert std is not None
        self.mean, self.std = _per_channel(mean), _per_channel(std)
        if len(self.mean) != len(self.std):
            raise ValueError(f"Normalize: {len(self.mean)} means but {len(self.std)} stds")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"Normalize: every std must be positive, got {self.std}")

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The normalized batch, of the same dtype."""
        del keys
        self.infer(batch.shape[1:], str(batch.dtype))
        out: Array = batch - np.array(self.mean, batch.dtype).reshape(1, -1, 1, 1)
        out /= np.array(self.std, batch.dtype).reshape(1, -1, 1, 1)
        return out

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        channels, _, _ = _image("Normalize", shape)
        if dtype not in _FLOATS:
            raise ValueError(f"Normalize: needs floats, got {dtype}; put to_float before it")
        if len(self.mean) not in (1, channels):
            raise ValueError(f"Normalize: {len(self.mean)} means for images of {channels} channel(s)")
        return shape, dtype

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class HorizontalFlip:
    """Mirrors each image left to right with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"HorizontalFlip: p must lie in 0..1, got {p}")
        self.p = p

    def __call__(self, batch: Array, keys: Array) -> Array:
        """A copy of the batch with the chosen images mirrored."""
        chosen = uniforms(keys, 1)[:, 0] < self.p
        out = batch.copy()
        out[chosen] = batch[chosen][..., ::-1]
        return out

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        _image("HorizontalFlip", shape)
        return shape, dtype

    def __repr__(self) -> str:
        return f"HorizontalFlip(p={self.p})"


class RandomCrop:
    """A window of `size` (height and width, or one number for both) at a random place of each image.

    The image is first given a border of `padding` pixels of the value `fill`.
    """

    def __init__(self, size: int | Sequence[int], padding: int = 4, fill: float = 0) -> None:
        self.height, self.width = (size, size) if isinstance(size, int) else tuple(size)
        if min(self.height, self.width) < 1 or padding < 0:
            raise ValueError(f"RandomCrop: size must be positive, padding not negative, got {size}, {padding}")
        self.padding, self.fill = padding, fill

    def __call__(self, batch: Array, keys: Array) -> Array:
        """One window of each image: (N, C, height, width)."""
        self.infer(batch.shape[1:], str(batch.dtype))
        border = (self.padding, self.padding)
        padded = np.pad(batch, ((0, 0), (0, 0), border, border), constant_values=self.fill)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (self.height, self.width), axis=(2, 3))
        places = windows.shape[2:4]  # windows: (N, C, rows of places, columns of places, height, width)
        top, left = (uniforms(keys, 2) * places).astype(np.intp).T
        return np.ascontiguousarray(windows[np.arange(len(batch)), :, top, left])  # (N, C, height, width)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """(C, *size) and the same dtype."""
        channels, height, width = _image("RandomCrop", shape)
        if self.height > height + 2 * self.padding or self.width > width + 2 * self.padding:
            raise ValueError(
                f"RandomCrop: a window of {self.height}x{self.width} does not fit into images of "
                f"{height}x{width} with a padding of {self.padding}"
            )
        return (channels, self.height, self.width), dtype

    def __repr__(self) -> str:
        return f"RandomCrop(size=({self.height}, {self.width}), padding={self.padding}, fill={self.fill})"


class ColorJitter:
    """Changes brightness, contrast and saturation of each image by random factors from 1 - a to 1 + a, for each its own a.

    Bytes stay from 0 to 255, floats from 0 to 1, so it stands before `Normalize`. Greys are 0.299 R + 0.587 G + 0.114 B.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        self.amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        if not all(0 <= amount <= 1 for amount in self.amounts.values()):
            raise ValueError(f"ColorJitter: amounts must lie in 0..1, got {self.amounts}")

    def __call__(self, batch: Array, keys: Array) -> Array:
        """The batch in other colours."""
        self.infer(batch.shape[1:], str(batch.dtype))
        spread = 2 * uniforms(keys, 3) - 1  # (N, 3)
        brightness, contrast, saturation = (
            (1 + amount * spread[:, place]).astype(np.float32)[:, None, None, None]
            for place, amount in enumerate(self.amounts.values())
        )
        out: Array = batch.astype(np.float32) * brightness
        mean = _grey(out).mean((2, 3), keepdims=True)
        out = mean + (out - mean) * contrast
        if batch.shape[1] == 3:
            grey = _grey(out)
            out = grey + (out - grey) * saturation
        if batch.dtype == np.uint8:
            return np.rint(np.clip(out, 0, 255)).astype(np.uint8)
        return np.clip(out, 0, 1).astype(batch.dtype)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        _image("ColorJitter", shape)
        if dtype != "uint8" and dtype not in _FLOATS:
            raise ValueError(f"ColorJitter: needs bytes or floats, got {dtype}")
        return shape, dtype

    def __repr__(self) -> str:
        return f"ColorJitter({', '.join(f'{name}={amount}' for name, amount in self.amounts.items())})"


def _grey(batch: Array) -> Array:
    if batch.shape[1] != 3:
        return batch.mean(1, keepdims=True)
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.tensordot(weights, batch, axes=(0, 1))[:, None]


class Cutout:
    """Sets a square of `size` pixels a side to `fill`, its centre at a random pixel of each image.

    The part of the square that lies outside the image is lost, so that less than the whole may be covered.
    Source: T. DeVries and G. W. Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 2017.
    """

    def __init__(self, size: int, fill: float = 0) -> None:
        if size < 1:
            raise ValueError(f"Cutout: size must be positive, got {size}")
        self.size, self.fill = size, fill

    def __call__(self, batch: Array, keys: Array) -> Array:
        """A copy of the batch with the squares filled."""
        lengths = batch.shape[2:]
        first = (uniforms(keys, 2) * lengths).astype(np.intp) - self.size // 2  # (N, 2): top, left
        rows, columns = (
            (np.arange(length) >= start[:, None]) & (np.arange(length) < start[:, None] + self.size)
            for length, start in zip(lengths, first.T, strict=True)
        )
        covered = (rows[:, :, None] & columns[:, None, :])[:, None]  # (N, 1, H, W)
        return np.where(covered, np.array(self.fill, batch.dtype), batch)

    def infer(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        """The same shape and dtype."""
        _image("Cutout", shape)
        return shape, dtype

    def __repr__(self) -> str:
        return f"Cutout(size={self.size}, fill={self.fill})"


TRANSFORMS: dict[str, type] = {
    "to_float": ToFloat,
    "to_int64": ToInt64,
    "normalize": Normalize,
    "hflip": HorizontalFlip,
    "random_crop": RandomCrop,
    "color_jitter": ColorJitter,
    "cutout": Cutout,
}
"""The names that configurations use."""


def sample_keys(seed: int, epoch: int, indices: Sequence[int] | Array) -> Array:
    """One random word (uint64) a sample, a function of (seed, epoch, its index in the dataset) alone."""
    of_run = _mix(np.array([seed & _WORD], np.uint64) + _steps(1))
    of_epoch = _mix(of_run + _steps(epoch + 1))
    return _mix(of_epoch + (np.asarray(indices, np.int64).astype(np.uint64) + np.uint64(1)) * _steps(1))


def uniforms(keys: Array, count: int) -> Array:
    """`count` independent uniform numbers in [0, 1) for each key.

    Shape:
        keys (N,) of uint64, result (N, count) of float64.

    SplitMix64 started at each key: the j-th number is the mix of key + j·golden, its upper 53 bits taken.
    Source: G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    if keys.dtype != np.uint64 or keys.ndim != 1:
        raise ValueError(f"keys must be (N,) of uint64, got {keys.shape} of {keys.dtype}")
    steps = np.array([_steps(step) for step in range(1, count + 1)], np.uint64)
    return (_mix(keys[:, None] + steps) >> np.uint64(11)) * 2.0**-53


_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def _steps(count: int) -> np.uint64:
    """What `count` steps of SplitMix64 add to its state."""
    return np.uint64(count * _GOLDEN & _WORD)


def _mix(words: Array) -> Array:
    """The finaliser of SplitMix64: a bijection of 64-bit words that spreads every bit over all."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _per_channel(value: float | Sequence[float]) -> tuple[float, ...]:
    return (float(value),) if isinstance(value, (int, float)) else tuple(float(v) for v in value)


def _image(name: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3 or prod(shape) <= 0:
        raise ValueError(f"{name}: needs images (channels, height, width), got samples of shape {shape}")
    channels, height, width = shape
    return channels, height, width
