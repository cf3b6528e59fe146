"""Single convolutions as compiled programs run them (channels side by side), beside PyTorch's in both of its layouts.

    python benchmarks/convolutions.py [--seconds 0.3] [--threads 1 2]

Milliseconds a call and thousand million floating-point operations a second, float32: minima over rounds in which the sides
take turns. The convolutions are those of ResNet-20 on a batch of 128 and of the small net of `train_step.py` on 64.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from alternating import print_table

CASES = {  # samples, channels, size, results, kernel, stride, padding
    "3→16 3×3 @32": (128, 3, 32, 16, 3, 1, 1),
    "16→16 3×3 @32": (128, 16, 32, 16, 3, 1, 1),
    "32→32 3×3 @16": (128, 32, 16, 32, 3, 1, 1),
    "64→64 3×3 @8": (128, 64, 8, 64, 3, 1, 1),
    "16→32 3×3 stride 2 @32": (128, 16, 32, 32, 3, 2, 1),
    "32→64 3×3 stride 2 @16": (128, 32, 16, 64, 3, 2, 1),
    "16→32 1×1 stride 2 @32": (128, 16, 32, 32, 1, 2, 0),
    "1→32 3×3 @28": (64, 1, 28, 32, 3, 1, 0),
    "32→64 3×3 @26": (64, 32, 26, 64, 3, 1, 0),
}
EXPORT = "void call_{name}(const float *a, const float *b, float *c, float *scratch) {{ {name}({arguments}); }}\n"

Calls = dict[str, Callable[[], object]]


def ours(case: tuple[int, ...]) -> Calls:
    """Forward and both gradients as functions of one library."""
    from torchlite.backends.native import (
        convolution_nhwc,
        convolution_tiles,
        convolution_winograd,
        library,
        weight_grad_winograd,
    )
    from torchlite.backends.native.bfloat16 import has_tiles
    from torchlite.ops.windows import Window

    samples, channels, size, results, kernel, stride, padding = case
    window = Window.of((kernel,) * 2, (stride,) * 2, (padding,) * 2)
    x, out = (samples, size, size, channels), (samples, *window.out_size("convolution", (size, size)), results)
    sums = {
        "forward": convolution_nhwc.convolution(x, out, window),
        "input": convolution_nhwc.input_grad(out, x, window),
    }
    faster = convolution_tiles if has_tiles() else convolution_winograd
    kernels = {name: (faster if faster.pays(of) else convolution_nhwc).kernel(name, of) for name, of in sums.items()}
    kernels["weight"] = weight_grad_winograd.weight_grad("weight", x, out, window)
    modules = convolution_tiles, convolution_winograd, weight_grad_winograd
    headers = dict.fromkeys(header for module in modules for header in module.HEADERS)
    text = [library.text("parallel.h", "mathematics.h", "vectors.h", *headers)]
    for name, made in kernels.items():
        arguments = (
            "a, b, c, scratch, (OnRows){0}" if name == "weight" else "a, b, NULL, c, scratch, (OnRows){0}, (OnRows){0}"
        )
        text += [made.text, EXPORT.format(name=name, arguments=arguments)]
    functions = library.load("".join(text))
    rng = np.random.default_rng(0)
    weight = (results, channels, kernel, kernel)
    calls: Calls = {}
    for name, (one, two, three) in {
        "forward": (x, weight, out), "input": (out, weight, x), "weight": (x, out, weight)
    }.items():  # fmt: skip
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in (one, two)]
        scratch = np.empty(kernels[name].scratch + 16, np.float32)
        arrays += [np.empty(three, np.float32), scratch[-scratch.ctypes.data // 4 % 16 :]]  # at a multiple of 64 bytes
        calls[name] = call(getattr(functions, f"call_{name}"), arrays)
    return calls


def call(function: Any, arrays: list[np.ndarray[Any, Any]]) -> Callable[[], object]:
    return lambda: function(*[ctypes.c_void_p(array.ctypes.data) for array in arrays])


def theirs(case: tuple[int, ...], layout: str) -> Calls:
    """The same of PyTorch."""
    import torch

    samples, channels, size, results, kernel, stride, padding = case
    form = getattr(torch, layout)
    x = torch.randn(samples, channels, size, size).contiguous(memory_format=form)
    weight = torch.randn(results, channels, kernel, kernel).contiguous(memory_format=form)
    g = torch.nn.functional.conv2d(x, weight, None, stride, padding).contiguous(memory_format=form)

    def backward(*mask: bool) -> object:
        pairs = ([n, n] for n in (stride, padding, 1))
        return torch.ops.aten.convolution_backward(g, x, weight, None, *pairs, False, [0, 0], 1, [*mask, False])

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, None, stride, padding),
        "input": lambda: backward(True, False),
        "weight": lambda: backward(False, True),
    }


def measure(threads: int, seconds: float) -> None:
    """Measure in this process and print the table."""
    import torch

    import torchlite

    torch.set_num_threads(threads)
    torchlite.set_num_threads(threads)
    rows = []
    for title, case in CASES.items():
        sides = [ours(case), theirs(case, "contiguous_format"), theirs(case, "channels_last")]
        samples, channels, _, results, kernel, *_ = case
        size = (case[2] + 2 * case[6] - kernel) // case[5] + 1
        flops = 2 * samples * size * size * channels * results * kernel * kernel
        for name in sides[0]:
            best = [float("inf")] * 3
            end, turn = time.perf_counter() + seconds, 0
            while turn < 3 or time.perf_counter() < end:
                for i, side in enumerate(sides):
                    for _ in range(8):  # the first still finds the threads of the side before it waiting on a processor
                        start = time.perf_counter()
                        side[name]()
                        best[i] = min(best[i], time.perf_counter() - start)
                turn += 1
            cells = [f"{b * 1e3:.2f} ({flops / b / 1e9:.0f})" for b in best]
            rows.append([f"{title}, {name}", *cells, f"{best[0] / best[1]:.2f}", f"{best[0] / best[2]:.2f}"])
    print(f"\n{threads} thread{'s' if threads > 1 else ''}, PyTorch {torch.__version__}\n")
    print_table(["ms (GFLOP/s)", "torchlite", "PyTorch NCHW", "PyTorch NHWC", "over NCHW", "over NHWC"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="a kernel and its gradients each")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--here", action="store_true", help="measure in this process, with its number of threads")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.threads[0], arguments.seconds)
        return
    for threads in arguments.threads:
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL")}
        command = [sys.executable, __file__, "--here", "--threads", str(threads), "--seconds", str(arguments.seconds)]
        subprocess.run(command, env=os.environ | limits, check=True)


if __name__ == "__main__":
    main()
