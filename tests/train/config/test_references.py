"""References, arithmetic and the environment."""

from collections.abc import Callable
from typing import Any

import pytest

from torchlite.train.config.diagnostics import Findings
from torchlite.train.config.document import Mapping, parse, to_plain
from torchlite.train.config.load import Loaded
from torchlite.train.config.location import Source
from torchlite.train.config.references import resolve_references

FACTS = {"num_classes": 10, "classes": ["cat", "dog"], "input": {"shape": [1, 28, 28], "dtype": "uint8"}}


def resolve(text: str) -> tuple[Any, list[str]]:
    findings = Findings("x.yaml")
    root = parse(Source.of("x.yaml", text), text, findings)
    assert isinstance(root, Mapping)
    resolved = resolve_references(root, findings, lambda name, _value_of: FACTS if name == "pets" else None)
    return to_plain(resolved), [one.code for one in findings.in_order()]


@pytest.mark.parametrize(
    "written, value",
    [
        ("$vars.n", 4),
        ("$vars.text", "abc"),
        ("$vars.list", [1, 2]),
        ("$vars.map", {"k": 4}),
        ("$vars.list.1", 2),
        ("$vars.far.k", 4),
        ("$vars.with-dash", 5),
        ("$data.num_classes", 10),
        ("$data.input.shape", [1, 28, 28]),
        ("$data.input.shape.0", 1),
        ("$data.classes", ["cat", "dog"]),
        ("$data.own", 3),
        ('"${vars.n}"', 4),
        ('"${vars.n * 2 + 1}"', 9),
        ('"${vars.n / 2}"', 2.0),
        ('"${-vars.n ** 2}"', -16),
        ('"${(vars.n + 1) // 2 % 2}"', 0),
        ('"${max(vars.n, data.num_classes, 7)}"', 10),
        ('"${int(vars.n * 1.6)}"', 6),
        ('"${round(2.6)}"', 3),
        ('"${vars.with-dash}"', 5),
        ('"${vars.n-vars.n}"', 0),
        ("run-${vars.text}-${vars.n}", "run-abc-4"),
        ("${vars.yes}-x", "true-x"),
        ("a$$b", "a$b"),
        ("$${vars.n}", "${vars.n}"),
        ("$", "$"),
        ("5$", "5$"),
        ('"${env:TL_TEST_SET}"', 12),
        ('"${env:TL_TEST_UNSET, 1e-3}"', 1e-3),
        ('"${env:TL_TEST_UNSET,}"', None),
        ("x-${env:TL_TEST_SET}", "x-12"),
    ],
)
def test_values(written: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TL_TEST_SET", "12")
    monkeypatch.delenv("TL_TEST_UNSET", raising=False)
    text = (
        "vars: {n: 4, text: abc, list: [1, 2], map: {k: $vars.n}, yes: true, with-dash: 5, far: $vars.map}\n"
        f"data: {{type: pets, own: 3}}\nx: {written}\n"
    )
    plain, found = resolve(text)
    assert found == []
    assert plain["x"] == value and type(plain["x"]) is type(value)


@pytest.mark.parametrize(
    "text, codes",
    [
        ("a: $b\nb: $a\n", ["TL302"]),
        ("a: $a\n", ["TL302"]),
        ("a: {b: $a}\n", ["TL302"]),
        ("a: [1, $a.0, $a.2]\n", ["TL302"]),
        ("a: $b.c\n", ["TL301"]),
        ("a: ${b\n", ["TL304"]),
        ('a: "${}"\n', ["TL304"]),
        ('a: "${1 if 2 else 3}"\n', ["TL304"]),
        ('a: "${[1][0]}"\n', ["TL304"]),
        ('a: "${(1).__class__}"\n', ["TL304"]),
        ('a: "${2 ** 65}"\n', ["TL304"]),
        ('a: "${9 ** 64 ** 64}"\n', ["TL304"]),
        ('a: "${(-8) ** 0.5}"\n', ["TL304"]),
        ('a: "${1e308 * 1e308}"\n', ["TL304"]),
        ('a: "${round(1, -1000000000)}"\n', ["TL304"]),
        ("a: [1]\nb: x${a}\n", ["TL304"]),
        ("data: {type: pets}\na: $data.nope\n", ["TL301"]),
        ("data: {type: $data.name}\n", ["TL302"]),
        ("data: {type: unheard_of}\na: $data.num_classes\n", []),
        ('a: "${env:TL_TEST_UNSET}"\n', ["TL308"]),
    ],
)
def test_mistakes(text: str, codes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TL_TEST_UNSET", raising=False)
    assert resolve(text)[1] == codes


def test_what_depends_on_a_wrong_reference_is_not_reported_again() -> None:
    assert resolve("a: $nope\nb: $a\nc: x${b}y\nd: $c\n")[1] == ["TL301"]


def test_what_a_reference_gives_is_not_read_again() -> None:
    plain, found = resolve("vars: {literal: ['$${x}']}\na: $vars.literal\nb: $a.0\nc: x${b}\n")
    assert found == []
    assert plain["a"] == ["${x}"] and plain["b"] == "${x}" and plain["c"] == "x${x}"


def test_doubling_references_stop() -> None:
    text = "a0: [x, x]\n" + "".join(f"a{i}: [$a{i - 1}, $a{i - 1}]\n" for i in range(1, 40))
    assert "TL107" in resolve(text)[1]


def test_facts_come_from_the_card_of_the_dataset(inspect: Callable[..., Loaded]) -> None:
    text = (
        "version: 1\ndata: {type: cifar10, batch_size: 4}\noptim: {type: sgd}\ntrain: {steps: 9}\n"
        "vars: {shape: $data.input.shape, train: $data.splits.train, mean: $data.mean}\n"
        "model: {layers: [{Linear: $data.num_classes}]}\n"
    )
    loaded = inspect(text)
    assert loaded.ok and loaded.config is not None
    assert loaded.config.vars == {"shape": [3, 32, 32], "train": 50_000, "mean": [0.5, 0.5, 0.5]}
    assert loaded.config.model.layers is not None
    assert loaded.config.model.layers[0].arguments == {"out_features": 10}


def test_the_dataset_may_itself_be_a_reference(inspect: Callable[..., Loaded]) -> None:
    text = (
        "version: 1\nvars: {set: digits}\ndata: {type: $vars.set, batch_size: 4}\noptim: {type: sgd}\n"
        "train: {steps: 9}\nmodel: {layers: [{Linear: $data.input.shape.1}]}\n"
    )
    config = inspect(text).config
    assert config is not None and config.model.layers is not None
    assert config.model.layers[0].arguments == {"out_features": 8}


def test_an_unknown_dataset_is_reported_once(inspect: Callable[..., Loaded]) -> None:
    text = (
        "version: 1\ndata: {type: zebra, batch_size: 4}\noptim: {type: sgd}\ntrain: {steps: 9}\n"
        "model: {layers: [{Linear: $data.num_classes}]}\n"
    )
    assert [one.code for one in inspect(text).diagnostics] == ["TL303"]
