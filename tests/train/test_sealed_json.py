import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchlite.errors import FormatError
from torchlite.train.sealed_json import decode, encode, seal, unseal

names = st.text(max_size=8).filter(lambda name: not name.startswith("$"))
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(names, inner)),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a.hex() == b.hex()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@settings(deadline=None, derandomize=True)
@given(trees)
def test_round_trip_is_exact(tree: Any) -> None:
    assert same(decode(encode(tree)), tree)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.dictionaries(names.filter(lambda name: name != "sha256"), trees))
def test_sealed_round_trip_is_exact(tree: dict[str, Any]) -> None:
    assert same(unseal(seal(tree)), tree)


def test_json_is_strict() -> None:
    text = encode({"a": math.nan, "b": -math.inf, "c": (1, -0.0)}).decode()
    assert "NaN" not in text and "Infinity" not in text
    assert '"$float": "nan"' in text and '"$tuple"' in text


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [np.float64(1)]}, r"state\['a'\]\[0\] is a numpy.float64"),
        ({"a": np.ones(1)}, "save them as tensors"),
        ({1: 2}, "has the key 1"),
        ({"$x": 1}, r"'\$x'"),
        ({"a": {1, 2}}, "builtins.set"),
        ({"a": b"x"}, "builtins.bytes"),
    ],
)
def test_what_would_not_come_back_is_refused(value: Any, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b'{"a": 1, "a": 2}',
        b'{"$float": "1.0"}',
        b'{"$float": "nan", "x": 1}',
        b'{"$other": 1}',
        b"\xff",
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
def test_other_json_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(data)


@pytest.mark.parametrize("data", [b"[]\n", b"{}\n", b'{\n  "sha256": ""\n}\n'])
def test_unsealed_json_is_refused(data: bytes) -> None:
    decode(data)
    with pytest.raises(FormatError):
        unseal(data)
