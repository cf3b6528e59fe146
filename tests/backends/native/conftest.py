"""Tests of kernels in C are skipped where nothing compiles them."""

import numpy as np
import pytest

from torchlite.backends.native import library, toolchain


@pytest.fixture(scope="session")
def needs_compiler() -> None:
    """That kernels can be compiled."""
    if not toolchain.enabled():
        pytest.skip("kernels are switched off")
    try:
        library.pool()
    except toolchain.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for each test, whichever ran before it in this process."""
    return np.random.default_rng(0)
