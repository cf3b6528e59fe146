"""Training of one's own: a step, several models and optimizers, a teacher, callbacks."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import CONFIG, Quiet, final_state, rewound, train, write_config

import torchlite as torch
from torchlite.errors import UserCodeError
from torchlite.nn import functional as F
from torchlite.train import run
from torchlite.train.callbacks import grid
from torchlite.train.config.load import require_config
from torchlite.train.config.validate import Options, validate
from torchlite.train.losses import Distillation, SequenceCrossEntropy
from torchlite.train.run_directory import RunDirectory
from torchlite.vision.png import encode_png

CODE = """
import torchlite as torch
from torchlite.nn.functional import mse_loss

class Step:
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, context, batch):
        inputs, _ = batch
        code = context.models["encoder"](inputs) + self.scale * torch.randn(len(inputs), 4)
        loss = mse_loss(context.models["decoder"](code), inputs.flatten(1))
        for optimizer in context.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in context.optimizers.values():
            optimizer.step()
        return {"reconstruction": loss, "step": context.step}

class Counts:
    def __init__(self, start: int = 0) -> None:
        self.count = start

    def stepped(self, progress, step):
        self.count += 1

    def ended(self, progress, ending):
        (self.folder / "count.txt").write_text(f"{self.count} {ending}")
"""
MODELS = """\
version: 1
name: small
code: [mine.py]
data: {type: digits, batch_size: 64, transforms: [{to_float: 16}]}
models:
  encoder: {layers: [Flatten, {Linear: 4}]}
  decoder: {input: [4], layers: [{Linear: 64}, Sigmoid]}
optim:
  encoder: {type: sgd, lr: 0.1, momentum: 0.9}
  decoder: {type: adam, lr: 0.01}
schedule: {type: cosine, warmup: 2 steps}
train: {steps: 8, step: {type: "mine:Step", scale: 0.1}, reports: [reconstruction, step], ema: 0.9}
eval: {every: 4 steps}
checkpoint: {every: 1 steps, keep: {last: 100}, monitor: train/reconstruction, mode: min}
callbacks: [{"mine:Counts": 100}, {image_grid: {model: decoder, n: 3, every: 4 steps}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setattr(
        "torchlite.train.callbacks.ImageGrid.make", lambda self, step: None
    )  # its model makes no images
    return train(folder, text=MODELS)


def test_a_step_of_ones_own_with_two_models(trained: RunDirectory) -> None:
    rows = [json.loads(line) for line in trained.metrics.read_text().splitlines()]
    evaluated = [row for row in rows if "train/reconstruction" in row]
    assert [row["train/step"] for row in evaluated] == [1.5, 5.5]
    assert evaluated[1]["train/reconstruction"] < evaluated[0]["train/reconstruction"]
    assert (trained.path / "count.txt").read_text() == "108 finished"


@pytest.mark.parametrize("step", [1, 4, 7])
def test_it_resumes_bit_for_bit(trained: RunDirectory, tmp_path: Path, step: int) -> None:
    part = rewound(trained, step, tmp_path / "part")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"], allow_code=True)
    assert final_state(part) == final_state(trained)


def test_it_is_checked_and_tried_without_data(folder: Path) -> None:
    report = validate([str(write_config(folder, MODELS))], (), Options("smoke", import_code=True))
    assert report.diagnostics == []
    assert report.files[0].summary["spec"] == "encoder: [N, 1, 8, 8] -> [N, 4]; decoder: [N, 4] -> [N, 64]"


def test_what_it_reports_is_held_against_what_it_promises(folder: Path) -> None:
    with pytest.raises(UserCodeError, match="lists reconstruction, other, but the step returned reconstruction, step"):
        train(folder, "train.reports=reconstruction,other", text=MODELS)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("inputs, _ = batch", "mine.py, line 10, in __call__: ZeroDivisionError: division by zero"),
        ("self.count += 1", "mine.py, line 25, in stepped: ZeroDivisionError: division by zero"),
    ],
)
def test_what_code_of_ones_own_raises_says_where(folder: Path, line: str, where: str) -> None:
    (folder / "mine.py").write_text(CODE.replace(line, "1 / 0"))
    with pytest.raises(UserCodeError, match=re.escape(where)):
        train(folder, "callbacks=[{mine:Counts: 100}]", text=MODELS)
    status = json.loads(next(folder.rglob("status.json")).read_text())
    assert (status["state"], status["exit_code"]) == ("failed", UserCodeError.exit_code)
    assert where in status["reason"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("  decoder: {type: adam", "  «decodre»: {type: adam", "TL201"),
        ("  encoder: {type: sgd, lr: 0.1, momentum: 0.9}\n  decoder", "  «decoder»", "TL204"),
        ('step: {type: "mine:Step", scale: 0.1}, ', "", "TL204"),
        ('"mine:Step"', '«"mine:Stp"»', "TL307"),
        ('"mine:Step"', "«Step»", "TL303"),
        ("scale: 0.1", "«scael»: 0.1", "TL203"),
        ("ema: 0.9", "accumulate: «2»", "TL402"),
        ("train/reconstruction", "«train/recon»", "TL401"),
        ("model: decoder", "model: «decodr»", "TL413"),
        ("every: 4 steps}}]", "every: «4»}}]", "TL210"),
        ("every: 4 steps}}]", "every: «4 stps»}}]", "TL209"),
        ("model: decoder", "model: «encoder»", "TL204"),
    ],
)
def test_mistakes(folder: Path, old: str, new: str, code: str) -> None:
    assert old in MODELS
    marked = MODELS.replace(old, new, 1)
    path = write_config(folder, marked.replace("«", "").replace("»", ""))
    found = next(one for one in validate([str(path)], options="schema").diagnostics if one.code == code)
    if "«" in marked:
        before = marked.partition("«")[0]
        assert (found.line, found.col) == (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)


