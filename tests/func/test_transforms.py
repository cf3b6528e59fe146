"""What can be said of `torchlite.func` without PyTorch."""

import numpy as np
import pytest

import torchlite as torch
from torchlite import func

X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


def test_orders_of_derivatives_nest():
    f = torch.sin
    for expected in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)):
        f = func.grad(f)
        np.testing.assert_allclose(torch.vmap(f)(X).numpy(), expected(X.numpy()), rtol=1e-12)


def test_jvp_and_vjp_are_adjoint():
    def f(x):
        return torch.stack([x[0] * x[1] * x[2], x.exp().sum()])

    v, u = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64), torch.tensor([0.3, -2.0], dtype=torch.float64)
    _, pushed = func.jvp(f, (X,), (v,))
    _, pull = func.vjp(f, X)
    np.testing.assert_allclose((pushed * u).sum().item(), (pull(u)[0] * v).sum().item(), rtol=1e-12)
    np.testing.assert_allclose(func.jacrev(f)(X).numpy() @ v.numpy(), pushed.numpy(), rtol=1e-12)


def test_results_have_a_history_only_where_something_outside_has():
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert not func.grad(lambda x: (x**3).sum())(X).requires_grad
    assert func.grad(lambda x: (x**3 * w).sum())(X).requires_grad
    with torch.no_grad():
        inside = func.grad(lambda x: (x**3 * w).sum())(X)
    assert not inside.requires_grad
    np.testing.assert_allclose(inside.numpy(), 3 * X.numpy() ** 2)


def test_vmap_explains_what_does_not_fit():
    with pytest.raises(ValueError, match=r"same size in the mapped dimension, got \[2, 3\]"):
        torch.vmap(torch.add)(X, X[:2])
    with pytest.raises(ValueError, match="does not fit the structure of Tensor"):
        torch.vmap(torch.sin, in_dims=((0, 0),))(X)
    with pytest.raises(ValueError, match="Tensors only, got float"):
        torch.vmap(lambda x: 1.0)(X)


def test_functional_call_leaves_the_module_as_it_was_after_an_error():
    layer = torch.nn.Linear(3, 2)
    weight = layer.weight
    with pytest.raises(RuntimeError):
        func.functional_call(layer, {"weight": torch.ones(2, 3)}, torch.ones(5))
    assert layer.weight is weight


@pytest.mark.parametrize("draw", [lambda: torch.rand(3), lambda: torch.randint(1000, (3,)), lambda: torch.randperm(9)])
def test_randomness_of_vmap(draw):
    torch.manual_seed(0)
    same = torch.vmap(lambda a: draw(), randomness="same")(X)
    different = torch.vmap(lambda a: draw(), randomness="different")(X)
    assert torch.equal(same[0], same[1])
    assert not torch.equal(different[0], different[1])
