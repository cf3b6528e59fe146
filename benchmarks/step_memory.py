"""What a training step allocates, and how much memory a process that trains needs, beside PyTorch's.

    python benchmarks/step_memory.py [--only mlp gpt …] [--precision float32 bf16]

For each workload and side, in a process of its own, two threads: calls of malloc and its kin in one warm step that want
4 KiB or more (smaller ones don't grow with sizes: they are objects of Python), the bytes that they want together, the
largest of them, and the peak of resident memory (VmHWM) of the whole process after some steps. The calls are counted by a
library that is loaded before the C library's.
"""

from __future__ import annotations

import argparse
import ctypes
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

from alternating import print_table
from workloads import PRECISIONS, WORKLOADS

SIDES = ("PyTorch", "eager", "compiled")
STEPS = 8

COUNTER = r"""
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

// What glibc's allocator is called inside.
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum { SMALL = 4096 };
static atomic_int counting;
static atomic_long calls, bytes, most;

static void note(size_t size) {
    if (!atomic_load(&counting) || size < SMALL) return;
    atomic_fetch_add(&calls, 1);
    atomic_fetch_add(&bytes, (long)size);
    for (long old = atomic_load(&most); (long)size > old && !atomic_compare_exchange_weak(&most, &old, (long)size);) {}
}

void *malloc(size_t size) { note(size); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { note(n * size); return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { note(size); return __libc_realloc(p, size); }
void *memalign(size_t alignment, size_t size) { note(size); return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { note(size); return __libc_memalign(alignment, size); }
int posix_memalign(void **p, size_t alignment, size_t size) {
    note(size);
    *p = __libc_memalign(alignment, size);
    return *p || !size ? 0 : ENOMEM;
}

void allocations_begin(void) {
    atomic_store(&calls, 0), atomic_store(&bytes, 0), atomic_store(&most, 0);
    atomic_store(&counting, 1);
}
void allocations_end(long *figures) {
    atomic_store(&counting, 0);
    figures[0] = atomic_load(&calls), figures[1] = atomic_load(&bytes), figures[2] = atomic_load(&most);
}
"""


def measure(name: str, precision: str, side: str) -> list[int]:
    """In this process: allocations of a step, their bytes, the largest, and the peak of resident memory in bytes."""
    if side == "PyTorch":
        import torch as library

        library.set_num_threads(2)
    else:
        import torchlite as library

        library.set_num_threads(2)
    step = WORKLOADS[name].make(library, precision)
    if side == "compiled":
        step = library.compile(step, fullgraph=True)
    for _ in range(STEPS):
        step()
    counter = ctypes.CDLL(None)
    figures = (ctypes.c_long * 3)()
    counter.allocations_begin()
    step()
    counter.allocations_end(figures)
    return [*figures, peak()]


def peak() -> int:
    """The most memory that was resident in this process, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def in_new_process(name: str, precision: str, side: str) -> list[int]:
    """`measure` in a process of its own, with the counting library before all others."""
    from torchlite.backends.native import toolchain

    command = [sys.executable, __file__, "--here", side, "--only", name, "--precision", precision]
    environment = os.environ | {"LD_PRELOAD": str(toolchain.compiled(COUNTER))}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    figures: list[int] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or ""))
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="the rows wanted")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--here", choices=SIDES, help="measure one workload in this process; prints JSON")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.only[0], arguments.precision[0], arguments.here)))
        return
    rows = []
    for precision in arguments.precision:
        for name in arguments.only:
            for side in SIDES if WORKLOADS[name].whole else SIDES[:2]:
                calls, total, largest, resident = in_new_process(name, precision, side)
                sizes = (f"{size / 2**20:.2f}" for size in (total, largest, resident))
                rows.append([f"{WORKLOADS[name].title}, {precision}, {side}", str(calls), *sizes])
    print_table(["a step", "allocations of 4 KiB or more", "MiB", "largest, MiB", "peak of the process, MiB"], rows)


if __name__ == "__main__":
    main()
