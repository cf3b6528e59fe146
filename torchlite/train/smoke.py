"""What `validate` finds by training: two steps on made-up data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.devices import CPU
from torchlite.ops.generator import default_generator
from torchlite.optim import Optimizer
from torchlite.train.check import check_shapes
from torchlite.train.config.diagnostics import Problem
from torchlite.train.config.schema import Config
from torchlite.train.initial import trace_teacher
from torchlite.train.made_up import made_up_batch
from torchlite.train.model import build_model, build_models, trace_models
from torchlite.train.optimizers import make_optimizers
from torchlite.train.own_step import StepContext, checked_reports

_STEPS = 2  # what goes wrong in the second is what the first left behind


def check_smoke(config: Config) -> list[Problem]:
    """Two training steps on made-up data on the CPU: forward, backward and update must work and stay finite."""
    shapes, problems = check_shapes(config)
    if problems or not shapes:
        return problems
    state = default_generator.state()
    default_generator.manual_seed(config.seed)
    try:
        return _smoke(config)
    finally:
        default_generator.restore(state)


def _smoke(config: Config) -> list[Problem]:
    rng = np.random.default_rng(config.seed)
    made_up = [made_up_batch(config, rng, step) for step in range(_STEPS)]
    x, _ = made_up[0]
    model = build_models(config, trace_models(config, x.shape[1:], x.dtype, len(x)), CPU)
    own = config.train.step is not None
    try:
        optimizers = make_optimizers(config.optim, model)
        take = _own_step(config, model, optimizers) if own else _step_of_the_loop(config, model, optimizers["model"], x)
        for step, batch in enumerate(made_up):
            problems = take(step, *batch)
            if problems:
                return problems
    except Exception as error:  # the purpose is to find whatever goes wrong
        path = ("train", "step") if own else ("model",)
        return [Problem(path, "TL701", f"a training step on made-up data failed: {type(error).__name__}: {error}")]
    return []


_TakeStep = Callable[[int, Tensor, Tensor], list[Problem]]


def _own_step(config: Config, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> _TakeStep:
    assert config.train.step is not None
    own, criterion = config.train.step.build(), config.loss.build()

    def take(step: int, x: Tensor, y: Tensor) -> list[Problem]:
        context = StepContext.of(model, optimizers, criterion, CPU, step=step, epoch=0)
        reported = checked_reports(own(context, (x, y)), config.train.reports)
        bad = [f"{name} is {value}" for name, value in reported.items() if not math.isfinite(value)]
        return [Problem(("train", "step"), "TL702", f"after step {step + 1} {', '.join(bad)}")] if bad else []

    return take


def _step_of_the_loop(config: Config, model: nn.Module, optimizer: Optimizer, x: Tensor) -> _TakeStep:
    """The loop's step; ``x`` is like the batches that it will get."""
    criterion = config.loss.build()
    teacher: nn.Module | None = None
    trace = trace_teacher(config, x.shape[1:], x.dtype, len(x))
    if trace is not None:
        teacher = build_model(trace, CPU).eval()
        if hasattr(criterion, "watch"):
            criterion.watch(model, teacher)
    learns = any(True for _ in model.parameters())

    def take(step: int, x: Tensor, y: Tensor) -> list[Problem]:
        taught: list[Tensor] = []

        def gradients() -> Tensor:
            model.zero_grad()
            if teacher is not None:
                with no_grad():
                    taught[:] = [teacher(x)]
            loss: Tensor = criterion(model(x), y, *taught)
            loss.backward()
            return loss

        loss = gradients()
        if learns:
            optimizer.step(*([gradients] if optimizer.needs_closure else []))
        return _non_finite(step, loss, model)

    return take


def _non_finite(step: int, loss: Tensor, model: nn.Module) -> list[Problem]:
    if not bool(loss.isfinite()):
        return [Problem(("loss",), "TL702", f"the loss of step {step + 1} is {loss.item()}")]
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    if bad:
        return [Problem(("model",), "TL702", f"the gradient of {', '.join(bad)} is not finite in step {step + 1}")]
    return []
