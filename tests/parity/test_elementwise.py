"""Elementwise functions against PyTorch's: values, dtypes, broadcasting, gradients, special values."""

from typing import Any

import numpy as np
import pytest
from oracle import assert_same, attempt, dtype_name, same, tensors, torch

import torchlite
from torchlite import dtypes

DTYPES = [d.name for d in dtypes.ALL]
REAL = [n for n in DTYPES if not n.startswith("complex")]
rng = np.random.default_rng(21)
X, Y, ROW, COLUMN = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(3, 1))
INTS = rng.integers(-5, 6, (3, 4))
SMALL = rng.uniform(-0.9, 0.9, (3, 4))
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, 2.5, -2.5, 0.5, 3.0])
COMPLEX = X + 1j * Y

UNARY = [
    "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "exp2", "sinc", "deg2rad", "rad2deg", "frac",
    "nan_to_num", "sgn", "signbit", "positive", "isposinf", "isneginf", "isreal", "logit", "arccos", "arcsin", "arctan",
    "arccosh", "arcsinh", "arctanh", "absolute", "negative", "fix", "angle", "real", "conj",
]  # fmt: skip
BINARY = [
    "atan2", "hypot", "logaddexp", "logaddexp2", "fmod", "fmax", "fmin", "copysign", "xlogy", "ldexp", "float_power",
    "greater", "greater_equal", "less", "less_equal", "not_equal", "arctan2", "heaviside", "nextafter",
]  # fmt: skip
INTEGER = ["gcd", "lcm", "bitwise_left_shift", "bitwise_right_shift", "fmod", "isin", "ldexp"]
NOT_DIFFERENTIABLE = ("heaviside", "nextafter")


def compare(function: Any, what: str, *pairs: Any) -> None:
    ours, our_error = attempt(function, torchlite, *(a for a, _ in pairs))
    theirs, their_error = attempt(function, torch, *(b for _, b in pairs))
    if their_error is not None:
        return
    assert our_error is None, (what, our_error)
    if isinstance(theirs, torch.Tensor) and dtype_name(theirs) == "complex32":  # exists in PyTorch only
        return
    assert_same(ours, theirs, tolerance=2e-2 if "16" in what else 2e-5, what=what)


@pytest.mark.parametrize("name", UNARY)
def test_one_tensor(name: str) -> None:
    function = lambda T, x: getattr(T, name)(x if name != "sgn" else x.detach())  # noqa: E731
    with np.errstate(all="ignore"):
        for array in (SMALL, SMALL.T, np.array(0.3), np.zeros((0, 3)), SMALL[:, ::2]):
            same(function, array)
        for dtype in REAL:
            compare(function, f"{name} {dtype}", tensors(INTS if dtype != "uint8" else np.abs(INTS), dtype=dtype))
        for dtype in ("float32", "float64"):
            compare(function, f"{name} special {dtype}", tensors(SPECIAL, dtype=dtype))


@pytest.mark.parametrize("name", BINARY)
def test_two_tensors(name: str) -> None:
    function = lambda T, x, y: getattr(T, name)(x, y)  # noqa: E731
    if name in NOT_DIFFERENTIABLE:
        function = lambda T, x, y: getattr(T, name)(x.detach(), y.detach())  # noqa: E731
    for a, b in ((X, Y), (X, ROW), (COLUMN, ROW), (np.array(0.7), X), (X, np.array(0.7)), (np.zeros((0, 4)), ROW)):
        same(function, np.abs(a), np.abs(b))
        if name not in ("xlogy", "float_power"):
            same(function, a, b)
    for dtype in ("float32", "float64"):
        compare(function, f"{name} special", tensors(SPECIAL[:, None], dtype=dtype), tensors(SPECIAL, dtype=dtype))
    for dtype in REAL:
        pair = [tensors(np.array(v), dtype=dtype) for v in ([1, 2, 3], [2, 3, 1])]
        compare(function, f"{name} {dtype}", *pair)


