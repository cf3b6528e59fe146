"""Tests marked ``gpu`` run where CuPy finds a CUDA device, or on a simulated one, and are skipped elsewhere."""

import os
from typing import Any

import pytest

if os.environ.get("TORCHLITE_SIMULATED_GPU") == "1":
    import simulated_gpu

    simulated_gpu.install()

from torchlite.backends import cuda_device_count


def pytest_collection_modifyitems(items: list[Any]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not cuda_device_count():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs CuPy and a CUDA device"))
