"""A resumed run is the uninterrupted one, bit for bit."""

import json

import numpy as np
import pytest
from small_runs import CONFIG, Quiet, final_state, losses, rewound, train

from torchlite import amp
from torchlite.errors import NonFiniteLossError
from torchlite.train import run
from torchlite.train.registry import registry


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def test_the_run_learns(whole):
    values = losses(whole)
    assert len(values) == 40
    assert values[-5:].mean() < 0.7 * values[:5].mean()


@pytest.mark.parametrize("step", range(1, 40))
def test_resume_from_every_step_is_bit_identical(whole, step, tmp_path):
    part = rewound(whole, step, tmp_path / "run")
    outcome = run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert outcome.exit_code == 0
    assert final_state(part) == final_state(whole)


def compiling(directory):
    """What the last checkpoint says of compiling."""
    state = json.loads((sorted(directory.path.glob("checkpoints/step-*"))[-1] / "state.json").read_text())
    return _found(state, "compiling")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return train(tmp_path_factory.mktemp("compiled"), "train.compile=true")


def test_compiled_steps_are_those_that_are_not(whole, compiled):
    np.testing.assert_allclose(losses(compiled), losses(whole), rtol=1e-5)


def test_compiled_runs_repeat_bit_for_bit(compiled, tmp_path):
    assert final_state(train(tmp_path, "train.compile=true")) == final_state(compiled)


@pytest.mark.parametrize("step", [1, 2, 8, 23, 39])
def test_a_compiled_run_goes_on_where_it_was(compiled, step, tmp_path):
    part = rewound(compiled, step, tmp_path / "run")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(compiled)
    assert compiling(part) == {"doubted": [], "varying": [], "gave_up": None}


@pytest.mark.parametrize(
    "options",
    [
        ["schedule={type: OneCycleLR, max_lr: 0.1}"],
        ["optim={type: sgd, lr: 0.1}"],
        ["freeze={modules: ['0'], unfreeze: {'0': 3 steps}}"],
    ],
    ids=["momentum that changes", "no state", "layers that are unfrozen"],
)
def test_compiled_runs_of_other_kinds_go_on_where_they_were(options, tmp_path):
    whole = train(tmp_path, "train.compile=true", "train.steps=6", *options)
    part = rewound(whole, 3, tmp_path / "run")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(whole)
    assert compiling(part)["gave_up"] is None


DECIDING = """\
import torchlite

class Deciding(torchlite.nn.Module):
    def forward(self, x):
        return -x if not x.is_meta and x.sum() < 0 else x
"""


@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_what_cannot_be_captured_goes_on_uncompiled_where_it_was(tmp_path):
    (tmp_path / "deciding.py").write_text(DECIDING)
    text = CONFIG.replace("name: small", "name: small\ncode: [deciding.py]")
    text = text.replace("    - ReLU\n", '    - {type: "deciding:Deciding"}\n')
    whole = train(tmp_path, "train.compile=true", "train.steps=6", text=text)
    part = rewound(whole, 3, tmp_path / "run")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"], allow_code=True)
    assert final_state(part) == final_state(whole)
    assert "decides what happens next" in compiling(part)["gave_up"]