SCHEMA = Options("schema", ignore=("TL409",))
TAUGHT = CONFIG.replace("optim:", "loss: {type: distill, alpha: 0.5, temperature: 2.0}\noptim:")


def test_a_student_learns_from_a_teacher(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    teacher = train(tmp_path / "teacher", "train.steps=10")
    layers = CONFIG[CONFIG.index("  layers:") : CONFIG.index("optim:")].replace("\n", "\n  ")
    text = TAUGHT + f"teacher:\n  weights: {teacher.path}/last\n  model:\n  {layers}\n"
    whole = train(tmp_path, "train.steps=10", text=text)
    part = rewound(whole, 3, tmp_path / "part")
    run.resume(part, Quiet(), overrides=["checkpoint.every=1000 steps"])
    assert final_state(part) == final_state(whole)
    alone = train(tmp_path, "train.steps=10", "loss=cross_entropy", "unset:teacher", text=text)
    assert final_state(alone)[1] != final_state(whole)[1]


def test_the_network_of_a_teacher_is_that_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    teacher = train(tmp_path / "teacher", "train.steps=6", text=CONFIG.replace("out_channels: 4", "out_channels: 7"))
    text = TAUGHT + f"teacher: {{weights: {teacher.path}/last}}\n"
    whole = train(tmp_path, "train.steps=6", text=text)
    part = rewound(whole, 3, tmp_path / "part")
    run.resume(part, Quiet())
    assert final_state(part) == final_state(whole)
    assert validate([str(write_config(tmp_path, text))], ["train.steps=20"], "smoke").errors == 0

    def only(text: str) -> tuple[str, str]:
        (found,) = [one for one in validate([str(write_config(tmp_path, text))]).diagnostics if one.code != "TL409"]
        return found.code, found.message

    code, message = only(TAUGHT + "teacher: {weights: runs/nobody}\n")
    assert code == "TL504" and "there is no run at runs/nobody" in message
    code, message = only(TAUGHT + "teacher: {weights: a.safetensors}\n")
    assert code == "TL504" and "holds weights and does not say of which" in message


def test_a_teacher_and_its_loss_need_each_other(tmp_path: Path) -> None:
    def codes(text: str) -> list[str]:
        return [one.code for one in validate([str(write_config(tmp_path, text))], options=SCHEMA).diagnostics]

    teacher = "teacher: {model: {layers: [Flatten, {Linear: 10}]}, weights: runs/a}\n"
    assert codes(TAUGHT) == ["TL414"]
    assert codes(CONFIG + teacher) == ["TL402"]
    assert codes(TAUGHT + teacher) == []


def test_distillation_is_what_its_formula_says() -> None:
    rng = np.random.default_rng(0)
    student, teacher = (torch.tensor(rng.standard_normal((5, 3))) for _ in range(2))
    targets = torch.tensor([0, 1, 2, 0, 1])
    p, log_q = F.softmax(teacher / 3, dim=1), F.log_softmax(student / 3, dim=1)
    soft = (p * (p.log() - log_q)).sum() / 5 * 9
    expected = 0.4 * F.cross_entropy(student, targets) + 0.6 * soft
    assert Distillation(0.6, 3.0)(student, targets, teacher).item() == pytest.approx(expected.item(), rel=1e-12)
    assert Distillation()(student, targets).item() == F.cross_entropy(student, targets).item()


def test_hints_add_what_modules_differ_by() -> None:
    student, teacher = (
        torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)) for _ in range(2)
    )
    x, targets = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    loss = Distillation(0.6, 3.0, hints=[{"student": "0", "teacher": "0", "weight": 0.5}])
    loss.watch(student, teacher)
    taught = teacher(x).detach()
    found = loss(student(x), targets, taught)
    plain = Distillation(0.6, 3.0)(student(x), targets, taught)
    expected = plain + 0.5 * F.mse_loss(student[0](x), teacher[0](x))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    with pytest.raises(ValueError, match=r"no module '3' for a hint"):
        Distillation(hints=[{"student": "3", "teacher": "0"}]).watch(student, teacher)
    for wrong in ({"student": "0"}, {"student": "0", "teacher": "0", "type": "cosine"}):
        with pytest.raises(ValueError, match="a hint"):
            Distillation(hints=[wrong])


