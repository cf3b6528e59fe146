"""Two hundred steps of each training program, from PyTorch's weights on the same batches, give PyTorch's losses.

All to 1e-4 (absolute; the losses are of the order of 1). Five of the six programs keep that in float32. The DCGAN amplifies
rounding: PyTorch's own float32 losses leave its float64 losses by 1e-4 after some twenty steps. So it runs its 200 steps in
float64, and in float32 ten steps agree, and from there on torchlite strays from PyTorch as PyTorch does from itself, in float64 and
from weights that differ in their last four bits.
"""

from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np
import pytest
from oracle import torch

import torchlite

STEPS = 200
STEADY = ("resnet18", "bilstm", "transformer", "gpt", "vae")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")]


def losses(library: Any, name: str, dtype: str, nudged: int | None = None) -> np.ndarray[Any, Any]:
    """The losses (steps, losses of a step) of a program with ``library``, from weights that PyTorch drew.

    ``nudged`` seeds a change of every weight in its last four bits.
    """
    program = import_module(f"programs.{name}")
    torch.manual_seed(0)
    weights = {key: value.numpy() for key, value in program.make(torch).state_dict().items()}
    if nudged is not None:
        rng = np.random.default_rng(nudged)
        weights = {
            key: (value * (1 + rng.integers(-8, 9, value.shape) * 2.0**-24)).astype(value.dtype)
            if value.dtype.kind == "f"
            else value
            for key, value in weights.items()
        }
    model = program.make(library)
    model.load_state_dict({key: library.tensor(value) for key, value in weights.items()})
    model.to(getattr(library, dtype))
    batches = (
        tuple(library.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in batch)
        for batch in islice(program.batches(np.random.default_rng(0)), STEPS)
    )
    return np.array(list(program.train(library, model, batches))).reshape(STEPS, -1)


@pytest.mark.parametrize("name", STEADY)
def test_losses_in_float32(name: str) -> None:
    theirs = losses(torch, name, "float32")
    assert theirs[-10:].mean() < 0.7 * theirs[:10].mean(), "the run learns little, so it shows little"
    np.testing.assert_allclose(losses(torchlite, name, "float32"), theirs, atol=1e-4, rtol=0)


def test_losses_of_two_networks_that_compete() -> None:
    exact = losses(torch, "dcgan", "float64")
    assert exact[-10:, 0].mean() < 0.5 * exact[0, 0], "the discriminator learns little, so the run shows little"
    np.testing.assert_allclose(losses(torchlite, "dcgan", "float64"), exact, atol=1e-4, rtol=0)

    ours, theirs = losses(torchlite, "dcgan", "float32"), losses(torch, "dcgan", "float32")
    np.testing.assert_allclose(ours[:10], theirs[:10], atol=1e-4, rtol=0)
    others = [exact, *(losses(torch, "dcgan", "float32", nudged) for nudged in range(6))]
    by_rounding = np.maximum.accumulate(np.max([abs(theirs - other).max(1) for other in others], axis=0))
    np.testing.assert_array_less(abs(ours - theirs).max(1), 1e-4 + 10 * by_rounding)
