"""``.pt`` files in both directions between torchlite and PyTorch."""

import collections
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchlite import nn, optim
from torchlite._tensor import Size, Tensor
from torchlite.devices import Device
from torchlite.dtypes import ALL, float32
from torchlite.errors import FormatError
from torchlite.parameter import Parameter
from torchlite.serialization import load, read_pt, read_safetensors, save, write_pt, write_safetensors
from torchlite.serialization.dtypes import DTYPES
from torchlite.serialization.pickle_records import DeviceName, DtypeName

torch = pytest.importorskip("torch")

TORCH_DTYPES = [name for name in DTYPES if hasattr(torch, name)]


def saved(obj: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(obj, file, **options)
    return io.BytesIO(file.getvalue())


def written(obj: Any) -> io.BytesIO:
    file = io.BytesIO()
    write_pt(file, obj)
    return io.BytesIO(file.getvalue())


def raw(tensor: Any) -> bytes:
    """The bytes of a torch tensor of any dtype in C order."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def examples(dtype: Any) -> dict[str, Any]:
    values = torch.arange(24) % 2 if dtype == torch.bool else torch.arange(24) - 3
    matrix = values.abs().to(torch.float32).to(dtype).reshape(2, 3, 4)
    return {
        "matrix": matrix,
        "permuted": matrix.permute(2, 0, 1),
        "strided": matrix[:, ::2, 1:],
        "0-d": matrix[1, 2, 3],
        "empty": matrix[:0],
        "one row": matrix[:1],
        "expanded": matrix[0, 0, :1].expand(5, 1),
    }


@pytest.mark.parametrize("name", TORCH_DTYPES)
def test_read_every_dtype_and_geometry(name: str) -> None:
    original = examples(getattr(torch, name))
    for key, array in read_pt(saved(original)).items():
        assert array.dtype == DTYPES[name] and array.shape == tuple(original[key].shape)
        assert np.ascontiguousarray(array).tobytes() == raw(original[key]), key


@pytest.mark.parametrize("name", TORCH_DTYPES)
def test_write_every_dtype_and_geometry(name: str) -> None:
    original = examples(getattr(torch, name))
    arrays = read_pt(saved(original))
    arrays["reversed"] = arrays["matrix"][::-1].copy()[::-1]
    for key, tensor in torch.load(written(arrays), weights_only=True).items():
        expected = original["matrix" if key == "reversed" else key]
        assert tensor.dtype == expected.dtype and tensor.shape == expected.shape
        assert raw(tensor) == raw(expected), key


def test_containers_and_scalars_in_both_directions() -> None:
    obj = {
        "none": None,
        "bools": [True, False],
        "ints": (0, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, 2**63, -(2**70)),
        "floats": (0.1, float("inf"), -0.0),
        "text": "ü€ \ud800 \0",
        "bytes": (b"", b"\x00\xff"),
        "bytearray": (bytearray(), bytearray(b"\xff")),
        "complex": 1 + 2j,
        "sets": (set(), {1, 2}, {"a"}),
        "counts": collections.Counter([3, 8, 8]),
        "ordered": collections.OrderedDict([("b", 1), ("a", [()])]),
        "keys": {1: "int", "1": "str", None: 0, 1.5: 0, (1, "a"): 0, False: 2},
        "empty": ([], {}, ()),
    }
    assert read_pt(saved(obj)) == obj
    assert torch.load(written(obj), weights_only=True) == obj
    again = read_pt(written(obj))
    assert again == obj and type(again["ordered"]) is collections.OrderedDict
    assert list(again["ordered"]) == ["b", "a"]


def test_sizes_dtypes_and_devices() -> None:
    obj = [torch.Size([2, 3]), torch.float32, torch.device("cuda:1"), torch.device("cpu")]
    assert read_pt(saved(obj)) == [(2, 3), DtypeName("float32"), DeviceName("cuda", 1), DeviceName("cpu")]
    loaded = load(saved(obj))
    assert loaded == [Size((2, 3)), float32, Device("cuda:1"), Device("cpu")] and type(loaded[0]) is Size
    file = io.BytesIO()
    save(loaded, file)
    assert torch.load(io.BytesIO(file.getvalue()), weights_only=True) == obj


def test_shared_storages_stay_shared() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    loaded = load(saved({"base": base, "transposed": base.t(), "row": base[1], "same": base}))
    assert loaded["same"] is loaded["base"]
    loaded["base"][1, 2] = 99
    assert float(loaded["transposed"][2, 1]) == float(loaded["row"][2]) == 99
    assert loaded["row"]._version == loaded["base"]._version == 1
    file = io.BytesIO()
    save(loaded, file)
    back = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert back["same"] is back["base"]
    back["row"][0] = -1
    assert back["base"][1, 0] == back["transposed"][0, 1] == -1
    assert back["base"].untyped_storage().nbytes() == 48


def test_slice_of_a_big_tensor_is_saved_alone() -> None:
    file = io.BytesIO()
    save(load(saved(torch.zeros(100_000)))[5:8], file)
    assert len(file.getvalue()) < 2000


def test_parameters_keep_their_class_and_requires_grad() -> None:
    original = [
        torch.nn.Parameter(torch.ones(2)),
        torch.nn.Parameter(torch.ones(2), requires_grad=False),
        torch.ones(2, requires_grad=True),
    ]
    loaded = load(saved(original))
    assert [type(tensor) for tensor in loaded] == [Parameter, Parameter, Tensor]
    assert [tensor.requires_grad for tensor in loaded] == [True, False, True]
    file = io.BytesIO()
    save(loaded, file)
    back = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert [type(tensor) for tensor in back] == [torch.nn.Parameter, torch.nn.Parameter, torch.Tensor]
    assert [tensor.requires_grad for tensor in back] == [True, False, True]


def test_state_dict_of_torch_loads_here_and_back(tmp_path: Path) -> None:
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    state = load(tmp_path / "theirs.pt")
    assert state._metadata == theirs.state_dict()._metadata
    ours.load_state_dict(state)
    save(ours.state_dict(), tmp_path / "ours.pt")
    back = torch.load(tmp_path / "ours.pt", weights_only=True)
    assert list(back) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype


def test_optimizer_state_dict_in_both_directions() -> None:
    theirs = torch.nn.Linear(3, 2)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    theirs(torch.ones(1, 3)).sum().backward()
    their_optimizer.step()
    original = their_optimizer.state_dict()
    loaded = load(saved({"optim": original}))["optim"]
    assert loaded["param_groups"] == original["param_groups"]
    momentum = loaded["state"][0]["momentum_buffer"].numpy()
    np.testing.assert_array_equal(momentum, original["state"][0]["momentum_buffer"].numpy())
    ours = nn.Linear(3, 2)
    our_optimizer = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    our_optimizer.load_state_dict(loaded)
    file = io.BytesIO()
    save(our_optimizer.state_dict(), file)
    back = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert torch.equal(back["state"][0]["momentum_buffer"], original["state"][0]["momentum_buffer"])


def test_state_dict_metadata_survives() -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    back = torch.load(written(read_pt(saved(state))), weights_only=True)
    assert back._metadata == state._metadata


def test_lazy_conjugates_and_negatives_are_applied() -> None:
    z = torch.tensor([1 + 2j, 3 - 4j])
    conjugate, negative = read_pt(saved([z.conj(), z.clone().conj().imag]))
    np.testing.assert_array_equal(conjugate, [1 - 2j, 3 + 4j])
    np.testing.assert_array_equal(negative, [-2, 4])


def test_bare_storages_are_arrays() -> None:
    (storage,) = read_pt(saved([torch.ones(3).untyped_storage()]))
    np.testing.assert_array_equal(storage.view(np.float32), np.ones(3))


REFUSED = {
    "module": lambda: torch.nn.Linear(2, 2),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": lambda: torch.ones(2, device="meta"),
    "defaultdict": lambda: collections.defaultdict(int),
    "ndarray": lambda: np.ones(3),
    "numpy scalar": lambda: np.float64(1),
    "function": lambda: print,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_plain_data_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="not part of a plain checkpoint"):
        load(saved({"x": REFUSED[name]()}))


def test_other_formats_of_torch_are_named() -> None:
    legacy = saved({"a": torch.ones(2)}, _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError, match="legacy format"):
        load(legacy)
    with pytest.raises(FormatError, match="protocol 2"):
        load(saved({"a": torch.ones(2)}, pickle_protocol=4))


def test_archives_without_crc_are_refused() -> None:
    torch.serialization.set_crc32_options(False)
    try:
        file = saved({"a": torch.ones(2)})
    finally:
        torch.serialization.set_crc32_options(True)
    with pytest.raises(FormatError, match="CRC-32"):
        load(file)


def test_mmap_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.arange(1000.0), "b": torch.ones(3, dtype=torch.bool)}, path)
    mapped, copied = load(path, mmap=True), load(path)
    for name in ("a", "b"):
        np.testing.assert_array_equal(mapped[name].numpy(), copied[name].numpy())
    mapped["a"][0] = 5
    assert float(load(path)["a"][0]) == 0


def test_torch_maps_our_files(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write_pt(path, {"a": np.arange(10.0)})
    assert torch.equal(torch.load(path, mmap=True, weights_only=True)["a"], torch.arange(10.0, dtype=torch.float64))


def test_every_dtype_of_torchlite_travels() -> None:
    for dtype in ALL:
        tensor = load(written(np.ones(2, dtype.numpy)))
        assert tensor.dtype is dtype
        file = io.BytesIO()
        save(tensor, file)
        back = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        assert back.dtype is getattr(torch, dtype.name) and raw(back) == np.ones(2, dtype.numpy).tobytes()


def test_safetensors_agree_with_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    tensors = {
        f"{name}.{key}": tensor.contiguous().clone()
        for name in ("float32", "bfloat16", "bool", "int64", "complex64")
        for key, tensor in examples(getattr(torch, name)).items()
    }
    library.save_file(tensors, tmp_path / "theirs.safetensors", {"format": "pt"})
    arrays, metadata = read_safetensors(tmp_path / "theirs.safetensors")
    assert metadata == {"format": "pt"} and arrays.keys() == tensors.keys()
    write_safetensors(tmp_path / "ours.safetensors", arrays, metadata)
    back = library.load_file(tmp_path / "ours.safetensors")
    for key, tensor in tensors.items():
        assert arrays[key].tobytes() == raw(tensor) == raw(back[key])
        assert back[key].dtype == tensor.dtype and back[key].shape == tensor.shape
