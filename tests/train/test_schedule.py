"""The course of the learning rate: PyTorch's schedulers in a configuration, from the first step and after a resume."""

import inspect
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from small_runs import Quiet, final_state, train, write_config

import torchlite as torch
from torchlite import optim
from torchlite.errors import ConfigError
from torchlite.optim import lr_scheduler
from torchlite.train import run
from torchlite.train.config.load import load_config, require_config
from torchlite.train.config.schedules import PARTS, SCHEDULES
from torchlite.train.run_directory import RunDirectory
from torchlite.train.schedule import make_course

HERE = {"constant", "step", "cosine"}
OURS = {"type", "warmup", "every", "monitor"}
THEIRS = {"optimizer", "last_epoch", "scale_fn", "scale_mode", "epochs", "steps_per_epoch"}


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - HERE))
def test_a_schedule_has_the_arguments_of_its_class(name: str) -> None:
    fields = SCHEDULES[name].model_fields
    parameters = inspect.signature(getattr(lr_scheduler, name)).parameters
    assert set(fields) - OURS == set(parameters) - THEIRS
    for key in set(fields) - OURS - {"mode"}:
        default = parameters[key].default
        if fields[key].is_required():
            assert default is inspect.Parameter.empty
        elif fields[key].default is not None:
            assert default == fields[key].default, key


def test_which_schedulers_have_a_name() -> None:
    functions = {"LambdaLR", "MultiplicativeLR"}
    assert set(lr_scheduler.__all__) - functions - {"LRScheduler"} == set(SCHEDULES) - HERE
    assert set(PARTS) == set(SCHEDULES) - HERE - {"ReduceLROnPlateau"}


def make(text: str, total: int = 24, steps_per_epoch: int = 4) -> tuple[Any, Any]:
    with tempfile.TemporaryDirectory() as folder:
        schedule = require_config(write_config(Path(folder)), (f"schedule={text}",)).schedule
    optimizer = optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5, momentum=0.9)
    return make_course(schedule, optimizer, total, steps_per_epoch, "val/loss", "min"), optimizer


def rates(text: str, steps: Any = range(24), **kwargs: Any) -> list[float]:
    course, optimizer = make(text, **kwargs)
    seen = []
    for step in steps:
        course.begin(step)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def expected(build: Any, steps: int = 24) -> list[float]:
    optimizer = optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5, momentum=0.9)
    scheduler = build(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


COURSES: dict[str, Any] = {
    "{type: StepLR, step_size: 5, gamma: 0.5}": lambda o: lr_scheduler.StepLR(o, 5, 0.5),
    "{MultiStepLR: {milestones: [3, 9]}}": lambda o: lr_scheduler.MultiStepLR(o, [3, 9]),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 24),
    "{type: CosineAnnealingWarmRestarts, T_0: 3, T_mult: 2}": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(
        o, 3, 2
    ),
    "{type: OneCycleLR, max_lr: 1.0, pct_start: 0.25}": lambda o: lr_scheduler.OneCycleLR(o, 1.0, 24, pct_start=0.25),
    "{type: CyclicLR, base_lr: 0.1, max_lr: 0.3, step_size_up: 4}": lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.3, 4),
    "{type: SequentialLR, milestones: [4], schedulers: [{LinearLR: {total_iters: 4}}, {ExponentialLR: {gamma: 0.9}}]}": (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, total_iters=4), lr_scheduler.ExponentialLR(o, 0.9)], [4]
        )
    ),
    "{type: ChainedScheduler, schedulers: [ConstantLR, {type: PolynomialLR, total_iters: 30}]}": lambda o: (
        lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o), lr_scheduler.PolynomialLR(o, 30)])
    ),
}


@pytest.mark.parametrize("text", COURSES)
def test_a_scheduler_s_course(text: str) -> None:
    whole = rates(text)
    assert whole == expected(COURSES[text])
    assert rates(text, range(13, 24)) == whole[13:], "the same when it begins in the middle"


def test_stretches_and_warm_up() -> None:
    assert (
        rates("{type: StepLR, step_size: 1, gamma: 0.5, every: 1 epoch}", range(10))
        == [0.5] * 4 + [0.25] * 4 + [0.125] * 2
    )
    warm = rates("{type: ExponentialLR, gamma: 0.5, warmup: 4 steps}", range(8))
    assert warm == [0.125, 0.25, 0.375, 0.5, 0.5, 0.25, 0.125, 0.0625]


def test_a_plateau() -> None:
    course, optimizer = make("{type: ReduceLROnPlateau, patience: 1, factor: 0.5, warmup: 2 steps}")
    assert course.watches == "val/loss"
    seen = []
    for step, value in enumerate([3.0, 2.0, 2.0, 2.0, 2.0, 2.0]):
        course.begin(step)
        seen.append(optimizer.param_groups[0]["lr"])
        course.measured(value)
    assert seen == [0.25, 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("schedule", "code"),
    [
        ("{type: StepLR}", "TL204"),
        ("{type: StepLR, step_size: 0}", "TL205"),
        ("{type: OneCicleLR, max_lr: 1}", "TL303"),
        ("{type: ChainedScheduler, schedulers: [ReduceLROnPlateau]}", "TL303"),
        ("{type: ChainedScheduler, schedulers: ConstantLR}", "TL202"),
        ("{type: SequentialLR, milestones: [], schedulers: [{type: StepLR, step_size: 2, warmup: 3 steps}]}", "TL402"),
    ],
)
def test_what_is_reported(schedule: str, code: str, tmp_path: Any) -> None:
    _, diagnostics = load_config(write_config(tmp_path), (f"schedule={schedule}",))
    assert code in {diagnostic.code for diagnostic in diagnostics}, diagnostics


def test_an_optimizer_without_momentum(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="momentum"):
        train(tmp_path, "optim={type: adagrad, lr: 0.1}", "schedule={type: OneCycleLR, max_lr: 0.1}")


@pytest.mark.parametrize(
    "schedule",
    [
        "{type: OneCycleLR, max_lr: 0.1}",
        "{type: ReduceLROnPlateau, patience: 0, threshold: 0.5, warmup: 2 steps}",
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(schedule: str, tmp_path: Any) -> None:
    whole = train(tmp_path, f"schedule={schedule}", "train.steps=8", "eval.every=2 steps")
    lrs = [row["lr"] for row in map(json.loads, whole.metrics.read_text().splitlines()) if "lr" in row]
    assert len(set(lrs)) > 2
    for step in (1, 5):
        shutil.copytree(whole.path, tmp_path / f"part-{step}")
        part = RunDirectory(tmp_path / f"part-{step}")
        for folder in part.path.glob("checkpoints/step-*"):
            if int(folder.name[5:]) > step:
                shutil.rmtree(folder)
        assert run.resume(part, Quiet()).exit_code == 0
        assert final_state(part) == final_state(whole)
