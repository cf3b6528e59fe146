"""NaN and infinities in losses and gradients: found, named, left out or gone back from; and resumed bit for bit."""

import json
import signal

import numpy as np
import pytest
from small_runs import Quiet, final_state, rewound, train

from torchlite.errors import CheckpointError, NonFiniteLossError
from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.config.validate import Options, validate
from torchlite.train.metrics_log import read_metrics
from torchlite.train.reproduction import reproduce
from torchlite.train.verification import verify

CONFIG = """\
version: 1
name: small
seed: 3
code: [nets.py]
data:
  type: csv
  train: data.csv
  inputs: {x: {kind: number, scale: none}}
  target: {column: y, kind: number}
  batch_size: 4
model:
  layers:
    - Linear: {out_features: 4, bias: false}
    - BatchNorm1d: {affine: false, momentum: 0.0001}
    - {type: "nets:Root"}
    - Dropout: 0.2
    - Linear: 1
loss: mse
optim: {type: adam, lr: 0.001}
train: {steps: 18, ema: 0.5}
checkpoint: {every: 1 steps, keep: {last: 100}}
"""
WITHOUT_NORM = "model.layers=[{Linear: {out_features: 4, bias: false}},{type: 'nets:Root'},{Dropout: 0.2},{Linear: 1}]"
NETS = """\
from torchlite import nn


class Root(nn.Module):
    def forward(self, x):
        return x.abs().sqrt()
"""


