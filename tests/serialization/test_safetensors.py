import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from torchlite.errors import FormatError
from torchlite.serialization.dtypes import DTYPES, SAFETENSORS
from torchlite.serialization.limits import Limits
from torchlite.serialization.safetensors import read_safetensors, write_safetensors


def examples() -> dict[str, Any]:
    arrays: dict[str, Any] = {name: np.arange(6).reshape(2, 3).astype(DTYPES[name]) for name in SAFETENSORS.values()}
    return arrays | {"0-d": np.array(2.5), "empty": np.zeros((0, 3)), "transposed": np.arange(6.0).reshape(2, 3).T}


def written(arrays: Any, metadata: Any = None) -> bytes:
    file = io.BytesIO()
    write_safetensors(file, arrays, metadata)
    return file.getvalue()


def assembled(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_library_reads_what_is_written(tmp_path: Path) -> None:
    arrays = examples()
    path = tmp_path / "a.safetensors"
    write_safetensors(path, arrays, {"ü": "x", "a": "b"})
    with safe_open(path, "np") as file:
        assert file.metadata() == {"ü": "x", "a": "b"}
        assert set(file.keys()) == arrays.keys()
        for name, array in arrays.items():
            if name.startswith("float8"):
                continue  # the library looks these up in NumPy, which has none
            again = file.get_tensor(name)
            assert again.dtype == array.dtype and again.shape == array.shape
            assert again.tobytes() == array.tobytes()


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(tmp_path: Path, mmap: bool) -> None:
    arrays = examples()
    path = tmp_path / "a.safetensors"
    write_safetensors(path, arrays)
    again, metadata = read_safetensors(path, mmap=mmap)
    assert metadata == {} and again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype and again[name].shape == array.shape
        assert again[name].tobytes() == array.tobytes()
        assert again[name].flags.writeable and again[name].flags.aligned
        again[name].reshape(-1)[:1] = 1
    assert read_safetensors(path)[0]["float64"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_same_arrays_give_same_bytes_in_any_order() -> None:
    arrays = examples()
    backwards = dict(reversed(arrays.items()))
    assert written(arrays, {"a": "1", "b": "2"}) == written(backwards, {"b": "2", "a": "1"})


def test_hostile_files_are_refused() -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    body = bytes(8)
    assert read_safetensors(assembled({"a": entry}, body))[0]["a"].tolist() == [0, 0]
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    hostile = {
        "empty": b"",
        "header longer than the file": (1 << 40).to_bytes(8, "little") + b"{}",
        "no object": assembled([]),
        "leading space": assembled(b" {}"),
        "not JSON": assembled(b"{"),
        "not UTF-8": assembled(b'{"\xff": 1}'),
        "NaN": assembled(b'{"__metadata__": {"a": NaN}}'),
        "deep": assembled(deep),
        "huge number": assembled(b'{"a": ' + b"9" * 10_000 + b"}"),
        "duplicate name": assembled(b'{"a": ' + json.dumps(entry).encode() + b', "a": {}}', body),
        "metadata of numbers": assembled({"__metadata__": {"a": 1}}),
        "unknown dtype": assembled({"a": entry | {"dtype": "F128"}}, body),
        "no shape": assembled({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, body),
        "extra key": assembled({"a": entry | {"x": 1}}, body),
        "negative length": assembled({"a": entry | {"shape": [-2]}}, body),
        "float length": assembled({"a": entry | {"shape": [2.0]}}, body),
        "bool length": assembled({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"\0"),
        "wrapping shape": assembled({"a": entry | {"shape": [1 << 32, 1 << 32]}}, body),
        "absurd empty shape": assembled({"a": entry | {"shape": [0, 1 << 61], "data_offsets": [0, 0]}}),
        "65 dimensions": assembled({"a": entry | {"shape": [1] * 64 + [2]}}, body),
        "shape and offsets differ": assembled({"a": entry | {"shape": [3]}}, body),
        "offsets backwards": assembled({"a": entry | {"data_offsets": [8, 0]}}, body),
        "offsets beyond": assembled({"a": entry | {"data_offsets": [8, 16]}}, body),
        "gap": assembled({"a": entry | {"data_offsets": [4, 12]}}, bytes(12)),
        "overlap": assembled({"a": entry, "b": entry}, body),
        "bytes after the end": assembled({"a": entry}, bytes(9)),
        "truncated": assembled({"a": entry}, bytes(7)),
        "bools of 2": assembled({"a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\2"),
    }
    for name, data in hostile.items():
        with pytest.raises(FormatError):
            pytest.fail(f"{name}: {read_safetensors(data)}")


def test_header_is_limited() -> None:
    with pytest.raises(FormatError, match="limit is 10"):
        read_safetensors(written({"a": np.ones(1)}), limits=Limits(header_bytes=10))


def test_error_names_file_and_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(assembled({"layer.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)))
    with pytest.raises(FormatError, match=r"model\.safetensors: .*layer\.weight"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [({"a": np.zeros(1, complex)}, None), ({"a": np.zeros(1, "U1")}, None), ({1: np.zeros(1)}, None), ({}, {"a": 1})],
)
def test_what_the_format_lacks_is_refused(arrays: Any, metadata: Any) -> None:
    with pytest.raises(TypeError):
        written(arrays, metadata)


def test_unaligned_tensors_are_read() -> None:
    header = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]},
    }
    arrays, _ = read_safetensors(assembled(header, b"\1" + np.float32(2).tobytes()))
    assert arrays["b"].tolist() == [2] and arrays["b"].flags.aligned
