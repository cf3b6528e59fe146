"""What tests of kernels of single convolutions have in common: sizes, calls, numbers, and what double precision gives.

A case is (samples, channels, size, results, window).
"""

import ctypes
import inspect

import numpy as np

import torchlite as torch
from torchlite import ir
from torchlite.backends.native import convolution_nhwc, library

KINDS = ("convolution", "input_grad")
EXPORT = """
void call_{name}(const float *a, const float *b, const float *bias, float *c, float *scratch) {{
    {name}(a, b, bias, c, scratch, (OnRows){{0}}, (OnRows){{0}});
}}
"""


def sizes(case):
    """Of the input and of the result, both (N, H, W, C)."""
    samples, channels, size, results, window = case
    return (samples, *size, channels), (samples, *window.out_size("convolution", size), results)


def sum_of(kind, case):
    """What a kernel of such a kind computes."""
    x, out = sizes(case)
    return getattr(convolution_nhwc, kind)(*((x, out) if kind == "convolution" else (out, x)), case[-1])


def compiled(headers, wanted):
    """Functions of one text, each with its scratch, for {key: (module, kind, case, steps)}."""
    text, made = [library.text("parallel.h", "mathematics.h", "vectors.h", *headers)], {}
    for key, (module, kind, case, steps) in wanted.items():
        name = f"kernel{len(made)}"
        kernel = module.kernel(name, sum_of(kind, case), steps)
        made[key] = name, kernel.scratch
        text += [kernel.text, EXPORT.format(name=name)]
    functions = library.load("".join(text))
    return {key: (getattr(functions, f"call_{name}"), scratch) for key, (name, scratch) in made.items()}


def planes(x):
    """The distances between numbers of an array (N, H, W, C) that lie as (N, C, H, W)."""
    _, h, w, c = x
    return c * h * w, w, 1, h * w


def exact(op, *arrays, **params):
    """An operator of arrays (N, C, H, W) in double precision."""
    wide = [array.astype(np.float64) for array in arrays]
    return inspect.unwrap(ir.REGISTRY[op].run)(np, *wide, groups=1, **params)


def on_any_threads(run):
    """What ``run`` gives on one thread, which has the same bits on two and on five."""
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(run())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


def aligned(count):
    memory = np.full(count + 16, 7.0, np.float32)
    return memory[-memory.ctypes.data // 4 % 16 :][:count]


def call(compiled, key, x, weight, shape, bias=None):
    """A kernel of arrays (N, C, H, W), as such."""
    function, scratch = compiled[key]
    x = np.ascontiguousarray(x if key[1] == "planes" else x.transpose(0, 2, 3, 1))
    out, memory = np.full(shape, np.nan, np.float32), aligned(scratch + 16)
    given = [None if a is None else ctypes.c_void_p(a.ctypes.data) for a in (x, weight, bias, out, memory)]
    function(*given)
    assert (memory[scratch:] == 7.0).all(), "wrote behind its scratch memory"
    return out.transpose(0, 3, 1, 2)


def reference(kind, case, x, weight):
    if kind == "convolution":
        return exact("convolution", x, weight, window=case[-1])
    return exact("convolution_input_grad", x, weight, window=case[-1], size=case[2])


def shapes(kind, case):
    """Of what a sum reads, of its weight, and of its result with channels last."""
    x, out = sizes(case)
    source, result = (x, out) if kind == "convolution" else (out, x)
    n, h, w, c = source
    return (n, c, h, w), (case[3], case[1], *case[-1].kernel), result


def powers(rng, *shape, decades):
    return 10.0 ** rng.uniform(-decades, decades, shape)


def cancelling(rng, source, of_weight):
    x, weight = rng.normal(size=source), rng.normal(size=of_weight)
    half = source[1] // 2
    x[:, half:] = -x[:, :half]
    weight[:, half:] = weight[:, :half] * (1 + 1e-6 * rng.normal(size=weight[:, half:].shape))
    return x, weight


DATA = {
    "normal": lambda rng, s, w: (rng.normal(size=s), rng.normal(size=w)),
    "uniform": lambda rng, s, w: (rng.random(s), rng.random(w)),
    "sparse": lambda rng, s, w: (np.maximum(rng.normal(size=s), 0), rng.normal(size=w) * (rng.random(w) < 0.1)),
    "cancelling": cancelling,
    "a sample of zeros": lambda rng, s, w: (rng.normal(size=s) * 1e-20 * (np.arange(s[0]) != 1)[:, None, None, None], rng.normal(size=w)),
    "samples of other sizes": lambda rng, s, w: (rng.normal(size=s) * 10.0 ** (20 * np.arange(s[0]) - 20)[:, None, None, None],
                                            rng.normal(size=w)),
    "rows of other sizes": lambda rng, s, w: (rng.normal(size=s) * 10.0 ** np.linspace(-30, 25, s[2])[:, None], rng.normal(size=w)),
    **{
        f"{a} by {b}": lambda rng, s, w, a=a, b=b: (rng.normal(size=s) * a, rng.normal(size=w) * b)
        for a, b in [
            (1e-45, 1.0), (1.0, 1e-38), (1e-30, 1.0), (1.0, 1e-20), (1e-10, 1e-10), (1e-15, 1e-15), (1e-20, 1e-20),
            (1e30, 1.0), (1.0, 1e36), (1e18, 1e18), (1e37, 1e-38), (1e20, 1e-20),
        ]
    },
    **{
        f"{d} decades": lambda rng, s, w, d=d: (
            rng.normal(size=s) * powers(rng, *s, decades=d), rng.normal(size=w) * powers(rng, *w, decades=d)
        )
        for d in (3, 8, 12, 18)
    },
}  # fmt: skip
