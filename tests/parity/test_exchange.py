"""Tensors among NumPy arrays, DLPack, copies, pickles and the rest of Python, against PyTorch."""

import copy
import importlib
import math
import pickle
from typing import Any

import numpy as np
import pytest
from oracle import looks_the_same, same, torch

import torchlite

X = np.array([[1.5, -2.0], [0.25, 3.0]], np.float32)


def x(T: Any) -> Any:
    return T.tensor(X)


@pytest.mark.parametrize(
    "program",
    [
        lambda T: [f(x(T)) for f in (np.sin, np.abs, np.isnan, np.negative, np.square)],
        lambda T: [np.add(x(T), x(T)), np.add(X, x(T)), np.maximum(x(T), 0), np.sqrt(T.tensor([4, 9]))],
        lambda T: [np.sum(x(T)), np.mean(x(T)), np.max(x(T)), np.add.reduce(x(T)), np.clip(x(T), 0, 1)],
        lambda T: [np.concatenate([x(T), x(T)]), np.stack([x(T), x(T)]), np.dot(x(T), x(T)), np.where(x(T) > 0, 1, 0)],
        lambda T: [x(T) + X, x(T) * X.astype(float), x(T) @ X, x(T) == X, x(T) == X],
        lambda T: [np.float64(2) * x(T), x(T) * np.float64(2), np.int64(2) + T.tensor([1, 2]), x(T) / np.float32(2)],
        lambda T: [np.array(x(T)), np.array(x(T), dtype=np.float64), np.array([T.tensor(1.0), T.tensor(2.0)])],
        lambda T: [np.arange(5)[T.tensor([0, 2])], np.arange(5)[T.tensor(3)], np.arange(2)[T.tensor([True, False])]],
        lambda T: np.sin(x(T).requires_grad_()),
        lambda T: np.asarray(x(T), dtype=np.float64, copy=False),
        lambda T: T.from_numpy(np.arange(3, dtype=">i4")),
        lambda T: T.from_numpy(np.array(["a"])),
        lambda T: [T.from_numpy(np.array(1.5)), T.from_numpy(np.array([True])), T.from_numpy(np.arange(6).reshape(2, 3).T)],
    ],
)  # fmt: skip
def test_numpy(program: Any) -> None:
    looks_the_same(program)


def test_memory_is_shared_with_numpy() -> None:
    def program(T: Any) -> Any:
        array, t = np.ones(3), x(T)
        T.from_numpy(array).mul_(2)
        T.as_tensor(array).add_(1)
        t.numpy()[0, 0] = 7
        np.asarray(t)[0, 1] = 8
        np.exp(t, out=array[:2].reshape(1, 2).repeat(2, 0).astype(np.float32))
        return array, t

    looks_the_same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda T: [f"{T.tensor(1.2345):.2f}", f"{T.tensor(3):5d}|", f"{T.tensor([1.0])}", f"{T.tensor(2.0)}"],
        lambda T: [f"{T.tensor(True)}", f"{T.tensor(1.5):>10}", T.tensor(1.23456).item(), f"{T.tensor(1 + 2j):.1f}"],
        lambda T: f"{T.tensor([1.0]):.2f}",
        lambda T: [type(iter(x(T))).__name__, list(x(T)), [v.item() for v in T.tensor([1, 2])]],
        lambda T: [1.5 in x(T), 9 in x(T), T.tensor(3.0) in x(T)],
        lambda T: "a" in x(T),
        lambda T: x(T).__delitem__(0),
        lambda T: [bool(T.tensor(v)) for v in (0.0, [1], [[False]], 1j, math.nan)],
        lambda T: bool(T.tensor([])),
        lambda T: [int(T.tensor(v)) for v in (2.7, -2.7, True)],
        lambda T: int(T.tensor(math.nan)),
        lambda T: [float(T.tensor([3])), complex(T.tensor(2.5)), complex(T.tensor(2.5 + 1j)), float(T.tensor(2 + 0j))],
        lambda T: float(T.tensor(2 + 1j)),
        lambda T: [type(T.tensor(v).item()).__name__ for v in (1, 1.0, True, 1j)],
        lambda T: [T.tensor(v).tolist() for v in (1, [[1.5]], [], [True], [1j])],
        lambda T: [
            [5, 6, 7][T.tensor(2)],
            list(range(T.tensor(3))),
            math.sqrt(T.tensor(4.0)),
            T.tensor(1).__nonzero__(),
        ],
        lambda T: [round(T.tensor(2.6)), round(T.tensor(2.612), 2), math.floor(T.tensor(2.6)), abs(T.tensor(-2))],
        lambda T: [reversed(x(T)), divmod(T.tensor(7), T.tensor(2)), len(x(T)), len({x(T), x(T)})],
    ],
)
def test_python_s_protocols(program: Any) -> None:
    looks_the_same(program)


def test_sizes() -> None:
    def program(T: Any) -> Any:
        size = x(T).shape
        sizes = (
            size.__add__((3,)),
            (*size, 3)[1:] + size,
            size * 2,
            2 * size,
            size[:1],
            T.Size([T.tensor(2)]),
            T.Size(T.tensor([2, 3])),
        )
        copies = pickle.loads(pickle.dumps(size)), copy.deepcopy(size)
        return (
            sizes,
            copies,
            size[0],
            size.numel(),
            size == (2, 2),
            size == [2, 2],
            T.Size(),
            hash(size) == hash((2, 2)),
        )

    looks_the_same(program)
    looks_the_same(lambda T: T.Size(["a"]))
    looks_the_same(lambda T: T.Size([1.5]))


