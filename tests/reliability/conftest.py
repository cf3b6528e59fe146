"""`rounds`: how often a reliability test repeats; TORCHLITE_RELIABILITY_N overrides each test's default."""

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def rounds() -> Callable[[int], int]:
    def choose(default: int) -> int:
        return int(os.environ.get("TORCHLITE_RELIABILITY_N", default))

    return choose
