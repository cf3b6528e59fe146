"""One training step (forward, loss, backward, optimizer): torchlite eager and compiled beside PyTorch eager.

    python benchmarks/train_step.py [--quick] [--only mlp gpt …] [--threads 1 2] [--precision float32 bf16]

Milliseconds a step of the `workloads`, minimum and median. Each number of threads gets a process of its own, because the
libraries under NumPy read theirs when they are loaded; within it the three take turns, with pauses until no thread of the
one before still waits busily (PyTorch's LSTM takes 120 ms instead of 19 beside them). Ratios are over PyTorch's time: of
the minima, and of the medians in parentheses. bf16 is autocasting of forward and loss.
"""

from __future__ import annotations

import argparse
import inspect
import statistics

import numpy as np
from alternating import SETTLING_S, alternate, each_number_of_threads, print_table
from workloads import PRECISIONS, WORKLOADS, Workload


def row(workload: Workload, precision: str, quick: bool, pause_s: float) -> list[str]:
    """The time of each side, minimum (median), and the ratios of torchlite's two sides to PyTorch's."""
    import torch

    import torchlite

    sides = {"PyTorch": workload.make(torch, precision), "eager": workload.make(torchlite, precision)}
    if workload.whole:
        sides["compiled"] = torchlite.compile(workload.make(torchlite, precision), fullgraph=True)
    figures = alternate(sides, rounds=7 if quick else 31, round_s=0.05 if quick else 0.1, pause_s=pause_s)
    summary = {side: (min(times), statistics.median(times)) for side, times in figures.items()}

    def cell(side: str, over: tuple[float, float]) -> str:
        if side not in summary:
            return "–"
        best, middle = (value / unit for value, unit in zip(summary[side], over, strict=True))
        return f"{best:.2f} ({middle:.2f})"

    times = [cell(side, (1e-3, 1e-3)) for side in ("PyTorch", "eager", "compiled")]
    return [*times, *(cell(side, summary["PyTorch"]) for side in ("eager", "compiled"))]


def measure(threads: int, arguments: argparse.Namespace) -> None:
    """Measure the chosen workloads in this process and print a table for each precision."""
    import torch

    torch.set_num_threads(threads)
    pause_s, plural = (SETTLING_S, "s") if threads > 1 else (0.0, "")
    for precision in arguments.precision:
        print(f"\n{precision}, {threads} thread{plural}, PyTorch {torch.__version__}, NumPy {np.__version__}\n")
        chosen = [WORKLOADS[name] for name in arguments.only]
        rows = [[workload.title, *row(workload, precision, arguments.quick, pause_s)] for workload in chosen]
        print_table(["ms a step", "PyTorch", "eager", "compiled", "eager / PyTorch", "compiled / PyTorch"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="the rows wanted")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    each_number_of_threads(parser, measure)


if __name__ == "__main__":
    main()
