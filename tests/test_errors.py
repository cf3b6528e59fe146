"""The texts of errors, letter by letter."""

import pytest
from misuse import MISUSE

import torchlite
import torchlite.nn
import torchlite.optim


@pytest.mark.parametrize("name", MISUSE)
def test_errors_say_what_does_not_fit(name: str) -> None:
    program, kind, text = MISUSE[name]
    with pytest.raises(kind) as error:
        program(torchlite)
    assert str(error.value) == text


def test_there_are_enough_of_them() -> None:
    assert len(MISUSE) >= 60
