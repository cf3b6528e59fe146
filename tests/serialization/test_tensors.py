import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchlite import dtypes
from torchlite._tensor import Size, Tensor, wrap
from torchlite.devices import Device
from torchlite.errors import DeviceError, FormatError
from torchlite.nn.linear import Linear
from torchlite.nn.parameter import Parameter
from torchlite.serialization import load, save, write_pt
from torchlite.serialization.pickle_records import DtypeName
from torchlite.serialization.storage_layout import StoredArray


def reloaded(obj: Any, **options: Any) -> Any:
    file = io.BytesIO()
    save(obj, file)
    return load(io.BytesIO(file.getvalue()), **options)


def test_tensors_in_containers() -> None:
    obj = {"a": [Tensor([1.0, 2.0])], "b": (wrap(np.arange(3)), 1, None), "c": Size((2, 3)), "d": dtypes.bfloat16}
    again = reloaded(obj | {"e": Device("cuda:1")})
    assert again["a"][0].tolist() == [1, 2] and again["a"][0].dtype is dtypes.float32
    assert again["b"][0].dtype is dtypes.int64 and again["b"][1:] == (1, None)
    assert again["c"] == Size((2, 3)) and type(again["c"]) is Size
    assert again["d"] is dtypes.bfloat16 and again["e"] == Device("cuda:1")


def test_path(tmp_path: Path) -> None:
    save(Tensor([1.0]), tmp_path / "a.pt")
    assert load(str(tmp_path / "a.pt")).tolist() == [1]
    assert load(tmp_path / "a.pt", mmap=True).tolist() == [1]


def test_parameters_and_requires_grad() -> None:
    first, second, third = reloaded(
        [Parameter(Tensor([1.0])), Parameter(Tensor([1.0]), False), Tensor([1.0]).requires_grad_()]
    )
    assert (type(first), first.requires_grad, first.is_leaf) == (Parameter, True, True)
    assert (type(second), second.requires_grad) == (Parameter, False)
    assert (type(third), third.requires_grad, third.is_leaf) == (Tensor, True, True)


def test_state_dict_of_a_module(tmp_path: Path) -> None:
    module, other = Linear(3, 2), Linear(3, 2)
    save(module.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(load(tmp_path / "model.pt", weights_only=True))
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), tensor.numpy())


def test_views_share_memory_and_version_again() -> None:
    base = wrap(np.arange(6.0).reshape(2, 3))
    whole, row = reloaded([base, wrap(base._data[1])])
    whole[1, 0] = 9
    assert row.tolist() == [9, 4, 5] and row._version == whole._version == 1
    assert whole._storage is row._storage


def test_modules_are_refused() -> None:
    with pytest.raises(TypeError, match=r"obj\['model'\] is a torchlite.nn.linear.Linear.*save its state_dict\(\)"):
        save({"model": Linear(1, 1)}, io.BytesIO())


def test_meta_tensors_are_refused_but_can_be_a_destination() -> None:
    meta = reloaded(Tensor([1.0, 2.0]), map_location="meta")
    assert meta.is_meta and meta.shape == (2,)
    with pytest.raises(RuntimeError, match="no data"):
        save(meta, io.BytesIO())


def test_unpickling_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="any code"):
        load(io.BytesIO(), weights_only=False)


def cuda_file() -> io.BytesIO:
    file = io.BytesIO()
    write_pt(file, {"a": StoredArray(np.ones(2, np.float32), location="cuda:99")})
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize(
    "map_location",
    ["cpu", Device("cpu"), {"cuda:99": "cpu"}, lambda tensor, location: tensor if location == "cuda:99" else None],
    ids=["str", "Device", "dict", "function"],
)
def test_map_location(map_location: Any) -> None:
    assert load(cuda_file(), map_location)["a"].device == Device("cpu")


@pytest.mark.parametrize("map_location", [None, {"cuda:0": "cpu"}, lambda tensor, location: None])
def test_missing_device_is_explained(map_location: Any) -> None:
    with pytest.raises(DeviceError, match=r"saved on 'cuda:99'.*map_location='cpu'"):
        load(cuda_file(), map_location)


def test_unknown_device_of_map_location() -> None:
    with pytest.raises(RuntimeError, match="no such device"):
        load(cuda_file(), "tpu")


@pytest.mark.parametrize("obj", [np.ones(2, np.uint16), DtypeName("uint16")])
def test_dtypes_that_torchlite_lacks_are_named(obj: Any) -> None:
    file = io.BytesIO()
    write_pt(file, obj)
    with pytest.raises(FormatError, match="uint16"):
        load(io.BytesIO(file.getvalue()))
