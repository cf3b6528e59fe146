"""YAML text to values with places."""

import math
from typing import Any

import pytest

from torchlite.train.config.diagnostics import Findings
from torchlite.train.config.document import Mapping, Node, Sequence, decode, parse, to_plain
from torchlite.train.config.location import Source


def read(text: str) -> tuple[Node | None, list[tuple[str, int, int]]]:
    findings = Findings("x.yaml")
    node = parse(Source.of("x.yaml", text), text, findings)
    return node, [(one.code, one.line, one.col) for one in findings.in_order()]


CORE_SCALARS: list[tuple[str, Any]] = [
    ("1e-3", 1e-3),
    ("1e5", 1e5),
    ("1.5E+2", 150.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("-1", -1),
    ("+7", 7),
    ("010", 10),
    ("0o10", 8),
    ("0xFf", 255),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("0b1", "0b1"),
    ("yes", "yes"),
    ("NO", "NO"),
    ("on", "on"),
    ("Off", "Off"),
    ("y", "y"),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("-.inf", -math.inf),
    ("2026-11-21", "2026-11-21"),
    ("1e", "1e"),
    ("=", "="),
    ('"1"', "1"),
    ("'true'", "true"),
    ("! 12", "12"),
]


@pytest.mark.parametrize("text, value", CORE_SCALARS, ids=[text or "empty" for text, _ in CORE_SCALARS])
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    node, _ = read(f"a: {text}\n")
    assert node is not None
    plain = to_plain(node)["a"]
    assert plain == value and type(plain) is type(value)


def test_nan() -> None:
    node, _ = read("a: .nan\n")
    assert node is not None and math.isnan(to_plain(node)["a"])


def test_a_number_is_not_a_key_of_another_type() -> None:
    node, _ = read("1: a\ntrue: b\nnull: c\n")
    assert node is not None and to_plain(node) == {"1": "a", "true": "b", "null": "c"}


@pytest.mark.parametrize("text", ["no", "on", "Yes", "OFF", "010", "1:30"])
def test_values_that_yaml_1_1_reads_differently_are_warned_of(text: str) -> None:
    assert read(f"a: {text}\n")[1] == [("TL110", 1, 4)]
    assert read(f"a: '{text}'\n")[1] == []


def test_places() -> None:
    node, found = read("a: [1, {bc: 'x y'}]\nb:\n  - de: |\n      text\n")
    assert found == []
    assert isinstance(node, Mapping)
    listed = node.entries["a"].value
    assert isinstance(listed, Sequence)
    assert (listed.at.line, listed.at.col, listed.at.end_col) == (1, 4, 20)
    inner = listed.items[1]
    assert isinstance(inner, Mapping)
    key_at, value_at = inner.entries["bc"].key_at, inner.entries["bc"].value.at
    assert (key_at.line, key_at.col, key_at.end_col) == (1, 9, 11)
    assert (value_at.line, value_at.col, value_at.end_col) == (1, 13, 18)
    block = node.entries["b"].value
    assert isinstance(block, Sequence) and isinstance(block.items[0], Mapping)
    assert block.items[0].entries["de"].key_at.line == 3


def test_anchors_and_aliases() -> None:
    node, found = read("a: &x {b: 1}\nc: *x\n")
    assert node is not None and found == []
    assert to_plain(node) == {"a": {"b": 1}, "c": {"b": 1}}


def test_billion_laughs_stop() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    node, found = read("\n".join(lines))
    assert node is None and found[0][0] == "TL107"


def test_limits() -> None:
    assert read("[" * 25_000)[1] == [("TL107", 1, 65)]
    assert read("a: [" + "1, " * 10_001 + "]")[1][0][0] == "TL107"
    assert read("a: " + "9" * 5000)[1] == [("TL107", 1, 4)]
    findings = Findings("big.yaml")
    assert decode(b"a" * 1_000_001, "big.yaml", findings, None) is None
    assert findings.diagnostics[0].code == "TL107"


def test_bytes_that_are_not_utf_8() -> None:
    findings = Findings("x.yaml")
    assert decode("é: 1\nname: caf".encode() + b"\xe9\n", "x.yaml", findings, None) is None
    (found,) = findings.diagnostics
    assert (found.code, found.line, found.col) == ("TL102", 2, 10)


def test_byte_order_mark_is_accepted() -> None:
    assert decode("\ufeffa: 1".encode(), "x.yaml", Findings("x.yaml"), None) == "a: 1"


def test_empty_and_several_documents() -> None:
    assert read("# nothing\n") == (None, [("TL109", 1, 1)])
    assert read("a: 1\n---\nb: 2\n") == (None, [("TL108", 2, 1)])


def test_several_duplicates_are_all_found() -> None:
    assert read("a: 1\nb: {c: 1, c: 2}\na: 2\n")[1] == [("TL103", 2, 11), ("TL103", 3, 1)]
