"""One training step (forward, loss, backward, optimizer) in eager mode, beside PyTorch's eager mode.

    python benchmarks/train_step.py [--quick] [--compiled] [--threads 1 2]

Milliseconds a step, float32; batches of 64, or those of the programs in ``programs/``. Each number of threads gets a
process of its own, because the libraries under NumPy read theirs when they are loaded; within it the two sides take
turns.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from alternating import alternate, compared, print_table

BATCH = 64


def mlp_step(library: Any) -> Callable[[], object]:
    """784-128-10 with ReLU, plain gradient descent."""
    nn = library.nn
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    return _step(library, model, library.optim.SGD(model.parameters(), lr=0.01), (BATCH, 784))


def conv_net_step(library: Any) -> Callable[[], object]:
    """Two 3×3 convolutions (32 and 64 channels) on 28×28, pooling, 9216-128-10, Adam."""
    nn = library.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return _step(library, model, library.optim.Adam(model.parameters(), lr=1e-3), (BATCH, 1, 28, 28))


def norm_net_step(library: Any) -> Callable[[], object]:
    """As the fashion_cnn configuration has it: padded convolutions, batch norm, dropout, clipped gradients, AdamW."""
    nn = library.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)
    return _step(library, model, optimizer, (BATCH, 1, 28, 28), max_norm=1.0)


def gpt_step(library: Any) -> Callable[[], object]:
    """4 layers, 4 heads, width 128, context 64, 65 symbols, batches of 12, clipped gradients, AdamW."""
    nn, functional = library.nn, library.nn.functional
    width, context, symbols = 128, 64, 65

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            n, t, _ = x.shape
            parts = self.qkv(self.before(x)).split(width, dim=2)
            q, k, v = (part.view(n, t, 4, width // 4).transpose(1, 2) for part in parts)  # (n, heads, t, 32)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).contiguous().view(n, t, width))
            return x + self.down(functional.gelu(self.up(self.between(x))))

    class GPT(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.symbols, self.places = nn.Embedding(symbols, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(4)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, symbols, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.symbols(x) + self.places(library.arange(context))
            return self.head(self.norm(self.blocks(x))).flatten(0, 1)

    model = GPT()
    return _step_of_symbols(library, model, library.optim.AdamW(model.parameters(), lr=1e-3), (12, context), 1.0)


def lstm_step(library: Any) -> Callable[[], object]:
    """Two layers of 128 units, sequences of 64 of 65 symbols, batches of 32, Adam."""
    nn = library.nn

    class Network(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.symbols, self.lstm = nn.Embedding(65, 128), nn.LSTM(128, 128, 2, batch_first=True)
            self.head = nn.Linear(128, 65)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.symbols(x))[0]).flatten(0, 1)

    model = Network()
    return _step_of_symbols(library, model, library.optim.Adam(model.parameters(), lr=1e-3), (32, 64))


def _step_of_symbols(
    library: Any, model: Any, optimizer: Any, shape: tuple[int, ...], max_norm: float | None = None
) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x, y = (library.from_numpy(rng.integers(0, 65, shape)) for _ in range(2))
    return _training(library, model, optimizer, x, y.reshape(-1), max_norm)


def _step(
    library: Any, model: Any, optimizer: Any, shape: tuple[int, ...], max_norm: float | None = None
) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = library.from_numpy(rng.random(shape, dtype=np.float32))
    y = library.from_numpy(rng.integers(0, 10, BATCH))
    return _training(library, model, optimizer, x, y, max_norm)


def _training(
    library: Any, model: Any, optimizer: Any, x: Any, y: Any, max_norm: float | None = None
) -> Callable[[], object]:
    loss_of = library.nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        if max_norm is not None:
            library.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()

    return step


def program_step(name: str) -> Callable[[Any], Callable[[], object]]:
    """A step of one of the programs, on four batches in turn."""
    program = importlib.import_module(f"programs.{name}")

    def workload(library: Any) -> Callable[[], object]:
        batches = [
            tuple(library.from_numpy(a.astype(np.float32) if a.dtype.kind == "f" else a) for a in batch)
            for batch in itertools.islice(program.batches(np.random.default_rng(0)), 4)
        ]
        losses = program.train(library, program.make(library), itertools.cycle(batches))
        return lambda: next(losses)

    return workload


WORKLOADS = {
    "MLP, SGD": mlp_step,
    "conv net, Adam": conv_net_step,
    "conv net with batch norm, AdamW": norm_net_step,
    "GPT of width 128, AdamW": gpt_step,
    "LSTM of width 128, Adam": lstm_step,
    "ResNet-18, SGD": program_step("resnet18"),
    "bidirectional LSTM, Adam": program_step("bilstm"),
    "Transformer, AdamW": program_step("transformer"),
    "GPT, AdamW": program_step("gpt"),
    "VAE, Adam": program_step("vae"),
    "DCGAN, two Adams": program_step("dcgan"),
}


STEPS = (mlp_step, conv_net_step, norm_net_step, gpt_step, lstm_step)
"""Those that are one function, and so can be compiled whole."""


def measure(threads: int, quick: bool, compiled: bool) -> None:
    """Measure every workload in this process and print the table."""
    import torch

    import torchlite

    torch.set_num_threads(threads)
    rows = []
    for name, workload in WORKLOADS.items():
        if compiled and workload not in STEPS:
            continue
        ours = torchlite.compile(workload(torchlite), fullgraph=True) if compiled else workload(torchlite)
        sides = {"torchlite": ours, "PyTorch": workload(torch)}
        figures = alternate(sides, rounds=5 if quick else 31, round_s=0.02 if quick else 0.1)
        rows.append([name, *compared(figures, 1e-3)])
    print(f"\n{threads} thread{'s' if threads > 1 else ''}, PyTorch {torch.__version__}, NumPy {np.__version__}\n")
    header = ["ms a step", "torchlite median", "PyTorch median", "torchlite min", "PyTorch min", "ratio median", "min"]
    print_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--compiled", action="store_true", help="compile torchlite's steps, where they are one function"
    )
    parser.add_argument("--here", action="store_true", help="measure in this process, with its number of threads")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.threads[0], arguments.quick, arguments.compiled)
        return
    for threads in arguments.threads:
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
        command = [sys.executable, __file__, "--here", "--threads", str(threads)]
        chosen = [f"--{name}" for name in ("quick", "compiled") if getattr(arguments, name)]
        subprocess.run([*command, *chosen], env=os.environ | limits, check=True)


if __name__ == "__main__":
    main()
