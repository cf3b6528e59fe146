"""float32 where numbers are large, small or far apart: as exact as float64 is, but for the last digits."""

from typing import Any

import numpy as np
import pytest

import torchlite
from torchlite.nn import functional as F

NEGATIVE = [-0.5, -10.0, -20.0, -50.0, -80.0]
SPREAD = [[0.0, 100.0, -5.0, 200.0], [3.0, 2.0, -1.0, 0.5]]
# Functions of a tensor, and what they are given.
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "elu": (F.elu, NEGATIVE),
    "selu": (F.selu, NEGATIVE),
    "celu": (lambda x: F.celu(x, 1.3), NEGATIVE),
    "log_ndtr": (torchlite.special.log_ndtr, [-1e7, -1e3, -90.0, -5.0, 0.0, 5.0]),
    "angle": (lambda x: torchlite.atan2(x[0], x[1]), [[1e-30, 1e30, -1e-25, 3.0], [-2e-30, 2e30, 1e-20, 0.0]]),
    "i1": (torchlite.special.i1, [1e-45, 1e-40, 1e-20, 0.5]),
    "i1e": (torchlite.special.i1e, [1e-45, 1e-40, 1e-20, 0.5]),
    "lerp": (lambda x: torchlite.lerp(x[0], x[1], 1.0), [[1e8, -3e10, 2.0], [1.0, 0.1, 5.0]]),
    "lerp, weights": (lambda x: torchlite.lerp(x[0], x[1], torchlite.ones_like(x[0])), [[1e8, 2.0], [1.0, 5.0]]),
    "logits, 1": (lambda x: F.binary_cross_entropy_with_logits(x, x * 0 + 1, reduction="none"), [10.0, 30.0, -30.0]),
    "logits, 0": (lambda x: F.binary_cross_entropy_with_logits(x, x * 0, reduction="none"), [10.0, -10.0, -30.0]),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), SPREAD),
    "logcumsumexp, farther": (lambda x: x.logcumsumexp(1), [[0.0, 2000.0, -5.0, 3000.0], [-np.inf, 2.0, -1.0, 900.0]]),
    "cumprod": (lambda x: x.cumprod(0), [1e30, 1e20, 1e-40, 2.0]),
    "quantile": (lambda x: x.quantile(0.3, 1), [[-np.inf, 1.0, 2.0, 3.0, 4.0, 5.0]]),
}
WITHOUT_GRADIENTS = ("cumprod", "quantile", "logits, 1", "logits, 0")  # which are infinite, or a difference of two


@pytest.mark.parametrize("name", FUNCTIONS)
@np.errstate(over="ignore")
def test_values_and_gradients(name: str) -> None:
    function, given = FUNCTIONS[name]
    results = []
    for dtype in (torchlite.float64, torchlite.float32):
        x = torchlite.tensor(given).to(dtype).requires_grad_(name not in WITHOUT_GRADIENTS)
        out = function(x)
        if name not in WITHOUT_GRADIENTS:
            out.backward(torchlite.arange(1, out.numel() + 1).reshape(out.shape).to(dtype))
        results.append([out.detach().numpy().astype("f4"), *([] if x.grad is None else [x.grad.numpy().astype("f4")])])
    for exact, found in zip(*results, strict=True):
        assert not np.isnan(found).any()
        np.testing.assert_allclose(found, exact, rtol=4e-6)


def test_a_long_sum_is_not_rounded_at_every_step() -> None:
    x = np.random.default_rng(0).random(100_000).astype(np.float32)
    np.testing.assert_allclose(torchlite.from_numpy(x).cumsum(0).numpy(), np.cumsum(x, dtype=np.float64), rtol=1e-7)
    factors = torchlite.from_numpy(1 + (x - 0.5) * 1e-2)
    np.testing.assert_allclose(factors.cumprod(0).numpy(), factors.double().cumprod(0).numpy(), rtol=1e-7)


def test_a_quotient_that_is_cut_off_has_no_slope_where_there_is_no_quotient() -> None:
    x, y = (torchlite.tensor(v, requires_grad=True) for v in ([0.0, 1.0, 5.0], [0.0, 0.0, 2.0]))
    torchlite.div(x, y, rounding_mode="trunc").backward(torchlite.ones(3))
    assert x.grad.tolist() == y.grad.tolist() == [0, 0, 0]


def test_what_lies_on_a_limit_has_the_whole_gradient() -> None:
    x, low, high = (torchlite.tensor(v, requires_grad=True) for v in ([1.0, 3.0, 2.0], [1.0, 0, 0], [5.0, 3.0, 1.0]))
    x.clamp(low, high).backward(torchlite.ones(3))
    assert [x.grad.tolist(), low.grad.tolist(), high.grad.tolist()] == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_the_angle_of_the_origin_has_no_slope() -> None:
    x = torchlite.zeros(2, requires_grad=True)
    torchlite.atan2(x[0], x[1]).backward()
    assert x.grad.tolist() == [0, 0]
