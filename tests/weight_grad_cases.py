"""What tests of gradients of weights of single convolutions have in common: calls, numbers, and what double precision gives."""

import ctypes

import numpy as np
from convolution_cases import exact, sizes

EXPORT = """
void call_{name}(const float *a, const float *b, float *c, float *scratch) {{ {name}(a, b, c, scratch, (OnRows){{0}}); }}
"""


def weight_gradient(kernel, case, x, g, *, planes=False):
    """What a function and its scratch give for arrays (N, C, H, W); the input stays as it lies if ``planes``."""
    function, scratch = kernel
    g = np.ascontiguousarray(g.transpose(0, 2, 3, 1))
    x = np.ascontiguousarray(x if planes else x.transpose(0, 2, 3, 1))
    out = np.full((case[3], case[1], *case[-1].kernel), np.nan, np.float32)
    memory = np.full(scratch + 16, 7.0, np.float32)
    function(*[ctypes.c_void_p(array.ctypes.data) for array in (x, g, out, memory)])
    assert (memory[scratch:] == 7.0).all(), "wrote behind its scratch memory"
    return out


def drawn(rng, case):
    return [rng.normal(size=(n, c, h, w)).astype(np.float32) for n, h, w, c in sizes(case)]


def reference(case, x, g):
    return exact("convolution_weight_grad", x, g, window=case[-1])


def decades(rng, shape, most):
    return 10.0 ** rng.uniform(-most, most, shape)


DATA = {
    "uniform": lambda rng, x, g: (abs(x), abs(g)),
    "sparse": lambda rng, x, g: (np.maximum(x, 0), g * (rng.random(g.shape) < 0.1)),
    **{
        f"{a} by {b}": lambda rng, x, g, a=a, b=b: (x * a, g * b)
        for a, b in [
            (1, 1), (1e-45, 1), (1, 1e-38), (1, 1e-20), (1e-10, 1e-10), (1e-15, 1e-15), (1e-20, 1e-20), (1e30, 1), (1, 1e35),
            (1e17, 1e17), (1e37, 1e-38), (1e20, 1e-20),
        ]
    },
    **{
        f"{most} decades": lambda rng, x, g, most=most: (x * decades(rng, x.shape, most), g * decades(rng, g.shape, most))
        for most in (3, 8, 12)
    },
    **{
        f"samples of {most} decades": lambda rng, x, g, most=most: (x, g * decades(rng, (len(g), 1, 1, 1), most))
        for most in (8, 18)
    },
}  # fmt: skip
