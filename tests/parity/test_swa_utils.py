"""Averaged models, their batch norms and learning rates against PyTorch's."""

import copy
import inspect
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, assert_same, attempt, torch

import torchlite


def network(T: Any) -> Any:
    model = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.BatchNorm1d(4), T.nn.Tanh(), T.nn.Linear(4, 2)).double()
    rng = np.random.default_rng(0)
    model.load_state_dict(
        {
            k: T.tensor(rng.normal(size=tuple(v.shape))) if v.is_floating_point() else v
            for k, v in model.state_dict().items()
        }
    )
    return model


def move(T: Any, model: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with T.no_grad():
        for p in model.parameters():
            p.add_(T.tensor(rng.normal(size=tuple(p.shape))))
    model(T.tensor(rng.normal(size=(5, 3))))


def doubling(average: Any, value: Any, count: Any) -> Any:
    return average + 2 * value / (count + 1)


AVERAGES: dict[str, Any] = {
    "SWA": lambda u: {},
    "SWA of lists": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn()},
    "SWA by name": lambda u: {"avg_fn": u.get_swa_avg_fn()},
    "EMA": lambda u: {"avg_fn": u.get_ema_avg_fn(0.9)},
    "EMA of lists": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.7)},
    "own": lambda u: {"avg_fn": doubling},
}


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name: str, use_buffers: bool) -> None:
    if use_buffers and name == "SWA of lists":
        pytest.skip("PyTorch can't divide the integers of a counter so")
    states = []
    for T in BOTH:
        utils = T.optim.swa_utils
        model = network(T)
        average = utils.AveragedModel(model, **AVERAGES[name](utils), use_buffers=use_buffers)
        for seed in range(6):
            move(T, model, seed)
            average.update_parameters(model)
        x = T.tensor(np.random.default_rng(9).normal(size=(4, 3)))
        states.append((dict(average.state_dict()), average.eval()(x)))
        assert average.module[0].weight.requires_grad and average.module[0].weight.grad_fn is None
    assert_same(*states)


@pytest.mark.parametrize(("first", "second"), [(torchlite, torch), (torch, torchlite)])
def test_a_state_goes_on_in_the_other_library(first: Any, second: Any) -> None:
    averages, models = [], []
    for T in (first, second):
        models.append(network(T))
        averages.append(T.optim.swa_utils.AveragedModel(models[-1]))
    for seed in range(3):
        move(first, models[0], seed)
        averages[0].update_parameters(models[0])
    averages[1].load_state_dict({k: second.tensor(v.numpy()) for k, v in averages[0].state_dict().items()})
    models[1].load_state_dict({k: second.tensor(v.numpy()) for k, v in models[0].state_dict().items()})
    for seed in range(3, 6):
        for T, model, average in zip((first, second), models, averages, strict=True):
            move(T, model, seed)
            average.update_parameters(model)
    ours, theirs = (averages[i] for i in ((0, 1) if first is torchlite else (1, 0)))
    assert_same(dict(ours.state_dict()), dict(theirs.state_dict()))


@pytest.mark.parametrize("training", [False, True])
def test_update_bn(training: bool) -> None:
    states = []
    for T in BOTH:
        rng = np.random.default_rng(3)
        model = network(T).train(training)
        model[1].momentum = 0.3
        batches = [T.tensor(rng.normal(1, 3, size=(8, 3))) for _ in range(5)]
        T.optim.swa_utils.update_bn([(b, 0) for b in batches], model)
        assert model.training is training and model[1].momentum == 0.3
        plain = T.nn.Linear(3, 3).double()
        T.optim.swa_utils.update_bn(iter(batches), plain)
        states.append(dict(model.state_dict()))
    assert_same(*states)