@pytest.mark.parametrize("options", [[], ["train.compile=true"]], ids=["eager", "compiled"])
def test_a_student_with_hints_resumes_bit_for_bit(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    teacher = train(tmp_path / "teacher", "train.steps=6")
    layers = CONFIG[CONFIG.index("  layers:") : CONFIG.index("optim:")].replace("\n", "\n  ")
    text = TAUGHT.replace("temperature: 2.0", 'hints: [{student: "0", teacher: "0"}]')
    text += f"teacher:\n  weights: {teacher.path}/last\n  model:\n  {layers}\n"
    whole = train(tmp_path, "train.steps=6", *options, text=text)
    part = rewound(whole, 3, tmp_path / "part")
    run.resume(part, Quiet())
    assert final_state(part) == final_state(whole)
    without = train(tmp_path, "train.steps=6", "unset:loss.hints", *options, text=text)
    assert final_state(without)[1] != final_state(whole)[1]


def test_a_hint_that_does_not_fit_is_found_on_shapes(tmp_path: Path) -> None:
    text = TAUGHT.replace("temperature: 2.0", 'hints: [{student: "0", teacher: "1"}]')
    text += "teacher: {model: {layers: [Flatten, {Linear: 12}, ReLU, {Linear: 10}]}, weights: runs/a}\n"
    (problem,) = [one for one in validate([str(write_config(tmp_path, text))]).diagnostics if one.code == "TL502"]
    assert "'0' [4, 8, 8] with '1' [12]" in problem.message


def test_the_loss_of_sequences() -> None:
    logits, targets = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    expected = F.cross_entropy(logits.transpose(1, 2), targets)
    assert SequenceCrossEntropy()(logits, targets).item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(ValueError, match=r"expected logits \(N, T, C\)"):
        SequenceCrossEntropy()(torch.randn(2, 7), torch.tensor([0, 1]))


def test_images_are_written_as_png() -> None:
    image_module: Any = pytest.importorskip("PIL.Image")
    from io import BytesIO

    images = np.arange(3 * 2 * 2, dtype=np.float32).reshape(3, 1, 2, 2)
    tiled = grid(images, 2)
    assert tiled.shape == (4, 4, 1)
    assert np.array_equal(np.asarray(image_module.open(BytesIO(encode_png(tiled)))), tiled[..., 0])


def test_a_grid_holds_every_image_at_its_place() -> None:
    images = np.zeros((3, 3, 2, 2), np.float32)
    images[2] = 1
    tiled = grid(images, 2)
    assert tiled[2:, :2].min() == 255
    assert tiled[:2].max() == tiled[2:, 2:].max() == 0
    assert encode_png(tiled).startswith(b"\x89PNG\r\n\x1a\n")


def test_resolved_configurations_load_again(folder: Path) -> None:
    config = require_config(write_config(folder, MODELS))
    import yaml

    (folder / "again.yaml").write_text(yaml.safe_dump(config.resolved(), sort_keys=False))
    assert require_config(folder / "again.yaml").resolved() == config.resolved()
