"""The kernels of attention against the operators: odd sizes, causal or not, views as projections give them."""

import inspect

import numpy as np
import pytest

import torchlite.ops  # noqa: F401 - registers the operators
from torchlite import ir
from torchlite.backends.native import kernel

SIZES = [
    ((2, 3), 5, 7, 4, 3),
    ((), 1, 1, 1, 1),
    ((4,), 40, 33, 32, 64),
    ((2, 1, 3), 17, 50, 9, 40),
    ((1, 2), 70, 20, 8, 8),
]


def draw(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def check(op, *arrays, **params):
    fast = kernel(f"attention.{op}")
    if fast is None:
        pytest.skip("kernels are switched off or can't be compiled")
    got, expected = fast(*arrays, **params), inspect.unwrap(ir.REGISTRY[op].run)(np, *arrays, **params)
    for a, b in zip(*(x if type(x) is tuple else (x,) for x in (got, expected)), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("lead", "queries", "keys", "width", "values"), SIZES)
def test_attention_and_its_gradient(lead, queries, keys, width, values, causal):
    q, k, v = draw(*lead, queries, width), draw(*lead, keys, width, seed=1) * 2, draw(*lead, keys, values, seed=2)
    params = {"causal": causal, "scale": width**-0.5}
    check("attention", q, k, v, **params)
    check("attention_grad", draw(*lead, queries, values, seed=3), q, k, v, **params)


@pytest.mark.parametrize(("lead", "queries", "keys", "width", "values"), SIZES)
def test_masks_are_added_and_queries_without_keys_give_zero(lead, queries, keys, width, values):
    q, k, v = draw(*lead, queries, width), draw(*lead, keys, width, seed=1), draw(*lead, keys, values, seed=2)
    g, params = draw(*lead, queries, values, seed=3), {"causal": False, "scale": width**-0.5}
    hidden = np.where(draw(queries, keys, seed=4) < 0.3, np.float32(-np.inf), draw(queries, keys, seed=5))
    hidden[queries // 2] = -np.inf
    mask = np.broadcast_to(hidden, (*lead, queries, keys))
    check("attention", q, k, v, mask, **params)
    check("attention_grad", g, q, k, v, mask, **params)
    fast = kernel("attention.attention")(q, k, v, mask, **params)
    assert not fast[..., queries // 2, :].any()


@pytest.mark.parametrize("causal", [False, True])
def test_nan_stays_with_its_query_and_large_scores_do_not_overflow(causal):
    q, k, v = draw(2, 70, 16) * 100, draw(2, 70, 16, seed=1) * 100, draw(2, 70, 16, seed=2)
    check("attention", q, k, v, causal=causal, scale=1.0)
    q[1, 66, 3] = np.nan
    fast = kernel("attention.attention")(q, k, v, causal=causal, scale=1.0)
    assert np.isnan(fast).any(-1).tolist() == np.isnan(q).any(-1).tolist()


def test_views_of_one_projection_and_expanded_cotangents():
    projected = draw(2, 33, 3 * 4 * 8)
    q, k, v = (part.reshape(2, 33, 4, 8).transpose(0, 2, 1, 3) for part in np.split(projected, 3, -1))
    params = {"causal": True, "scale": 0.3}
    check("attention", q, k, v, **params)
    check("attention_grad", np.broadcast_to(np.float32(0.5), q.shape), q, k, v, **params)
    check("attention_grad", draw(2, 33, 4, 8).transpose(0, 2, 1, 3)[..., ::-1], q, k, v, **params)


def test_what_kernels_do_not_take():
    fast = kernel("attention.attention")
    if fast is not None:
        wide = [draw(2, 3, 4).astype(np.float64)] * 3
        assert fast(*wide, causal=False, scale=1.0) is None
        assert fast(draw(2, 3, 4), draw(1, 3, 4), draw(1, 3, 4), causal=False, scale=1.0) is None