@pytest.mark.parametrize("name", INTEGER)
def test_integers(name: str) -> None:
    for dtype in ("uint8", "int8", "int16", "int32", "int64"):
        pair = [tensors(np.array(v), dtype=dtype) for v in ([12, 18, 7, 0], [8, 3, 1, 2])]
        compare(lambda T, x, y: getattr(T, name)(x, y), f"{name} {dtype}", *pair)
    compare(lambda T, x: (x << 2, x >> 1), "shifts", tensors(np.array([1, -8, 5])))


def test_frexp_and_replacements() -> None:
    same(lambda T, x: T.frexp(x), X)
    same(lambda T, x: T.nan_to_num(x, 1.0, 2.0, -3.0), SPECIAL)
    same(lambda T, x: T.logit(x, 0.1), np.abs(SMALL))
    same(lambda T, x, y, z: T.addcmul(x, y, z, value=0.5), X, ROW, COLUMN)
    same(lambda T, x, y, z: T.addcdiv(x, y, z, value=2), X, ROW, COLUMN)
    same(lambda T, x, y, z: T.lerp(x, y, z), X, ROW, COLUMN)
    same(lambda T, x, y: T.lerp(x, y, 0.3), X, ROW)
    same(lambda T, x: x.clone().asin_().arctan_().negative_(), SMALL)
    same(lambda T, x: x.frexp(), INTS)


COMPLEX_FUNCTIONS = {
    "mul": lambda T, z, w: z * w,
    "div": lambda T, z, w: z / w,
    "add_real": lambda T, z, w: z + w.real,
    "mul_real": lambda T, z, w: z * w.imag,
    "exp": lambda T, z, w: T.exp(z),
    "abs": lambda T, z, w: T.abs(z),
    "angle": lambda T, z, w: T.angle(z),
    "sgn": lambda T, z, w: T.sgn(z),
    "conj": lambda T, z, w: T.conj(z) * 1,
    "parts": lambda T, z, w: (T.real(z) * 2, T.imag(z) * 3),
    "matmul": lambda T, z, w: z @ w.mT,
    "adjoint": lambda T, z, w: z @ w.mH,
    "sum": lambda T, z, w: (z.sum(0), z.mean()),
    "square": lambda T, z, w: z.square() + z**2,
    "reciprocal": lambda T, z, w: z.reciprocal() + z.sqrt(),
    "sin": lambda T, z, w: z.sin() + w.cos() + z.tanh() + z.log(),
    "pairs": lambda T, z, w: T.view_as_real(z) * 2,
    "powers": lambda T, z, w: (z**w, z**w.real, z.real.abs() ** w, z**3, z**2.5, 2.5**z),
    "linear": lambda T, z, w: T.nn.functional.linear(z, w, w[:, 0]),
    **{
        name: lambda T, z, w, name=name: getattr(T, name)(z / 2)
        for name in (
            *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh", "tan", "sinc"),
            *("exp2", "expm1", "log1p", "log2", "log10", "rsqrt"),
        )
    },
}


@pytest.mark.parametrize("name", COMPLEX_FUNCTIONS)
def test_complex_values_and_gradients(name: str) -> None:
    def function(T: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        out = COMPLEX_FUNCTIONS[name](T, T.complex(a, b), T.complex(c, d))
        outs = out if isinstance(out, tuple) else (out,)
        return tuple(T.view_as_real(o) if o.is_complex() else o for o in outs)

    same(function, X, Y, Y + 1, X - 1)


def test_complex_construction() -> None:
    same(lambda T, x, y: T.view_as_real(T.polar(x, y)), np.abs(X), Y)
    same(lambda T, x: T.view_as_complex(x.detach()), rng.normal(size=(3, 2)))
    same(lambda T, x: T.view_as_complex(x), rng.normal(size=(3, 3)))
    same(lambda T, x: T.imag(x), X)
    for dtype in ("complex64", "complex128"):
        pair = tensors(COMPLEX, dtype=dtype)
        compare(lambda T, x: (T.is_complex(x), T.real(x), T.imag(x), T.isreal(x), x.H * 1), dtype, pair)
        compare(lambda T, x: (T.abs(x), T.angle(x), T.sgn(x)), dtype, pair)
    ours, _ = tensors(np.array([1 + 2j, 3 - 1j]))
    ours.real[0] = 5.0
    assert ours[0].item() == 5 + 2j
