"""float16 and bfloat16: the bits that PyTorch gives where numbers or several steps of arithmetic are rounded once, or not.

PyTorch's kernels compute most such operators in float32 from beginning to end, but round some numbers first. Arrays fill
its vectors, because it rounds more often in the elements that are left over.
"""

from typing import Any

import numpy as np
import pytest
from oracle import BOTH, attempt, tensors

LENGTH = 512
rng = np.random.default_rng(3)
POSITIVE = [rng.uniform(0.1, 3, LENGTH).astype(np.float32) for _ in range(3)]
ANY = [x * rng.choice(np.float32([-1, 1]), LENGTH) for x in POSITIVE]

# Functions of a library and up to three tensors. Those of the first group keep a number in float32.
NUMBERS = {
    "times": lambda T, x: x * 0.1,
    "times, number first": lambda T, x: 0.1 * x,
    "times, in place": lambda T, x: x.clone().mul_(0.1),
    "times an integer": lambda T, x: x * 1001,
    "times a scalar": lambda T, x: x * T.tensor(0.1),
    "times a scalar of float64": lambda T, x: x * T.tensor(0.1, dtype=T.float64),
    "divided": lambda T, x: x / 1.7,
    "divided, in place": lambda T, x: x.clone().div_(1.7),
    "divided by a scalar": lambda T, x: x / T.tensor(1.7),
    "degrees": lambda T, x: T.rad2deg(x),
}
ROUNDED_FIRST = {
    "plus": lambda T, x: x + 0.1,
    "plus an integer": lambda T, x: x + 1001,
    "minus": lambda T, x: x - 0.1,
    "from a number": lambda T, x: 0.1 - x,
    "plus a scalar": lambda T, x: x + T.tensor(0.1),
    "clamp": lambda T, x: x.clamp(-0.1, 0.3),
    "where": lambda T, x: T.where(x > 0, x, 0.1),
    "fill": lambda T, x: x.masked_fill(x > 0, 0.1),
}
WITHOUT_GRADIENTS = {
    "floor": lambda T, x: x // 0.1,
    "floor, in place": lambda T, x: x.clone().floor_divide_(0.1),
    "truncated": lambda T, x: T.div(x, 0.1, rounding_mode="trunc"),
    "remainder": lambda T, x: x % 0.1,
    "fmod": lambda T, x: T.fmod(x, 0.1),
    "from a number over": lambda T, x: 1.7 / x,
    "less": lambda T, x: T.full_like(x, 0.1) < 0.1,
    "equal": lambda T, x: T.full_like(x, 0.1) == T.tensor(0.1),
    "alpha": lambda T, x, y: T.add(x, y, alpha=0.1),
    "alpha, minus": lambda T, x, y: x.sub(y, alpha=0.1),
    "alpha, from": lambda T, x, y: T.rsub(x, y, alpha=0.1),
    "alpha, in place": lambda T, x, y: x.clone().add_(y, alpha=0.1),
    "alpha, in place, minus": lambda T, x, y: x.clone().sub_(y, alpha=0.1),
    "alpha of a number": lambda T, x: T.add(x, 1.3, alpha=1.7),
}
FUNCTIONS = {**NUMBERS, **ROUNDED_FIRST, **WITHOUT_GRADIENTS}


def bits(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x.detach().float().numpy())


def count(function: Any) -> int:
    return function.__code__.co_argcount - 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits(name: str, dtype: str) -> None:
    function = FUNCTIONS[name]
    differentiable = name not in WITHOUT_GRADIENTS
    pairs = [tensors(x, dtype=dtype) for x in ANY[: count(function)]]
    for pair in pairs:
        for x in pair:
            x.requires_grad_(differentiable)
    (ours, theirs), errors = zip(
        *(attempt(function, T, *(p[i] for p in pairs)) for i, T in enumerate(BOTH)), strict=True
    )
    assert errors == (None, None)
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_array_equal(bits(ours), bits(theirs))
    if not differentiable:
        return
    for result, g in zip((ours, theirs), tensors(POSITIVE[2] - 1.5, dtype=dtype), strict=True):
        result.backward(g)
    for mine, other in pairs:
        np.testing.assert_array_equal(bits(mine.grad), bits(other.grad))
