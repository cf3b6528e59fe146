"""Clipping, fusion, pruning, the older norms of weights and the smaller functions of nn.utils against PyTorch's."""

import copy
import inspect
import math
from typing import Any

import numpy as np
import pytest
from oracle import torch
from scenarios import Scenarios, assert_the_same

import torchlite
from torchlite.nn.utils import prune as our_prune

scenario = Scenarios()


def numbers(T: Any, *shape: int, seed: int = 0, dtype: str = "float64") -> Any:
    return T.tensor(np.random.default_rng(seed).normal(size=shape)).to(getattr(T, dtype))


def filled(T: Any, module: Any, seed: int = 0) -> Any:
    """The module in float64 with numbers that are the same in both libraries."""
    module = module.double()
    state = {
        k: numbers(T, *v.shape, seed=seed + i).abs() if "var" in k else numbers(T, *v.shape, seed=seed + i).to(v.dtype)
        for i, (k, v) in enumerate(module.state_dict().items())
    }
    module.load_state_dict(state)
    return module


def parameters(T: Any, *dtypes: str) -> list[Any]:
    result = []
    for i, dtype in enumerate(dtypes or ("float64", "float64")):
        p = numbers(T, 3, 2, seed=i, dtype=dtype).requires_grad_()
        p.grad = numbers(T, 3, 2, seed=i + 10, dtype=dtype) * 3
        result.append(p)
    return [*result, T.zeros(1, requires_grad=True)]


@scenario
def clipping_by_norm(T: Any) -> Any:
    results = []
    for norm in (2.0, 1, 3.5, math.inf, -math.inf, 0.5, 0.0):
        for limit in (0.5, 1e6):
            ps = parameters(T)
            total = T.nn.utils.clip_grad_norm_(ps, limit, norm)
            results.append([total, [p.grad for p in ps]])
    return results


@scenario
def clipping_of_several_dtypes(T: Any) -> Any:
    ps = parameters(T, "float32", "float64", "float16")
    return T.nn.utils.clip_grad_norm_(iter(ps), 1.0), [p.grad for p in ps]


@scenario
def clipping_of_one(T: Any) -> Any:
    p = parameters(T)[0]
    return T.nn.utils.clip_grad_norm_(p, 0.1), p.grad, T.nn.utils.clip_grad_value_(p, 0.05), p.grad


@scenario
def clipping_of_nothing(T: Any) -> Any:
    return T.nn.utils.clip_grad_norm_((p for p in []), 1.0), T.nn.utils.clip_grad_norm_([], 1.0)


@scenario
def clipping_with_a_given_norm(T: Any) -> Any:
    ps = parameters(T)
    T.nn.utils.clip_grads_with_norm_(ps, 2.0, T.tensor(5.0, dtype=T.float64))
    T.nn.utils.clip_grad_value_(ps, 0.3)
    return [p.grad for p in ps], T.nn.utils.get_total_norm(ps[0].grad), T.nn.utils.get_total_norm([])


@scenario
def complex_gradients(T: Any) -> Any:
    p = T.zeros(3, dtype=T.complex128, requires_grad=True)
    p.grad = T.complex(numbers(T, 3), numbers(T, 3, seed=1))
    return T.nn.utils.clip_grad_norm_([p], 0.5), T.view_as_real(p.grad)


@scenario
def the_old_name(T: Any) -> Any:
    return T.nn.utils.clip_grad_norm(parameters(T), 1.0)


@scenario
def infinite_gradients(T: Any) -> Any:
    ps = parameters(T)
    ps[0].grad[0, 0] = math.inf
    T.nn.utils.clip_grad_norm_(ps, 1.0)
    return [p.grad for p in ps]


@scenario
def infinite_gradients_are_refused(T: Any) -> Any:
    ps = parameters(T)
    ps[0].grad[0, 0] = math.nan
    T.nn.utils.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)


@scenario
def vectors(T: Any) -> Any:
    layer = filled(T, T.nn.Linear(2, 3))
    vector = T.nn.utils.parameters_to_vector(layer.parameters())
    T.nn.utils.vector_to_parameters(vector.detach() * 2, layer.parameters())
    return vector, dict(layer.named_parameters())


