"""Tensors are held to what a model takes before an array of them is made."""

import numpy as np
import pytest

from torchlite.serve.refusal import Refused
from torchlite.serve.tensors import TensorSpec, read_tensor, write_tensor


def given(spec, data, **more):
    return {"name": spec.name, "datatype": spec.datatype, "shape": [len(data), *spec.shape], "data": data, **more}


@pytest.mark.parametrize(
    ("dtype", "datatype", "data"),
    [
        ("bool", "BOOL", [True, False]),
        ("uint8", "UINT8", [0, 255]),
        ("int16", "INT16", [-(2**15), 2**15 - 1]),
        ("int64", "INT64", [-(2**63), 2**63 - 1]),
        ("float16", "FP16", [0.1, -65504]),
        ("float32", "FP32", [0.1, 3, -1e38, -0.0]),
        ("float64", "FP64", [1 / 3, 1e308, 5e-324]),
    ],
)
def test_numbers_come_and_go(dtype, datatype, data):
    spec = TensorSpec("a", dtype)
    assert spec.described() == {"name": "a", "datatype": datatype, "shape": [-1]}
    found = read_tensor(spec, given(spec, data), 10)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(data, dtype))
    assert write_tensor(spec, found) == given(spec, np.array(data, dtype).tolist())


@pytest.mark.parametrize(
    ("dtype", "element"),
    [
        ("bool", 1), ("bool", "true"), ("uint8", -1), ("uint8", 256), ("uint8", 1.0), ("uint8", True), ("int16", 2**15),
        ("int64", 2**63), ("float16", 65520), ("float32", 1e39), ("float32", True), ("float32", "1"), ("float64", 10**309),
        ("float64", None), ("str", 1), ("str", None), ("str", ["a"]),
    ],
)  # fmt: skip
def test_elements_of_another_kind(dtype, element):
    spec = TensorSpec("a", dtype)
    with pytest.raises(Refused) as caught:
        read_tensor(spec, given(spec, [element]), 10)
    assert caught.value.status == 400


def test_tokens_lie_below_their_number():
    spec = TensorSpec("a", "int64", (2,), below=17)
    assert read_tensor(spec, given(spec, [[0, 16]]), 10).tolist() == [[0, 16]]
    for token in (-1, 17):
        with pytest.raises(Refused, match=f"from 0 to 16, got {token}"):
            read_tensor(spec, given(spec, [[0, token]]), 10)


def test_missing_numbers():
    spec = TensorSpec("a", "float64", nullable=True)
    np.testing.assert_array_equal(read_tensor(spec, given(spec, [None, 2]), 10), [np.nan, 2])


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], [[1, 2], 3, 4], [[1, [2]], [3, 4]], [[[1], [2]], [[3], [4]]], [[1, 2]], [1, 2, 3], [[], []]]
)
def test_data_that_is_not_nested_as_its_shape(data):
    spec = TensorSpec("a", "float32", (2,))
    with pytest.raises(Refused) as caught:
        read_tensor(spec, given(spec, data, shape=[2, 2]), 10)
    assert caught.value.status == 400


def test_what_json_has_no_numbers_for():
    spec = TensorSpec("a", "float32", (2,))
    with pytest.raises(Refused, match="of sample 1 is NaN or infinite") as caught:
        write_tensor(spec, np.array([[0, 1], [np.inf, 2]], np.float32))
    assert caught.value.status == 422
