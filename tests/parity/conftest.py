"""Comparisons with PyTorch are skipped where it is not installed, unless TORCHLITE_REQUIRE_PARITY is set."""

import importlib.util
import os

import pytest

if os.environ.get("TORCHLITE_REQUIRE_PARITY") and importlib.util.find_spec("torch") is None:
    raise pytest.UsageError("TORCHLITE_REQUIRE_PARITY is set, but torch is not installed: pip install -e '.[parity]'")