@scenario
def longer_vectors(T: Any) -> Any:
    layer = T.nn.Linear(2, 1)
    T.nn.utils.vector_to_parameters(T.arange(5.0), layer.parameters())
    return layer.weight, layer.bias


scenario.refused("short vectors", lambda T: T.nn.utils.vector_to_parameters(T.ones(2), T.nn.Linear(2, 1).parameters()))
scenario.refused("no vector", lambda T: T.nn.utils.vector_to_parameters([1.0], T.nn.Linear(2, 1).parameters()))
scenario.refused("parameters of several devices", lambda T: T.nn.utils.parameters_to_vector(
    [T.ones(1), T.ones(1, device="meta")]))  # fmt: skip


@scenario
def fused_convolutions(T: Any) -> Any:
    results = []
    for make, n, transposed, shape in (
        (lambda: T.nn.Conv2d(2, 3, 2), 2, False, (1, 2, 4, 4)),
        (lambda: T.nn.Conv1d(2, 3, 2, bias=False), 1, False, (1, 2, 5)),
        (lambda: T.nn.ConvTranspose2d(2, 3, 2), 2, True, (1, 2, 4, 4)),
    ):
        for affine in (True, False):
            conv = filled(T, make()).eval()
            norm = filled(T, getattr(T.nn, f"BatchNorm{n}d")(3, affine=affine), seed=5).eval()
            conv.weight.requires_grad_(affine)
            fused = T.nn.utils.fuse_conv_bn_eval(conv, norm, transposed)
            x = numbers(T, *shape, seed=9)
            gap = (fused(x) - norm(conv(x))).abs().max().item()
            results.append([dict(fused.named_parameters()), type(fused).__name__, gap < 1e-9])
    return results


@scenario
def fused_linear_layers(T: Any) -> Any:
    results = []
    for features in (3, 1):
        linear, norm = filled(T, T.nn.Linear(2, 3)).eval(), filled(T, T.nn.BatchNorm1d(features), seed=5).eval()
        results.append(dict(T.nn.utils.fuse_linear_bn_eval(linear, norm).named_parameters()))
    return results


scenario.refused(
    "fusion in training", lambda T: T.nn.utils.fuse_conv_bn_eval(T.nn.Conv1d(1, 1, 1), T.nn.BatchNorm1d(1))
)
scenario.refused("fusion without statistics", lambda T: T.nn.utils.fuse_conv_bn_eval(
    T.nn.Conv1d(1, 1, 1).eval(), T.nn.BatchNorm1d(1, track_running_stats=False).eval()))  # fmt: skip
scenario.refused("fusion of others", lambda T: T.nn.utils.fuse_linear_bn_eval(
    T.nn.Linear(2, 3).eval(), T.nn.BatchNorm1d(2).eval()))  # fmt: skip


@scenario
def calls_with_other_parameters(T: Any) -> Any:
    layer = T.nn.Linear(2, 1)
    given = {"weight": T.ones(1, 2), "bias": T.zeros(1)}
    return T.nn.utils.stateless.functional_call(layer, given, (T.ones(1, 2),)), layer.weight is given["weight"]


@scenario
def skipping_initial_values(T: Any) -> Any:
    layer = T.nn.utils.skip_init(T.nn.Linear, 2, out_features=3, bias=False, dtype=T.float64)
    on_meta = T.nn.utils.skip_init(T.nn.Linear, 2, 3, device="meta")
    return repr(layer), str(layer.weight.device), on_meta.weight.is_meta, layer.weight.requires_grad


scenario.refused("skipping of no module", lambda T: T.nn.utils.skip_init(dict))
scenario.refused("skipping without device", lambda T: T.nn.utils.skip_init(T.nn.ReLU))


@scenario
def memory_formats(T: Any) -> Any:
    net = T.nn.Sequential(T.nn.Conv2d(2, 3, 2), T.nn.Sequential(T.nn.ConvTranspose2d(2, 3, 2)), T.nn.Conv3d(2, 3, 2))
    kept = [p.detach().clone() for p in net.parameters()]
    one = T.nn.utils.convert_conv2d_weight_memory_format(net, T.channels_last)
    strides = [one[0].weight.stride(), one[1][0].weight.stride(), one[2].weight.stride()]
    other = T.nn.utils.convert_conv3d_weight_memory_format(net, T.channels_last_3d)
    same = [bool((a == b).all()) for a, b in zip(kept, net.parameters(), strict=True)]
    return one is net, other is net, strides, net[2].weight.stride(), same