def test_a_loss_that_is_not_finite_is_the_same_error_in_compiled_steps(tmp_path):
    messages = []
    for wish in ("false", "true"):
        (tmp_path / wish).mkdir()
        with pytest.raises(NonFiniteLossError) as caught:
            train(
                tmp_path / wish,
                f"train.compile={wish}",
                "schedule={type: constant}",
                "train.clip=null",
                "optim.lr=1e18",
            )
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "at step 1 " not in messages[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(whole, workers, tmp_path):
    assert final_state(train(tmp_path, f"data.workers={workers}")) == final_state(whole)


SHORT = ("data.batch_size=400", "train.steps=5", "eval.every=2 steps", "schedule.warmup=2 steps", "train.accumulate=1")
KINDS = {
    "plain": (),
    "accumulation": ("train.accumulate=3",),
    "averages": ("train.ema=0.9",),
    "bfloat16": ("train.precision=bf16",),
}


@pytest.fixture(scope="module", params=KINDS)
def uninterrupted(request, tmp_path_factory):
    """Runs over more than one epoch, without workers, of each kind that keeps other state."""
    return train(tmp_path_factory.mktemp(request.param), *SHORT, *KINDS[request.param])


@pytest.mark.parametrize("workers", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_every_kind_of_run_goes_on_from_every_step_with_any_number_of_workers(uninterrupted, workers, tmp_path):
    for step in range(1, 5):
        part = rewound(uninterrupted, step, tmp_path / f"part-{step}")
        run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps", f"data.workers={workers}"])
        assert final_state(part) == final_state(uninterrupted), f"resumed from step {step}"


def test_a_run_cut_off_in_the_middle_goes_on(whole, tmp_path):
    part = train(tmp_path, stop_at=17)
    assert part.status()["state"] == "failed"
    run.resume(part, Quiet())
    assert final_state(part) == final_state(whole)
    assert part.status()["state"] == "finished"


def test_damage_to_the_newest_checkpoint_falls_back_and_says_so(whole, tmp_path):
    part = rewound(whole, 20, tmp_path / "run")
    damaged = part.path / "checkpoints" / "step-000020" / "model.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 4
    damaged.write_bytes(content)
    outcome = run.resume(part, Quiet())
    assert "step-000020" in outcome.warnings[0]
    assert "continuing from step 19" in outcome.warnings[0]
    assert final_state(part) == final_state(whole)


def test_another_seed_is_another_run(whole, tmp_path):
    assert final_state(train(tmp_path, "seed=8")) != final_state(whole)


def test_accumulation_equals_the_large_batch(tmp_path):
    """Without batch statistics, dropout or a ragged last batch, 4 batches of 8 are one of 32."""
    plain = (
        "model.layers=[Flatten,{Linear: 10}]",
        "train.steps=20",
        "data.transforms=[{to_float: 16}]",
        "data.drop_last=true",
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    small = losses(train(tmp_path / "a", *plain, "data.batch_size=8", "train.accumulate=4"))
    large = losses(train(tmp_path / "b", *plain, "data.batch_size=32", "train.accumulate=1"))
    assert abs(small - large).max() < 1e-5


OPTIMIZERS = {
    "adadelta": "{type: adadelta}",
    "adafactor": "{type: adafactor, d: 2.0}",
    "adagrad": "{type: adagrad, lr_decay: 0.1}",
    "adam": "{type: adam, lr: 0.01, amsgrad: true}",
    "adamax": "{type: adamax}",
    "adamw": "{type: adamw, lr: 0.01}",
    "asgd": "{type: asgd, t0: 2}",
    "lbfgs": "{type: lbfgs, lr: 0.5, max_iter: 4, history_size: 5, line_search_fn: strong_wolfe}",
    "muon": "{type: muon, adjust_lr_fn: match_rms_adamw}",
    "nadam": "{type: nadam}",
    "radam": "{type: radam}",
    "rmsprop": "{type: rmsprop, centered: true, momentum: 0.5}",
    "rprop": "{type: rprop, etas: [0.4, 1.3]}",
    "sgd": "{type: sgd, lr: 0.1, momentum: 0.9, nesterov: true}",
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_where_it_was(name, tmp_path):
    options = (f"optim={OPTIMIZERS[name]}", "train.steps=6", "schedule={type: constant}")
    if name == "muon":
        options = (*options, "model.layers=[Flatten,{Linear: {out_features: 10, bias: false}}]")
    whole = train(tmp_path, *options)
    for step in (1, 3):
        part = rewound(whole, step, tmp_path / f"part-{step}")
        run.resume(part, Quiet())
        assert final_state(part) == final_state(whole)


def test_the_names_of_optimizers_are_those_in_the_registry():
    assert sorted(OPTIMIZERS) == registry.names("optimizer")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_alike_and_goes_on_where_it_was(precision, whole, tmp_path):
    mixed = train(tmp_path, f"train.precision={precision}")
    apart = abs(losses(mixed) - losses(whole))
    assert 0 < apart.max() < 0.2
    for step in (7, 30):
        part = rewound(mixed, step, tmp_path / f"part-{step}")
        run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
        assert final_state(part) == final_state(mixed)


def test_a_step_that_overflows_is_left_out_and_so_it_is_when_resumed(tmp_path, monkeypatch):
    """A factor far too large makes the gradients of the first steps infinite; its way down is in the checkpoints."""
    monkeypatch.setattr("torchlite.train.plan.scaler_for", lambda *_: amp.GradScaler("cpu", init_scale=2.0**30))
    options = ("train.precision=fp16", "train.steps=30", "eval.every=15 steps")
    whole = train(tmp_path, *options)
    scales = [_scale_after(whole, step) for step in (1, 2, 30)]
    assert scales[:2] == [2.0**29, 2.0**28]
    assert 2.0 < scales[2] < 2.0**24
    part = rewound(whole, 4, tmp_path / "part")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(whole)


def _scale_after(directory, step):
    state = json.loads((directory.path / "checkpoints" / f"step-{step:06d}" / "state.json").read_text())
    return _found(state, "scaler")["scale"]


def _found(tree, name):
    if name in tree:
        return tree[name]
    return next(found for value in tree.values() if isinstance(value, dict) and (found := _found(value, name)))
