"""Convolution, pooling and batch normalisation in compiled functions: the numbers of eager execution, and the kernels that are used."""

from functools import partial
from itertools import product

import compiled_together
import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional as F
from torchlite import nn
from torchlite.backends.native import toolchain

COMPILED = toolchain.enabled()


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def check(function, *tensors, kernels=(), tolerance=2e-5):
    """Compare compiled and uncompiled results, and the text of the program with names of kernels."""
    check_together([(function, tensors)], kernels, tolerance)


def check_together(cases, kernels, tolerance=2e-5):
    """The same of several functions and their tensors in one program."""

    def close(got, expected):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())

    compiled_together.check(cases, close, kernels)


CONVOLUTIONS = {
    "padded": {"padding": 1},
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"padding": 2, "dilation": 2},
    "plain": {},
}


def test_convolution_with_what_follows():
    def function(how, x, w, *b):
        return torch.relu(F.conv2d(x, w, *b, **CONVOLUTIONS[how]) * 2.0 + 1.0)

    cases = []
    for i, (how, bias) in enumerate(product(CONVOLUTIONS, [True, False])):
        tensors = [drawn(3, 5, 12, 10, seed=i), drawn(19, 5, 3, 3, seed=10 + i), drawn(19, seed=20 + i)]
        cases.append((partial(function, how), tensors[: 3 if bias else 2]))
    check_together(cases, ("CONVOLUTION", "WEIGHT_GRADIENT"))


def test_several_convolutions_hand_on_channels_side_by_side():
    def function(x, v, w):
        y = torch.relu(F.conv2d(x, v, padding=1))
        return F.conv2d(y, w, padding=1) + y.mean(1, keepdim=True) * y

    check(
        function, drawn(2, 3, 9, 8), drawn(16, 3, 3, 3, seed=1), drawn(16, 16, 3, 3, seed=2), kernels=("CONVOLUTION",)
    )


def test_raw_result_and_what_follows_are_both_kept():
    def function(x, w):
        y = F.conv2d(x, w)
        return torch.cat([y, torch.relu(y)], 1)

    check(function, drawn(2, 4, 9, 8), drawn(16, 4, 3, 3, seed=1), kernels=("CONVOLUTION",))


def test_sizes_of_one_and_other_strides():
    def function(x, w):
        return torch.relu(F.conv2d(x, w, padding=(0, 1)))

    inputs = [
        drawn(1, 4, 9, 8),
        drawn(3, 4, 3, 8),
        drawn(3, 9, 8, 4).permute(0, 3, 1, 2),
        drawn(3, 4, 8, 9).flip(2)[:, :, :, ::2],
    ]
    check_together([(function, (x, drawn(16, 4, 3, 3, seed=i))) for i, x in enumerate(inputs)], ("CONVOLUTION",))


def test_what_has_no_kernel_runs_as_it_is():
    def function(x, w, v):
        return F.conv2d(F.conv2d(x, w, groups=2), v, padding=(0, 5))

    check(function, drawn(2, 4, 9, 20), drawn(4, 2, 3, 3, seed=1), drawn(3, 4, 1, 11, seed=2))


def test_pooling():
    def function(window, x, w):
        return F.max_pool2d(torch.relu(F.conv2d(x, w)), *window).flatten(1) * 2.0

    windows = [(2, 2, 0), (3, 2, 1), (3, 1, 0)]  # size, stride, padding
    cases = [
        (partial(function, window), (drawn(3, 2, 13, 12, seed=i), drawn(20, 2, 3, 3, seed=10 + i)))
        for i, window in enumerate(windows)
    ]
    check_together(cases, ("MAX_POOL", "SPREAD"))


def test_batch_norm_with_residual():
    def function(x, w, weight, bias, other):
        y = F.batch_norm(F.conv2d(x, w, padding=1), None, None, weight, bias, True)
        return torch.relu(y + other)

    tensors = [drawn(6, 3, 8, 9), drawn(17, 3, 3, 3, seed=1), drawn(17, seed=2), drawn(17, seed=3), drawn(6, 17, 8, 9)]
    check(function, *tensors, kernels=("CONVOLUTION", "merge_moments"))


@pytest.mark.parametrize("channels", [5, 16, 32, 70])
def test_batch_norms_between_convolutions(channels):
    """What is normalized is computed where convolutions read it, and summed up where they store it."""

    def function(how, residual, x, first, second, third, weight, bias):
        y = F.batch_norm(F.conv2d(x, first, padding=1), None, None, weight, bias, True)
        z = F.batch_norm(F.conv2d(torch.relu(y), second, padding=1), None, None, weight, bias, True)
        return torch.relu(F.conv2d(torch.relu(z + y if residual else z), third, **CONVOLUTIONS[how]))

    def tensors(seed):
        weights = [drawn(channels, n, 3, 3, seed=n + seed) * 0.1 for n in (3, channels, channels)]
        return [drawn(3, 3, 9, 8, seed=seed), *weights, drawn(channels, seed=1 + seed), drawn(channels, seed=2 + seed)]

    ways = enumerate(product(CONVOLUTIONS, [True, False]))
    cases = [(partial(function, *way), tensors(100 * i)) for i, way in ways]
    check_together(cases, ("CONVOLUTION", "merge_moments", "add_parts"), tolerance=1e-4)


