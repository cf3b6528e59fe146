"""Products of matrices of the workloads: torchlite's own beside PyTorch's (MKL) and NumPy's (OpenBLAS).

    python benchmarks/gemm.py [--quick] [--threads 1 2] [--only GPT] [--precision float32 medium bf16]

medium is float32 with that float32_matmul_precision in both libraries, and bf16 is bfloat16 from the operands to the
result, which NumPy has no product of. Billions of operations a second by the fastest of many calls, in which the sides take
turns, and torchlite's over the better of the others.
"""

from __future__ import annotations

import argparse
import inspect
import os
import time
from collections.abc import Callable

import numpy as np
from alternating import each_number_of_threads, print_table

# m, k, n, and how the operands lie: x Wᵀ of a forward pass, g W of the input's gradient, gᵀ x of the weight's.
SHAPES = {
    "MLP fc1": (64, 784, 128, "x Wᵀ"),
    "MLP fc1 dW": (128, 64, 784, "gᵀ x"),
    "MLP fc2": (64, 128, 10, "x Wᵀ"),
    "MLP fc2 dX": (64, 10, 128, "g W"),
    "MLP fc2 dW": (10, 64, 128, "gᵀ x"),
    "conv net fc1": (64, 9216, 128, "x Wᵀ"),
    "conv net fc1 dX": (64, 128, 9216, "g W"),
    "conv net fc1 dW": (128, 64, 9216, "gᵀ x"),
    "GPT qkv": (768, 128, 384, "x Wᵀ"),
    "GPT qkv dX": (768, 384, 128, "g W"),
    "GPT qkv dW": (384, 768, 128, "gᵀ x"),
    "GPT out": (768, 128, 128, "x Wᵀ"),
    "GPT up": (768, 128, 512, "x Wᵀ"),
    "GPT down": (768, 512, 128, "x Wᵀ"),
    "GPT down dX": (768, 128, 512, "g W"),
    "GPT down dW": (128, 768, 512, "gᵀ x"),
    "GPT head": (768, 128, 65, "x Wᵀ"),
    "GPT head dX": (768, 65, 128, "g W"),
    "GPT head dW": (65, 768, 128, "gᵀ x"),
    "LSTM gates": (2048, 128, 512, "x Wᵀ"),
    "LSTM gates dX": (2048, 512, 128, "g W"),
    "LSTM gates dW": (512, 2048, 128, "gᵀ x"),
    "512³": (512, 512, 512, "g W"),
}

PRECISIONS = ("float32", "medium", "bf16")


def operands(m: int, k: int, n: int, form: str) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices that lie as the operands of a form do."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=size).astype(np.float32) for size in ((m, k), (k, n)))
    x = np.ascontiguousarray(x.T).T if form == "gᵀ x" else x
    return x, np.ascontiguousarray(y.T).T if form == "x Wᵀ" else y


def measure(threads: int, arguments: argparse.Namespace) -> None:
    """Measure in this process and print the table."""
    import torch

    import torchlite
    from torchlite.backends.native import products
    from torchlite.ops.contraction import product

    torch.set_num_threads(threads)
    torchlite.set_num_threads(threads)
    if not products.C.available():
        raise SystemExit("there are no compiled kernels here")
    for precision in arguments.precision:
        for library in (torch, torchlite):
            library.set_float32_matmul_precision("medium" if precision == "medium" else "highest")
        rows = []
        for name, (m, k, n, form) in SHAPES.items():
            if arguments.only and not any(word in name for word in arguments.only):
                continue
            x, y = operands(m, k, n, form)
            x_torch, y_torch = torch.from_numpy(x), torch.from_numpy(y)
            if precision == "bf16":
                x, y = (a.astype(torchlite.bfloat16.numpy, order="K") for a in (x, y))
                x_torch, y_torch = x_torch.bfloat16(), y_torch.bfloat16()
            sides: list[Callable[[], object]] = [
                lambda x=x, y=y: product(np, x, y),
                lambda x=x_torch, y=y_torch: torch.mm(x, y),
            ]
            if precision != "bf16":
                sides.append(lambda x=x, y=y: np.matmul(x, y))
            best = fastest(sides, 0.6 if arguments.quick else 2.0)
            rates = [2 * m * k * n / time_s / 1e9 for time_s in best]
            cells = [f"{rate:.0f}" for rate in rates] + ["–"] * (3 - len(rates))
            over = f"{rates[0] / max(rates[1:]):.2f}"
            rows.append([name, f"{m}×{k}×{n}", form, f"{best[0] * 1e6:.1f}", *cells, over])
        plural = "s" if threads > 1 else ""
        print(f"\n{precision}, {threads} thread{plural}, PyTorch {torch.__version__}, NumPy {np.__version__}\n")
        print_table(["", "m×k×n", "form", "µs", "torchlite", "PyTorch", "NumPy", "over the better"], rows)


def fastest(sides: list[Callable[[], object]], seconds: float) -> list[float]:
    """Seconds of the fastest call of each side, in turns that outlast what the others' threads go on waiting for work."""
    best = [float("inf")] * len(sides)
    for _ in range(2):
        for side, call in enumerate(sides):
            end = time.perf_counter() + seconds / len(sides) / 2
            while (start := time.perf_counter()) < end:
                call()
                best[side] = min(best[side], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--quick", action="store_true", help="half a second a shape instead of two")
    parser.add_argument("--only", nargs="*", default=[], help="words that a shape's name must hold one of")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    # OpenBLAS's threads occupy their processors for a tenth of a second after a product, now for a millisecond.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "21")
    each_number_of_threads(parser, measure)


if __name__ == "__main__":
    main()
