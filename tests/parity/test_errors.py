"""For each misuse PyTorch raises an error of the type that torchlite raises."""

import warnings

import pytest
from misuse import MISUSE
from oracle import torch


@pytest.mark.parametrize("name", MISUSE)
def test_errors_have_pytorch_s_types(name: str) -> None:
    program, kind, _ = MISUSE[name]
    with warnings.catch_warnings(), pytest.raises((kind, NotImplementedError)) as error:
        warnings.simplefilter("ignore")
        program(torch)
    assert not isinstance(error.value, NotImplementedError) or kind is RuntimeError
