"""Parameter groups, parameters without decay, frozen parts, weights to start from, and their average."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import CONFIG, Quiet, final_state, rewound, train, write_config

import torchlite as torch
from torchlite import nn
from torchlite.errors import CheckpointError
from torchlite.serialization.safetensors import write_safetensors
from torchlite.train import run
from torchlite.train.averaging import WeightAverage
from torchlite.train.config.load import require_config
from torchlite.train.config.schema import Init
from torchlite.train.config.validate import Options, validate
from torchlite.train.initial import start_from
from torchlite.train.plan import make_plan
from torchlite.train.run_directory import RunDirectory
from torchlite.train.trained import load_trained


def weights(directory: RunDirectory, step: int) -> dict[str, Any]:
    return dict(directory.store().load(step).model)


def plan_of(folder: Path, *overrides: str) -> Any:
    return make_plan(require_config(write_config(folder), overrides))


GROUPED = "optim={type: adamw, lr: 0.1, weight_decay: 0.5, no_decay: [bias, norm], groups: [{match: '5', lr: 0.01}]}"


def test_groups_and_no_decay(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, GROUPED)
    names = {id(parameter): name for name, parameter in plan.model.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in plan.optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {
        "0.weight": (0.1, 0.5),
        "0.bias": (0.1, 0.0),
        "1.weight": (0.1, 0.0),
        "1.bias": (0.1, 0.0),
        "5.weight": (0.01, 0.5),
        "5.bias": (0.01, 0.0),
    }


@pytest.mark.parametrize("schedule", ["{type: cosine, warmup: 5 steps}", "{type: OneCycleLR, max_lr: 1}", "constant"])
def test_the_schedule_moves_every_group(tmp_path: Path, schedule: str) -> None:
    plan = plan_of(tmp_path, GROUPED, f"schedule={schedule}")
    plan.course.begin(2)
    first, second = plan.optimizer.param_groups[0]["lr"], plan.optimizer.param_groups[-1]["lr"]
    expected = {"constant": 10}.get(schedule, 1 if "OneCycle" in schedule else 10)
    assert first / second == pytest.approx(expected)


def test_what_is_frozen_stays_until_its_time(tmp_path: Path) -> None:
    directory = train(tmp_path, "freeze={modules: ['0', '1'], unfreeze: {'0': 6 steps}}", "train.steps=12")
    first, before, after, last = (weights(directory, step) for step in (1, 6, 7, 12))
    assert all(np.array_equal(first[name], before[name]) for name in first if name[0] in "01")
    assert not np.array_equal(first["5.weight"], before["5.weight"])
    assert not np.array_equal(before["0.weight"], after["0.weight"])
    assert all(np.array_equal(first[name], last[name]) for name in first if name[0] == "1"), "also running statistics"


@pytest.mark.parametrize("step", [3, 6, 7, 11])
def test_a_frozen_run_resumes_bit_for_bit(tmp_path: Path, step: int) -> None:
    whole = train(tmp_path, "freeze={modules: ['0', '1'], unfreeze: {'0': 6 steps}}", "train.steps=12")
    part = rewound(whole, step, tmp_path / "part")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(whole)


@pytest.mark.parametrize("step", [1, 5, 11])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_average_of_the_weights_resumes_bit_for_bit(tmp_path: Path, step: int, precision: str) -> None:
    whole = train(tmp_path, "train.ema=0.9", "train.steps=12", f"train.precision={precision}")
    part = rewound(whole, step, tmp_path / "part")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(whole)


def test_the_average_is_what_its_formula_says_and_what_is_evaluated(tmp_path: Path) -> None:
    directory = train(tmp_path, "train.ema=0.9", "train.steps=12")
    mean = weights(directory, 1)["5.weight"].astype(np.float64)
    for step in range(2, 13):
        mean = 0.9 * mean + 0.1 * weights(directory, step)["5.weight"]
    np.testing.assert_allclose(directory.store().load(12).average["5.weight"], mean, rtol=1e-5, atol=1e-7)
    trained = load_trained(directory.path, "last")
    np.testing.assert_array_equal(
        trained.model.state_dict()["5.weight"].numpy(), directory.store().load(12).average["5.weight"]
    )


def test_the_average_keeps_the_buffers_of_the_last_step() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))
    average = WeightAverage(model, 0.5)
    model(torch.randn(8, 2) + 3)
    average.update(model)
    assert torch.equal(average.model[0].running_mean, model[0].running_mean)


def saved(folder: Path, model: nn.Module, prefix: str = "") -> str:
    path = folder / "weights.safetensors"
    write_safetensors(path, {prefix + name: x.numpy() for name, x in model.state_dict().items()})
    return str(path)


def test_weights_to_start_from(tmp_path: Path) -> None:
    source, model = nn.Linear(3, 2), nn.Linear(3, 2)
    path = saved(tmp_path, source, "backbone.")
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    start_from(Init(weights=path, sha256=digest, rename={r"^backbone\.": ""}), model)
    assert torch.equal(model.weight, source.weight)
    with pytest.raises(CheckpointError, match="SHA-256"):
        start_from(Init(weights=path, sha256="0" * 64), model)
    with pytest.raises(CheckpointError, match=r"missing: weight, bias .*; not of the model: backbone\.bias"):
        start_from(Init(weights=path), model)


def test_what_may_be_missing_or_extra_is_listed(tmp_path: Path) -> None:
    source, model = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    path = saved(tmp_path, source)
    start_from(Init(weights=path, expect_missing=["1"]), model)
    assert torch.equal(model[0].weight, source[0].weight)
    with pytest.raises(CheckpointError, match=r"missing: 1\.weight, 1\.bias"):
        start_from(Init(weights=path), model)
    path = saved(tmp_path, model)
    with pytest.raises(CheckpointError, match="not of the model"):
        start_from(Init(weights=path), source)
    start_from(Init(weights=path, ignore_extra=True), source)
    with pytest.raises(CheckpointError, match=r"'0.weight' is \(3, 3\), the model's is \(2, 3\)"):
        start_from(Init(weights=path, ignore_extra=True), nn.Sequential(nn.Linear(3, 2)))


def test_a_run_starts_from_another_run(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    first = train(tmp_path / "made", "train.steps=10")
    plan = plan_of(tmp_path, f"init.weights={first.path}/last")
    assert np.array_equal(plan.model.state_dict()["5.weight"].numpy(), weights(first, 10)["5.weight"])


@pytest.mark.parametrize(
    ("override", "key", "text"),
    [
        ("optim.groups=[{match: layer4, lr: 0.1}]", "optim.groups.0.match", "'layer4' matches no parameter"),
        ("optim={type: adamw, no_decay: [bais]}", "optim.no_decay.0", "'bais' matches no parameter"),
        ("freeze=[conv1]", "freeze.modules.0", "'conv1' matches no parameter"),
        ("freeze=['.*']", "freeze", "every parameter of the model is frozen"),
        ("init={weights: a.npz, expect_missing: [head]}", "init.expect_missing.0", "'head' matches no parameter"),
    ],
)
def test_patterns_that_match_nothing(tmp_path: Path, override: str, key: str, text: str) -> None:
    (found,) = validate([str(write_config(tmp_path))], [override], Options(ignore=("TL409",))).diagnostics
    assert (found.code, found.key) == ("TL506", key)
    assert text in found.message


def test_a_group_takes_arguments_of_its_optimizer_only(tmp_path: Path) -> None:
    text = CONFIG.replace("momentum: 0.9}", "momentum: 0.9, groups: [{match: '5', betas: [0, 0]}, {mtch: a}, {lr: 1}]}")
    found = validate([str(write_config(tmp_path, text))], options=Options("schema", ignore=("TL409",))).diagnostics
    assert [(one.code, one.hint) for one in found] == [
        ("TL405", "adam, adamax, adamw, nadam, radam have it"),
        ("TL201", "did you mean 'match'?"),
        ("TL204", None),
    ]


def test_the_best_weights_are_exported_at_the_end(tmp_path: Path) -> None:
    directory = train(tmp_path, "train.ema=0.9", "train.steps=10", "export=npz,pt")
    with np.load(directory.path / "exports" / "model.npz") as arrays:
        best = load_trained(directory.path, "best").model.state_dict()
        assert all(np.array_equal(arrays[name], x.numpy()) for name, x in best.items())
    assert (directory.path / "exports" / "model.pt").is_file()
