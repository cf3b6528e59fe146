"""What one call of an operator costs on a tensor too small for the arithmetic to matter, beside PyTorch.

    python benchmarks/operator_cost.py [--quick]

One thread, microseconds a call. A call that records a gradient includes giving its part of the graph back.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import torch
from alternating import alternate, compared, print_table

import torchlite


def calls(library: Any, requires_grad: bool) -> dict[str, Callable[[], object]]:
    """The measured expressions in one library."""
    a, b = (library.ones(4, 4, requires_grad=requires_grad) for _ in range(2))
    rows = library.tensor([0, 2, 3])
    return {
        "a + b": lambda: a + b,
        "a * b": lambda: a * b,
        "a * 2.0": lambda: a * 2.0,
        "a @ b": lambda: a @ b,
        "a.sum()": lambda: a.sum(),
        "a.sum(1)": lambda: a.sum(1),
        "a.mean()": lambda: a.mean(),
        "a.view(2, 8)": lambda: a.view(2, 8),
        "a.t()": lambda: a.t(),
        "a[1]": lambda: a[1],
        "a[1:3, 0]": lambda: a[1:3, 0],
        "a[rows]": lambda: a[rows],
        "relu(a)": lambda: library.relu(a),
        "a.exp()": lambda: a.exp(),
        "a > 0": lambda: a > 0,
        "a.detach().add_(b.detach())": lambda: a.detach().add_(b.detach()),
    }


# The operators that every model is made of.
COMMON = ("a + b", "a * b", "a @ b", "a.sum()", "a.view(2, 8)", "a[1]", "relu(a)")


def _common(row: str) -> bool:
    return row.removesuffix(", recorded") in COMMON


def gradient(library: Any) -> Callable[[], object]:
    """Forward and backward of a small expression."""
    a, b = (library.ones(4, 4, requires_grad=True) for _ in range(2))

    def run() -> None:
        a.grad = b.grad = None
        (a * b).sum().backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    rounds, round_s = (7, 0.002) if parser.parse_args().quick else (51, 0.005)
    torch.set_num_threads(1)

    rows = []
    for requires_grad in (False, True):
        ours, theirs = calls(torchlite, requires_grad), calls(torch, requires_grad)
        for name in ours:
            sides = {"torchlite": ours[name], "PyTorch": theirs[name]}
            figures = alternate(sides, rounds=rounds, round_s=round_s)
            rows.append([name + (", recorded" if requires_grad else ""), *compared(figures, 1e-6)])
    sides = {"torchlite": gradient(torchlite), "PyTorch": gradient(torch)}
    rows.append(["(a * b).sum().backward()", *compared(alternate(sides, rounds=rounds, round_s=round_s), 1e-6)])
    header = ["µs a call", "torchlite median", "PyTorch median", "torchlite min", "PyTorch min", "ratio median", "min"]
    print_table(header, rows)
    for what, chosen in (
        ("all rows", rows),
        (f"{', '.join(COMMON)}, with and without recording", [r for r in rows if _common(r[0])]),
    ):
        print(f"\nmedian ratio of {what}: {statistics.median(float(r[-1]) for r in chosen):.2f} by minima")


if __name__ == "__main__":
    main()
