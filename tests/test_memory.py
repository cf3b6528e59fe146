"""Training leaves nothing behind, and what a step allocates can be counted.

``benchmarks/memory_slope.py`` and ``step_memory.py`` have the programs, and measure them at length.
"""

import gc
import importlib.util
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torchlite.backends.native import toolchain

LIMIT = 1024  # bytes a step


def benchmark(name: str) -> Any:
    path = Path(__file__).parent.parent / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MEASURED = benchmark("memory_slope")


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    """How many objects of the package there are."""
    return sum(str(type(x).__module__).startswith("torchlite") for x in gc.get_objects())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_thousand_steps_of_training(collector_off: None) -> None:
    step = MEASURED.training()
    step()
    before = alive()
    _, resident = MEASURED.slope(step, 2000, traced=False)
    assert resident < LIMIT
    assert alive() <= before + 20  # lists of views are cleared from time to time


@pytest.mark.parametrize("name", MEASURED.PROGRAMS)
def test_no_object_outlives_its_step(name: str, collector_off: None) -> None:
    step = MEASURED.PROGRAMS[name]()
    for _ in range(20):
        step()
    before = alive()
    for _ in range(20):
        step()
    assert alive() <= before
    assert gc.collect() < 20, "steps leave reference cycles behind"


def test_a_leak_is_seen() -> None:
    step, kept = MEASURED.training(), []

    def leaking() -> None:
        step()
        kept.append([0.0] * 200)

    assert MEASURED.slope(leaking, 100)[0] > LIMIT


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="counts the calls of glibc's allocator")
def test_allocations_of_a_step_are_counted() -> None:
    try:
        toolchain.compiler()
    except toolchain.Unavailable as error:
        pytest.skip(str(error))
    calls, total, largest, resident = benchmark("step_memory").in_new_process("mlp", "float32", "eager")
    weight = 784 * 128 * 4  # whose gradient is an array of its own
    assert calls >= 3
    assert weight <= largest < total < resident