def test_a_batch_norm_between_convolutions_with_a_size_of_one():
    def function(x, first, second, weight, bias):
        y = F.batch_norm(F.conv2d(x, first, padding=1), None, None, weight, bias, True)
        return torch.relu(F.conv2d(torch.relu(y), second, padding=1))

    sizes = [(1, 16, 9, 8), (2, 16, 1, 9), (2, 16, 9, 1)]
    given = [*(drawn(16, 16, 3, 3, seed=i) * 0.1 for i in (1, 2)), drawn(16, seed=3), drawn(16, seed=4)]
    check_together([(function, (drawn(*size), *given)) for size in sizes], ("CONVOLUTION",), tolerance=1e-4)


def test_what_is_normalized_takes_no_memory():
    """Of two convolutions with batch norm between them only their results lie in memory."""

    @torch.compile(fullgraph=True)
    def function(x, first, second, weight, bias):
        y = F.conv2d(x, first, padding=1)
        return F.conv2d(torch.relu(F.batch_norm(y, None, None, weight, bias, True)), second, padding=1)

    tensors = drawn(4, 3, 16, 16), drawn(16, 3, 3, 3), drawn(16, 16, 3, 3), drawn(16), drawn(16)
    for _ in range(3):
        function(*tensors)
    if COMPILED:
        steps = function.variants[0].captured.run.layout.steps
        large = {p.buffer for step in steps for p in step.places.values() if p.ghost.size == 4 * 16 * 16 * 16}
        assert len(large) == 3  # the results of both, and a copy of the second in the order in which it leaves


def test_a_batch_norm_of_numbers_far_from_zero():
    def function(x, w, bias):
        return F.batch_norm(F.conv2d(x, w, bias), None, None, None, None, True)

    w = torch.from_numpy(np.eye(4, dtype=np.float32)[:, :, None, None] * np.ones((1, 1, 1, 1), np.float32))
    x, bias = drawn(4, 4, 16, 16), torch.full((4,), 1000.0)
    compiled = torch.compile(function, fullgraph=True)
    for _ in range(3):
        got = compiled(x, w, bias)
    wide = x.numpy().astype(np.float64) + 1000.0
    rounded = (x.numpy() + np.float32(1000.0)).astype(np.float64)
    assert abs(rounded - wide).max() < 1e-4
    expected = (rounded - rounded.mean((0, 2, 3), keepdims=True)) / np.sqrt(
        rounded.var((0, 2, 3), keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=2e-4)


def test_gradient_of_batch_norm_whose_weight_needs_none():
    check(
        lambda x: F.batch_norm(x, None, None, None, None, True).exp(),
        drawn(6, 5, 4, 3),
        kernels=("STANDARDIZE_GRADIENT",),
    )


def test_training_steps_stay_together():
    def trained(compile):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4),
        )  # fmt: skip
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        x, y = drawn(8, 1, 16, 16), torch.arange(8) % 4

        def step():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = torch.compile(step, fullgraph=True) if compile else step
        return [float(run()) for _ in range(6)], model.state_dict()

    (losses, state), (expected, other) = trained(True), trained(False)
    np.testing.assert_allclose(losses, expected, rtol=2e-4)
    for name, value in state.items():
        np.testing.assert_allclose(value.numpy(), other[name].numpy(), rtol=0, atol=2e-3, err_msg=name)


WEIGHT = drawn(16, 3, 3, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.conv2d(x, WEIGHT),
        lambda x: F.silu(F.conv2d(x, WEIGHT)),
        lambda x: F.conv2d(x, WEIGHT).flatten(1),
        lambda x: F.silu(F.conv2d(x, WEIGHT)).flatten(1),
        lambda x: F.max_pool2d(F.conv2d(x, WEIGHT), 2).flatten(1),
        lambda x: F.batch_norm(F.conv2d(x, WEIGHT), None, None, None, None, True).flatten(1),
        lambda x: (y := F.relu(F.conv2d(x, WEIGHT)), y.flatten(1), y.permute(0, 2, 3, 1)),
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x: F.scaled_dot_product_attention(x, x, x).flatten(1),
    ],
)
def test_results_lie_as_uncompiled(function):
    x, compiled = drawn(4, 3, 8, 8), torch.compile(function, fullgraph=True)
    for _ in range(3):
        found = compiled(x)
    for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, function(x))), strict=True):
        assert a.stride() == b.stride()
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


class SideBySide(nn.ModuleList):
    """What each of several models gives, side by side."""

    def forward(self, x):
        return torch.cat([model(x) for model in self], 1)


def test_a_module_keeps_the_flattened_result_of_a_convolution_for_its_gradients():
    torch.manual_seed(0)
    model = SideBySide(
        nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), follows, nn.Flatten(), nn.LazyLinear(4))
        for follows in (nn.SiLU(), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.Identity())
    )
    x = drawn(4, 3, 8, 8)
    model(x)
    runs = []
    for run in (model, torch.compile(model, fullgraph=True)):
        for _ in range(3):
            model.zero_grad()
            run(x).square().sum().backward()
        runs.append([p.grad.numpy().copy() for p in model.parameters()])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * np.abs(a).max())
