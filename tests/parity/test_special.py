"""torchlite.special against torch.special."""

import math

import numpy as np
import pytest
from oracle import same

import torchlite

rng = np.random.default_rng(71)
X = rng.uniform(0.05, 0.95, (3, 4))


@pytest.mark.parametrize("name", ["erf", "erfc", "erfinv", "entr", "ndtr", "ndtri", "expit", "logit", "sinc", "exp2"])
def test_functions_of_one_tensor(name: str) -> None:
    for array in (X, X.T, np.array(0.4), np.zeros((0, 3))):
        same(lambda T, x: getattr(T.special, name)(x), array)
    same(lambda T, x: getattr(T.special, name)(x), X.astype(np.float32), tolerance=2e-6)


@pytest.mark.parametrize("name", ["erfc", "erfinv", "digamma"])
def test_wide_ranges(name: str) -> None:
    points = {
        "erfc": np.linspace(-6, 25, 301),
        "erfinv": np.concatenate([np.linspace(-1, 1, 301), [1 - 1e-9, 1e-300, 2.0, np.nan]]),
        "digamma": np.concatenate([np.linspace(-5.3, 30, 301), [0.0, -0.0, -1.0, 1e6, np.nan]]),
    }[name]
    same(lambda T, x: getattr(T, name)(x.detach()), points, tolerance=1e-11)


def test_two_tensors() -> None:
    same(lambda T, x, y: (T.special.xlogy(x, y), T.special.xlog1py(x, y)), X, X[::-1].copy())


def test_the_inverse_error_function_keeps_its_digits_near_one() -> None:
    # PyTorch's has four of them here.
    y = 1 - 1e-15
    x = torchlite.special.erfinv(torchlite.tensor(y, dtype=torchlite.float64)).item()
    assert abs(math.erfc(x) / (1 - y) - 1) < 1e-12
