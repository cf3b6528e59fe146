from collections import OrderedDict, UserList, defaultdict, namedtuple
from types import MappingProxyType

import numpy as np
import pytest

import torchlite as torch
from torchlite.utils.data import default_collate, default_convert

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "samples, dtype, expected",
    [
        ([1, 2], torch.int64, [1, 2]),
        ([1.0, 2.5], torch.float64, [1.0, 2.5]),
        ([True, False], torch.bool, [True, False]),
        ([np.float32(1), np.float32(2)], torch.float32, [1.0, 2.0]),
        ([np.uint8(1), np.uint8(2)], torch.uint8, [1, 2]),
        ([np.array([1, 2], np.int16), np.array([3, 4], np.int16)], torch.int16, [[1, 2], [3, 4]]),
        ([np.array(1.0), np.array(2.0)], torch.float64, [1.0, 2.0]),
        ([np.arange(4)[::-2], np.arange(4)[::2]], torch.int64, [[3, 1], [0, 2]]),
        ([torch.tensor([1.0]), torch.tensor([2.0])], torch.float32, [[1.0], [2.0]]),
        ([torch.tensor(3), torch.tensor(4)], torch.int64, [3, 4]),
    ],
)
def test_leaves_become_one_tensor(samples, dtype, expected):
    batch = default_collate(samples)
    assert isinstance(batch, torch.Tensor)
    assert batch.dtype == dtype and batch.tolist() == expected


def test_strings_stay():
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([b"a", b"b"]) == [b"a", b"b"]
    assert default_collate([np.str_("a"), np.str_("b")]) == ["a", "b"]


def test_structures_are_followed_into():
    batch = default_collate([{"x": (1, [2.0, 3.0]), "name": "a"}, {"x": (4, [5.0, 6.0]), "name": "b"}])
    assert batch["name"] == ["a", "b"]
    assert isinstance(batch["x"], list) and batch["x"][0].tolist() == [1, 4]
    assert [part.tolist() for part in batch["x"][1]] == [[2.0, 5.0], [3.0, 6.0]]


def test_types_of_structures_are_kept_where_they_can_be():
    point = default_collate([Point(1, 2), Point(3, 4)])
    assert type(point) is Point and point.y.tolist() == [2, 4]
    ordered = default_collate([OrderedDict(a=1), OrderedDict(a=2)])
    assert type(ordered) is OrderedDict and ordered["a"].tolist() == [1, 2]
    filled = default_collate([defaultdict(list, a=1), defaultdict(list, a=2)])
    assert filled.default_factory is list and filled["a"].tolist() == [1, 2]
    assert type(default_collate([MappingProxyType({"a": 1})])) is MappingProxyType
    assert type(default_collate([UserList([1]), UserList([2])])) is UserList
    assert [part.tolist() for part in default_collate([range(2), range(1, 3)])] == [[0, 1], [1, 2]]


def test_samples_are_left_as_they_are():
    samples = [{"a": [1, 2]}, {"a": [3, 4]}]
    default_collate(samples)
    assert samples == [{"a": [1, 2]}, {"a": [3, 4]}]


@pytest.mark.parametrize(
    "samples, kind, message",
    [
        ([[1, 2], [1]], RuntimeError, "each element in list of batch should be of equal size"),
        ([(1,), (1, 2)], RuntimeError, "each element in list of batch should be of equal size"),
        ([torch.zeros(2), torch.zeros(3)], RuntimeError, "equal size"),
        ([np.zeros(2), np.zeros(3)], RuntimeError, "equal size"),
        ([None, None], TypeError, "batch must contain tensors, numpy arrays, numbers.*found <class 'NoneType'>"),
        ([np.array(["a"])], TypeError, "found an array of <U1"),
        ([np.array([None])], TypeError, "found an array of object"),
    ],
)
def test_what_cannot_be_collated_is_named(samples, kind, message):
    with pytest.raises(kind, match=message):
        default_collate(samples)


def test_convert_makes_tensors_of_arrays_and_leaves_the_rest():
    data = default_convert({"x": np.array([0, 1]), "y": [np.float32(2), 3, "a"], "z": Point(np.zeros(1), None)})
    assert data["x"].tolist() == [0, 1] and data["x"].dtype == torch.int64
    assert data["y"][0].dtype == torch.float32 and data["y"][1:] == [3, "a"]
    assert type(data["z"]) is Point and data["z"].x.tolist() == [0.0] and data["z"].y is None
    names = np.array(["a"])
    assert default_convert(names) is names
    tensor = torch.zeros(1)
    assert default_convert((tensor, 1))[0] is tensor
    assert default_convert(range(2)) == [0, 1]


CASES = [
    [1, 2],
    [1.5, 2.5],
    [True, False],
    [(1, 2.0, "a"), (3, 4.0, "b")],
    [{"a": [1, 2]}, {"a": [3, 4]}],
    [np.float32(1), np.float32(2)],
    [np.arange(3), np.arange(3)],
    [Point(1, 2.0), Point(3, 4.0)],
    [[(1, 2)], [(3, 4)]],
]


def shown(data):
    """Structure, dtypes and values, alike for both libraries."""
    if hasattr(data, "tolist"):
        return (str(data.dtype).rpartition(".")[2], data.tolist())
    if isinstance(data, dict):
        return {key: shown(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return (type(data).__name__, [shown(value) for value in data])
    return data


@pytest.mark.parametrize("samples", CASES, ids=repr)
def test_the_result_is_that_of_pytorch(samples):
    pytorch = pytest.importorskip("torch.utils.data")
    assert shown(default_collate(samples)) == shown(pytorch.default_collate(samples))
    assert shown(default_convert(samples)) == shown(pytorch.default_convert(samples))
