"""All planted mistakes at once: every one is found at its place in one pass over the files, none ends in a traceback."""

from pathlib import Path
from typing import NamedTuple

import pytest
from planted_mistakes import CASES, ELSEWHERE, INCLUDED, OWN_CODE, VALID, Planted, place_of_mark, sections

from torchlite.train.config.diagnostics import Diagnostic
from torchlite.train.config.validate import Options, validate


@pytest.fixture(autouse=True)
def catalogue() -> None:
    """The registry and datasets as they are, in place of the small ones of the other tests."""


OF_SMALL_REGISTRY = {"weight decay without effect", "three for a pair"}
"""Cases that need a component of the other tests' own."""


class Place(NamedTuple):
    """Where a mistake was planted; `line` is None where something is missing, which has no place of its own."""

    code: str
    file: str
    line: int | None
    col: int
    suggestion: str


def plant(name: str, text: str, case: Planted) -> Place:
    """Write a configuration with one mistake."""
    assert case.old in text, case.name
    changed = text.replace(case.old, case.new.replace("main.yaml", name), 1)
    written, line, col, _ = place_of_mark(changed)
    Path(name).write_text(written, encoding="utf-8")
    return Place(case.code, name, line if "«" in changed else None, col, case.suggestion)


def plant_included(index: int, code: str, base: str, hint: str) -> Place:
    text, line, col, _ = place_of_mark(base)
    section = text.partition(":")[0]
    kept = "\n".join(part for part in sections(VALID) if not part.startswith(section + ":"))
    Path("bases").mkdir(exist_ok=True)
    Path(f"bases/base{index}.yaml").write_text(text)
    Path(f"bases/middle{index}.yaml").write_text(f"extends: base{index}.yaml\n")
    Path(f"included{index}.yaml").write_text(f"{kept}\nextends: bases/middle{index}.yaml\n")
    return Place(code, f"bases/base{index}.yaml", line, col, hint.replace("main.yaml", f"included{index}.yaml"))


def test_all_are_located_and_most_are_cured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN_CODE)
    real = [case for case in CASES if case.name not in OF_SMALL_REGISTRY]
    planted = [plant(f"valid{i}.yaml", VALID, case) for i, case in enumerate(real)]
    for number, (text, cases) in enumerate(ELSEWHERE.items()):
        planted += [plant(f"other{number}-{i}.yaml", text, case) for i, case in enumerate(cases)]
    planted += [plant_included(i, code, base, hint) for i, (_, code, base, hint) in enumerate(INCLUDED)]

    found = validate(["."], options=Options("schema")).diagnostics
    unfound = [place for place in planted if not any(_is(one, place) for one in found)]
    cured = [place for place in planted if place.suggestion and any(_is(one, place) for one in found)]
    assert [str(place) for place in unfound] == []
    assert len(planted) >= 225
    assert len([place for place in planted if place.line is not None]) >= 215
    assert len(cured) >= 150


def _is(found: Diagnostic, place: Place) -> bool:
    at = (found.line, found.col) if place.line is not None else (None, place.col)
    there = (found.code, found.file) == (place.code, place.file) and at == (place.line, place.col)
    return there and place.suggestion in (found.hint or "")


@pytest.mark.parametrize("text", ELSEWHERE, ids=["table", "verses", "pair", "pupil", "pictures", "speech"])
def test_the_configurations_are_valid_before_planting(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN_CODE)
    Path("main.yaml").write_text(text)
    assert validate(["main.yaml"]).diagnostics == []


@pytest.mark.parametrize("text", ELSEWHERE, ids=["table", "verses", "pair", "pupil", "pictures", "speech"])
def test_one_mistake_gives_one_error(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN_CODE)
    several = {"models without a step", "section of models", "kind of a column"}  # what follows from them is wrong, too
    for case in ELSEWHERE[text]:
        place = plant("main.yaml", text, case)
        found = validate(["main.yaml"], options="schema").diagnostics
        if case.name not in several:
            assert [one.code for one in found] == [place.code], (case.name, [str(one) for one in found])


def test_many_mistakes_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    together = ["key of a teacher", "layer of a teacher", "key of init", "boolean of init", "unit of unfreezing"]
    together += ["argument of a group", "argument of distill"]
    text = PUPIL = next(text for text in ELSEWHERE if "name: pupil" in text)
    cases = [case for case in ELSEWHERE[PUPIL] if case.name in together]
    for case in cases:
        text = text.replace(case.old, case.new, 1)
    places = {(line, text_line.index("«")) for line, text_line in enumerate(text.splitlines(), 1) if "«" in text_line}
    Path("main.yaml").write_text(text.replace("«", "").replace("»", ""))
    found = validate(["main.yaml"], options="schema").diagnostics
    assert sorted(one.code for one in found) == sorted(case.code for case in cases)
    assert {one.line for one in found} == {line for line, _ in places}
