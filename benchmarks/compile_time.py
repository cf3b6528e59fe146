"""How long compiling a training step takes, the first time on a machine and from the cache on disk.

    python benchmarks/compile_time.py [--only mlp gpt …] [--precision float32 bf16]

Seconds. The first call runs eagerly (and compiles the eager kernels that it needs), the second captures the step, generates
C, compiles it and runs it. From both the time of a later step is taken away. "C" is the part of the second call that the C
compiler took, "memory" that by which the program's first run, in memory that has not been touched, takes longer than a later
step. Each figure is that of a process of its own; cold means an empty cache. Bytecode of Python is kept, as where the package
is installed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from alternating import print_table
from workloads import COMPILED, PRECISIONS, WORKLOADS


def measure(name: str, precision: str) -> dict[str, float]:
    """Seconds of the first and the second call, and in the second of the C compiler and of memory, in this process."""
    import torchlite
    from torchlite.backends.native import toolchain
    from torchlite.compiler.program.execution import Execution

    step = torchlite.compile(WORKLOADS[name].make(torchlite, precision), fullgraph=True)
    with timed(toolchain, "_run") as in_compiler, timed(Execution, "__call__") as in_program:
        eager = seconds(step)
        in_compiler.clear()
        captured = seconds(step)
    later = min(seconds(step) for _ in range(3))
    parts = {"C": sum(in_compiler), "memory": max(sum(in_program) - later, 0.0)}
    return {"first call": max(eager - later, 0.0), "second call": captured - later, **parts}


@contextmanager
def timed(owner: Any, name: str) -> Iterator[list[float]]:
    """The seconds that each call of a function takes inside the block."""
    function, found = getattr(owner, name), []

    def call(*arguments: Any, **more: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **more)
        found.append(time.perf_counter() - start)
        return result

    with mock.patch.object(owner, name, call):
        yield found


def seconds(step: Any) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def in_new_process(name: str, precision: str, cache: str) -> dict[str, float]:
    """`measure` in a process of its own, with that folder as the cache."""
    command = [sys.executable, __file__, "--here", "--only", name, "--precision", precision]
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--only", nargs="+", choices=COMPILED, default=COMPILED, help="the rows wanted")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--here", action="store_true", help="measure one workload in this process; prints JSON")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.only[0], arguments.precision[0])))
        return
    rows = []
    for precision in arguments.precision:
        for name in arguments.only:
            with tempfile.TemporaryDirectory() as cache:
                cold, cached = (in_new_process(name, precision, cache) for _ in range(2))
            title = f"{WORKLOADS[name].title}, {precision}"
            rows.append([title, *(f"{figures[key]:.2f}" for figures in (cold, cached) for key in cold)])
    header = [
        "seconds",
        "cold: first call",
        "second call",
        "C",
        "memory",
        "cached: first call",
        "second call",
        "C",
        "memory",
    ]
    print_table(header, rows)


if __name__ == "__main__":
    main()
