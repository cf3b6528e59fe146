from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def importable_in_workers(monkeypatch):
    """Worker processes import the datasets of these tests by the name that pytest gives the module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))
