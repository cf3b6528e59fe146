"""The tensor itself: what needs no oracle, and the texts of its errors."""

import copy
import gc
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn, optim
from torchlite.autograd.graph import Node, Storage
from torchlite.errors import DeviceError

ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "add": (
        lambda: torch.zeros(2, 3) + torch.zeros(4),
        RuntimeError,
        "add: shapes [2, 3] and [4] can't be broadcast together: dimension 1 is 3 and 4; lengths must be equal or 1",
    ),
    "matmul": (
        lambda: torch.zeros(2, 3) @ torch.zeros(4, 5),
        RuntimeError,
        "matmul: shapes [2, 3] and [4, 5] cannot be multiplied: 3 columns against 4 rows",
    ),
    "matmul dtypes": (
        lambda: torch.zeros(2, 3) @ torch.zeros(3, 5, dtype=torch.float64),
        RuntimeError,
        "matmul: expected both to have the same dtype, but got torch.float32 and torch.float64",
    ),
    "linear": (
        lambda: nn.Linear(3, 2)(torch.zeros(4, 5)),
        RuntimeError,
        "linear: input of shape [4, 5] has 5 features, but the weight [2, 3] expects 3",
    ),
    "conv2d": (
        lambda: nn.Conv2d(3, 8, 3)(torch.zeros(1, 1, 8, 8)),
        RuntimeError,
        "conv2d: given groups=1, weight of size [8, 3, 3, 3], expected input [1, 1, 8, 8] to have 3 channels, but got 1 "
        "channels instead",
    ),
    "conv2d dtype": (
        lambda: nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 8, 8, dtype=torch.float64)),
        RuntimeError,
        "conv2d: input is torch.float64 and weight is torch.float32; convert one with .to()",
    ),
    "view": (
        lambda: torch.zeros(2, 3).view(4, 2),
        RuntimeError,
        "shape '[4, 2]' is invalid for input of size 6 (shape [2, 3])",
    ),
    "cat": (
        lambda: torch.cat([torch.zeros(2, 3), torch.zeros(2, 4)]),
        RuntimeError,
        "cat: sizes of tensors must match except in dimension 0: tensor 0 has shape [2, 3], tensor 1 has shape [2, 4]",
    ),
    "index": (
        lambda: torch.zeros(2, 3)[5],
        IndexError,
        "index 5 is out of bounds for dimension 0 with size 2",
    ),
    "mask": (
        lambda: torch.zeros(2, 3)[torch.tensor([True, False, True])],
        IndexError,
        "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3] at index 0",
    ),
    "dim": (
        lambda: torch.zeros(2, 3).sum(2),
        IndexError,
        "sum: Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    "target": (
        lambda: nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([0, 3])),
        IndexError,
        "Target 3 is out of bounds: the logits have 3 classes",
    ),
    "target dtype": (
        lambda: nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([0, 1], dtype=torch.bool)),
        RuntimeError,
        "cross_entropy: the target must hold class indices (int64), got torch.bool; use target.long()",
    ),
    "in place": (
        lambda: torch.zeros(2).add_(torch.zeros(3, 2)),
        RuntimeError,
        "add_: output with shape [2] doesn't match the broadcast shape [3, 2]",
    ),
    "cast": (
        lambda: torch.ones(2, dtype=torch.int64).mul_(0.5),
        RuntimeError,
        "mul_: result type float32 can't be cast to the desired output type int64",
    ),
    "operand": (
        lambda: torch.zeros(2) + "a",
        TypeError,
        "add: expected a Tensor or a number, got str",
    ),
    "mean": (
        lambda: torch.zeros(2, dtype=torch.int64).mean(),
        RuntimeError,
        "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: "
        "torch.int64",
    ),
    "meta": (
        lambda: torch.zeros(2, device="meta").item(),
        RuntimeError,
        "a Tensor with 2 elements cannot be converted to Scalar: its shape is [2]",
    ),
    "meta data": (
        lambda: torch.zeros(1, device="meta").tolist(),
        RuntimeError,
        "can't copy out of a tensor on device 'meta': it has a shape and a dtype but no data",
    ),
    "devices": (
        lambda: torch.zeros(2) + torch.zeros(2, device="meta"),
        RuntimeError,
        "add: expected all tensors to be on the same device, but found cpu and meta; move them with .to(device)",
    ),
    "device name": (
        lambda: torch.zeros(2, device="gpu"),
        RuntimeError,
        "no such device: 'gpu'; expected 'cpu', 'cuda', 'cuda:N' or 'meta'",
    ),
    "index_select": (
        lambda: torch.zeros(2).index_select(0, torch.tensor([2])),
        IndexError,
        "index 2 is out of bounds for dimension 0 with size 2",
    ),
    "gather": (
        lambda: torch.zeros(2, 2).gather(1, torch.tensor([[4]])),
        RuntimeError,
        "index 4 is out of bounds for dimension 1 with size 2",
    ),
    "division": (
        lambda: torch.tensor([1]) // torch.tensor([0]),
        RuntimeError,
        "ZeroDivisionError: integer division by zero",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_does_not_fit(name: str) -> None:
    program, kind, message = ERRORS[name]
    with pytest.raises(kind) as error:
        program()
    assert str(error.value) == message


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
    with pytest.raises(RuntimeError, match="meta"):
        pickle.dumps(x)
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


def training_step() -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))
    optimizer, loss = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    x, y = torch.randn(8, 8), torch.randint(0, 4, (8,))

    def step() -> None:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def test_training_steps_do_not_grow_memory() -> None:
    step = training_step()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            step()
        alive = sum(type(o) in (torch.Tensor, Storage, Node) for o in gc.get_objects())
        tracemalloc.start()
        for _ in range(20):
            step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            step()
        grown = tracemalloc.get_traced_memory()[0] - before
        alive = sum(type(o) in (torch.Tensor, Storage, Node) for o in gc.get_objects()) - alive
        assert gc.collect() < 50, "steps leave reference cycles behind"
    finally:
        tracemalloc.stop()
        gc.enable()
    assert alive < 20, f"{alive} more tensors, storages and nodes are alive"
    # The allocators' free lists fill up at first; one tensor kept at each step would be twice this.
    assert grown < 500 * 400, f"{grown} bytes more after 500 steps"
