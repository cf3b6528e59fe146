"""JSON is measured before it is read, and read strictly."""

import json

import pytest

from torchlite.serve.refusal import Refused
from torchlite.serve.strict_json import read_json


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [1, 2.5, "x", None, True]}, '[{,\\"', {"[": '",{['}, ["\\", '"', "é\u20ac"], [[[]]], -0.0]
)
def test_what_json_writes_is_read(value):
    assert read_json(json.dumps(value).encode(), 100) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode(), 100) == value


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"[1,]", b'"', b'"\\', b"NaN", b"[Infinity]", b"-Infinity", b'{"a":1,"a":2}', b"\xff", b"'a'"),
        *(b"\xef\xbb\xbf1", b"1 2", b"9" * 5000, b"[1}", b"]" * 99, b'"\x01"', "1".encode("utf-16")),
    ],
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(Refused) as caught:
        read_json(text, 100)
    assert caught.value.status == 400


@pytest.mark.parametrize("piece", [b"0,", b"[],", b"{},", b'"",', b'"\\\\",', b"[", b"{"])
def test_too_many_values_are_refused_unread(piece, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(Refused, match="more than 1,000 values") as caught:
        read_json(b"[" + piece * 3000, 1000)
    assert caught.value.status == 413


def test_what_stands_in_strings_does_not_count():
    text = json.dumps([',[{"' * 5000])
    assert read_json(text.encode(), 10) == json.loads(text)


@pytest.mark.parametrize(("depth", "allowed"), [(64, True), (65, False), (100_000, False)])
def test_depth(depth, allowed):
    text = b"[" * depth + b"]" * depth
    if allowed:
        read_json(text, 10**6)
    else:
        with pytest.raises(Refused, match=f"nested {depth} deep"):
            read_json(text, 10**6)


def test_time_grows_with_the_length_alone():
    """Quotes that are never closed must not be looked for again and again: this would take hours."""
    with pytest.raises(Refused):
        read_json(b'"' + b'\\"' * (4 << 20), 10**8)