@scenario
def the_older_weight_norm(T: Any) -> Any:
    results = []
    for dim in (0, 1, None):
        layer = T.nn.utils.weight_norm(filled(T, T.nn.Linear(3, 2)), dim=dim)
        layer(numbers(T, 2, 3)).sum().backward()
        results.append([dict(layer.state_dict()), {n: p.grad for n, p in layer.named_parameters()}, layer.weight])
        with T.no_grad():
            layer.weight_g.mul_(2)
        layer(numbers(T, 2, 3))
        results.append(T.nn.utils.remove_weight_norm(layer).weight)
        results.append([n for n, _ in layer.named_parameters()])
    return results


def twice(function: Any, layer: Any) -> Any:
    return function(function(layer))


scenario.refused("weight norm twice", lambda T: twice(T.nn.utils.weight_norm, T.nn.Linear(1, 1)))
scenario.refused("weight norm of a lazy one", lambda T: T.nn.utils.weight_norm(T.nn.LazyConv1d(1, 1)))
scenario.refused("no weight norm", lambda T: T.nn.utils.remove_weight_norm(T.nn.Linear(1, 1)))
scenario.refused("spectral norm twice", lambda T: twice(T.nn.utils.spectral_norm, T.nn.Linear(1, 1)))
scenario.refused("spectral norm of None", lambda T: T.nn.utils.spectral_norm(T.nn.Linear(1, 1, bias=False), "bias"))
scenario.refused("spectral norm of a lazy one", lambda T: T.nn.utils.spectral_norm(T.nn.LazyConv1d(1, 1)))
scenario.refused(
    "spectral norm without steps", lambda T: T.nn.utils.spectral_norm(T.nn.Linear(1, 1), n_power_iterations=0)
)
scenario.refused("no spectral norm", lambda T: T.nn.utils.remove_spectral_norm(T.nn.Linear(1, 1)))


@scenario
def the_older_spectral_norm(T: Any) -> Any:
    results = []
    for make, shape, dim in (
        (lambda: T.nn.Linear(3, 2), (2, 3), None), (lambda: T.nn.Conv2d(2, 3, 2), (1, 2, 4, 4), None),
        (lambda: T.nn.ConvTranspose1d(2, 3, 2), (1, 2, 4), None), (lambda: T.nn.Linear(3, 2), (2, 3), 1),
    ):  # fmt: skip
        layer = filled(T, T.nn.utils.spectral_norm(make(), n_power_iterations=2, dim=dim))
        layer(numbers(T, *shape)), layer(numbers(T, *shape)).sum().backward()
        results += [dict(layer.state_dict()), dict(layer.state_dict()._metadata), layer.weight, layer.weight_orig.grad]
        layer.eval()(numbers(T, *shape))
        results += [layer.weight_u, T.nn.utils.remove_spectral_norm(layer).weight, list(layer.state_dict())]
    return results


@scenario
def spectral_norm_loads_older_states(T: Any) -> Any:
    layer = T.nn.Sequential(T.nn.utils.spectral_norm(T.nn.Linear(3, 2).double()))
    original = numbers(T, 2, 3)
    state = {
        "0.weight_orig": original,
        "0.weight": original / 2.5,
        "0.weight_u": numbers(T, 2, seed=3),
        "0.bias": numbers(T, 2),
    }
    layer.load_state_dict(state)
    return dict(layer.state_dict()), layer.eval()(numbers(T, 1, 3))


@scenario
def spectral_norm_misses_older_keys(T: Any) -> Any:
    T.nn.utils.spectral_norm(T.nn.Linear(3, 2)).load_state_dict(
        {"weight_orig": numbers(T, 2, 3), "bias": numbers(T, 2)}
    )


def prune(T: Any) -> Any:
    return torch.nn.utils.prune if T is torch else our_prune


import torch.nn.utils.prune  # noqa: E402 - PyTorch does not load it by itself


