"""Convolution of images of a few positions and its two gradients, with vectors along samples: when `convolution` takes them."""

from __future__ import annotations

import math

from torchlite.backends.native.library import Family

FUNCTIONS = {"convolution": "aaaaa->i", "input_grad": "aaaa->i", "weight_grad": "aaaa->i"}
C = Family("vectors.h", "convolution_geometry.h", "small_convolution.c", **FUNCTIONS)

_MOST_OUT, _MOST_IN = 64, 1024  # positions
_FEWEST_SAMPLES, _FEWEST_SUMS = 8, 8


def suits(samples: int, size: tuple[int, ...], out: tuple[int, ...], sums: int) -> bool:
    """Whether there are few enough positions, and samples and channels that are summed up for enough to fill vectors."""
    few = math.prod(out) <= _MOST_OUT and math.prod(size) <= _MOST_IN
    return few and samples >= _FEWEST_SAMPLES and sums >= _FEWEST_SUMS and C.available()
