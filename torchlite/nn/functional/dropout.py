"""Dropout: in training, elements or whole channels are lost at random. Otherwise these functions give their input."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.mutation import inplace as in_place
from torchlite.ops.random import rand

_SELU_MINIMUM = -1.7580993408473766  # what SELU tends to for x → -∞


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability ``p`` and divided by 1 - p otherwise (Srivastava et al., 2014).

    Raises:
        ValueError: for a probability outside [0, 1].
    """
    return _applied(_without_elements, input, p, training, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels (Tompson et al., 2015) of an input (N, C, L) or (C, L).

    Raises:
        RuntimeError: for another number of dimensions.
    """
    _check_probability(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input.")
    return _applied(_without_channels if input.ndim == 3 else _without_rows, input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of an input (N, C, H, W). Three dimensions are taken to be (N, C, L)."""
    _check_probability(p)
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead.",
            stacklevel=2,
        )
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L); please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return channel_dropout(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of an input (N, C, D, H, W) or (C, D, H, W)."""
    _check_probability(p)
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead.",
            stacklevel=2,
        )
    return _applied(_without_channels if input.ndim == 5 else _without_rows, input, p, training, inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for SELU networks (Klambauer et al., 2017): lost elements take SELU's lowest value, and all are scaled
    and shifted so that mean 0 and variance 1 remain.
    """
    return _applied(_alpha_without_elements, input, p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of an input (N, C, *)."""
    return _applied(_alpha_without_channels, input, p, training, inplace)


def channel_dropout(input: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of an input (N, C, *)."""
    return _applied(_without_channels, input, p, training, inplace)


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _applied(
    thinned: Callable[[Tensor, float], Tensor], input: Tensor, p: float, training: bool, inplace: bool
) -> Tensor:
    _check_probability(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    return in_place(thinned)(input, p) if inplace else thinned(input, p)


def _without_elements(input: Tensor, p: float) -> Tensor:
    return _thinned(input, p, tuple(input.shape))


def _without_rows(input: Tensor, p: float) -> Tensor:
    return _thinned(input, p, (input.shape[0], *(1,) * (input.ndim - 1)))


def _without_channels(input: Tensor, p: float) -> Tensor:
    return _thinned(input, p, _channel_shape(input))


def _alpha_without_elements(input: Tensor, p: float) -> Tensor:
    return _alpha_thinned(input, p, tuple(input.shape))


def _alpha_without_channels(input: Tensor, p: float) -> Tensor:
    return _alpha_thinned(input, p, _channel_shape(input))


def _channel_shape(input: Tensor) -> tuple[int, ...]:
    if input.ndim < 2:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got {list(input.shape)}")
    return (*input.shape[:2], *(1,) * (input.ndim - 2))


def _kept(input: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    """1 with probability 1 - p, else 0."""
    return (rand(shape, device=input.device, dtype=dtypes.float32) >= p).to(input.dtype)


def _thinned(input: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    return input * (_kept(input, p, shape) * (0.0 if p == 1 else 1 / (1 - p)))


def _alpha_thinned(input: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    if p == 1:
        return input * 0.0
    scale = 1 / math.sqrt((_SELU_MINIMUM**2 * p + 1) * (1 - p))
    kept = _kept(input, p, shape)
    return input * (kept * scale) + ((1 - kept) * _SELU_MINIMUM - _SELU_MINIMUM * p) * scale
