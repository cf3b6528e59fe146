"""Training on a GPU replays its steps as CUDA graphs, with the numbers of a run that launches them."""

from pathlib import Path

import cuda_on_host
import numpy as np
import pytest
import simulated_gpu
from small_runs import Quiet, final_state, losses, rewound, train

from torchlite.backends import cupy
from torchlite.compiler import cuda
from torchlite.compiler.cuda.recording import Recorded
from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.run_directory import RunDirectory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_on_host.COMPILER is None and simulated_gpu.installed(), reason="needs a C++ compiler"),
]

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = """\
version: 1
name: small
seed: 7
data: {type: digits, split: {val: 0.1}, batch_size: 200, transforms: {train: [{to_float: $data.scale}], eval: [{to_float: $data.scale}]}}
model: {layers: [Flatten, {Linear: 24}, BatchNorm1d, ReLU, {Dropout: 0.3}, {Linear: $data.num_classes}]}
optim: {type: adamw, lr: 0.01}
schedule: {type: cosine, warmup: 5 steps}
train: {steps: 24, device: cuda, ema: 0.9}
eval: {every: 1 epochs}
metrics: [accuracy]
checkpoint: {every: 1 steps, keep: {last: 100}}
"""
"""Eight batches an epoch, the last of them smaller."""
WITHOUT_CHECKPOINTS = "checkpoint.every=1000 steps"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """The programs that are recorded from here on."""
    found: list[Recorded] = []

    class Noted(Recorded):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            found.append(self)

    monkeypatch.setattr(cuda, "Recorded", Noted)
    return found


def go(folder: Path, *overrides: str) -> RunDirectory:
    folder.mkdir(exist_ok=True)
    return train(folder, *overrides, text=CONFIG)


@pytest.mark.parametrize(
    "option",
    [
        "train.precision=fp16",
        "train.precision=bf16",
        "train.accumulate=3",
        "train.clip.norm=0.5",
        "train.clip.value=0.05",
        "train.on_nonfinite=skip",
        "train.on_oom=accumulate",
        "data.drop_last=true",
    ],
)
def test_replayed_steps_are_those_that_are_not_compiled(option: str, tmp_path: Path, programs: list[Recorded]) -> None:
    options = (option, WITHOUT_CHECKPOINTS)
    eager = go(tmp_path / "eager", *options, "train.compile=false")
    assert not programs
    graphs = go(tmp_path / "graphs", *options, "train.compile=true")
    half = "precision" in option
    np.testing.assert_allclose(losses(graphs), losses(eager), rtol=3e-2 if half else 1e-3)
    assert sum(program.replays for program in programs) >= 15
    assert all(program.refused is None for program in programs)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return go(tmp_path_factory.mktemp("replayed"), "train.compile=true")


def test_a_replayed_run_is_a_launched_one_bit_for_bit(
    replayed: RunDirectory, tmp_path: Path, programs: list[Recorded]
) -> None:
    launched = go(tmp_path, "train.compile=no-cudagraphs")
    assert not programs
    assert final_state(launched) == final_state(replayed)


@pytest.mark.parametrize("step", [1, 3, 8, 17, 23])
def test_a_replayed_run_goes_on_where_it_was(replayed: RunDirectory, step: int, tmp_path: Path) -> None:
    part = rewound(replayed, step, tmp_path / "run")
    run.resume(part, Quiet(), overrides=[WITHOUT_CHECKPOINTS])
    assert final_state(part) == final_state(replayed)


def test_both_lengths_of_batches_are_replayed(tmp_path: Path, programs: list[Recorded]) -> None:
    go(tmp_path, "train.compile=true", WITHOUT_CHECKPOINTS)
    whole, last = programs
    assert (whole.replays, last.replays) == (18, 1)


@pytest.mark.parametrize("name", ["digits_cnn", "reviews_lstm", "sonnets_gpt"])
def test_bundled_configurations(name: str, tmp_path: Path, programs: list[Recorded]) -> None:
    small = ["train.device=cuda", "data.batch_size=2", "eval.batches=1", "train.steps=6", "schedule=constant"]
    small.append("vars={context: 16, width: 16}" if name == "sonnets_gpt" else "unset:train.epochs")
    found = []
    for wish in ("false", "true"):
        config = require_config(CONFIGS / f"{name}.yaml", [*small, f"train.compile={wish}"])
        found.append(losses(run.train(config, Quiet(), root=tmp_path / wish).run))
    np.testing.assert_allclose(*found, rtol=1e-2)  # convolutions are products of TF32
    assert [program.replays for program in programs] == [3]


@pytest.mark.parametrize("short", ["while it is recorded", "for the rest"])
def test_a_graph_that_does_not_fit_into_memory_is_launched(
    short: str,
    tmp_path: Path,
    programs: list[Recorded],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise MemoryError("out of memory allocating 1,024 bytes")

    if short == "for the rest":
        monkeypatch.setattr(cupy().cuda.runtime, "memGetInfo", lambda: (-1, 100))
    else:
        monkeypatch.setattr("torchlite.compiler.cuda.recording.Recording._record", full)
    monkeypatch.setenv("TORCHLITE_LOG", "cudagraphs")
    done = go(tmp_path, "train.compile=true", "train.steps=6", WITHOUT_CHECKPOINTS)
    assert len(losses(done)) == 6
    assert [program.replays for program in programs] == [0]
    assert "is not replayed as a CUDA graph: recording raised MemoryError" in capsys.readouterr().err
