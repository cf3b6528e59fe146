"""Clipping the norm of many gradients by a kernel, against one gradient after the other."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.native import kernel
from torchlite.nn.utils import clip_grad, clip_grad_norm_

SHAPES = [(300, 150), (7,), (), (16_385,), (0, 3)]


@pytest.fixture(autouse=True)
def kernels():
    if kernel("gradients.norm") is None:
        pytest.skip("kernels are switched off or can't be compiled")


def parameters(scale=1.0):
    rng = np.random.default_rng(0)
    params = [torch.zeros(shape).requires_grad_() for shape in SHAPES]
    for p in params:
        p.grad = torch.from_numpy(np.asarray(rng.normal(size=p.shape) * scale, np.float32))
    return params


@pytest.mark.parametrize("max_norm", [1.0, 1e9])
@pytest.mark.parametrize("scale", [1.0, 1e30, np.nan, np.inf])
def test_clipping_is_that_of_each_gradient(max_norm, scale, monkeypatch):
    fast, plain = parameters(scale), parameters(scale)
    norm = clip_grad_norm_(fast, max_norm)
    assert norm.dtype == torch.float32
    exact = np.sqrt(sum((p.grad.numpy().astype(np.float64) ** 2).sum() for p in plain))
    np.testing.assert_allclose(norm.numpy(), exact, rtol=1e-6)
    monkeypatch.setattr(clip_grad, "LARGE", 1 << 40)
    clip_grad.clip_grads_with_norm_(plain, max_norm, norm)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


def test_the_kernels_are_taken_and_backward_notices(monkeypatch):
    called = []
    monkeypatch.setattr(clip_grad, "kernel", lambda name: called.append(name) or kernel(name))
    params = parameters()
    weight = torch.ones(300, 150, requires_grad=True)
    product = (weight * params[0].grad).sum()
    clip_grad_norm_(params, 1.0)
    assert called == ["gradients.norm", "gradients.scale"]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_a_gradient_that_two_parameters_share_is_scaled_twice():
    params = parameters()
    params.append(torch.zeros(300, 150).requires_grad_())
    params[-1].grad = params[0].grad
    before = params[0].grad.numpy().copy()
    factor = 1.0 / clip_grad_norm_(params, 1.0).item()
    np.testing.assert_allclose(params[0].grad.numpy(), before * factor**2, rtol=1e-5)


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros((4, 6), np.float32)[:, ::2], np.zeros(4, np.float16)])
def test_what_the_kernels_do_not_take(array):
    assert kernel("gradients.norm")([array]) is None
    assert not kernel("gradients.scale")([array], 0.5)
