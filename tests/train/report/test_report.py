"""The page of a run: whole, self-contained, and true to the run."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import small_runs

from torchlite.train.report import charts, write_report
from torchlite.train.run_directory import RunDirectory

VOID = {"meta", "img", "br"}


class Structure(HTMLParser):
    """Raises where elements are not closed in order; keeps what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    text = small_runs.CONFIG.replace("steps: 40", "steps: 20").replace("name: small", "name: small\nvars: {x: <b>&}")
    return small_runs.train(tmp_path_factory.mktemp("report"), "metrics+={type: f1, average: none}", text=text)


def test_a_finished_run_has_a_page_that_needs_nothing_else(run: RunDirectory) -> None:
    text = (run.path / "report.html").read_text()
    page = Structure()
    page.feed(text)
    assert page.open == []
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "url(" not in text
    assert "://" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)
    assert "x: &lt;b&gt;&amp;" in text


def test_it_says_what_the_run_says(run: RunDirectory) -> None:
    text = (run.path / "report.html").read_text()
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    last = [row for row in rows if "val/accuracy" in row][-1]
    assert f"val/accuracy <b>{charts.number(last['val/accuracy'])}</b>" in text
    best = max((row for row in rows if "val/accuracy" in row), key=lambda row: row["val/accuracy"])
    right, total = re.findall(r'aria-label="Confusion matrix: (\d+) of (\d+) right"', text)[0]
    assert int(right) / int(total) == pytest.approx(best["val/accuracy"])
    for heading in ("Curves", "Evaluation", "Predictions", "Weights", "Gradients", "Configuration", "Environment"):
        assert f"<h2>{heading}" in text
    assert text.count("<img") == 24


def test_writing_it_again_changes_nothing(run: RunDirectory) -> None:
    before = (run.path / "report.html").read_bytes()
    assert write_report(run).read_bytes() == before


def test_it_can_be_left_out_and_a_page_that_fails_fails_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchlite.train import report
    from torchlite.train import run as runs
    from torchlite.train.config.load import require_config

    def fail(*args: object, **named: object) -> None:
        raise ZeroDivisionError("no page")

    monkeypatch.setattr(report, "write_report", fail)
    text = small_runs.CONFIG.replace("steps: 40", "steps: 10")
    path = small_runs.write_config(tmp_path, text)
    outcome = runs.train(require_config(path), small_runs.Quiet(), root=tmp_path / "runs")
    assert outcome.exit_code == 0
    assert outcome.warnings == ("report.html could not be written: ZeroDivisionError: no page",)
    outcome = runs.train(require_config(path, ["report=false"]), small_runs.Quiet(), root=tmp_path / "runs")
    assert outcome.warnings == ()


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0.0, 1.0), (-3.2, 7.9), (1e-7, 3e-7), (12, 12345), (0.1, 0.1)):
        found = charts.ticks(low, high)
        assert 1 <= len(found) <= 6
        assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in found)


def test_a_narrow_logarithmic_range_has_ticks_too() -> None:
    assert len(charts.log_ticks(np.log10(2.2), np.log10(2.4))) >= 3
    assert charts.log_ticks(-1.7, 0.4) == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]


def test_curves_leave_out_what_is_not_finite_and_thin_long_ones() -> None:
    text = charts.lines("a", {"a": [(i, float("nan") if i % 2 else 1.0 + i) for i in range(10000)]})
    (points,) = re.findall(r'points="([^"]*)"', text)
    assert 200 < len(points.split()) <= 400
    assert "nan" not in text
    assert charts.lines("a", {"a": [(0, float("nan"))]}) == ""
    assert "<circle" in charts.lines("a", {"a": [(1, 2.0)]})


def test_thinning_keeps_means() -> None:
    points = [(float(i), float(i)) for i in range(801)]
    kept = charts.thinned(points)
    assert len(kept) <= 400
    assert np.mean([y for _, y in kept]) == pytest.approx(400, rel=0.01)


def test_histograms_and_matrices() -> None:
    text = charts.histogram("w", np.array([0.0, 1.0, 1.0, np.inf]), bins=2)
    assert "3 values" in text
    assert text.count("<rect") == 2
    matrix = charts.matrix("m", np.array([[3, 1], [0, 0]]), ["<cat>", "a very long name of a class"])
    assert "3 of 4 right" in matrix
    assert "&lt;cat&gt; taken for a very long name of a class: 1 (25.0%)" in matrix
    ElementTree.fromstring(re.findall(r"<svg.*?</svg>", matrix, re.DOTALL)[0])
