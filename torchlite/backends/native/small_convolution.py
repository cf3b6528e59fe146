"""Convolution of images of a few positions and its two gradients, with vectors along samples: when `convolution` takes them."""

from __future__ import annotations

import math

from torchlite.backends.native.library import Family

FUNCTIONS = {"convolution": "aaaaa->i", "input_grad": "aaaa->i", "weight_grad": "aaaa->i"}
APART = [tuple(FUNCTIONS)]
C = Family("vectors.h", "convolution_geometry.h", "small_convolution.c", apart=APART, **FUNCTIONS)

_FEW_OUT, _MOST_OUT, _MOST_IN = 16, 64, 1024  # positions
_FEWEST_SAMPLES, _FEWEST_OF_MORE, _FEWEST_SUMS = 8, 12, 8  # the second where positions are not few
_FEW_MULTIPLICATIONS = 1 << 20  # which take less time than NumPy's calls, however few of the vectors' numbers are used


def suits(samples: int, size: tuple[int, ...], out: tuple[int, ...], sums: int, multiplications: int) -> bool:
    """Whether there are few enough positions, and samples and channels that are summed up for enough to fill vectors."""
    positions = math.prod(out)
    if positions > _MOST_OUT or math.prod(size) > _MOST_IN:
        return False
    enough = sums >= _FEWEST_SUMS or multiplications <= _FEW_MULTIPLICATIONS
    return enough and samples >= (_FEWEST_SAMPLES if positions <= _FEW_OUT else _FEWEST_OF_MORE)
