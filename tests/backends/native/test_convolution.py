"""The kernels of convolution against products of columns, over all that windows can be."""

import inspect

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional
from torchlite import ir
from torchlite.backends.native import kernel
from torchlite.ops.windows import Window

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    if kernel("convolution.convolution") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    from torchlite.backends.native import convolution, small_convolution

    monkeypatch.setattr(convolution, "_FEWEST_CHANNELS", 0)
    monkeypatch.setattr(convolution, "_FEWEST_POSITIONS", 0)
    monkeypatch.setattr(small_convolution, "_MOST_OUT", 0)


def check(window, size, samples=3, groups=1, channels=(3, 10), bias=True):
    out = window.out_size("convolution", size)
    inputs, outputs = channels
    x, g = draw(samples, groups * inputs, *size), draw(samples, groups * outputs, *out)
    weight, b = draw(groups * outputs, inputs, *window.kernel), draw(groups * outputs)
    calls = [
        ("convolution", "convolution", (x, weight, b) if bias else (x, weight), {}),
        ("convolution_input_grad", "input_grad", (g, weight), {"size": size}),
        ("convolution_weight_grad", "weight_grad", (x, g), {}),
    ]
    for op, name, arrays, more in calls:
        params = {"window": window, "groups": groups, **more}
        got = kernel(f"convolution.{name}")(*arrays, **params)
        expected = inspect.unwrap(ir.REGISTRY[op].run)(np, *arrays, **params)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-4, err_msg=name)


WINDOWS = [
    Window.of((3, 3)), Window.of((3, 3), padding=(1, 1)), Window.of((1, 1)), Window.of((1, 1), (2, 2)),
    Window.of((3, 3), (2, 2), (1, 1)), Window.of((3, 2), (3, 2), (2, 0)), Window.of((5, 5), (1, 2), (2, 2)),
    Window.of((3, 3), padding=(2, 2), dilation=(2, 2)), Window.of((2, 3), (2, 3), (1, 2), (3, 2)),
    Window.of((1, 3), padding=(4, 4)), Window.of((2, 2), (3, 3)), Window.of((5, 3), (2, 1), (4, 0)),
]  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(9, 11), (33, 20)])
def test_windows(window, size):
    check(window, size)


@pytest.mark.parametrize(
    ("samples", "groups", "channels"), [(1, 1, (1, 1)), (40, 1, (4, 8)), (2, 3, (2, 9)), (5, 4, (1, 1))]
)
def test_samples_groups_and_channels(samples, groups, channels):
    check(Window.of((3, 3), padding=(1, 1)), (6, 7), samples, groups, channels, bias=False)


@pytest.mark.parametrize(("size", "channels"), [((8, 8), (32, 64)), ((16, 16), (17, 35)), ((4, 30), (64, 29))])
def test_small_images_with_many_channels(size, channels):
    check(Window.of((4, 4), (2, 2), (1, 1)), size, 17, channels=channels)


@pytest.mark.parametrize("window", [Window.of((3,)), Window.of((4,), (2,), (1,), (2,))])
def test_one_dimension(window):
    check(window, (50,))


def test_memory_with_gaps():
    window = Window.of((3, 3))
    x, weight = draw(2, 4, 12, 24)[..., ::2], draw(3, 3, 4, 8).transpose(3, 2, 0, 1)
    params = {"window": window, "groups": 1}
    got = kernel("convolution.convolution")(x, weight, **params)
    expected = inspect.unwrap(ir.REGISTRY["convolution"].run)(np, x, weight, **params)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-4)


def test_what_is_not_finite_reaches_the_windows_that_hold_it():
    x = draw(2, 3, 9, 9)
    x[0, 1, 4, 4], x[1, 0, 0, 8] = np.nan, np.inf
    params = {"window": Window.of((3, 3), padding=(1, 1)), "groups": 1}
    weight = draw(8, 3, 3, 3)
    got = kernel("convolution.convolution")(x, weight, **params)
    expected = inspect.unwrap(ir.REGISTRY["convolution"].run)(np, x, weight, **params)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (draw(2, 3, 9, 9).astype(np.float64), draw(8, 3, 3, 3).astype(np.float64)),
        (draw(2, 3, 4, 9, 9), draw(8, 3, 1, 3, 3)),
    ],
)
def test_what_kernels_do_not_take_is_left_to_numpy(x, weight):
    window = Window.of(weight.shape[2:])
    assert kernel("convolution.convolution")(x, weight, window=window, groups=1) is None


def test_results_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    x, g, window = draw(9, 5, 12, 12), draw(9, 17, 12, 12), Window.of((3, 3), padding=(1, 1))
    try:
        results = []
        for number in (1, 3):
            torch.set_num_threads(number)
            results.append(kernel("convolution.weight_grad")(x, g, window=window, groups=1))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_errors_stay_those_of_the_operator():
    x = torch.randn(8, 4, 40, 40)
    with pytest.raises(RuntimeError, match="channels"):
        torch.nn.functional.conv2d(x, torch.randn(8, 3, 3, 3))
    with pytest.raises(RuntimeError, match="kernel size"):
        torch.nn.functional.conv2d(x, torch.randn(8, 4, 50, 3))