class Warnings(Quiet):
    """Remembers what it was told."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def warned(self, progress, message):
        self.messages.append(message)


@pytest.fixture
def go(tmp_path):
    """Train on 24 rows, one of which is bad: ``zero`` has a gradient that is NaN, ``huge`` a loss that is infinite."""

    def made(bad, *overrides):
        rows = [f"{1 + i / 8},{i % 5}\n" for i in range(24)]
        rows[9] = {"zero": "0,1\n", "huge": "1e39,1\n", None: rows[9]}[bad]
        (tmp_path / "data.csv").write_text("x,y\n" + "".join(rows))
        (tmp_path / "nets.py").write_text(NETS)
        return train(tmp_path, WITHOUT_NORM, *overrides, text=CONFIG)

    return made


def weights(directory):
    checkpoint = directory.store().load("last")
    return [*checkpoint.model.values(), *checkpoint.optim.values()]


def counts(directory):
    return [row for row in read_metrics(directory.metrics) if "lr" in row][-1]


def resumed(directory, step, tmp_path):
    part = rewound(directory, step, tmp_path / f"part-{step}")
    run.resume(part, Quiet(), allow_code=True)
    return part


class Interrupting(Quiet):
    """Asks the run to stop behind every step."""

    def stepped(self, progress, step):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("compiled", ["true", "false"])
@pytest.mark.parametrize(
    ("bad", "option", "expected"),
    [
        ("zero", "train.clip={norm: 1}", r"a gradient became NaN .* gradient of `sqrt` in '1' \(Root\) \(nets\.py:6\) gave"),
        ("zero", "checkpoint={every: 100 steps};eval={every: 100 steps}", r"the loss became nan .*the weights '0\.weight' were"),
        ("huge", "train.clip=null", r"the inputs of the batch are not finite, at sample \d of 4"),
    ],
)  # fmt: skip
def test_a_run_ends_and_says_where_it_began(bad, option, expected, compiled, go):
    with pytest.raises(NonFiniteLossError, match=expected) as caught:
        go(bad, *option.split(";"), f"train.compile={compiled}")
    assert caught.value.exit_code == 8


def test_weights_that_are_not_finite_are_never_saved(go, tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"the weights '3\.weight', '3\.bias' are not finite after step \d"):
        go(None, "optim={type: sgd, lr: 1e38}", "train.clip={norm: 1e30}")
    (directory,) = (tmp_path / "runs" / "small").iterdir()
    assert not list(directory.glob("checkpoints/step-*"))


KINDS = {
    "plain": (),
    "compiled": ("train.compile=true",),
    "compiled, without clipping": ("train.compile=true", "train.clip={value: 0.5}"),
    "accumulation": ("train.accumulate=2",),
    "bfloat16": ("train.precision=bf16",),
    "float16": ("train.precision=fp16",),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["zero", "huge"])
@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_the_run_goes_on_and_does_so_when_resumed(policy, bad, kind, go, tmp_path):
    whole = go(
        bad, f"train.on_nonfinite={policy}", "train.nonfinite_limit=20", "checkpoint.every=2 steps", *KINDS[kind]
    )
    rows = [row for row in read_metrics(whole.metrics) if "lr" in row]
    assert [row["step"] for row in rows] == list(range(1, 19))
    assert all(np.isfinite(array).all() for array in weights(whole))
    found = counts(whole)
    count = found.get("skipped" if policy == "skip" else "rollbacks", 0) + found.get("overflows", 0)
    assert count >= 3
    if "compiled" in kind:
        assert json.loads((whole.path / "checkpoints/step-000018/state.json").read_text())
    for step in (2, 8, 16):
        assert final_state(resumed(whole, step, tmp_path)) == final_state(whole), f"resumed from step {step}"


def test_what_is_verified_is_what_went_on(go):
    whole = go("zero", "train.on_nonfinite=rollback", "checkpoint={every: 2 steps, keep: {last: 100}}")
    config = whole.read_config(allow_code=True)
    assert verify(whole, config, 2).state == 18
    with pytest.raises(CheckpointError, match=r"the run went back before step \d+, which --verify does not follow"):
        verify(whole, config, 100)
    _, comparison = reproduce(whole, Quiet(), allow_code=True)
    assert comparison.identical


def test_going_back_does_not_depend_on_interruptions(go, tmp_path):
    options = ("train.on_nonfinite=rollback", "checkpoint={every: 4 steps, keep: {last: 2}}", "eval.every=100 steps")
    whole = go("zero", *options)
    config = require_config(tmp_path / "config.yaml", [WITHOUT_NORM, *options])
    outcome = run.train(config, Interrupting(), root=tmp_path / "other")
    part = outcome.run
    for _ in range(40):
        if outcome.completed:
            break
        outcome = run.resume(part, Interrupting(), allow_code=True)
    assert outcome.progress.setbacks.rollbacks == counts(whole)["rollbacks"]
    assert part.metrics.read_bytes() == whole.metrics.read_bytes()
    assert [a.tobytes() for a in weights(part)] == [a.tobytes() for a in weights(whole)]


def test_a_step_that_is_left_out_leaves_nothing_behind(go, tmp_path):
    layers = CONFIG[CONFIG.index("  layers:") : CONFIG.index("loss:")]
    assert "BatchNorm1d" in layers
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "nets.py").write_text(NETS)
    rows = [f"{1 + i / 8},{i % 5}\n" for i in range(24)]
    rows[9] = "1e39,1\n"
    (tmp_path / "norm" / "data.csv").write_text("x,y\n" + "".join(rows))
    directory = train(tmp_path / "norm", "train.on_nonfinite=skip", text=CONFIG)
    assert counts(directory)["skipped"] == 3
    assert all(np.isfinite(array).all() for array in weights(directory))


def test_what_is_left_out_is_told(go, tmp_path):
    go(None)
    rows = (tmp_path / "data.csv").read_text().splitlines()
    rows[10] = "0,1"
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    config = require_config(tmp_path / "config.yaml", [WITHOUT_NORM, "train.on_nonfinite=skip"])
    watching = Warnings()
    outcome = run.train(config, watching, root=tmp_path / "other")
    assert outcome.progress.setbacks.counts() == {"skipped": 3}
    assert outcome.run.status()["skipped"] == 3
    assert len(watching.messages) == 3
    assert "the gradient of `sqrt`" in watching.messages[0]
    assert "; the step was left out" in watching.messages[0]


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("skip", r"So did the 1 steps before it.*Earlier checkpoints are intact"),
        ("rollback", r"The run has gone back 1 times.*Earlier checkpoints are intact"),
    ],
)
def test_there_is_an_end_to_it(policy, why, go):
    with pytest.raises(NonFiniteLossError, match=why):
        go("zero", f"train.on_nonfinite={policy}", "train.nonfinite_limit=1", "data.batch_size=24")


def test_what_cannot_leave_steps_out_is_found_before(tmp_path, go):
    go(None, "train.steps=1")
    checked = validate(
        [str(tmp_path / "config.yaml")],
        ["train.on_nonfinite=skip", "optim={type: lbfgs}"],
        Options("schema"),
    )
    assert [one.code for one in checked.diagnostics if one.severity == "error"] == ["TL412"]
