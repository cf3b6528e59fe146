"""Lines of memory in which objects lie, for fetching them."""

import numpy as np
import pytest

from torchlite.backends.memory import CPYTHON
from torchlite.backends.native import kernel
from torchlite.backends.native.object_lines import lines_of

pytestmark = pytest.mark.skipif(not CPYTHON, reason="objects of other Pythons have no addresses")


class Some:
    """An object with attributes."""


def of(start):
    return start // 64 * 64


def test_objects_and_what_they_hold_lie_there():
    some, numbers, named = Some(), list(range(100)), {str(i): i for i in range(20)}
    some.first = some.second = 1
    lines = lines_of([some, numbers, named, some]).tolist()
    assert {of(id(some)), of(id(numbers)), of(id(named))} <= {*lines}
    assert len(lines) == len({*lines}) and not any(line % 64 for line in lines)
    elements = 100 * 8 // 64
    assert len(lines_of([numbers])) >= elements > len(lines_of([[]]))
    assert len(lines_of([named])) >= 20 * 24 // 64 > len(lines_of([{}]))
    assert len(lines_of([some])) > len(lines_of([object()]))


def test_nothing_lies_nowhere():
    assert lines_of([]).dtype == np.uintp and not lines_of([]).size


def test_what_is_gone_is_fetched_in_vain():
    fetching = kernel("contents.fetching")
    if fetching is None:
        pytest.skip("there is no C compiler")
    lists = [[*range(i)] for i in range(1000)]
    fetch = fetching(lists)
    del lists
    assert fetch() is None
