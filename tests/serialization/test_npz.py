import io
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from torchlite.errors import FormatError
from torchlite.serialization.npz import read_npy, read_npz, write_npz
from torchlite.serialization.zip_archive import zip_chunks


def examples() -> dict[str, Any]:
    dtypes = ("bool", "uint8", "uint64", "int8", "int64", "float16", "float64", "complex128", ">f4", "<u2")
    arrays: dict[str, Any] = {dtype: np.arange(6).reshape(2, 3).astype(dtype) for dtype in dtypes}
    arrays |= {"fortran": np.asfortranarray(arrays["int64"]), "0-d": np.array(1.5), "empty": np.zeros((3, 0))}
    return arrays | {"text": np.array(["a", "ü€"]), "bytes": np.array([b"a", b"bc"]), "a/b": np.ones(2)}


def npy(header: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + body


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path: Path, save: Any) -> None:
    arrays = examples()
    save(tmp_path / "a.npz", **arrays)
    again = read_npz(tmp_path / "a.npz")
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype.newbyteorder("=") and again[name].flags.writeable
    assert again["fortran"].flags.f_contiguous


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    arrays = examples()
    write_npz(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert list(file) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name], array)
            assert file[name].dtype == array.dtype


def test_same_arrays_give_same_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    write_npz(first, examples())
    write_npz(second, examples())
    assert first.getvalue() == second.getvalue()


@pytest.mark.parametrize(
    "array", [np.zeros(1, object), np.zeros(1, ml_dtypes.bfloat16), np.zeros(1, ml_dtypes.float8_e5m2)]
)
def test_dtypes_that_need_pickle_or_get_lost_are_not_written(array: Any) -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        write_npz(io.BytesIO(), {"a": array})


def test_arrays_of_objects_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([print, None], dtype=object))
    with pytest.raises(FormatError, match=r"a\.npy: arrays of dtype object"):
        read_npz(buffer.getvalue())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes(15)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", bytes(17)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4611686018427387904)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': " + str((1,) * 65) + "}", bytes(8)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n"),
        npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '|V8', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '|S0', 'fortran_order': False, 'shape': (1099511627776,)}"),
        npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", b"\2"),
        npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}", b"\xff\xff\xff\xff"),
        npy("__import__('os').system('true')"),
        npy("(" * 5000),
        npy("-" * 9000 + "1"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}" + " " * 20_000, bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8), version=b"\x03\x00"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(8), version=b"\x09\x00"),
    ],
)
def test_hostile_arrays_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_npy(data)
    archive = b"".join(bytes(chunk) for chunk in zip_chunks([("a.npy", data)]))
    with pytest.raises(FormatError, match=r"a\.npy"):
        read_npz(archive)


def test_other_members_are_refused() -> None:
    archive = b"".join(bytes(chunk) for chunk in zip_chunks([("a.pkl", b"")]))
    with pytest.raises(FormatError, match=r"not a \.npy member"):
        read_npz(archive)
