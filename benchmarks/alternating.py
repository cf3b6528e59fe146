"""Measuring several sides in one process, turn by turn, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

SETTLING_S = 0.2
"""How long threads of OpenBLAS and OpenMP may wait busily for more work and hold up others, after a call on several."""


def alternate(
    sides: Mapping[str, Callable[[], object]], *, rounds: int, round_s: float, pause_s: float = 0.0
) -> dict[str, list[float]]:
    """Seconds a call of each side: one figure a round, with the sides taking turns (A B A B …).

    Args:
        sides: names to functions; each is called until it is warm before anything is measured.
        rounds: turns of each side.
        round_s: about how long one turn lasts.
        pause_s: before each turn, which then begins with a call that does not count; `SETTLING_S` where sides have
            threads of their own.
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
            if pause_s:
                time.sleep(pause_s)
                function()
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


def each_number_of_threads(
    parser: argparse.ArgumentParser, measure: Callable[[int, argparse.Namespace], object]
) -> None:
    """Parse the command line and call ``measure(threads, arguments)`` in a process of its own for each of ``--threads``.

    BLAS libraries read the number of their threads when they are loaded.
    """
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--here", action="store_true", help="measure in this process, with the first of --threads")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.threads[0], arguments)
        return
    for threads in arguments.threads:
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
        command = [sys.executable, *sys.argv, "--here", "--threads", str(threads)]
        subprocess.run(command, env=os.environ | limits, check=True)
