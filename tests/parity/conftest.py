"""Comparisons with PyTorch are skipped where it is not installed, unless TORCHLITE_REQUIRE_PARITY is set."""

import importlib.util
import os

import pytest

if os.environ.get("TORCHLITE_REQUIRE_PARITY") and importlib.util.find_spec("torch") is None:
    raise pytest.UsageError("TORCHLITE_REQUIRE_PARITY is set, but torch is not installed: pip install -e '.[parity]'")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Of PyTorch, where other tests run on the same processors: several would wait for each other."""
    if "PYTEST_XDIST_WORKER" in os.environ and importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
