"""Convolutions whose vectors run along samples, over all that small images and windows can be."""

import inspect

import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional
from torchlite import ir
from torchlite.backends import native
from torchlite.backends.native import convolution, kernel
from torchlite.ops.half_precision import BFLOAT16
from torchlite.ops.windows import Window

rng = np.random.default_rng(0)


def draw(*shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The modules, with any number of samples and channels taken and every call noted."""
    if kernel("convolution.convolution") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    from torchlite.backends.native import small_convolution

    for name in ("_FEWEST_SAMPLES", "_FEWEST_OF_MORE", "_FEWEST_SUMS"):
        monkeypatch.setattr(small_convolution, name, 0)
    monkeypatch.setattr(small_convolution, "_MOST_OUT", 1 << 20)
    return small_convolution


def calls(window, size, samples=3, groups=1, channels=(3, 10)):
    """Operators with arrays and parameters."""
    out = window.out_size("convolution", size)
    inputs, outputs = channels
    x, g = draw(samples, groups * inputs, *size), draw(samples, groups * outputs, *out)
    weight, bias = draw(groups * outputs, inputs, *window.kernel), draw(groups * outputs)
    params = {"window": window, "groups": groups}
    return [
        ("convolution", (x, weight, bias), params),
        ("convolution", (x, weight), params),
        ("convolution_input_grad", (g, weight), {**params, "size": size}),
        ("convolution_weight_grad", (x, g), params),
    ]


def check(*geometry, **more):
    for op, arrays, params in calls(*geometry, **more):
        got = kernel(f"convolution.{op.removeprefix('convolution_')}")(*arrays, **params)
        wide = [array.astype(np.float64) for array in arrays]
        expected = inspect.unwrap(ir.REGISTRY[op].run)(np, *wide, **params)
        assert got.shape == expected.shape
        atol = max(1e-4, 2e-6 * np.abs(expected).max(initial=0.0))  # which sums of thousands of products may miss
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=atol, err_msg=op)


WINDOWS = [
    Window.of((3, 3), padding=(1, 1)), Window.of((1, 1)), Window.of((1, 1), (2, 2)), Window.of((3, 3), (2, 2), (1, 1)),
    Window.of((3, 2), (3, 2), (2, 0)), Window.of((5, 5), (1, 2), (4, 4)), Window.of((3, 3), padding=(2, 2), dilation=(2, 2)),
    Window.of((2, 3), (2, 3), (1, 2), (1, 2)), Window.of((1, 3), padding=(4, 4)), Window.of((2, 1), (3, 3), (5, 4)),
]  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (4, 3), (8, 8)])
def test_windows(window, size):
    if all(n + 2 * p > d * (k - 1) for n, k, _, p, d in zip(size, *window[:4], strict=True)):
        check(window, size)


@pytest.mark.parametrize(
    ("samples", "groups", "channels"),
    [(16, 1, (16, 32)), (1, 1, (1, 1)), (40, 1, (17, 33)), (21, 3, (9, 20)), (5, 4, (1, 1))],
)
def test_samples_groups_and_channels(samples, groups, channels):
    check(Window.of((3, 3), padding=(1, 1)), (3, 2), samples, groups, channels)


@pytest.mark.parametrize("channels", [(70, 40), (300, 20), (20, 300)])
def test_more_channels_than_are_packed_at_once(channels):
    check(Window.of((3, 3), (1, 1), (1, 1)), (2, 2), 18, channels=channels)


def test_more_sums_than_a_task_takes():
    check(Window.of((3, 3), padding=(1, 1)), (8, 8), 70, channels=(4, 24))


def test_one_dimension():
    check(Window.of((4,), (2,), (1,), (2,)), (13,), 9)


def test_elements_of_the_window_that_meet_only_padding_are_not_multiplied():
    x, weight, window = draw(16, 24, 1, 1), draw(16, 24, 3, 3), Window.of((3, 3), padding=(1, 1))
    weight[:, :, 0, 1] = np.inf
    out = kernel("convolution.convolution")(x, weight, window=window, groups=1)
    np.testing.assert_allclose(out[..., 0, 0], x[..., 0, 0] @ weight[:, :, 1, 1].T, rtol=1e-4, atol=1e-4)
    grad = kernel("convolution.weight_grad")(x, out, window=window, groups=1)
    grad[:, :, 1, 1] = 0
    np.testing.assert_array_equal(grad, 0)


def test_what_is_not_finite_stays_in_its_sample_and_window():
    x, weight = draw(20, 3, 4, 4), draw(8, 3, 3, 3)
    x[0, 1, 3, 3], x[17, 0, 0, 0] = np.nan, np.inf
    params = {"window": Window.of((3, 3), padding=(1, 1)), "groups": 1}
    got = kernel("convolution.convolution")(x, weight, **params)
    expected = inspect.unwrap(ir.REGISTRY["convolution"].run)(np, x, weight, **params)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))


def test_results_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    all_calls = calls(Window.of((3, 3), padding=(1, 1)), (4, 4), 33, channels=(64, 48))
    try:
        results = []
        for number in (1, 3):
            torch.set_num_threads(number)
            results.append(
                [kernel(f"convolution.{op.removeprefix('convolution_')}")(*a, **p) for op, a, p in all_calls]
            )
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


def test_few_positions_samples_and_channels_decide(monkeypatch):
    from torchlite.backends.native import small_convolution

    monkeypatch.undo()
    many, few = 1 << 24, 1 << 14
    assert small_convolution.suits(16, (4, 4), (4, 4), 64, many)
    assert small_convolution.suits(16, (4, 4), (4, 4), 1, few)
    assert not small_convolution.suits(16, (16, 16), (16, 16), 64, few)
    assert small_convolution.suits(8, (4, 4), (4, 4), 64, many)
    assert not small_convolution.suits(8, (8, 8), (8, 8), 64, many)
    assert not small_convolution.suits(2, (4, 4), (4, 4), 64, few)
    assert not small_convolution.suits(16, (4, 4), (4, 4), 1, many)


@pytest.mark.parametrize("tiles", [False, True])
def test_bfloat16_is_converted_where_there_are_no_tile_registers(monkeypatch, tiles):
    asked = set()
    monkeypatch.setattr(convolution, "has_tiles", lambda: tiles)
    monkeypatch.setattr(native, "kernel", lambda name: asked.add(name) or kernel(name))  # where `accelerated` finds it
    for op, arrays, params in calls(Window.of((3, 3), padding=(1, 1)), (6, 6), samples=16, channels=(8, 8)):
        halves = [a.astype(BFLOAT16) for a in arrays]
        got = ir.REGISTRY[op].run(np, *halves, **params)
        name = op.removeprefix("convolution_")
        assert (f"bfloat16_convolution.{name}" in asked) is tiles
        wide = ir.REGISTRY[op].run(np, *(a.astype(np.float32) for a in halves), **params)
        if not tiles:
            np.testing.assert_array_equal(got, wide.astype(BFLOAT16))
