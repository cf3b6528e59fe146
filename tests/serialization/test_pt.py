import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from torchlite.errors import FormatError
from torchlite.serialization.dtypes import DTYPES
from torchlite.serialization.limits import Limits
from torchlite.serialization.pickle_records import DeviceName, DtypeName, StoredSize
from torchlite.serialization.pt import read_pt, write_pt
from torchlite.serialization.storage_layout import StoredArray


def written(obj: Any) -> bytes:
    file = io.BytesIO()
    write_pt(file, obj)
    return file.getvalue()


@pytest.mark.parametrize("name", DTYPES)
def test_round_trip_of_every_dtype(name: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(DTYPES[name])
    for view in (
        array,
        array.T,
        array[:, ::2],
        array[1, 2, ...],
        array[:0],
        array[:, ::-1],
        np.broadcast_to(array, (2, 2, 3)),
    ):
        again = read_pt(written(view))
        assert again.dtype == array.dtype and again.shape == view.shape
        assert again.tobytes() == view.tobytes()


def test_arrays_are_writable_and_independent() -> None:
    first, second = read_pt(written([np.zeros(2), np.zeros(2)]))
    first[0] = 1
    assert second[0] == 0


def test_overlapping_arrays_share_memory_again() -> None:
    base = np.arange(12.0).reshape(3, 4)
    again = read_pt(written({"row": base[1], "tail": base[1:], "column": base[:, 2], "alone": base[0, :2]}))
    again["row"][2] = -1
    assert again["tail"][0, 2] == again["column"][1] == -1
    assert again["tail"].base is not None and np.shares_memory(again["tail"], again["column"])
    assert again["alone"].tolist() == [0, 1]


def test_disjoint_views_of_one_buffer_are_stored_tightly() -> None:
    buffer = np.zeros(1 << 20)
    assert len(written([buffer[:2], buffer[-2:]])) < 2000


def test_overlapping_views_of_two_dtypes_are_stored_apart() -> None:
    array = np.arange(4.0)
    values, raw = read_pt(written([array, array.view(np.uint8)]))
    assert values.tobytes() == raw.tobytes() and not np.shares_memory(values, raw)


def test_big_endian_arrays_are_converted() -> None:
    again = read_pt(written(np.arange(3, dtype=">i4")))
    assert again.tolist() == [0, 1, 2] and again.dtype == np.int32


def test_same_objects_give_same_bytes(tmp_path: Path) -> None:
    obj = {"a": np.arange(3), "b": [1, {"x", "y", "z"}], "c": np.ones(2, ml_dtypes.bfloat16)}
    assert written(obj) == written(obj)
    write_pt(tmp_path / "a.pt", obj)
    assert (tmp_path / "a.pt").read_bytes() == written(obj)


def test_numpy_scalars_become_python_numbers() -> None:
    again = read_pt(written({"a": np.float32(1.5), "b": np.int64(3), "c": np.bool_(True)}))
    assert again == {"a": 1.5, "b": 3, "c": True}
    assert [type(value) for value in again.values()] == [float, int, bool]


def test_records_of_other_objects_round_trip() -> None:
    obj = [DtypeName("bfloat16"), DeviceName("cuda", 1), DeviceName("cpu"), StoredSize((2, 3))]
    assert read_pt(written(obj), restore=lambda stored: stored) == obj
    assert type(read_pt(written(obj))[3]) is tuple


def test_stored_arrays_keep_what_is_known_about_them() -> None:
    array = np.ones(2, np.float32)
    items = [
        StoredArray(array, True, True, "cuda:0"),
        StoredArray(array + 1, True),
        StoredArray(array + 2, False, True),
    ]
    again = read_pt(written(items), restore=lambda stored: stored)
    assert [(item.requires_grad, item.is_parameter, item.location) for item in again] == [
        (True, True, "cuda:0"),
        (True, False, "cpu"),
        (False, True, "cpu"),
    ]


def test_state_dict_metadata_is_kept() -> None:
    state: Any = OrderedDict(weight=np.ones(2))
    state._metadata = OrderedDict({"": {"version": 1}})
    again = read_pt(written({"model": state}))
    assert again["model"]._metadata == state._metadata and "_metadata" not in again["model"]


@pytest.mark.parametrize("dtype", [object, "U3", "datetime64[s]", np.longdouble], ids=str)
def test_dtypes_that_pytorch_lacks_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="cannot be stored"):
        written(np.zeros(2, dtype))


def test_sources(tmp_path: Path) -> None:
    data = written({"a": 1})
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    with path.open("rb") as file:
        sources: list[Any] = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file]
        for source in sources:
            assert read_pt(source) == {"a": 1}
        assert not file.closed


def test_file_is_read_from_its_position() -> None:
    file = io.BytesIO(b"skip" + written({"a": 1}))
    file.seek(4)
    assert read_pt(file) == {"a": 1}


def test_wrong_sources_and_targets() -> None:
    with pytest.raises(TypeError, match="binary mode"):
        read_pt(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a path"):
        read_pt(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a path"):
        write_pt(3, {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mmap=True needs a path"):
        read_pt(b"", mmap=True)
    with pytest.raises(FileNotFoundError):
        read_pt("/nowhere/model.pt")


def test_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(b"hello")
    with pytest.raises(FormatError, match=r"broken\.pt: not a \.pt file"):
        read_pt(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"broken\.pt"):
        read_pt(path)


def test_mmap_is_copy_on_write(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    write_pt(path, [np.zeros(1000)])
    (mapped,) = read_pt(path, mmap=True)
    mapped[:] = 7
    assert read_pt(path)[0].sum() == 0


def test_expanded_arrays_are_limited() -> None:
    data = written(np.broadcast_to(np.zeros(1), (1000, 1000)))
    assert len(data) < 2000 and read_pt(data).shape == (1000, 1000)
    with pytest.raises(FormatError, match="view_floor_bytes"):
        read_pt(data, limits=Limits(view_floor_bytes=1 << 20))
