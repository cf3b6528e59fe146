"""Tests marked ``gpu`` run where CuPy finds a CUDA device and are skipped elsewhere."""

from typing import Any

import pytest

from torchlite.backends import cuda_device_count


def pytest_collection_modifyitems(items: list[Any]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not cuda_device_count():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs CuPy and a CUDA device"))
