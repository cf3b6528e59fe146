"""What is found before a run by building its optimizer."""

from pathlib import Path

import pytest
from small_runs import write_config

from torchlite.train.check import check_shapes
from torchlite.train.config.load import require_config
from torchlite.train.config.validate import validate
from torchlite.train.smoke import check_smoke


def problems(folder: Path, optimizer: str) -> list[tuple[str, str]]:
    config = require_config(write_config(folder), [f"optim={optimizer}"])
    return [(found.code, found.message) for found in check_shapes(config)[1]]


def test_muon_takes_matrices_only(tmp_path: Path) -> None:
    ((code, message),) = problems(tmp_path, "{type: muon}")
    assert code == "TL505"
    assert message.startswith("muon can't take the model's parameters: Muon only supports 2D parameters")
    assert problems(tmp_path, "{type: adafactor}") == []


def test_a_step_of_an_optimizer_that_evaluates_the_loss_itself(tmp_path: Path) -> None:
    assert check_smoke(require_config(write_config(tmp_path), ["optim={type: lbfgs, max_iter: 2}"])) == []


def test_a_second_step_that_the_first_one_spoils(tmp_path: Path) -> None:
    """A learning rate that is far too high makes the first update, not the first loss, infinite."""
    config = require_config(write_config(tmp_path), ["optim.lr=1e38", "train.accumulate=1", "train.clip.norm=1e9"])
    (found,) = check_smoke(config)
    assert found.code == "TL702"
    assert "step 2" in found.message


def test_memory_counts_what_the_optimizer_keeps(tmp_path: Path) -> None:
    sizes = {}
    for optimizer in ("sgd", "adam", "{type: adam, amsgrad: true}", "{type: lbfgs, history_size: 9}"):
        config = require_config(write_config(tmp_path), [f"optim={optimizer}"])
        sizes[optimizer] = check_shapes(config)[0]["peak_bytes"]
    sgd, adam, amsgrad, lbfgs = sizes.values()
    assert (lbfgs - sgd) == 19 * (adam - sgd) == 19 * (amsgrad - adam) > 0


@pytest.mark.parametrize(
    ("optimizer", "code", "text"),
    [
        ("{type: lbfgs, line_search_fn: armijo}", "TL210", "must be 'strong_wolfe' or null"),
        ("{type: rprop, etas: [0.5]}", "TL210", "must be a list of 2 numbers"),
        ("{type: adafactor, d: 0.5}", "TL205", "must be at least 1"),
        ("{type: adafactor, beta2_decay: 0.5}", "TL205", "must be at most 0"),
        ("{type: muon, ns_steps: 100}", "TL205", "must be from 1 to 99"),
        ("{type: adam, fused: true}", "TL203", "has no argument 'fused'"),
        ("{type: rmspropp}", "TL303", "there is no optimizer 'rmspropp'"),
    ],
)
def test_what_is_refused(tmp_path: Path, optimizer: str, code: str, text: str) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("optim: {type: sgd, lr: 0.05, momentum: 0.9}", f"optim: {optimizer}"))
    found = {found.code: found.message for found in validate([str(path)], options="schema").diagnostics}
    assert text in found[code]
