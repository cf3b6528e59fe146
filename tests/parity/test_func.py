"""`torch.func` beside PyTorch's."""

import numpy as np
import pytest
from oracle import BOTH, assert_same, same

X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]])
Y = np.array([[1.5, 0.5, -2.0], [0.3, 1.25, 0.7]])


def cube(x):
    return (x**3).sum()


# The arguments require gradients, so these also compare gradients through the transforms.
CALLS = {
    "grad": lambda t, x, y: t.func.grad(lambda a, b: (a**2 * b).sum())(x, y),
    "grad by both": lambda t, x, y: t.func.grad(lambda a, b: (a**2 * b).sum(), argnums=(0, 1))(x, y),
    "grad detached": lambda t, x, y: t.func.grad(cube)(x.detach()),
    "grad read from outside": lambda t, x, y: t.func.grad(lambda a: (a**2 * y).sum())(x.detach()),
    "grad of grad": lambda t, x, y: t.func.grad(lambda a: t.func.grad(cube)(a).exp().sum())(x),
    "grad with aux": lambda t, x, y: t.func.grad(lambda a: (cube(a), {"y": a * 2}), has_aux=True)(x.detach()),
    "grad_and_value": lambda t, x, y: t.func.grad_and_value(cube)(x),
    "grad of a dict": lambda t, x, y: t.func.grad(lambda d: (d["x"] ** 2 * d["y"][0]).sum())({"x": x, "y": [y]}),
    "grad of nothing": lambda t, x, y: t.func.grad(lambda a, b: (b**2).sum())(x, y),
    "vjp": lambda t, x, y: (lambda out, pull: (out, pull(y)))(*t.func.vjp(lambda a: a.exp(), x)),
    "vjp of two": lambda t, x, y: t.func.vjp(lambda a, b: a * b, x, y)[1](y),
    "jvp": lambda t, x, y: t.func.jvp(lambda a, b: a.exp() * b, (x, y), (y, x)),
    "jvp detached": lambda t, x, y: t.func.jvp(lambda a: a.exp(), (x.detach(),), (y.detach(),)),
    "jacrev": lambda t, x, y: t.func.jacrev(lambda a: (a**2).sum(1))(x),
    "jacrev by both": lambda t, x, y: t.func.jacrev(lambda a, b: (a * b).sum(0), argnums=(0, 1))(x, y),
    "jacrev of a pair": lambda t, x, y: t.func.jacrev(lambda a: (a.sum(1), {"m": a.mean()}))(x.detach()),
    "jacfwd": lambda t, x, y: t.func.jacfwd(lambda a: (a**2).sum(1))(x.detach()),
    "hessian": lambda t, x, y: t.func.hessian(lambda a: (a**3 * y.detach()).sum())(x.detach()),
    "vmap": lambda t, x, y: t.vmap(lambda a, b: (a * b).sum())(x, y),
    "vmap of columns": lambda t, x, y: t.vmap(lambda a, b: a * b, in_dims=1, out_dims=1)(x, y),
    "vmap with one shared": lambda t, x, y: t.vmap(lambda a, b: a * b, in_dims=(0, None), out_dims=-1)(x, y),
    "vmap of a dict": lambda t, x, y: t.vmap(lambda d: {"s": d["x"] + d["y"]}, in_dims=({"x": 0, "y": 0},))(
        {"x": x, "y": y}
    ),
    "vmap of vmap": lambda t, x, y: t.vmap(t.vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(None, 0))(x, y),
    "vmap of grad": lambda t, x, y: t.vmap(t.func.grad(lambda a, b: (a**2 * b).sum()))(x, y),
    "vmap of two results": lambda t, x, y: t.vmap(lambda a: (a.sum(), a * 2), out_dims=(0, 1), chunk_size=1)(x),
    "per sample jacobian": lambda t, x, y: t.vmap(t.func.jacrev(lambda a: a**2))(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_same(name):
    same(CALLS[name], X, Y)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, x: t.func.grad(lambda a: a * 2)(x),
        lambda t, x: t.func.grad(cube, argnums=1)(x),
        lambda t, x: t.func.grad(cube, has_aux=True)(x),
        lambda t, x: t.func.vjp(lambda a: a * 2, x)[1](x[0]),
        lambda t, x: t.vmap(lambda a: a, in_dims=None)(x),
        lambda t, x: t.vmap(lambda a: a, in_dims=2)(x),
        lambda t, x: t.vmap(lambda a: a, in_dims=(0, 0))(x),
        lambda t, x: t.vmap(lambda a, b: a)(x, x[:1]),
        lambda t, x: t.vmap(lambda a: a + t.rand(3))(x),
        lambda t, x: t.vmap(lambda a: 1)(x),
    ],
)
def test_same_errors(call):
    same(call, X.astype(np.float32))


def test_functional_call():
    results = []
    for t in BOTH:
        model = t.nn.Sequential(t.nn.Linear(3, 2), t.nn.Tanh())
        weight, bias = t.tensor(X, requires_grad=True), t.tensor(Y[0, :2], requires_grad=True)
        state = {"0.weight": weight, "0.bias": bias}
        out = t.func.functional_call(model, state, t.tensor(Y))
        results.append(
            (
                out,
                t.autograd.grad(out.sum(), (weight, bias)),
                t.func.grad(lambda s, m=model, t=t: t.func.functional_call(m, s, (t.tensor(Y),)).sum())(state),
            )
        )
        assert model[0].weight is dict(model.named_parameters())["0.weight"]
        with pytest.raises(RuntimeError, match=r"(?i)unexpected"):
            t.func.functional_call(model, {"9.weight": weight}, t.tensor(Y), strict=True)
    assert_same(*results)


@pytest.mark.parametrize("t", BOTH, ids=["torchlite", "torch"])
def test_ensembles(t):
    models = [t.nn.Linear(3, 2) for _ in range(3)]
    params, buffers = t.func.stack_module_state(models)
    out = t.vmap(lambda p, b, x: t.func.functional_call(models[0], (p, b), (x,)), in_dims=(0, 0, None))(
        params, buffers, t.ones(4, 3)
    )
    assert buffers == {}
    assert params["weight"].requires_grad
    expected = t.stack([m(t.ones(4, 3)) for m in models])
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_parameters_as_a_vector():
    results = []
    for t in BOTH:
        model = t.nn.Linear(3, 2, dtype=t.float64) if t is BOTH[1] else t.nn.Linear(3, 2).double()
        t.nn.utils.vector_to_parameters(t.arange(8, dtype=t.float64), model.parameters())
        results.append((list(model.state_dict().values()), t.nn.utils.parameters_to_vector(model.parameters())))
    assert_same(*results)
