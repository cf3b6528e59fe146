"""Measuring several sides in one process, turn by turn, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def alternate(sides: Mapping[str, Callable[[], object]], *, rounds: int, round_s: float) -> dict[str, list[float]]:
    """Seconds a call of each side: one figure a round, with the sides taking turns (A B A B …).

    Args:
        sides: names to functions; each is called until it is warm before anything is measured.
        rounds: turns of each side.
        round_s: about how long one turn lasts.
    """
    calls = {}
    for name, function in sides.items():
        for _ in range(3):
            function()
        calls[name] = max(1, int(round_s / max(_seconds_per_call(function, 1), 1e-7)))
        calls[name] = max(1, int(round_s / _seconds_per_call(function, calls[name])))
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            figures[name].append(_seconds_per_call(function, calls[name]))
    return figures


def _seconds_per_call(function: Callable[[], object], calls: int) -> float:
    turns = range(calls)
    start = time.perf_counter()
    for _ in turns:
        function()
    return (time.perf_counter() - start) / calls


def compared(figures: Mapping[str, Sequence[float]], unit: float) -> list[str]:
    """Median and minimum of the two sides in multiples of ``unit`` seconds, and the first over the second by each."""
    first, second = figures.values()
    medians, minima = [statistics.median(f) for f in (first, second)], [min(f) for f in (first, second)]
    cells = [f"{value / unit:.2f}" for value in (*medians, *minima)]
    return [*cells, f"{medians[0] / medians[1]:.2f}", f"{minima[0] / minima[1]:.2f}"]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, aligned so that it also reads well in a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("| " + " | ".join([first, *others]) + " |")
