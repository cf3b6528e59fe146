"""Parametrized weights against PyTorch's."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, assert_same, attempt, torch
from scenarios import Scenarios, assert_the_same

import torchlite

scenario = Scenarios()


def numbers(T: Any, *shape: int, seed: int = 0) -> Any:
    return T.tensor(np.random.default_rng(seed).normal(size=shape))


def linear(T: Any, n: int = 3, m: int = 3) -> Any:
    layer = T.nn.Linear(n, m).double()
    layer.load_state_dict({"weight": numbers(T, m, n), "bias": numbers(T, m, seed=1)})
    return layer


def functions(T: Any) -> dict[str, Any]:
    class Symmetric(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x.triu() + x.triu(1).mT

        def right_inverse(self, x: Any) -> Any:
            return x.triu()

    class Scaled(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.scale = T.nn.Parameter(T.tensor(2.0, dtype=T.float64))

        def forward(self, x: Any) -> Any:
            return x * self.scale

        def right_inverse(self, x: Any) -> Any:
            return x / self.scale

    class OneWay(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x.tanh()

    class LowRank(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, u: Any, v: Any) -> Any:
            return u @ v

        def right_inverse(self, x: Any) -> Any:
            return x[:, :1].clone(), x[:1].clone()

    class Shorter(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x[1:]

    class Nothing(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return None

        def right_inverse(self, x: Any) -> Any:
            return x

    class Broken(Symmetric):
        def right_inverse(self, x: Any) -> Any:
            return 3

    class Unwilling(Symmetric):
        def right_inverse(self, x: Any) -> Any:
            raise NotImplementedError

    class Coarse(Symmetric):
        def right_inverse(self, x: Any) -> Any:
            return x.float()

    return {cls.__name__: cls for cls in
            (Symmetric, Scaled, OneWay, LowRank, Shorter, Nothing, Broken, Unwilling, Coarse)}  # fmt: skip


def register(T: Any, layer: Any, *names: str, tensor: str = "weight", unsafe: bool = False) -> Any:
    for name in names:
        T.nn.utils.parametrize.register_parametrization(layer, tensor, functions(T)[name](), unsafe=unsafe)
    return layer


def seen(layer: Any) -> list[Any]:
    return [
        type(layer).__name__, repr(layer), dict(layer.state_dict()), [n for n, _ in layer.named_parameters()],
        layer.weight, [n for n, _ in layer.named_buffers()],
    ]  # fmt: skip


@scenario
def one(T: Any) -> Any:
    return seen(register(T, linear(T), "Symmetric"))


@scenario
def several(T: Any) -> Any:
    layer = register(T, linear(T), "Symmetric", "Scaled", "OneWay")
    layer(numbers(T, 2, 3)).sum().backward()
    return seen(layer), {n: p.grad for n, p in layer.named_parameters()}


@scenario
def originals(T: Any) -> Any:
    layer = register(T, linear(T), "LowRank", unsafe=True)
    layer(numbers(T, 2, 3)).sum().backward()
    layer.weight = T.ones(3, 3, dtype=T.float64)
    return seen(layer), {n: p.grad for n, p in layer.named_parameters()}


@scenario
def a_buffer(T: Any) -> Any:
    norm = register(T, T.nn.BatchNorm1d(2).double(), "Scaled", tensor="running_mean")
    return list(norm.state_dict()), [n for n, _ in norm.named_buffers()], norm.running_mean


@scenario
def another_shape(T: Any) -> Any:
    return register(T, linear(T), "Shorter", unsafe=True).weight


@scenario
def assigning(T: Any) -> Any:
    layer = register(T, linear(T), "Symmetric", "Scaled")
    before = layer.parametrizations.weight.original
    layer.weight = numbers(T, 3, 3, seed=4)
    return seen(layer), layer.parametrizations.weight.original is before


@scenario
def unwilling(T: Any) -> Any:
    return seen(register(T, linear(T), "Unwilling"))


@scenario
def states_go_across(T: Any) -> Any:
    first, second = (register(T, linear(T), "Symmetric") for _ in range(2))
    first.weight = numbers(T, 3, 3, seed=4)
    second.load_state_dict(first.state_dict())
    return second.weight


@scenario
def removing(T: Any) -> Any:
    kept, back, partly = (register(T, linear(T), "Symmetric", "Scaled") for _ in range(3))
    register(T, partly, "Scaled", tensor="bias")
    remove = T.nn.utils.parametrize.remove_parametrizations
    original = kept.parametrizations.weight.original
    return (
        seen(remove(kept, "weight")), seen(remove(back, "weight", leave_parametrized=False)),
        seen(remove(partly, "bias")), kept.weight is original, type(kept) is T.nn.Linear,
    )  # fmt: skip


@scenario
def removing_several_originals(T: Any) -> Any:
    layer = register(T, linear(T), "LowRank", unsafe=True)
    return seen(T.nn.utils.parametrize.remove_parametrizations(layer, "weight"))


@scenario
def caching(T: Any) -> Any:
    parametrize = T.nn.utils.parametrize
    layer = register(T, linear(T), "Symmetric")
    apart = layer.weight is layer.weight
    with parametrize.cached():
        with parametrize.cached():
            first = layer.weight
        return apart, first is layer.weight


@scenario
def asking(T: Any) -> Any:
    parametrize = T.nn.utils.parametrize
    layer = linear(T)
    before = parametrize.is_parametrized(layer), parametrize.type_before_parametrizations(layer) is T.nn.Linear
    register(T, layer, "Symmetric")
    return (
        before, parametrize.is_parametrized(layer), parametrize.is_parametrized(layer, "weight"),
        parametrize.is_parametrized(layer, "bias"), parametrize.type_before_parametrizations(layer) is T.nn.Linear,
        isinstance(layer, T.nn.Linear),
    )  # fmt: skip


@scenario
def transferring(T: Any) -> Any:
    source, target = register(T, linear(T), "Symmetric", "Scaled"), linear(T)
    register(T, source, "Scaled", tensor="bias")
    T.nn.utils.parametrize.transfer_parametrizations_and_params(source, target, "weight")
    shared = target.parametrizations.weight.original is source.parametrizations.weight.original
    whole = T.nn.utils.parametrize.transfer_parametrizations_and_params(source, linear(T))
    return shared, seen(target), seen(whole)


@scenario
def copies(T: Any) -> Any:
    layer = register(T, linear(T), "Symmetric")
    copied = copy.deepcopy(layer)
    layer.weight = numbers(T, 3, 3, seed=4)
    return seen(copied), seen(layer)


@scenario
def modes(T: Any) -> Any:
    layer = register(T, linear(T).eval(), "Symmetric")
    return [m.training for m in layer.modules()], [m.training for m in layer.train().modules()]


def refused(name: str, function: Any) -> None:
    scenario.refused(name, lambda T: function(T, T.nn.utils.parametrize))


refused("name", lambda T, p: register(T, linear(T), "Symmetric", tensor="other"))
refused("shape", lambda T, p: register(T, linear(T), "Shorter"))
refused("nothing", lambda T, p: register(T, linear(T), "Nothing"))
refused("second shape", lambda T, p: register(T, linear(T), "Symmetric", "Shorter"))
refused("second nothing", lambda T, p: register(T, linear(T), "Symmetric", "Nothing"))
refused("inverse", lambda T, p: register(T, linear(T), "Broken"))
refused("second inverse", lambda T, p: register(T, linear(T), "Symmetric", "Broken"))
refused("dtype of the inverse", lambda T, p: register(T, linear(T), "Coarse"))
refused("second dtype of the inverse", lambda T, p: register(T, linear(T), "Symmetric", "Coarse"))
refused("assigning one way", lambda T, p: setattr(register(T, linear(T), "OneWay"), "weight", T.ones(3, 3)))
refused("parameter in its place", lambda T, p: setattr(
    register(T, linear(T), "Symmetric"), "weight", T.nn.Parameter(T.ones(3, 3))))  # fmt: skip
refused("no functions", lambda T, p: p.ParametrizationList([], T.ones(1)))
refused("removing nothing", lambda T, p: p.remove_parametrizations(linear(T), "weight"))
refused("back to several", lambda T, p: p.remove_parametrizations(
    register(T, linear(T), "LowRank", unsafe=True), "weight", leave_parametrized=False))  # fmt: skip
refused("pickle", lambda T, p: pickle.dumps(register(T, linear(T), "Symmetric")))
refused("orthogonal name", lambda T, p: T.nn.utils.parametrizations.orthogonal(linear(T), "other"))
refused("orthogonal vector", lambda T, p: T.nn.utils.parametrizations.orthogonal(linear(T), "bias"))
refused("orthogonal map", lambda T, p: T.nn.utils.parametrizations.orthogonal(linear(T), orthogonal_map="qr"))
refused("spectral name", lambda T, p: T.nn.utils.parametrizations.spectral_norm(linear(T), "other"))
refused("spectral steps", lambda T, p: T.nn.utils.parametrizations.spectral_norm(linear(T), n_power_iterations=0))
refused("spectral dim", lambda T, p: T.nn.utils.parametrizations.spectral_norm(linear(T), dim=4))
refused("shape of an orthogonal", lambda T, p: setattr(
    T.nn.utils.parametrizations.orthogonal(linear(T)), "weight", T.ones(2, 2)))  # fmt: skip
refused("orthogonal without base", lambda T, p: setattr(
    T.nn.utils.parametrizations.orthogonal(linear(T), orthogonal_map="cayley", use_trivialization=False),
    "weight", T.eye(3, dtype=T.float64)))  # fmt: skip


@scenario
def weight_norm(T: Any) -> Any:
    results = []
    for dim in (0, 1, None, -1):
        layer = T.nn.utils.parametrizations.weight_norm(linear(T, 4, 3), dim=dim)
        layer(numbers(T, 2, 4)).sum().backward()
        results += [seen(layer), {n: p.grad for n, p in layer.named_parameters()}]
        layer.weight = numbers(T, 3, 4, seed=5)
        results.append(layer.weight)
    return results


@scenario
def weight_norm_of_a_convolution(T: Any) -> Any:
    layer = T.nn.Conv2d(2, 3, 2).double()
    layer.load_state_dict({"weight": numbers(T, 3, 2, 2, 2), "bias": numbers(T, 3)})
    return seen(T.nn.utils.parametrizations.weight_norm(layer))


@scenario
def weight_norm_loads_older_states(T: Any) -> Any:
    layer = T.nn.Sequential(T.nn.utils.parametrizations.weight_norm(linear(T)))
    state = {"0.weight_g": numbers(T, 3, 1), "0.weight_v": numbers(T, 3, 3, seed=7), "0.bias": numbers(T, 3)}
    layer.load_state_dict(state)
    return layer[0].weight


@scenario
def spectral_norm(T: Any) -> Any:
    results = []
    for make, dim in (
        (lambda: linear(T, 4, 3), None), (lambda: linear(T, 4, 3), 1),
        (lambda: T.nn.Conv2d(2, 3, 2).double(), None), (lambda: T.nn.ConvTranspose1d(2, 3, 2).double(), None),
    ):  # fmt: skip
        layer = T.nn.utils.parametrizations.spectral_norm(make(), n_power_iterations=2, dim=dim)
        state = {k: numbers(T, *v.shape, seed=3) for k, v in layer.state_dict().items()}
        layer.load_state_dict(state)
        for _ in range(3):
            weight = layer.weight
        weight.sum().backward()
        results += [list(state), weight, layer.parametrizations.weight.original.grad, layer.eval().weight, layer.weight]
        results.append({k: v for k, v in layer.state_dict().items() if "_u" in k or "_v" in k})
    return results


@scenario
def spectral_norm_of_a_vector(T: Any) -> Any:
    layer = T.nn.utils.parametrizations.spectral_norm(linear(T), "bias")
    return layer.bias, list(layer.state_dict())


def test_spectral_norm_is_one() -> None:
    layer = torchlite.nn.utils.parametrizations.spectral_norm(linear(torchlite, 4, 4), n_power_iterations=50)
    assert torchlite.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", scenario)
def test_the_same(name: str) -> None:
    assert_the_same(scenario[name])


@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 3)], ids=str)
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(kind: str, shape: tuple[int, ...], base: bool) -> None:
    """Both begin at random; from PyTorch's state, weights and gradients are equal, and an assigned weight comes back."""
    layers = []
    for T in BOTH:
        owner = T.nn.Module()
        owner.weight = T.nn.Parameter(numbers(T, *shape))
        T.nn.utils.parametrizations.orthogonal(owner, orthogonal_map=kind, use_trivialization=base)
        layers.append(owner)
    ours, theirs = layers
    with torch.no_grad():
        noise = numbers(torch, *shape, seed=2) * 0.1
        theirs.parametrizations.weight.original.add_(noise.tril(-1) + noise.triu(1))  # signs stay on the diagonal
    ours.load_state_dict({k: torchlite.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    assert_same(ours.weight, theirs.weight)
    small = ours.weight if shape[-2] <= shape[-1] else ours.weight.mT
    gram = (small @ small.mT).detach().numpy()
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(gram.shape[-1]), gram.shape), atol=1e-10)
    for T, layer in zip(BOTH, layers, strict=True):
        (layer.weight * numbers(T, *shape, seed=8)).sum().backward()
    assert_same(ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad)
    wanted = np.linalg.qr(np.random.default_rng(3).normal(size=(*shape[:-2], max(shape[-2:]), max(shape[-2:]))))[0]
    wanted = wanted[..., : shape[-2], : shape[-1]]

    def assign(T: Any) -> Any:
        layer = ours if T is torchlite else theirs
        layer.weight = T.tensor(wanted)
        return layer.weight

    (given, our_error), (expected, their_error) = (attempt(assign, T) for T in BOTH)
    assert type(our_error) is type(their_error)
    if their_error is None:
        assert_same(given, expected, tolerance=1e-9)
        np.testing.assert_allclose(given.detach().numpy(), wanted, atol=1e-9)


def test_orthogonal_complex_matrices() -> None:
    for T in BOTH:
        owner = T.nn.Module()
        owner.weight = T.nn.Parameter(T.complex(numbers(T, 3, 3), numbers(T, 3, 3, seed=1)))
        weight = T.nn.utils.parametrizations.orthogonal(owner).weight.detach().numpy()
        np.testing.assert_allclose(weight @ weight.conj().T, np.eye(3), atol=1e-10)
