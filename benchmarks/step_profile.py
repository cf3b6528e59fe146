"""Where the time of a compiled training step goes: each unit of the program, against the floor.

    python benchmarks/step_profile.py [--only mlp gpt …] [--threads 2] [--precision float32 bf16] [--rows 25]

The program of each of the `workloads` is compiled once more with each unit as a function of its own, and the least time of
each over many calls is added up by what it does. For products and convolutions the rate follows, in GFLOP/s.
"""

from __future__ import annotations

import argparse
import inspect
import time
from collections import defaultdict
from typing import Any

from alternating import each_number_of_threads, print_table
from workloads import COMPILED, PRECISIONS, WORKLOADS


def profiled(name: str, precision: str) -> tuple[Any, list[float], float]:
    """The program of a step in parts, the least time of each part, and that of the whole step."""
    import torchlite
    from torchlite.compiler.program import Interface, program

    step = torchlite.compile(WORKLOADS[name].make(torchlite, precision), fullgraph=True)
    for _ in range(3):
        step()
    captured = step.variants[0].captured
    leaving = captured.fresh + len(captured.gradients)
    interface = Interface(
        {e.input: e.tensor._data for e in captured.externals},
        [n.value for n in captured.numbers if n.kind is float],
        {leaving + i: e.input for i, e in enumerate(captured.written)},
        leaving,
    )
    parts = program(captured.graph, interface, apart=True)
    assert parts is not None, "there is no C compiler"
    whole = min(_timed(step) for _ in range(40))
    least = [float("inf")] * len(parts.segments)

    def timed(i: int, segment: Any) -> Any:
        def run(frame: Any) -> None:
            start = time.perf_counter()
            segment(frame)
            least[i] = min(least[i], time.perf_counter() - start)

        return run

    parts.segments = [timed(i, segment) for i, segment in enumerate(parts.segments)]
    for _ in range(40):
        given = [e.tensor._data for e in captured.externals] + [n.container[n.key] for n in captured.numbers]
        parts(given)
    return parts, least, whole


def _timed(function: Any) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def operations(step: Any) -> str:
    """What a step does, in a word or some."""
    unit = step.unit
    inner = [n.op.name for loop in unit.loops for n in (*loop.nodes, *loop.reductions)]
    if unit.root is not None:
        fused = f" + {len(inner)} elementwise" if inner else ""
        return f"{unit.root.op.name}{fused}" + (" (host)" if unit.kind == "host" else "")
    several = f" ×{len(unit.loops)}" if len(unit.loops) > 1 else ""
    return f"loop{several}: {', '.join(dict.fromkeys(inner))}"[:70]


def flops(step: Any) -> float:
    """Floating-point operations of products and convolutions."""
    root = step.unit.root
    if root is None:
        return 0.0
    name, shapes = root.op.name, [v.aval.shape for v in (*root.inputs, *root.outputs) if v.aval is not None]
    size = root.outputs[0].aval.size if root.outputs[0].aval is not None else 0
    if name in ("linear", "matmul"):
        return 2.0 * size * shapes[0][-1]
    if name == "convolution":
        return 2.0 * size * _product(shapes[1][1:])
    if name == "convolution_input_grad":  # (gradient, weight)
        return 2.0 * _product(shapes[0]) * _product(shapes[1][1:])
    if name == "convolution_weight_grad":  # (input, gradient)
        return 2.0 * _product(shapes[1]) * _product(shapes[-1][1:])
    return 0.0


def _product(lengths: Any) -> int:
    result = 1
    for n in lengths:
        result *= n
    return result


def measure(threads: int, arguments: argparse.Namespace) -> None:
    """Print a table for each of the chosen workloads."""
    for precision in arguments.precision:
        for name in arguments.only:
            parts, least, whole = profiled(name, precision)
            sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
            for steps, seconds in zip(parts.program.steps, least, strict=True):
                row = sums[operations(steps[-1])]
                row[0] += 1
                row[1] += seconds
                row[2] += sum(map(flops, steps))
            total = sum(least)
            print(
                f"\n{name}, {precision}, {threads} threads: a step {whole * 1e3:.3f} ms, its parts {total * 1e3:.3f} ms, "
                f"arena {parts.layout.arena / 1e6:.1f} MB\n"
            )
            rows = [
                [what, str(count), f"{s * 1e6:.0f}", f"{s / total:.1%}", f"{f / s / 1e9:.0f}" if f else ""]
                for what, (count, s, f) in sorted(sums.items(), key=lambda item: -item[1][1])
            ]
            print_table(["unit", "calls", "µs", "share", "GFLOP/s"], rows[: arguments.rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--only", nargs="+", choices=COMPILED, default=COMPILED, help="the workloads wanted")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--rows", type=int, default=25)
    each_number_of_threads(parser, measure)


if __name__ == "__main__":
    main()
