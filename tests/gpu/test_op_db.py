"""Every operator of PyTorch's database gives on a GPU what it gives on the CPU, gradients included."""

from itertools import islice
from typing import Any

import determined_part
import numpy as np
import pytest
from oracle import numbers
from parity.op_db import (
    OPERATORS,
    converted,
    determined,
    full_name,
    mapped,
    operator_of,
    recorded,
    samples_of,
    tensors_in,
    torch,
)

import torchlite

pytestmark = pytest.mark.gpu
TAKEN = 4
# What stays on the host, or means another thing there.
HOST_ONLY = {"to": "its samples name the device to go to"}


def moved(value: Any) -> Any:
    return mapped(value, lambda x: x.detach().to("cuda").requires_grad_(x.requires_grad))


@pytest.mark.parametrize("name", sorted(recorded().keys() & OPERATORS.keys()))
def test_gpu_gives_what_the_cpu_gives(name: str) -> None:
    if name in HOST_ONLY:
        pytest.skip(HOST_ONLY[name])
    info = OPERATORS[name]
    function, determined_of = operator_of(info), determined_part.OF_FUNCTIONS.get(full_name(info))

    def part(results: list[Any]) -> list[Any]:
        return results if determined_of is None else list(determined_of(*results))

    dtype = next(
        (d for d in (torch.float32, torch.int64, torch.bool) if d in info.supported_dtypes("cpu")), torch.complex64
    )
    for sample in islice(samples_of(info, dtype, info.supports_autograd and dtype.is_floating_point), TAKEN):
        arguments = converted((sample.input, *sample.args)), converted(sample.kwargs)
        numbers_count = determined(info, sample)
        wants_gradients = info.supports_autograd and numbers_count
        try:
            expected = part(tensors_in(function(*arguments[0], **arguments[1])))
            expected_gradients = gradients(arguments, expected) if wants_gradients else []
        except Exception:  # what differs from PyTorch stands in docs/parity.md
            continue
        args, kwargs = moved(arguments[0]), moved(arguments[1])
        if "device" in kwargs:
            kwargs["device"] = "cuda"
        got = part(tensors_in(function(*args, **kwargs)))
        assert len(got) == len(expected)
        compare(got, expected, numbers_count)
        if wants_gradients:
            compare(gradients((args, kwargs), got), expected_gradients, True)


def gradients(arguments: Any, results: list[Any]) -> list[Any]:
    """The gradients of the sum of all results, with respect to all arguments."""
    results = [y.abs() if y.is_complex() else y for y in results if y.requires_grad]
    inputs = [x for x in tensors_in(arguments) if x.requires_grad]
    if not results or not inputs:
        return []
    found = torchlite.autograd.grad([y.sum() for y in results], inputs, allow_unused=True)
    return [g for g in found if g is not None]


def compare(got: list[Any], expected: list[Any], numbers_count: bool) -> None:
    for a, b in zip(got, expected, strict=True):
        assert (a.shape, a.dtype, a.device.type) == (b.shape, b.dtype, "cuda")
        if numbers_count:
            np.testing.assert_allclose(numbers(a.cpu()), numbers(b), rtol=1e-4, atol=1e-4)
