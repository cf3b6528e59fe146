"""Values follow from the seed; importance from the results."""

import pytest

from torchlite.train.config.search import Candidates, Sweep
from torchlite.train.sweep.importance import importances
from torchlite.train.sweep.report import as_html
from torchlite.train.sweep.space import choose


def sweep(**keys):
    params = {"lr": Candidates(log_uniform=[1e-4, 1e-1]), "n": Candidates(log_int_uniform=[1, 64])}
    return Sweep(**{"params": params, "trials": 8, **keys})


def test_values_follow_from_the_seed_and_more_trials_are_the_same_and_others():
    assert choose(sweep()) == choose(sweep())
    assert choose(sweep(trials=20))[:8] == choose(sweep())
    assert choose(sweep(seed=1)) != choose(sweep())


def test_values_keep_to_their_range():
    drawn = choose(sweep(trials=300))
    assert len(drawn) == 300
    assert all(1e-4 <= one["lr"] <= 1e-1 and 1 <= one["n"] <= 64 for one in drawn)
    assert 90 < sum(one["lr"] < 1e-3 for one in drawn) < 110 + 20


def test_a_grid_is_every_combination_in_order_and_none_twice():
    params = {"a": Candidates(choice=[1, 2, 1]), "b": Candidates(choice=["x", "y"])}
    grid = choose(Sweep(method="grid", params=params))
    assert grid == [{"a": a, "b": b} for a in (1, 2) for b in ("x", "y")]


def test_of_few_combinations_there_are_no_more():
    assert len(choose(Sweep(params={"a": Candidates(choice=[1, 2])}, trials=10))) == 2


def test_what_decides_is_important_and_what_does_not_is_not():
    trials = [{"a": a, "b": b} for a in range(8) for b in range(8)]
    found = importances(trials, [float(one["a"]) for one in trials])
    assert found["a"] > 0.9
    assert found["b"] == 0.0


def test_importance_by_hand():
    """Groups {1, 3} and {5, 7}: 1 - (4 / 2) / (20 / 3)."""
    trials = [{"a": "x"}, {"a": "x"}, {"a": "y"}, {"a": "y"}, {"a": "y"}]
    assert importances(trials, [1.0, 3.0, 5.0, 7.0, float("inf")])["a"] == pytest.approx(0.7)


def test_the_report_shows_text_as_text():
    trial = {"id": "1", "values": {"<b>": 1}, "value": 0.5, "step": 3, "exit_code": 0}
    page = as_html({"name": "x", "monitor": "m", "mode": "min", "trials": [trial], "importance": {"<b>": 0.25}})
    assert "<b>" not in page
    assert "&lt;b&gt;" in page and "25 %" in page
    assert "http" not in page.replace("http-equiv", "")
