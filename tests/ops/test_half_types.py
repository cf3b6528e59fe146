"""float16 and bfloat16: what an operator gives is of the dtype that its shape inference says, and rounded once."""

import numpy as np
import pytest

import torchlite
import torchlite.ops  # registers the operators
from torchlite import dtypes
from torchlite.ir import REGISTRY, Aval, Op
from torchlite.nn import functional as F

HALVES = [dtypes.float16, dtypes.bfloat16]
# They need integers, complex numbers of twice the size, or LAPACK, none of which there is for half types.
WITHOUT_HALVES = {
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_left_shift", "bitwise_right_shift", "gcd",
    "lcm", "view_as_complex", "fft_real_to_half", "matrix_exp", "inverse", "solve_matrix", "determinant",
    "log_determinant", "cholesky_factor", "lu_factor", "solve_triangle", "ldl_factor", "ldl_unpack", "qr",
    "householder_factor", "eig", "eigvals", "eigh", "eigvalsh", "svd", "svdvals", "pinv",
}  # fmt: skip
OPERATORS = [op for op in REGISTRY.values() if op.samples is not None and op.name not in WITHOUT_HALVES]


@pytest.mark.parametrize("dtype", HALVES, ids=[d.name for d in HALVES])
@pytest.mark.parametrize("op", OPERATORS, ids=[op.name for op in OPERATORS])
def test_the_dtype_is_the_one_inferred(op: Op, dtype: dtypes.dtype) -> None:
    for sample in op.samples(np.random.default_rng(0)):  # type: ignore[misc]
        arrays = [np.asarray(a) for a in sample.arrays]
        arrays = [a.astype(dtype.numpy) if a.dtype == np.float64 else a for a in arrays]
        if not any(a.dtype == dtype.numpy for a in arrays):
            continue
        with np.errstate(all="ignore"):
            results = op.run(np, *arrays, **sample.params)
        avals = op.infer(*(Aval(a.shape, a.dtype) for a in arrays), **sample.params)
        several = (results, avals) if type(avals) is tuple else ((results,), (avals,))
        for result, aval in zip(*several, strict=True):
            assert result.dtype == aval.dtype
            assert result.shape == aval.shape


NUMBERS = {
    "times": (lambda x: x * 0.1, lambda x: x * np.float32(0.1)),
    "times, number first": (lambda x: 0.1 * x, lambda x: x * np.float32(0.1)),
    "times a scalar": (lambda x: x * torchlite.tensor(0.1), lambda x: x * np.float32(0.1)),
    "times, in place": (lambda x: x.clone().mul_(0.1), lambda x: x * np.float32(0.1)),
    "divided": (lambda x: x / 1.7, lambda x: x / np.float32(1.7)),
    "truncated": (lambda x: x.div(0.1, rounding_mode="trunc"), lambda x: np.trunc(x / np.float32(0.1))),
    "root": (lambda x: x.abs().rsqrt(), lambda x: 1 / np.sqrt(np.abs(x))),
    "degrees": (torchlite.rad2deg, lambda x: x * np.float32(180 / np.pi)),
}


