"""Every scheduler against PyTorch's: rates and momentums of fifty steps, jumps, states carried across, what is refused."""

import copy
import inspect
import warnings
from typing import Any

import pytest
from oracle import BOTH, torch

import torchlite

STEPS = 50
VALUES = [1.0, 0.8, 0.79999, 0.8, 0.8, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6, 0.6, 0.49]
"""What `ReduceLROnPlateau` is told, again and again."""


class Fading:
    """A callable with a state."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, step: float) -> float:
        return 1 / (1 + self.rate * step)


SCHEDULES: dict[str, Any] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda step: 1 / (1 + step)),
    "LambdaLR of groups": lambda s, o: s.LambdaLR(o, [lambda step: 0.5**step, lambda step: 1.0]),
    "LambdaLR of an object": lambda s, o: s.LambdaLR(o, Fading(0.3)),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda step: 0.97),
    "MultiplicativeLR of groups": lambda s, o: s.MultiplicativeLR(o, [lambda step: 0.9, Fading(0.01)]),
    "StepLR": lambda s, o: s.StepLR(o, 4, gamma=0.5),
    "StepLR every step": lambda s, o: s.StepLR(o, 1, 0.9),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 8, 8, 20]),
    "MultiStepLR from the first": lambda s, o: s.MultiStepLR(o, [20, 0, 3], gamma=0.7),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "ConstantLR long": lambda s, o: s.ConstantLR(o, factor=0.1, total_iters=30),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LinearLR down": lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=10),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o),
    "PolynomialLR curved": lambda s, o: s.PolynomialLR(o, total_iters=40, power=2.5),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 10, eta_min=0.01),
    "CosineAnnealingLR once": lambda s, o: s.CosineAnnealingLR(o, 60),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7),
    "CosineAnnealingWarmRestarts longer": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=7),
    "CyclicLR of groups": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], 5, 12, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4, mode="exp_range", gamma=0.95, cycle_momentum=False),
    "CyclicLR of a function": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, 4, scale_fn=lambda x: 0.9**x, scale_mode="iterations", base_momentum=0.5, max_momentum=0.99
    ),
    "CyclicLR of an object": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4, scale_fn=Fading(0.2)),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=60),
    "OneCycleLR of groups": lambda s, o: s.OneCycleLR(
        o, [0.1, 0.5], epochs=6, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.45, div_factor=10.0
    ),
    "OneCycleLR of three phases": lambda s, o: s.OneCycleLR(o, 0.2, 55, three_phase=True, final_div_factor=100.0),
    "OneCycleLR without momentum": lambda s, o: s.OneCycleLR(o, 0.2, 51, cycle_momentum=False),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=2),
    "ReduceLROnPlateau max": lambda s, o: s.ReduceLROnPlateau(o, "max", 0.5, 1, 0.1, "rel", 3, [0.01, 0.2]),
    "ReduceLROnPlateau abs": lambda s, o: s.ReduceLROnPlateau(o, "min", 0.3, 0, 0.05, "abs", 1, 1e-3),
    "ReduceLROnPlateau max abs": lambda s, o: s.ReduceLROnPlateau(o, "max", 0.3, 3, 0.05, "abs", eps=1e-2),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 25)], [5]
    ),
    "SequentialLR of four": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.25, total_iters=4), s.ExponentialLR(o, 0.8), s.StepLR(o, 3), s.MultiplicativeLR(o, Fading(1))],
        [4, 12, 30],
    ),
    "SequentialLR of restarts": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.5, 3), s.CosineAnnealingWarmRestarts(o, 4), s.PolynomialLR(o, 10)], [6, 21]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)]),
    "ChainedScheduler of three": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o), s.CosineAnnealingLR(o, 80), s.MultiStepLR(o, [10, 30], 0.3)], optimizer=o
    ),
    "SequentialLR of chains": lambda s, o: s.SequentialLR(
        o,
        [s.ChainedScheduler([s.LinearLR(o, total_iters=3), s.StepLR(o, 2, 0.9)]), s.ExponentialLR(o, 0.9)],
        [8],
    ),
}  # fmt: skip


def scheduled(T: Any, name: str, optimizer: str = "SGD", lr: Any = 1.0) -> tuple[Any, Any]:
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    groups = [{"params": [T.ones(1, requires_grad=True)]}, {"params": [T.ones(1, requires_grad=True)], "lr": lr * 0.5}]
    owner = getattr(T.optim, optimizer)(groups, lr=lr, **options)
    return owner, SCHEDULES[name](T.optim.lr_scheduler, owner)


def settings(optimizer: Any) -> list[dict[str, Any]]:
    """What schedulers set in the groups."""
    names = ("lr", "initial_lr", "max_lr", "min_lr", "momentum", "betas", "max_momentum", "base_momentum")
    return [{name: group[name] for name in names if name in group} for group in optimizer.param_groups]


def advance(optimizer: Any, scheduler: Any, step: int) -> None:
    optimizer.step()
    if "ReduceLROnPlateau" in type(scheduler).__name__:
        scheduler.step(VALUES[step % len(VALUES)])
    else:
        scheduler.step()


# A chain in a sequence steps twice when it is made.
CHAINED_IN_SEQUENCE = pytest.mark.filterwarnings("ignore:Detected call of")


def close(ours: Any, theirs: Any) -> bool:
    """Equal structure, names and types; numbers to rounding."""
    if isinstance(theirs, dict):
        return (
            type(ours) is type(theirs) and ours.keys() == theirs.keys() and all(close(ours[k], theirs[k]) for k in ours)
        )
    if isinstance(theirs, (list, tuple)):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(close, ours, theirs))
    if isinstance(theirs, float):
        return ours == pytest.approx(theirs, rel=1e-12, abs=1e-15)
    return ours == theirs


@CHAINED_IN_SEQUENCE
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_fifty_steps(name: str, optimizer: str) -> None:
    (opt_a, a), (opt_b, b) = (scheduled(T, name, optimizer) for T in BOTH)
    for step in range(STEPS):
        assert close(settings(opt_a), settings(opt_b)), (step, settings(opt_a), settings(opt_b))
        assert close(a.get_last_lr(), b.get_last_lr())
        assert not hasattr(b, "last_epoch") or a.last_epoch == b.last_epoch
        advance(opt_a, a, step)
        advance(opt_b, b, step)
    assert close(a.state_dict(), b.state_dict()), (a.state_dict(), b.state_dict())


@CHAINED_IN_SEQUENCE
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("first", "second"), [(torchlite, torchlite), (torchlite, torch), (torch, torchlite)])
def test_resume_from_the_state_of_either_library(name: str, first: Any, second: Any) -> None:
    optimizer, whole = scheduled(first, name)
    for step in range(13):
        advance(optimizer, whole, step)
    state, groups = copy.deepcopy((whole.state_dict(), optimizer.state_dict()))
    other, resumed = scheduled(second, name)
    other.load_state_dict({"state": {}, "param_groups": groups["param_groups"]})
    resumed.load_state_dict(given := copy.deepcopy(state))
    assert second is torch or close(given, state), "the state given stays as it is"
    for step in range(13, 30):
        assert close(settings(other), settings(optimizer))
        advance(optimizer, whole, step)
        advance(other, resumed, step)
    if first is second:
        assert settings(other) == settings(optimizer)


JUMPS = [n for n in SCHEDULES if not n.startswith(("ReduceLR", "Sequential", "Chained"))]


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", JUMPS)
def test_jumps(name: str) -> None:
    (opt_a, a), (opt_b, b) = (scheduled(T, name) for T in BOTH)
    opt_a.step(), opt_b.step()
    for epoch in (3, 17, 4, 4, 40, 0, 8):
        a.step(epoch), b.step(epoch)
        assert close(settings(opt_a), settings(opt_b)), epoch
        a.step(), b.step()
        assert close(settings(opt_a), settings(opt_b)), epoch
    if "Restarts" in name:
        for epoch in (0.5, 2.75, 9.25):
            a.step(epoch), b.step(epoch)
            assert close(settings(opt_a), settings(opt_b)), epoch


@pytest.mark.parametrize("last_epoch", [0, 3, 9])
@pytest.mark.parametrize("name", [n for n in JUMPS if " " not in n])
def test_beginning_at_a_later_step(name: str, last_epoch: int) -> None:
    def seen(T: Any) -> list[Any]:
        optimizer, old = scheduled(T, name)
        for step in range(last_epoch):
            advance(optimizer, old, step)
        cls = type(old)
        needed = {k: v for k, v in vars(old).items() if k in inspect.signature(cls).parameters and k != "last_epoch"}
        extra = {"LambdaLR": {"lr_lambda": Fading(1)}, "MultiplicativeLR": {"lr_lambda": Fading(1)},
                 "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7}, "OneCycleLR": {"max_lr": 0.1}}  # fmt: skip
        needed.pop("scale_fn", None)
        new = cls(**{**needed, **extra.get(name, {}), "optimizer": optimizer, "last_epoch": last_epoch})
        result = [settings(optimizer)]
        for step in range(5):
            advance(optimizer, new, step)
            result.append(settings(optimizer))
        return copy.deepcopy(result)

    assert close(seen(torchlite), seen(torch))


def test_rates_that_are_tensors_stay_the_same_tensors() -> None:
    for name in ("StepLR", "CosineAnnealingLR", "OneCycleLR without momentum", "ReduceLROnPlateau", "SequentialLR"):
        ours, theirs = [], []
        for T, seen in zip(BOTH, (ours, theirs), strict=True):
            lr = T.tensor(0.5, dtype=T.float64)
            optimizer = T.optim.SGD([T.ones(1, requires_grad=True)], lr=0.5)
            optimizer.param_groups[0]["lr"] = lr
            scheduler = SCHEDULES[name](T.optim.lr_scheduler, optimizer)
            for step in range(20):
                advance(optimizer, scheduler, step)
                seen.append(float(lr))
            assert optimizer.param_groups[0]["lr"] is lr
        assert ours == pytest.approx(theirs, rel=1e-12), name


def one(T: Any) -> Any:
    return T.optim.SGD([T.ones(1, requires_grad=True)], lr=0.1)


REFUSED: dict[str, Any] = {
    "StepLR of no optimizer": lambda T, s: s.StepLR("optimizer", 3),
    "CyclicLR of no optimizer": lambda T, s: s.CyclicLR("optimizer", 0.1, 0.2),
    "OneCycleLR of no optimizer": lambda T, s: s.OneCycleLR("optimizer", 0.1, 5),
    "ReduceLROnPlateau of no optimizer": lambda T, s: s.ReduceLROnPlateau("optimizer"),
    "no initial rate": lambda T, s: s.StepLR(one(T), 3, last_epoch=4),
    "lambdas": lambda T, s: s.LambdaLR(one(T), [lambda i: 1, lambda i: 2]),
    "factors": lambda T, s: s.MultiplicativeLR(one(T), [lambda i: 1, lambda i: 2]),
    "no factor": lambda T, s: s.MultiplicativeLR(one(T), [0.3]),
    "constant": lambda T, s: s.ConstantLR(one(T), 1.5),
    "start": lambda T, s: s.LinearLR(one(T), 0.0),
    "end": lambda T, s: s.LinearLR(one(T), end_factor=-0.1),
    "restart": lambda T, s: s.CosineAnnealingWarmRestarts(one(T), 0),
    "restarts": lambda T, s: s.CosineAnnealingWarmRestarts(one(T), 4, 1.5),
    "lowest": lambda T, s: s.CosineAnnealingWarmRestarts(one(T), 4, 1, "0"),
    "before the start": lambda T, s: s.CosineAnnealingWarmRestarts(one(T), 4).step(-1),
    "cyclic rates": lambda T, s: s.CyclicLR(one(T), [0.1, 0.2], 1.0),
    "cyclic mode": lambda T, s: s.CyclicLR(one(T), 0.1, 1.0, mode="square"),
    "cyclic without momentum": lambda T, s: s.CyclicLR(NoMomentum(T)(), 0.1, 1.0),
    "one cycle without momentum": lambda T, s: s.OneCycleLR(NoMomentum(T)(), 0.1, 5),
    "no length": lambda T, s: s.OneCycleLR(one(T), 0.1, epochs=3),
    "length": lambda T, s: s.OneCycleLR(one(T), 0.1, -3),
    "epochs": lambda T, s: s.OneCycleLR(one(T), 0.1, epochs=1.5, steps_per_epoch=3),
    "steps": lambda T, s: s.OneCycleLR(one(T), 0.1, epochs=1, steps_per_epoch=0),
    "share": lambda T, s: s.OneCycleLR(one(T), 0.1, 10, pct_start=1.5),
    "strategy": lambda T, s: s.OneCycleLR(one(T), 0.1, 10, anneal_strategy="cubic"),
    "behind the end": lambda T, s: [q := s.OneCycleLR(one(T), 0.1, 4), *(q.step() for _ in range(6))],
    "plateau factor": lambda T, s: s.ReduceLROnPlateau(one(T), factor=1.0),
    "plateau mode": lambda T, s: s.ReduceLROnPlateau(one(T), mode="low"),
    "plateau threshold": lambda T, s: s.ReduceLROnPlateau(one(T), threshold_mode="low"),
    "plateau limits": lambda T, s: s.ReduceLROnPlateau(one(T), min_lr=[0.1, 0.2]),
    "nothing in a sequence": lambda T, s: s.SequentialLR(one(T), [], []),
    "milestones": lambda T, s: s.SequentialLR(o := one(T), [s.StepLR(o, 2)], [3]),
    "plateau in a sequence": lambda T, s: s.SequentialLR(o := one(T), [s.ReduceLROnPlateau(o)], []),
    "no scheduler": lambda T, s: s.SequentialLR(one(T), ["StepLR"], []),
    "of another": lambda T, s: s.SequentialLR(one(T), [s.StepLR(one(T), 2)], []),
    "nothing in a chain": lambda T, s: s.ChainedScheduler([]),
    "plateau in a chain": lambda T, s: s.ChainedScheduler([s.ReduceLROnPlateau(one(T))]),
    "chain of others": lambda T, s: s.ChainedScheduler([s.StepLR(one(T), 2), s.StepLR(one(T), 2)]),
    "no get_lr": lambda T, s: s.LRScheduler(one(T)),
}  # fmt: skip


def NoMomentum(T: Any) -> Any:
    class Plain(T.optim.Optimizer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__([T.ones(1, requires_grad=True)], {"lr": 0.1})

    return Plain


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as theirs:
            REFUSED[name](torch, torch.optim.lr_scheduler)
        with pytest.raises(theirs.type) as ours:
            REFUSED[name](torchlite, torchlite.optim.lr_scheduler)
    assert len(str(ours.value)) > 15


def warned(action: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        action()
    return [str(w.message)[:30] for w in seen]


def test_warnings() -> None:
    def seen(T: Any) -> list[list[str]]:
        s = T.optim.lr_scheduler

        def late() -> None:
            scheduler = s.StepLR(one(T), 2)
            scheduler.step()
            scheduler.step()

        def jumping() -> None:
            optimizer = one(T)
            scheduler = s.StepLR(optimizer, 2)
            optimizer.step()
            scheduler.step(3)

        def reading() -> None:
            s.StepLR(one(T), 2).get_lr()

        def measured() -> None:
            s.ReduceLROnPlateau(one(T)).step(1.0, 3)

        def replaced() -> None:
            optimizer = one(T)
            scheduler = s.StepLR(optimizer, 2)
            optimizer.step = lambda: None
            scheduler.step()

        return [warned(f) for f in (late, jumping, reading, measured, replaced)]

    assert seen(torchlite) == seen(torch)


def test_signatures_and_names() -> None:
    ours, theirs = torchlite.optim.lr_scheduler, torch.optim.lr_scheduler
    assert set(ours.__all__) == set(theirs.__all__)
    for name in theirs.__all__:
        a, b = (inspect.signature(getattr(m, name)).parameters.values() for m in (ours, theirs))
        assert [(p.name, p.default) for p in a] == [(p.name, p.default) for p in b], name


def test_a_scheduler_of_a_program_s_own() -> None:
    def seen(T: Any) -> list[Any]:
        class Warm(T.optim.lr_scheduler.LRScheduler):  # type: ignore[misc, name-defined]
            def get_lr(self) -> list[float]:
                return [base * min(1, (self.last_epoch + 1) / 10) for base in self.base_lrs]

        optimizer = one(T)
        scheduler = Warm(optimizer)
        rates = []
        for step in range(15):
            rates.append(scheduler.get_last_lr())
            advance(optimizer, scheduler, step)
        return rates

    assert close(seen(torchlite), seen(torch))
