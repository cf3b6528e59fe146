"""What tests of kernels of single convolutions have in common: their sizes, and what double precision gives.

A case is (samples, channels, size, results, window).
"""

import inspect

import numpy as np

from torchlite import ir


def sizes(case):
    """Of the input and of the result, both (N, H, W, C)."""
    samples, channels, size, results, window = case
    return (samples, *size, channels), (samples, *window.out_size("convolution", size), results)


def planes(x):
    """The distances between numbers of an array (N, H, W, C) that lie as (N, C, H, W)."""
    _, h, w, c = x
    return c * h * w, w, 1, h * w


def exact(op, *arrays, **params):
    """An operator of arrays (N, C, H, W) in double precision."""
    wide = [array.astype(np.float64) for array in arrays]
    return inspect.unwrap(ir.REGISTRY[op].run)(np, *wide, groups=1, **params)