SWALR: dict[str, dict[str, Any]] = {
    "cosine": {"swa_lr": 0.05},
    "linear": {"swa_lr": 0.05, "anneal_epochs": 4, "anneal_strategy": "linear"},
    "at once": {"swa_lr": [0.01, 0.7], "anneal_epochs": 0},
    "long": {"swa_lr": [0.01, 0.7], "anneal_epochs": 100, "anneal_strategy": "cos"},
}


def owner(T: Any) -> Any:
    groups = [{"params": [T.ones(1, requires_grad=True)]}, {"params": [T.ones(1, requires_grad=True)], "lr": 0.5}]
    return T.optim.SGD(groups, lr=1.0)


@pytest.mark.parametrize("name", SWALR)
@pytest.mark.parametrize("late", [False, True])
def test_swalr(name: str, late: bool) -> None:
    """On its own, and as it is used: another scheduler first, SWALR from step 10 on."""
    rates, states = [], []
    for T in BOTH:
        optimizer, seen = owner(T), []
        before = T.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        scheduler = T.optim.swa_utils.SWALR(optimizer, **SWALR[name])
        for step in range(50):
            seen.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            (before if late and step < 10 else scheduler).step()
            if step == 20:
                kept = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
        rates.append(np.array(seen))
        states.append(kept)
    np.testing.assert_allclose(*rates, rtol=1e-12)
    assert states[0][1].keys() == states[1][1].keys()
    for T, (groups, state) in zip(BOTH, states[::-1], strict=True):
        optimizer = owner(T)
        T.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        scheduler = T.optim.swa_utils.SWALR(optimizer, **SWALR[name])
        optimizer.load_state_dict({"state": {}, "param_groups": groups["param_groups"]})
        scheduler.load_state_dict(state)
        for step in range(21, 50):
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
                rates[0][step].tolist(), rel=1e-12
            )
            optimizer.step()
            scheduler.step()


REFUSED: dict[str, Any] = {
    "decay": lambda T, u: u.get_ema_avg_fn(1.5),
    "decay of lists": lambda T, u: u.get_ema_multi_avg_fn(-0.1),
    "both": lambda T, u: u.AveragedModel(network(T), avg_fn=doubling, multi_avg_fn=doubling),
    "strategy": lambda T, u: u.SWALR(owner(T), 0.1, anneal_strategy="step"),
    "epochs": lambda T, u: u.SWALR(owner(T), 0.1, anneal_epochs=-1),
    "fraction": lambda T, u: u.SWALR(owner(T), 0.1, anneal_epochs=1.5),
    "rates": lambda T, u: u.SWALR(owner(T), [0.1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    (_, ours), (_, theirs) = (attempt(lambda T: REFUSED[name](T, T.optim.swa_utils), T) for T in BOTH)
    assert type(ours) is type(theirs) is not type(None)


@pytest.mark.parametrize(("name", "count"), [("ema", 3), ("ema", None), ("swa", None)])
def test_lists_of_integers(name: str, count: int | None) -> None:
    results = []
    for T in BOTH:
        utils = T.optim.swa_utils
        update = utils.get_ema_multi_avg_fn(0.5) if name == "ema" else utils.get_swa_multi_avg_fn()
        averages, values = [T.tensor([4, 8]), T.tensor([10])], [T.tensor([8, 16]), T.tensor([2])]
        number = T.tensor(3) if count is None else count
        results.append((attempt(lambda T, u=update, a=averages, v=values, n=number: u(a, v, n), T)[1], averages))
    if results[1][0] is None:
        assert_same(results[0][1], results[1][1])
    else:
        assert results[0][0] is None
        assert [x.tolist() for x in results[0][1]] == [[5, 10], [8]]


def test_signatures() -> None:
    ours, theirs = torchlite.optim.swa_utils, torch.optim.swa_utils
    assert set(ours.__all__) == set(theirs.__all__)
    for name in theirs.__all__:
        a, b = (inspect.signature(getattr(m, name)).parameters.values() for m in (ours, theirs))
        assert [(p.name, p.default) for p in a] == [(p.name, p.default) for p in b], name
