"""Operators on all examples of a vmap at once give what they give one by one."""

import itertools

import numpy as np
import pytest

import torchlite as torch
import torchlite.ops
from torchlite import ir
from torchlite._tensor import wrap
from torchlite.batching import rules, vmap

X = torch.tensor(np.random.default_rng(0).normal(size=(4, 3, 5)))


@pytest.fixture
def at_once(monkeypatch):
    """Going one by one is a failure."""
    monkeypatch.setattr(vmap._Call, "result", vmap._Call._at_once)


def examples(array, rng, n=3):
    """Several inputs like one of the samples, which stay in the operator's domain."""
    if array.dtype.kind in "fc":
        scale = rng.uniform(0.9, 1.1, (n, *(1,) * array.ndim))
        return np.asarray(array * scale, array.dtype)
    return np.stack([array] * n)


@pytest.mark.parametrize("name", sorted(op.name for op in ir.REGISTRY.values() if op.samples))
def test_every_operator(name):
    op, rng = ir.REGISTRY[name], np.random.default_rng(0)
    integers = name.startswith("bitwise") or name in ("gcd", "lcm")
    for sample in op.samples(np.random.default_rng(0)):
        arrays = [np.asarray(a).astype(np.int64) if integers else np.asarray(a) for a in sample.arrays]
        batches = [examples(a, rng) for a in arrays]
        for mapped in (
            itertools.product((True, False), repeat=len(arrays)) if len(arrays) < 4 else [[True] * len(arrays)]
        ):
            if not any(mapped):
                continue
            values = [wrap(b if m else a) for a, b, m in zip(arrays, batches, mapped, strict=True)]
            found, _ = rules.run(op, values, mapped, sample.params, 3)
            expected = rules.by_slices(op, values, mapped, sample.params, 3)
            pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
            for a, b in pairs:
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x @ x.T).softmax(0),
        lambda x: x[0] @ x[1:].T + x[:, 1].sum(),
        lambda x: x[torch.tensor([0, 2, 2]), torch.tensor([1, 0, 3])],
        lambda x: x[:, torch.tensor([[0, 2], [1, 1]])],
        lambda x: torch.nn.functional.layer_norm(x, (5,)).relu().mean(),
        lambda x: torch.einsum("ij,kj->ik", x, x).diagonal(),
        lambda x: torch.cat([x, x.flip(1)], 1).reshape(5, 6).cumsum(-1),
        lambda x: torch.linalg.inv(x @ x.T + torch.eye(3)),
        lambda x: x.gather(1, x.argsort(1)[:, :2]).amax(),
        lambda x: torch.where(x > 0, x, 2.0 * x).abs().log1p().sum(1),
        lambda x: torch.nn.functional.conv1d(x[None], x[:, None, :3], groups=3),
        lambda x: torch.nn.functional.max_pool2d(x[None, None], 2),
        lambda x: torch.nn.functional.pad(x, (1, 2)).expand(2, 3, 8).permute(2, 0, 1).std(),
        lambda x: torch.fft.rfft(x).abs().sum(),
        lambda x: torch.zeros(2, 3, dtype=torch.float64),
    ],
)
def test_functions_and_their_gradients(function, at_once):
    def slope(x):
        return torch.func.grad(lambda x: (function(x) ** 2).sum())(x)

    for f in (function, slope):
        expected = torch.stack([f(x) for x in X])
        for got in (torch.vmap(f)(X), torch.vmap(f, in_dims=1)(X.transpose(0, 1)), torch.vmap(f, chunk_size=3)(X)):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)
    # a gradient from outside
    x = X.clone().requires_grad_()
    (torch.vmap(function)(x) ** 2).sum().backward() if torch.vmap(function)(x).requires_grad else x.sum().backward()
    y = X.clone().requires_grad_()
    out = torch.stack([function(z) for z in y])
    (out**2).sum().backward() if out.requires_grad else y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_levels_nest(at_once):
    def f(x, y):
        return torch.func.grad(lambda x: (x * y).sin().sum())(x)

    rows = X[0]
    got = torch.vmap(torch.vmap(f, in_dims=(None, 0)), in_dims=(0, None))(rows, X[1])
    expected = torch.stack([torch.stack([f(x, y) for y in X[1]]) for x in rows])
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-12)
    outer = torch.func.grad(
        lambda w: torch.vmap(lambda x: torch.func.grad(lambda x: (w * x).tanh().sum())(x))(rows).sum()
    )
    expected = torch.stack([1 - (w * x).tanh() ** 2 for w, x in itertools.product([X[1, 0]], rows)])
    w = X[1, 0].clone().requires_grad_()
    (w * (1 - (w * rows).tanh() ** 2)).sum().backward()
    np.testing.assert_allclose(outer(X[1, 0]).numpy(), w.grad.numpy(), rtol=1e-9)


