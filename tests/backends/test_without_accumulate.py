"""What CuPy has no accumulation or reduction for, against NumPy's own."""

from types import SimpleNamespace

import numpy as np
import pytest

from torchlite import backends
from torchlite.backends import determinism

ELSEWHERE = SimpleNamespace(**vars(np))  # an array module that is not NumPy


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("shape", [(1, 3), (7, 3), (8, 2), (0, 2)])
def test_running_extremes(shape, largest):
    x = np.random.default_rng(0).normal(size=shape)
    if x.size > 6:
        x[3, 1] = np.nan
    for axis in (0, 1):
        expected = backends.running_extreme(np, x, axis, largest=largest)
        np.testing.assert_array_equal(backends.running_extreme(ELSEWHERE, x, axis, largest=largest), expected)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2), (2, 0)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_sums_of_bits(axes, keepdims):
    x = np.random.default_rng(0).integers(0, 2**63, (5, 2, 3)).astype(np.uint64)
    expected = backends.xor_sum(np, x, axes, keepdims=keepdims)
    np.testing.assert_array_equal(backends.xor_sum(ELSEWHERE, x, axes, keepdims=keepdims), expected)


def test_what_is_not_deterministic_warns_or_raises_where_that_is_asked_for():
    determinism.not_deterministic("nothing")
    try:
        determinism.set_deterministic_debug_mode("warn")
        with pytest.warns(UserWarning, match="adding"):
            determinism.not_deterministic("adding")
        determinism.set_deterministic_debug_mode(2)
        with pytest.raises(RuntimeError, match="adding"):
            determinism.not_deterministic("adding")
    finally:
        determinism.set_deterministic_debug_mode(0)
