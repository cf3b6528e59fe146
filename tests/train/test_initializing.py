"""Initial values by patterns."""

from pathlib import Path

import numpy as np
import pytest
from small_runs import CONFIG, write_config

from torchlite import nn
from torchlite.train.check import check_shapes
from torchlite.train.config.load import inspect_config, require_config
from torchlite.train.plan import make_plan


def model_with(init: str, folder: Path) -> nn.Module:
    path = write_config(folder, CONFIG.replace("model:\n", f"model:\n  init: {init}\n"))
    return make_plan(require_config(path)).model


def test_one_initializer_fills_the_weights_of_matrices(tmp_path: Path) -> None:
    model = model_with("{type: constant, val: 0.25}", tmp_path)
    values = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert all((values[name] == 0.25).all() for name in ("0.weight", "5.weight"))
    assert not any((values[name] == 0.25).all() for name in ("0.bias", "1.weight", "5.bias"))


def test_the_first_rule_that_matches_counts(tmp_path: Path) -> None:
    model = model_with('[{match: "5", type: zeros}, {match: ".*bias", type: ones}, orthogonal]', tmp_path)
    values = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert not values["5.weight"].any() and not values["5.bias"].any()
    assert (values["0.bias"] == 1).all() and (values["1.bias"] == 1).all()
    rows = values["0.weight"].reshape(4, -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-6)


def test_it_is_the_initializer_of_the_library(tmp_path: Path) -> None:
    found = np.std(model_with("{type: kaiming_normal, nonlinearity: relu}", tmp_path)[5].weight.detach().numpy())
    assert found == pytest.approx((2 / 256) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    "init, code, text",
    [
        ('{match: "9", type: zeros}', "TL506", "'9' leaves no parameter"),
        ('[{match: ".*", type: zeros}, ones]', "TL506", "ones, as the rules before it, leaves"),
        ('{match: "0", type: xavier_normal}', "TL504", "'0.bias' has fewer"),
    ],
)
def test_rules_that_can_not_be_followed(init: str, code: str, text: str, tmp_path: Path) -> None:
    path = write_config(tmp_path, CONFIG.replace("model:\n", f"model:\n  init: {init}\n"))
    config = require_config(path)
    _, (problem,) = check_shapes(config)
    assert problem.code == code and text in problem.message
    assert config.at(problem.path).line == 12  # type: ignore[union-attr]


def test_resolved_it_is_the_same_again(tmp_path: Path) -> None:
    text = CONFIG.replace("model:\n", 'model:\n  init: [{match: "5", normal: {std: 0.1}}, zeros]\n')
    loaded = inspect_config(write_config(tmp_path, text))
    assert loaded.config is not None, loaded.diagnostics
    assert loaded.config.resolved()["model"]["init"] == [
        {"match": "5", "type": "normal", "std": 0.1},
        {"type": "zeros"},
    ]
