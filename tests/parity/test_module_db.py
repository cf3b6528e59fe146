"""PyTorch's module database: no module may agree with torch on fewer samples than it did when last recorded."""

import pytest
from parity.module_db import MODULES, measure, recorded


@pytest.mark.parametrize("name", sorted(recorded().keys() & MODULES.keys()))
def test_counts_have_not_fallen(name):
    before, now = recorded()[name], measure(name)
    assert now.counts is not None, f"{name} is recorded as present, and torchlite no longer has it"
    fallen = any(a < b for a, b in zip(now.counts.row(), before, strict=True))
    assert not fallen, "\n".join([f"{name}: {now.counts} where {before} was recorded", *now.differences])


def test_recorded_modules_exist_in_module_db():
    assert recorded().keys() <= MODULES.keys()
