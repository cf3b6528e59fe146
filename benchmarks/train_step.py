"""One training step (forward, loss, backward, optimizer): torchlite eager and compiled beside PyTorch eager.

    python benchmarks/train_step.py [--quick] [--only mlp gpt …] [--threads 1 2] [--precision float32 bf16] [--device cuda]

Milliseconds a step of the `workloads`, minimum and median. Each number of threads gets a process of its own, because the
libraries under NumPy read theirs when they are loaded; within it the three take turns, with pauses until no thread of the
one before still waits busily (PyTorch's LSTM takes 120 ms instead of 19 beside them). Ratios are over PyTorch's time: of
the minima, and of the medians in parentheses. bf16 is autocasting of forward and loss. On a GPU each step is waited for;
PyTorch's column stays empty where PyTorch finds no GPU.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from alternating import SETTLING_S, alternate, each_number_of_threads, print_table
from workloads import PRECISIONS, WORKLOADS, Workload


def waited_for(step: Callable[[], object], library: Any, device: str) -> Callable[[], object]:
    """The step and, on a GPU, the wait for what it has launched."""
    if device == "cpu":
        return step

    def complete() -> None:
        step()
        library.cuda.synchronize()

    return complete


def row(workload: Workload, precision: str, device: str, quick: bool, pause_s: float) -> list[str]:
    """The time of each side, minimum (median), and the ratios of torchlite's two sides to PyTorch's."""
    import torch

    import torchlite

    sides = {}
    where = (precision, device) if workload.whole else (precision,)
    if device == "cpu" or torch.cuda.is_available():
        sides["PyTorch"] = waited_for(workload.make(torch, *where), torch, device)
    sides["eager"] = waited_for(workload.make(torchlite, *where), torchlite, device)
    if workload.whole:
        compiled = torchlite.compile(workload.make(torchlite, *where), fullgraph=True)
        sides["compiled"] = waited_for(compiled, torchlite, device)
    figures = alternate(sides, rounds=7 if quick else 31, round_s=0.05 if quick else 0.1, pause_s=pause_s)
    summary = {side: (min(times), statistics.median(times)) for side, times in figures.items()}

    def cell(side: str, over: tuple[float, float] | None) -> str:
        if side not in summary or over is None:
            return "–"
        best, middle = (value / unit for value, unit in zip(summary[side], over, strict=True))
        return f"{best:.2f} ({middle:.2f})"

    times = [cell(side, (1e-3, 1e-3)) for side in ("PyTorch", "eager", "compiled")]
    return [*times, *(cell(side, summary.get("PyTorch")) for side in ("eager", "compiled"))]


def measure(threads: int, arguments: argparse.Namespace) -> None:
    """Measure the chosen workloads in this process and print a table for each precision."""
    import torch

    torch.set_num_threads(threads)
    pause_s, plural = (SETTLING_S, "s") if threads > 1 else (0.0, "")
    for precision in arguments.precision:
        print(
            f"\n{precision}, {arguments.device}, {threads} thread{plural}, PyTorch {torch.__version__}, NumPy {np.__version__}\n"
        )
        chosen = [WORKLOADS[name] for name in arguments.only]
        if arguments.device != "cpu":
            chosen = [workload for workload in chosen if workload.whole]  # the programs stay where they are
        rows = [
            [workload.title, *row(workload, precision, arguments.device, arguments.quick, pause_s)]
            for workload in chosen
        ]
        print_table(["ms a step", "PyTorch", "eager", "compiled", "eager / PyTorch", "compiled / PyTorch"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="the rows wanted")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="cuda runs the steps that are functions"
    )
    each_number_of_threads(parser, measure)


if __name__ == "__main__":
    main()
