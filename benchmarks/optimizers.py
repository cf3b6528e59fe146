"""One step of each optimizer, beside PyTorch's with its defaults.

    python benchmarks/optimizers.py [--quick] [--threads 1 2]

Milliseconds a step in float32, gradients given, over the parameters of

- an MLP, 784-1024-256-10: six tensors, 1.07 million numbers, nearly all in two of them;
- ResNet-20 for images of 32×32: 65 tensors, 0.27 million numbers, most tensors with 16 to 64.

Muon gets the matrices only. LBFGS is left out: its step consists of evaluations of the loss. Each number of threads gets a
process of its own, as in `train_step.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from alternating import SETTLING_S, alternate, compared, each_number_of_threads, print_table

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 1e-4}),
    "SGD, momentum": ("SGD", {"lr": 1e-4, "momentum": 0.9}),
    "Adam": ("Adam", {"lr": 1e-4}),
    "AdamW": ("AdamW", {"lr": 1e-4}),
    "AdamW, amsgrad": ("AdamW", {"lr": 1e-4, "amsgrad": True}),
    "Adamax": ("Adamax", {"lr": 1e-4}),
    "NAdam": ("NAdam", {"lr": 1e-4}),
    "RAdam": ("RAdam", {"lr": 1e-4}),
    "Adagrad": ("Adagrad", {"lr": 1e-4}),
    "Adadelta": ("Adadelta", {"lr": 1e-4}),
    "RMSprop": ("RMSprop", {"lr": 1e-4}),
    "RMSprop, centered, momentum": ("RMSprop", {"lr": 1e-4, "centered": True, "momentum": 0.9}),
    "Rprop": ("Rprop", {"lr": 1e-4}),
    "ASGD": ("ASGD", {"lr": 1e-4}),
    "Adafactor": ("Adafactor", {"lr": 1e-4}),
    "Muon": ("Muon", {"lr": 1e-4}),
}
MLP = [(1024, 784), (1024,), (256, 1024), (256,), (10, 256), (10,)]


def resnet20() -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []

    def block(out: int, into: int, size: int) -> None:
        shapes.extend([(out, into, size, size), (out,), (out,)])

    block(16, 3, 3)
    width = 16
    for stage in (16, 32, 64):
        for _ in range(3):
            block(stage, width, 3)
            block(stage, stage, 3)
            width = stage
    return [*shapes, (10, 64), (10,)]


def stepper(library: Any, name: str, shapes: list[tuple[int, ...]]) -> Callable[[], object]:
    optimizer, options = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    params = []
    for shape in shapes:
        if optimizer == "Muon" and len(shape) != 2:
            continue
        param = library.from_numpy(rng.normal(size=shape).astype(np.float32)).requires_grad_()
        param.grad = library.from_numpy(rng.normal(size=shape).astype(np.float32))
        params.append(param)
    step: Callable[[], object] = getattr(library.optim, optimizer)(params, **options).step
    return step


def measure(threads: int, arguments: argparse.Namespace) -> None:
    """Measure every optimizer in this process and print the tables."""
    import torch

    import torchlite

    torch.set_num_threads(threads)
    for what, shapes in (("MLP", MLP), ("ResNet-20", resnet20())):
        rows = []
        for name in OPTIMIZERS:
            sides = {"torchlite": stepper(torchlite, name, shapes), "PyTorch": stepper(torch, name, shapes)}
            rounds, round_s = (5, 0.01) if arguments.quick else (21, 0.05)
            pause_s = SETTLING_S if threads > 1 else 0.0
            figures = alternate(sides, rounds=rounds, round_s=round_s, pause_s=pause_s)
            rows.append([name, *compared(figures, 1e-3)])
        print(
            f"\n{what}, {threads} thread{'s' if threads > 1 else ''}, PyTorch {torch.__version__}, NumPy {np.__version__}\n"
        )
        header = [
            "ms a step",
            "torchlite median",
            "PyTorch median",
            "torchlite min",
            "PyTorch min",
            "ratio median",
            "min",
        ]
        print_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    each_number_of_threads(parser, measure)


if __name__ == "__main__":
    main()