def test_dtypes() -> None:
    names = ("float32", "float64", "bfloat16", "int8", "uint8", "int64", "bool", "complex64", "complex128")
    looks_the_same(
        lambda T: [(d := getattr(T, n), d.itemsize, d.is_signed, d.to_real(), copy.deepcopy(d) is d) for n in names]
    )
    looks_the_same(lambda T: [getattr(T, n).to_complex() for n in ("float32", "float64", "complex64", "bfloat16")])
    looks_the_same(lambda T: T.int64.to_complex())
    looks_the_same(lambda T: [repr(T.iinfo(d)) for d in (T.int8, T.uint8, T.int32, T.int64)])
    looks_the_same(lambda T: [repr(T.finfo(d)) for d in (T.float16, T.bfloat16, T.float32, T.float64)])


class Marked:
    """An attribute that is copied by value."""

    def __init__(self) -> None:
        self.notes = ["a"]

    def __repr__(self) -> str:
        return f"Marked({self.notes})"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_and_pickles(copied: Any) -> None:
    def program(T: Any) -> Any:
        leaf = x(T).requires_grad_()
        leaf.mark = Marked()
        twin = copied(leaf)
        results = [twin, twin.mark, twin.mark is leaf.mark, twin.is_leaf, twin.data_ptr() == leaf.data_ptr()]
        for other in (
            x(T).t(),
            x(T).bfloat16(),
            T.tensor(1j),
            T.zeros(2, device="meta"),
            T.tensor([True]),
        ):
            results.append(copied(other))
        parameter = copied(T.nn.Parameter(x(T), requires_grad=False))
        return [*results, type(parameter).__name__, parameter.requires_grad]

    looks_the_same(program)
    looks_the_same(lambda T: copied(x(T).requires_grad_() * 2).requires_grad)


def test_deep_copies_share_what_was_shared() -> None:
    def program(T: Any) -> Any:
        t = T.arange(12.0).reshape(3, 4)
        wanted = [t[1], t, t.t()[2:], t.detach(), T.zeros(2)]
        row, whole, columns, detached, other = copy.deepcopy(wanted)
        whole.add_(100)
        row[0] = -1
        return row, whole, columns, detached, other, t, whole.grad

    looks_the_same(program)


def test_a_deep_copy_of_a_strided_array() -> None:
    base = np.arange(10.0)
    first, second = torchlite.from_numpy(base[::2]), torchlite.from_numpy(base)
    a, b = copy.deepcopy([first[1:], second])
    assert (a.tolist(), b.tolist()) == ([2.0, 4.0, 6.0, 8.0], base.tolist())


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int64", "uint8", "bool", "complex64"]
)
def test_dlpack_with_pytorch_both_ways(dtype: str) -> None:
    theirs = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).to(getattr(torch, dtype))
    ours = torchlite.from_dlpack(theirs)
    assert (str(ours.dtype), ours.tolist(), ours.data_ptr()) == (str(theirs.dtype), theirs.tolist(), theirs.data_ptr())
    for back in (torch.from_dlpack(ours), torch.utils.dlpack.from_dlpack(torchlite_dlpack().to_dlpack(ours))):
        assert back.dtype is theirs.dtype
        assert back.data_ptr() == theirs.data_ptr()
        assert torch.equal(back, theirs)
    again = torchlite_dlpack().from_dlpack(torch.utils.dlpack.to_dlpack(theirs))
    assert again.tolist() == theirs.tolist()


def torchlite_dlpack() -> Any:
    return importlib.import_module("torchlite.utils.dlpack")


def test_dlpack_s_arguments() -> None:
    ours = torchlite.tensor([1.0, 2.0])
    assert torchlite.from_dlpack(ours, copy=True).data_ptr() != ours.data_ptr()
    assert torchlite.from_dlpack(ours, device="cpu").data_ptr() == ours.data_ptr()
    assert np.from_dlpack(ours).tolist() == [1.0, 2.0]
    assert torch.from_dlpack(ours.t()[:1]).tolist() == [1.0]
    assert torch.from_dlpack(torchlite.arange(6).reshape(2, 3).t()).tolist() == [[0, 3], [1, 4], [2, 5]]
    capsule = ours.__dlpack__(stream=-1, max_version=(1, 0), dl_device=(1, 0), copy=False)
    assert "dltensor" in repr(capsule)
    for refused in (ours.clone().requires_grad_(), torchlite.zeros(2, device="meta")):
        with pytest.raises(BufferError):
            refused.__dlpack__()
    same(lambda T: T.from_dlpack(np.arange(3)))


@pytest.mark.gpu(simulated=False)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_dlpack_with_cupy(dtype: str) -> None:
    cupy = importlib.import_module("cupy")
    ours = torchlite.arange(4, device="cuda").to(getattr(torchlite, dtype))
    back = torchlite.from_dlpack(ours)
    assert (back.device, back.dtype, back.data_ptr()) == (ours.device, ours.dtype, ours.data_ptr())
    if dtype != "bfloat16":
        shared = cupy.from_dlpack(ours)
        shared += 1
        assert ours.tolist() == [1, 2, 3, 4]
        assert torchlite.from_dlpack(shared).data_ptr() == shared.data.ptr