def test_gradients_of_each_example_of_a_network(at_once):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(18, 4))
    params = {name: p.detach() for name, p in model.named_parameters()}
    x, y = torch.randn(6, 1, 5, 5), torch.tensor([0, 1, 2, 3, 0, -100])

    def loss(params, x, y):
        out = torch.func.functional_call(model, params, (x[None],))
        return torch.nn.functional.cross_entropy(out, y[None], reduction="sum")

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
    for i in range(6):
        one = torch.func.grad(loss)(params, x[i], y[i])
        for name in params:
            np.testing.assert_allclose(each[name][i].numpy(), one[name].numpy(), rtol=1e-4, atol=1e-6)


def test_an_ensemble_of_models(at_once):
    models = [
        torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double() for _ in range(3)
    ]
    params, buffers = torch.func.stack_module_state(models)

    def call(params, buffers, x):
        return torch.func.functional_call(models[0], (params, buffers), (x,))

    got = torch.vmap(call, in_dims=(0, 0, None))(params, buffers, X[0])
    expected = torch.stack([model(X[0]) for model in models])
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    got.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(params["0.weight"].grad[1].numpy(), models[1][0].weight.grad.numpy(), rtol=1e-9)


def test_dropout_of_its_own_for_each_example(at_once):
    x = torch.ones(4, 50)
    for randomness, equal in (("different", False), ("same", True)):
        torch.manual_seed(0)
        out = torch.vmap(lambda x: torch.nn.functional.dropout(x, 0.5), randomness=randomness)(x)
        assert torch.equal(out[0], out[1]) == equal
        assert set(out.reshape(-1).tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x.sum().item(),
        lambda x: x.clone().add_(1),
        lambda x: torch.from_numpy(np.sort(x.numpy())),
        lambda x: x[x > 0].sum(),
        lambda x: x if x.sum() > 0 else -x,
    ],
)
def test_what_reads_numbers_goes_one_by_one(function):
    expected = torch.stack([function(x) for x in X])
    np.testing.assert_allclose(torch.vmap(function)(X).numpy(), expected.numpy())


def test_points_made_inside_are_numbers_again_afterwards(at_once):
    w = torch.ones(5, dtype=torch.float64)

    def f(x):
        point = w.requires_grad_()
        return torch.autograd.grad((point * x).sum(), point)[0]

    assert torch.vmap(f)(X[:, 0]).tolist() == X[:, 0].tolist()
    assert w.tolist() == [1.0] * 5
    assert not torchlite.batching.level.levels.stack


def test_functions_of_the_user():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            return g * 3 * ctx.saved_tensors[0] ** 2

    seen = []

    class Ruled(Cube):
        @staticmethod
        def vmap(info, in_dims, x):
            seen.append((info.batch_size, in_dims))
            return Ruled.apply(x.movedim(in_dims[0], 0)), 0

    x = X[:, 0].clone().requires_grad_()
    for cube in (Cube.apply, Ruled.apply):
        np.testing.assert_allclose(torch.vmap(cube)(X).numpy(), X.numpy() ** 3)
        slope = torch.func.grad(lambda x, cube=cube: cube(x).sum())
        np.testing.assert_allclose(torch.vmap(slope)(X).numpy(), 3 * X.numpy() ** 2)
        x.grad = None
        torch.vmap(cube)(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), 3 * X[:, 0].numpy() ** 2)
    assert seen[0] == (4, (0,))