def pruned(T: Any, *names: str) -> Any:
    return filled(T, T.nn.Linear(5, 4))


def state(layer: Any) -> list[Any]:
    return [dict(layer.state_dict()), layer.weight, [n for n, _ in layer.named_parameters()]]


@scenario
def pruning_by_value(T: Any) -> Any:
    results = []
    for amount in (0, 3, 0.25, 1.0, 20):
        layer = prune(T).l1_unstructured(pruned(T), "weight", amount)
        results.append(state(layer))
    layer = prune(T).l1_unstructured(pruned(T), "weight", 4, importance_scores=numbers(T, 4, 5, seed=8))
    layer(numbers(T, 2, 5)).sum().backward()
    return results, state(layer), layer.weight_orig.grad


@scenario
def pruning_by_norm(T: Any) -> Any:
    results = []
    for n, dim, amount in ((2, 0, 1), (1, 1, 0.4), (math.inf, -1, 2), (-math.inf, 0, 0.5), (2, 0, 0)):
        results.append(state(prune(T).ln_structured(pruned(T), "weight", amount, n, dim)))
    scores = numbers(T, 4, 5, seed=8)
    return results, state(prune(T).ln_structured(pruned(T), "weight", 2, 2, 0, importance_scores=scores))


@scenario
def pruning_again(T: Any) -> Any:
    layer, p = pruned(T), prune(T)
    p.l1_unstructured(layer, "weight", 4)
    p.ln_structured(layer, "weight", 0.5, 2, 1)
    first = state(layer)
    p.ln_structured(layer, "weight", 1, 1, 0)
    p.l1_unstructured(layer, "weight", 0.3)
    p.custom_from_mask(layer, "weight", T.ones(4, 5).triu())
    (hook,) = layer._forward_pre_hooks.values()
    return first, state(layer), [type(m).__name__ for m in hook], len(hook), type(hook[0]).__name__


@scenario
def pruning_and_training(T: Any) -> Any:
    layer = prune(T).custom_from_mask(pruned(T), "weight", T.eye(4, 5))
    optimizer = T.optim.SGD(layer.parameters(), lr=0.1)
    for i in range(3):
        optimizer.zero_grad()
        layer(numbers(T, 2, 5, seed=i)).sum().backward()
        optimizer.step()
    asked = prune(T).is_pruned(T.nn.Sequential(layer)), prune(T).is_pruned(T.nn.Linear(1, 1))
    original = layer.weight_orig
    prune(T).remove(layer, "weight")
    return asked, state(layer), layer.weight is original, len(layer._forward_pre_hooks)


@scenario
def pruning_a_copy(T: Any) -> Any:
    layer = prune(T).identity(pruned(T), "bias")
    copied = copy.deepcopy(layer)
    with T.no_grad():
        copied.bias_mask.zero_()
    return copied(numbers(T, 1, 5)), layer(numbers(T, 1, 5)), list(layer.state_dict())


@scenario
def pruning_together(T: Any) -> Any:
    net = T.nn.Sequential(pruned(T), filled(T, T.nn.Linear(4, 2), seed=6))
    places = [(net[0], "weight"), (net[1], "weight"), (net[1], "bias")]
    prune(T).global_unstructured(places, prune(T).L1Unstructured, amount=0.4)
    once = dict(net.state_dict())
    scores = {(net[1], "bias"): T.full((2,), -100.0, dtype=T.float64).abs()}
    prune(T).global_unstructured(places, prune(T).L1Unstructured, importance_scores=scores, amount=3)
    return once, dict(net.state_dict())


@scenario
def pruning_of_tensors(T: Any) -> Any:
    method = prune(T).L1Unstructured(3)
    x = numbers(T, 2, 4)
    mask = T.ones(2, 4, dtype=T.float64)
    mask[0] = 0
    return method.prune(x), method.prune(x, default_mask=mask), method.prune(x, importance_scores=-x)


@scenario
def a_method_of_its_own(T: Any) -> Any:
    class Even(prune(T).BasePruningMethod):  # type: ignore[misc]
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t: Any, default_mask: Any) -> Any:
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    layer = pruned(T)
    Even.apply(layer, "bias")
    Even.apply(layer, "bias")
    return layer.bias_mask


