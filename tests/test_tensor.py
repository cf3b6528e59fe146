"""The tensor itself: what needs no oracle, and the texts of its errors."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn
from torchlite.errors import DeviceError


def test_cuda_without_a_gpu_says_what_to_install() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match=r"cuda"):
        torch.zeros(2).to("cuda")
    with pytest.raises(DeviceError, match=r"cuda"):
        nn.Linear(2, 2).to("cuda")
    assert torch.cuda.device_count() == 0


def test_arrays_and_tensors_mix() -> None:
    x, n = torch.ones(2), np.full(2, 3.0, np.float32)
    for result in (x + n, n + x, n * x, x * n, n - x, n / x):
        assert isinstance(result, torch.Tensor)
    assert (n - x).tolist() == [2.0, 2.0]
    assert (np.float32(2) * x).tolist() == [2.0, 2.0]


def test_infinities_and_nan_are_results_not_warnings() -> None:
    inf = torch.tensor([float("inf"), 1e38, 0.0, float("nan")])
    for result in (
        inf - inf,
        inf * 0,
        inf + inf,
        inf * inf,
        inf / inf,
        inf.exp(),
        inf.log(),
        inf @ inf,
        inf.sum(),
        inf.sqrt(),
    ):
        assert isinstance(result, torch.Tensor)
    x = inf.clone()
    x.sub_(inf).mul_(inf).add_(inf)
    assert inf.to(torch.float16).isinf().tolist() == [True, True, False, False]


def test_meta_tensors_have_shapes_and_dtypes_only() -> None:
    x = torch.zeros(2, 3, device="meta", dtype=torch.float16)
    y = (x @ x.t()).relu().sum(0, keepdim=True)
    assert (tuple(y.shape), y.dtype, y.device.type) == ((1, 2), torch.float16, "meta")
    assert x[:, None, 1:].shape == (2, 1, 2)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
    )
    assert tuple(model.to("meta")(torch.zeros(4, 3, 8, 8, device="meta")).shape) == (4, 10)
    assert pickle.loads(pickle.dumps(x)).shape == (2, 3)
    assert copy.deepcopy(x).is_meta


def test_default_dtype_and_device() -> None:
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.tensor(1.0).dtype is torch.float64
        assert torch.zeros(1).dtype is torch.float64
        assert (torch.tensor([1]) / 2).dtype is torch.float64
        with pytest.raises(TypeError):
            torch.set_default_dtype(torch.int32)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert torch.zeros(1).is_meta
        assert nn.Linear(2, 2).weight.is_meta
    assert not torch.zeros(1).is_meta


def test_results_never_share_memory_with_operands_unless_they_are_views() -> None:
    x = torch.ones(3, 3)
    for copied in (
        x + 0,
        x * 1,
        x.clone(),
        x.abs(),
        x.to(torch.float64).to(torch.float32),
        x[[0, 1]],
        x[x > 0],
        x.flip(0),
    ):
        assert not np.shares_memory(copied.numpy(), x.numpy())
    for viewed in (
        x.t(),
        x[0],
        x.view(9),
        x.expand(2, 3, 3),
        x.unsqueeze(0),
        x.detach(),
        x.flatten(),
        x.narrow(0, 1, 1),
    ):
        assert np.shares_memory(viewed.numpy(), x.numpy())


def test_shared_memory() -> None:
    """What a forked process writes into shared parameters, this one sees; what it writes elsewhere, it does not."""
    program = """
import os
import torchlite as torch
model = torch.nn.Linear(2, 1)
assert not model.weight.is_shared()
kept, weight = model.weight.tolist(), model.weight
assert model.share_memory() is model and model.weight is weight and weight.is_shared() and weight.tolist() == kept
own = torch.zeros(1)
if os.fork() == 0:
    with torch.no_grad():
        weight.fill_(7.0)
        own.fill_(7.0)
    os._exit(0)
os.wait()
assert weight.tolist() == [[7.0, 7.0]] and own.tolist() == [0.0], (weight, own)
assert weight[0].is_shared() and not weight.clone().is_shared() and weight.share_memory_() is weight
"""
    subprocess.run([sys.executable, "-c", program], check=True)