@pytest.mark.parametrize("dtype", HALVES, ids=[d.name for d in HALVES])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_float32_and_the_result_is_rounded_once(name: str, dtype: dtypes.dtype) -> None:
    function, definition = NUMBERS[name]
    drawn = np.random.default_rng(0).normal(size=5000).astype(dtype.numpy)
    for array in (drawn, drawn[:7]):  # with kernels in C, and without
        result = function(torchlite.from_numpy(array.astype(np.float32)).to(dtype))
        assert result.dtype is dtype
        expected = definition(array.astype(np.float32)).astype(dtype.numpy)
        np.testing.assert_array_equal(result.float().numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("dtype", HALVES, ids=[d.name for d in HALVES])
def test_sums_round_a_number_first_and_a_scaled_term_never(dtype: dtypes.dtype) -> None:
    x, y = (np.random.default_rng(i).normal(size=500).astype(dtype.numpy).astype(np.float32) for i in range(2))
    ours = [torchlite.from_numpy(a).to(dtype) for a in (x, y)]
    number = np.float32(dtype.numpy.type(0.1))
    for result, expected in (
        (ours[0] + 0.1, x + number),
        (0.1 - ours[0], number - x),
        (torchlite.add(*ours, alpha=0.1), x + y * number),
        (ours[0].clone().sub_(ours[1], alpha=0.1), x - y * number),
        (1.7 / ours[0], (1 / x).astype(dtype.numpy).astype(np.float32) * np.float32(1.7)),
    ):
        np.testing.assert_array_equal(result.float().numpy(), expected.astype(dtype.numpy).astype(np.float32))


STEPS = {
    "lerp": (lambda x, y: x.lerp(y, 0.3), lambda x, y: x + (y - x) * np.float32(0.3)),
    "lerp, from its end": (lambda x, y: x.lerp(y, 0.7), lambda x, y: y - (y - x) * np.float32(1 - 0.7)),
    "addcmul": (lambda x, y: x.addcmul(x, y, value=0.1), lambda x, y: x + x * y * np.float32(0.1)),
    "addcdiv": (lambda x, y: x.addcdiv(x, y, value=0.1), lambda x, y: x + x / y * np.float32(0.1)),
    "softshrink": (lambda x, y: F.softshrink(x, 0.3), lambda x, y: x - np.clip(x, -np.float32(0.3), np.float32(0.3))),
    "hardswish": (lambda x, y: F.hardswish(x), lambda x, y: x * np.clip(x + 3, 0, 6) / 6),
    "scaled sum": (
        lambda x, y: torchlite.addmm(x.view(-1, 2), torchlite.eye(250).to(y.dtype), y.view(-1, 2), beta=0.1, alpha=0.3),
        lambda x, y: (x * np.float32(0.1) + y * np.float32(0.3)).reshape(-1, 2),
    ),
}


@pytest.mark.parametrize("dtype", HALVES, ids=[d.name for d in HALVES])
@pytest.mark.parametrize("name", STEPS)
def test_several_steps_are_rounded_once(name: str, dtype: dtypes.dtype) -> None:
    function, definition = STEPS[name]
    x, y = (np.random.default_rng(i).normal(size=500).astype(dtype.numpy).astype(np.float32) for i in range(2))
    result = function(*(torchlite.from_numpy(a).to(dtype) for a in (x, y)))
    assert result.dtype is dtype
    np.testing.assert_array_equal(result.float().numpy(), definition(x, y).astype(dtype.numpy).astype(np.float32))


def test_the_slope_of_elu_is_that_of_what_was_given() -> None:
    x = torchlite.linspace(-4, 1, 500).bfloat16().requires_grad_()
    F.elu(x, 1.3).backward(torchlite.ones(500).bfloat16())
    wide = x.detach().float().numpy()
    expected = np.where(wide > 0, 1, np.exp(wide) * np.float32(1.3)).astype(dtypes.bfloat16.numpy)
    assert np.mean(x.grad.float().numpy() != expected.astype(np.float32)) < 0.01  # the last digit of exp


def test_the_operators_left_out_exist() -> None:
    assert REGISTRY.keys() >= WITHOUT_HALVES


@pytest.mark.parametrize("dtype", HALVES, ids=[d.name for d in HALVES])
def test_nextafter_is_the_neighbour_in_its_own_dtype(dtype: dtypes.dtype) -> None:
    bits = np.arange(-(1 << 15), 1 << 15, dtype=np.int16).view(dtype.numpy)
    for towards in (0.0, -0.0, np.inf, -1.0, np.nan):
        y = np.full(bits.shape, towards, dtype.numpy)
        with np.errstate(all="ignore"):
            expected = np.where(bits == y, y, np.nextafter(bits, y))
        found = torchlite.nextafter(torchlite.from_numpy(bits), torchlite.from_numpy(y)).numpy()
        known = ~np.isnan(expected.astype(np.float32))
        assert np.isnan(found.astype(np.float32)[~known]).all()
        np.testing.assert_array_equal(found.view(np.int16)[known], expected.view(np.int16)[known])
