"""Training leaves nothing behind. ``benchmarks/memory_slope.py`` has the programs, and measures them at length."""

import gc
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT = 1024  # bytes a step


def benchmark() -> Any:
    path = Path(__file__).parent.parent / "benchmarks" / "memory_slope.py"
    spec = importlib.util.spec_from_file_location("memory_slope", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MEASURED = benchmark()


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
