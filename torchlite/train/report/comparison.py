"""Runs beside each other: what differs between their configurations, their last evaluations, and a page of their curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torchlite.train.config.show import flat
from torchlite.train.history import RunRecord, record_of, rows_of
from torchlite.train.progress import COUNTS
from torchlite.train.report import charts
from torchlite.train.report.page import page, section, table
from torchlite.train.run_directory import RunDirectory

_NO_CURVES = {"step", "epoch", *COUNTS}


@dataclass(frozen=True)
class Comparison:
    """Some runs.

    Attributes:
        records: how each stands.
        config: the keys whose values differ, with the value of each run, None where a run has no such key.
    """

    records: list[RunRecord]
    config: dict[str, list[Any]]

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [one.name for one in self.records]

    def settings(self) -> list[list[str]]:
        """A row for each key that differs."""
        return [[key, *("unset" if v is None else str(v) for v in values)] for key, values in self.config.items()]

    def results(self) -> list[list[str]]:
        """A row for each number of the last evaluations."""
        metrics = dict.fromkeys(name for one in self.records for name in one.metrics)
        return [
            [name, *(f"{one.metrics[name]:.4f}" if name in one.metrics else "" for one in self.records)]
            for name in metrics
        ]


def compared(runs: Sequence[RunDirectory], *, allow_code: bool = False) -> Comparison:
    """These runs beside each other.

    Raises:
        TorchliteError: where a configuration can't be read, or wants code that came with the run.
    """
    configs = [flat(run.read_config(allow_code=allow_code).resolved()) for run in runs]
    keys = sorted({key for config in configs for key in config})
    values = {key: [config.get(key) for config in configs] for key in keys}
    differing = {key: found for key, found in values.items() if any(value != found[0] for value in found)}
    return Comparison([record_of(run) for run in runs], differing)


def as_html(comparison: Comparison) -> str:
    """A page that needs no network: the curves of every metric that runs share or have alone, and both tables."""
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in comparison.records:
        for row in rows_of(one.run):
            for metric, value in row.items():
                if metric not in _NO_CURVES and metric.count("/") < 2:
                    series.setdefault(metric, {}).setdefault(one.name, []).append((row["step"], float(value)))
    drawn = "".join(charts.lines(metric, curves, log="loss" in metric) for metric, curves in series.items())
    header = ["", *comparison.names]
    settings, results = comparison.settings(), comparison.results()
    return page(
        " and ".join(sorted({name.partition("/")[0] for name in comparison.names})),
        " · ".join(comparison.names),
        [
            section("Curves", f'<div class="charts">{drawn}</div>' if drawn else ""),
            section("Last evaluation", table(header, results) if results else ""),
            section("What differs", table(header, settings) if settings else ""),
        ],
    )
