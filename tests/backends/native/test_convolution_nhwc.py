"""Kernels of single convolutions of channels that lie side by side, against products of columns in double precision."""

import ctypes

import numpy as np
import pytest
from convolution_cases import exact, planes, sizes, sum_of

import torchlite as torch
from torchlite.backends.native import convolution_nhwc, library
from torchlite.ops.windows import Window

# Samples, channels, size, results, window: every remainder of a tile, strides that skip sources, dilations, wide paddings.
CASES = [
    (3, 16, (12, 32), 16, Window.of((3, 3), padding=(1, 1))),
    (18, 5, (8, 8), 64, Window.of((3, 3), padding=(1, 1))),
    (2, 32, (9, 26), 32, Window.of((3, 3))),
    (2, 16, (16, 16), 32, Window.of((3, 3), (2, 2), (1, 1))),
    (2, 16, (16, 16), 32, Window.of((1, 1), (2, 2))),
    (5, 3, (9, 11), 10, Window.of((3, 3), (2, 2), (1, 1))),
    (2, 1, (28, 28), 32, Window.of((5, 5), padding=(2, 2))),
    (1, 4, (33, 20), 17, Window.of((7, 7), (2, 2), (3, 3))),
    (3, 2, (9, 11), 40, Window.of((3, 2), (3, 2), (2, 0))),
    (3, 6, (9, 11), 12, Window.of((3, 3), padding=(2, 2), dilation=(2, 2))),
    (3, 6, (19, 11), 3, Window.of((2, 3), (2, 3), (1, 2), (3, 2))),
    (3, 3, (9, 11), 4, Window.of((2, 2), (3, 3))),
    (3, 9, (9, 11), 50, Window.of((1, 3), padding=(4, 4))),
    (2, 2, (40, 7), 5, Window.of((16, 1), (3, 2), (5, 0))),
    (1, 40, (64, 64), 8, Window.of((3, 3), padding=(1, 1))),
    (3, 64, (8, 8), 32, Window.of((3, 3), padding=(1, 1))),
    (2, 40, (9, 7), 50, Window.of((3, 3), padding=(1, 0))),
    (1, 33, (21, 23), 64, Window.of((3, 3), padding=(2, 2))),
]
EXPORT = """
void call_{name}(const float *a, const float *b, float *c, float *scratch) {{ {name}({arguments}); }}
"""
ARGUMENTS = {
    "convolution": "a, b, NULL, c, scratch, (OnRows){0}, (OnRows){0}",
    "from_planes": "a, b, b, c, scratch, (OnRows){0}, (OnRows){0}",  # the first numbers of the weight are the bias
    "input_grad": "a, b, NULL, c, scratch, (OnRows){0}, (OnRows){0}",
    "weight_grad": "a, b, c, scratch, (OnRows){0}",
}


def kernels(index, case):
    x, out = sizes(case)
    return {
        "convolution": convolution_nhwc.kernel(f"conv{index}", sum_of("convolution", case)),
        "from_planes": convolution_nhwc.kernel(f"planes{index}", sum_of("convolution", case), planes(x)),
        "input_grad": convolution_nhwc.kernel(f"input{index}", sum_of("input_grad", case)),
        "weight_grad": convolution_nhwc.weight_grad(f"weight{index}", x, out, case[-1]),
    }


@pytest.fixture(scope="module")
def compiled(needs_compiler):
    """All cases in one text: each kernel's function and scratch."""
    made = {(i, kind): kernel for i, case in enumerate(CASES) for kind, kernel in kernels(i, case).items()}
    text = [library.text("parallel.h", "vectors.h", convolution_nhwc.HEADER)]
    names = {}
    for key, kernel in made.items():
        names[key] = kernel.text.partition("(")[2].partition(",")[0]
        text += [kernel.text, EXPORT.format(name=names[key], arguments=ARGUMENTS[key[1]])]
    functions = library.load("".join(text))
    return {key: (getattr(functions, f"call_{names[key]}"), kernel.scratch) for key, kernel in made.items()}


def call(compiled, key, *inputs, shape):
    function, scratch = compiled[key]
    out, memory = np.full(shape, np.nan, np.float32), np.full(scratch + 16, 7.0, np.float32)
    function(*[ctypes.c_void_p(array.ctypes.data) for array in (*inputs, out, memory)])
    assert (memory[scratch:] == 7.0).all(), "wrote behind its scratch memory"
    return out


def beside(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6 * np.abs(expected).max())


def drawn(case):
    rng = np.random.default_rng(len(case))
    x, out = ((n, c, h, w) for n, h, w, c in sizes(case))
    shapes = x, (case[3], case[1], *case[-1].kernel), out
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_convolution_and_its_gradients(compiled, index):
    window, (x, weight, g) = CASES[index][-1], drawn(CASES[index])
    x_sizes, out_sizes = sizes(CASES[index])
    expected = exact("convolution", x, weight, window=window).transpose(0, 2, 3, 1)
    close(call(compiled, (index, "convolution"), beside(x), weight, shape=out_sizes), expected)
    bias = weight.reshape(-1)[: out_sizes[3]]
    close(call(compiled, (index, "from_planes"), x, weight, shape=out_sizes), expected + bias)
    got = call(compiled, (index, "input_grad"), beside(g), weight, shape=x_sizes)
    close(got, exact("convolution_input_grad", g, weight, window=window, size=x.shape[2:]).transpose(0, 2, 3, 1))
    got = call(compiled, (index, "weight_grad"), beside(x), beside(g), shape=weight.shape)
    close(got, exact("convolution_weight_grad", x, g, window=window))


def test_threads_change_nothing(compiled):
    x, weight, g = drawn(CASES[0])
    x_sizes, out_sizes = sizes(CASES[0])
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append((
                call(compiled, (0, "convolution"), beside(x), weight, shape=out_sizes),
                call(compiled, (0, "input_grad"), beside(g), weight, shape=x_sizes),
                call(compiled, (0, "weight_grad"), beside(x), beside(g), shape=weight.shape),
            ))  # fmt: skip
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_and_infinity_stay_where_windows_meet_them(compiled):
    x, weight, _ = drawn(CASES[0])
    x[1, 3, 5, 7], x[2, 0, 0, 31] = np.nan, np.inf
    got = call(compiled, (0, "convolution"), beside(x), weight, shape=sizes(CASES[0])[1])
    met = np.zeros((3, 12, 32), bool)
    met[1, 4:7, 6:9], met[2, :2, 30:] = True, True
    np.testing.assert_array_equal(~np.isfinite(got).all(-1), met)


def test_windows_without_kernels():
    assert convolution_nhwc.handles(Window.of((3, 3)), 1)
    assert not convolution_nhwc.handles(Window.of((3, 3)), 2)
    assert not convolution_nhwc.handles(Window.of((3, 9)), 1)
    assert not convolution_nhwc.handles(Window.of((3,)), 1)