for name, call in {
    "amount": lambda T, p: p.l1_unstructured(pruned(T), "weight", -1),
    "share": lambda T, p: p.random_unstructured(pruned(T), "weight", 1.5),
    "text": lambda T, p: p.random_unstructured(pruned(T), "weight", "1"),
    "more than there is": lambda T, p: p.l1_unstructured(pruned(T), "weight", 21),
    "scores": lambda T, p: p.l1_unstructured(pruned(T), "weight", 1, importance_scores=T.ones(3)),
    "scores of a tensor": lambda T, p: p.L1Unstructured(1).prune(T.ones(2), importance_scores=T.ones(3)),
    "slices of a vector": lambda T, p: p.random_structured(pruned(T), "bias", 1, 0),
    "dim": lambda T, p: p.ln_structured(pruned(T), "weight", 1, 2, 2),
    "mask": lambda T, p: p.custom_from_mask(pruned(T), "weight", T.ones(2)),
    "name": lambda T, p: p.identity(pruned(T), "other"),
    "nothing to remove": lambda T, p: p.remove(pruned(T), "weight"),
    "method": lambda T, p: p.PruningContainer(3),
    "global slices": lambda T, p: p.global_unstructured([(pruned(T), "weight")], p.LnStructured, amount=1, n=2),
    "global parameters": lambda T, p: p.global_unstructured(3, p.L1Unstructured, amount=1),
    "global scores": lambda T, p: p.global_unstructured([(pruned(T), "bias")], p.L1Unstructured, [1], amount=1),
    "base": lambda T, p: p.BasePruningMethod(),
}.items():
    scenario.refused(f"pruning: {name}", lambda T, call=call: call(T, prune(T)))


@pytest.mark.parametrize("name", scenario)
def test_the_same(name: str) -> None:
    assert_the_same(scenario[name])


def test_random_pruning() -> None:
    for amount, expected in ((7, 7), (0.5, 10), (0, 0)):
        layer = our_prune.random_unstructured(pruned(torchlite), "weight", amount)
        assert int((layer.weight_mask == 0).sum()) == expected
    columns = our_prune.random_structured(pruned(torchlite), "weight", 2, 1).weight_mask
    assert sorted(columns.sum(0).tolist()) == [0, 0, 4, 4, 4]
    layer = our_prune.random_structured(pruned(torchlite), "weight", 1, 0)
    our_prune.random_structured(layer, "weight", 1, 0)
    assert int((layer.weight_mask.sum(1) == 0).sum()) == 2, "the second time among the rows that were left"
    chosen = {tuple(our_prune.random_unstructured(pruned(torchlite), "bias", 2).bias_mask.tolist()) for _ in range(40)}
    assert len(chosen) > 3


def test_pruning_that_fails_changes_nothing() -> None:
    layer = pruned(torchlite)
    before = list(layer.state_dict())
    with pytest.raises(ValueError):
        our_prune.l1_unstructured(layer, "weight", 100)
    assert list(layer.state_dict()) == before and type(layer.weight) is torchlite.nn.Parameter


def test_names_and_signatures() -> None:
    ours, theirs = torchlite.nn.utils, torch.nn.utils
    assert set(ours.__all__) == set(theirs.__all__)
    pairs = [(getattr(ours, n), getattr(theirs, n)) for n in theirs.__all__ if inspect.isfunction(getattr(theirs, n))]
    for module in ("parametrize", "parametrizations", "prune"):
        a, b = (torchlite.nn.utils.prune, torch.nn.utils.prune) if module == "prune" else (
            getattr(ours, module), getattr(theirs, module))  # fmt: skip
        public = {n for n in dir(b) if not n.startswith("_") and getattr(getattr(b, n), "__module__", "") == b.__name__}
        assert public <= set(dir(a)), public - set(dir(a))
        pairs += [(getattr(a, n), getattr(b, n)) for n in public if inspect.isfunction(getattr(b, n))]
    for a, b in pairs:
        if b.__name__ != "clip_grad_norm":
            given, expected = (inspect.signature(f).parameters.values() for f in (a, b))
            assert [(p.name, p.default) for p in given] == [(p.name, p.default) for p in expected], b.__name__
