"""Operators with a compiled kernel, forward and backward, beside PyTorch's and beside NumPy alone.

    python benchmarks/kernels.py [--quick] [--threads 1 2] [--only conv norm]

Milliseconds a call, float32: minima over rounds in which the three sides take turns. With one thread it is the time that
the thread was running, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from alternating import each_number_of_threads, print_table

Call = Callable[[], object]


def drawn(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def both_ways(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[Any], Call]:
    """Forward and backward of ``function(library, *tensors)``."""

    def of(library: Any) -> Call:
        inputs = [library.from_numpy(drawn(*shape)).requires_grad_() for shape in shapes]
        g = library.from_numpy(drawn(*function(library, *inputs).shape))

        def call() -> None:
            for x in inputs:
                x.grad = None
            function(library, *inputs).backward(g)

        return call

    return of


def conv(samples: int, inputs: int, size: int, outputs: int, kernel: int, **options: int) -> Callable[[Any], Call]:
    return both_ways(
        lambda library, x, weight: library.nn.functional.conv2d(x, weight, **options),
        (samples, inputs, size, size), (outputs, inputs, kernel, kernel),
    )  # fmt: skip


def first_conv(library: Any) -> Call:
    x = library.from_numpy(drawn(64, 1, 28, 28))
    return both_ways(lambda library, w, b: library.nn.functional.conv2d(x, w, b), (32, 1, 3, 3), (32,))(library)


def cross_entropy(library: Any) -> Call:
    target = library.from_numpy(np.arange(768) % 65)
    return both_ways(lambda library, x: library.nn.functional.cross_entropy(x, target), (768, 65))(library)


def recurrent(name: str) -> Callable[[Any], Call]:
    def of(library: Any) -> Call:
        layer = getattr(library.nn, name)(128, 128, 2)
        x, g = (library.from_numpy(drawn(64, 32, 128)) for _ in range(2))

        def call() -> None:
            for p in layer.parameters():
                p.grad = None
            layer(x)[0].backward(g)

        return call

    return of


def optimizer(name: str, **options: float) -> Callable[[Any], Call]:
    def of(library: Any) -> Call:
        shapes = ((128, 9216), (128,), (64, 32, 3, 3), (10, 128))
        params = [library.nn.Parameter(library.from_numpy(drawn(*shape))) for shape in shapes]
        for p in params:
            p.grad = library.from_numpy(drawn(*p.shape))
        return getattr(library.optim, name)(params, lr=1e-6, **options).step

    return of


CASES: dict[str, Callable[[Any], Call]] = {
    "GELU 768×512": both_ways(lambda library, x: library.nn.functional.gelu(x), (768, 512)),
    "SiLU 768×512": both_ways(lambda library, x: library.nn.functional.silu(x), (768, 512)),
    "ReLU 64×32×26×26": both_ways(lambda _, x: x.relu(), (64, 32, 26, 26)),
    "layer norm 768×128": both_ways(
        lambda library, x, w, b: library.nn.functional.layer_norm(x, (128,), w, b), (768, 128), (128,), (128,)
    ),
    "batch norm 64×32×28×28": both_ways(
        lambda library, x, w, b: library.nn.functional.batch_norm(x, None, None, w, b, True),
        (64, 32, 28, 28),
        (32,),
        (32,),
    ),
    "softmax 48×64×64": both_ways(lambda _, x: x.softmax(-1), (48, 64, 64)),
    "cross-entropy 768×65": cross_entropy,
    "causal attention 12×4×64×32": both_ways(
        lambda library, q, k, v: library.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        *[(12, 4, 64, 32)] * 3,
    ),
    "max-pool 2×2, 64×64×24×24": both_ways(lambda library, x: library.nn.functional.max_pool2d(x, 2), (64, 64, 24, 24)),
    "max-pool 3×3 stride 2, 32×64×56×56": both_ways(
        lambda library, x: library.nn.functional.max_pool2d(x, 3, 2, 1), (32, 64, 56, 56)
    ),
    "conv 1→32 3×3 @28, batch 64, weights only": first_conv,
    "conv 32→64 3×3 @26, batch 64": conv(64, 32, 26, 64, 3),
    "conv 16→16 3×3 @32, batch 128": conv(128, 16, 32, 16, 3, padding=1),
    "conv 32→32 3×3 @16, batch 128": conv(128, 32, 16, 32, 3, padding=1),
    "conv 64→64 3×3 @8, batch 128": conv(128, 64, 8, 64, 3, padding=1),
    "conv 16→32 3×3 stride 2 @32, batch 128": conv(128, 16, 32, 32, 3, padding=1, stride=2),
    "conv 16→32 1×1 stride 2 @32, batch 128": conv(128, 16, 32, 32, 1, stride=2),
    "conv 256→256 3×3 @14, batch 16": conv(16, 256, 14, 256, 3, padding=1),
    "conv 3→64 7×7 stride 2 @112, batch 16": conv(16, 3, 112, 64, 7, padding=3, stride=2),
    "SGD with momentum, 1.2 M": optimizer("SGD", momentum=0.9),
    "AdamW, 1.2 M": optimizer("AdamW"),
    "LSTM 2×128, 64 steps, batch 32": recurrent("LSTM"),
    "GRU 2×128, 64 steps, batch 32": recurrent("GRU"),
}


def measure(threads: int, arguments: argparse.Namespace) -> None:
    """Measure in this process and print the table."""
    import torch

    import torchlite

    torch.set_num_threads(threads)
    torchlite.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    without = mock.patch.multiple("torchlite.backends.native", kernel=lambda _name: None)
    rule_alone = mock.patch("torchlite.optim.pack.kernel", lambda _name: None)
    seconds, rows = 0.5 if arguments.quick else 3.0, []
    for name, case in CASES.items():
        if arguments.only and not any(word in name for word in arguments.only):
            continue
        ours, theirs = case(torchlite), case(torch)
        best = [float("inf")] * 3
        for call in (ours, theirs):
            call()
        end = time.perf_counter() + seconds
        turn = 0
        while turn < 3 or time.perf_counter() < end:
            for side, call in enumerate((ours, theirs, ours)):
                if side == 2 and turn % 4:  # NumPy alone is the slowest and not what is asked first
                    continue
                with contextlib.ExitStack() as stack:
                    if side == 2:
                        stack.enter_context(
                            rule_alone
                        )  # first: it may import that module, which takes the kernel's name
                        stack.enter_context(without)
                    start = clock()
                    call()
                    best[side] = min(best[side], clock() - start)
            turn += 1
        rows.append([name, *(f"{b * 1e3:.2f}" for b in best), f"{best[0] / best[1]:.2f}", f"{best[0] / best[2]:.2f}"])
    print(f"\n{threads} thread{'s' if threads > 1 else ''}, PyTorch {torch.__version__}, NumPy {np.__version__}\n")
    print_table(["ms", "torchlite", "PyTorch", "NumPy alone", "over PyTorch", "over NumPy"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--quick", action="store_true", help="half a second a case instead of three")
    parser.add_argument("--only", nargs="*", default=[], help="words that a case's name must hold one of")
    each_number_of_threads(parser, measure)


if __name__ == "__main__":
    main()
