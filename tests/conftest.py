"""Tests marked ``gpu`` run where CuPy finds a CUDA device, or on a simulated one, and are skipped elsewhere."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import simulated_gpu

from torchlite.backends import cuda_device_count, cudnn, threads

SIMULATED = os.environ.get("TORCHLITE_SIMULATED_GPU") == "1"
if SIMULATED:
    simulated_gpu.install()
BESIDE_OTHERS = "PYTEST_XDIST_WORKER" in os.environ
THREADS = threads.get_num_threads()


def pytest_runtest_setup() -> None:
    """Where other tests run on the same processors BLAS has one thread, as several would wait for each other; kernels keep theirs."""
    set_threads = threads._function("set")
    if BESIDE_OTHERS and set_threads is not None:
        set_threads(1)
        for follow in threads._followers:
            follow(THREADS)


@pytest.fixture(autouse=True)
def in_full_precision(request: Any) -> Iterator[None]:
    """Numbers of a GPU are compared with those of the host: not in TF32."""
    if request.node.get_closest_marker("gpu") is None:
        yield
        return
    with cudnn.flags(enabled=True, allow_tf32=False):
        yield


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        marker = item.get_closest_marker("gpu")
        if SIMULATED and marker is not None and not marker.kwargs.get("simulated", True):
            item.add_marker(pytest.mark.skip(reason="needs a GPU that is not simulated"))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not cuda_device_count():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs CuPy and a CUDA device"))
