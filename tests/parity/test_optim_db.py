"""PyTorch's optimizer database: no optimizer may agree with torch in fewer comparisons than when last recorded."""

import pytest
from parity.optim_db import ABSENT, OPTIMIZERS, measure, recorded

import torchlite


@pytest.mark.parametrize("name", sorted(recorded()))
def test_counts_have_not_fallen(name: str) -> None:
    before, measured = recorded()[name], measure(name)
    fallen = any(a < b for a, b in zip(measured.counts.row(), before, strict=True))
    assert not fallen, "\n".join([f"{name}: {measured.counts} where {before} was recorded", *measured.differences])


def test_every_optimizer_of_the_database_is_recorded() -> None:
    assert recorded().keys() == OPTIMIZERS.keys() - ABSENT.keys()
    assert not ABSENT.keys() & set(torchlite.optim.__all__)
