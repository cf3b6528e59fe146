"""Arrays that are only asked how they lie."""

import numpy as np
import pytest

from torchlite.backends.memory import address, untouched
from torchlite.dtypes import bfloat16


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, bfloat16.numpy, np.complex128])
def test_untouched_arrays_lie_as_empty_ones(shape, dtype):
    ghost, real = untouched(shape, dtype), np.empty(shape, dtype)
    assert (ghost.shape, ghost.dtype, ghost.strides) == (real.shape, real.dtype, real.strides)
    assert (ghost.flags.c_contiguous, ghost.flags.writeable) == (True, True)


def test_untouched_arrays_of_any_number_are_one_piece_of_memory():
    untouched((1 << 26,), np.float32)
    assert len({address(untouched((1 << size,), np.float32)) for size in range(27)}) == 1
