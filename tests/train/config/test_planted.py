"""Mistakes planted into a valid configuration: each is found at its place, with its code and suggestion.

In a case, `old` is replaced by `new`, in which «...» marks the text that the caret is to point at.
"""

from collections.abc import Callable

import pytest
from planted_mistakes import CASES, INCLUDED, VALID, Planted, place_of_mark, sections

from torchlite.train.config.load import Loaded

WITH_CONSEQUENCES = {"seed of no split"}
"""Cases that make other values wrong, too: without a validation split nothing under ``val/`` can be monitored."""


def test_the_configuration_is_valid_before_planting(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(VALID)
    assert loaded.ok
    assert loaded.diagnostics == []


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_planted(case: Planted, inspect: Callable[..., Loaded]) -> None:
    assert VALID.count(case.old) >= 1
    text, line, col, end_col = place_of_mark(VALID.replace(case.old, case.new, 1))
    found = inspect(text).diagnostics
    places = [(one.code, one.file, one.line, one.col) for one in found]
    assert (case.code, "main.yaml", line, col) in places, [str(one) for one in found]
    wanted = found[places.index((case.code, "main.yaml", line, col))]
    if end_col > col:
        assert wanted.end_col == end_col
    assert case.suggestion in (wanted.hint or "")
    assert wanted.message and not wanted.message.endswith(".")


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name not in WITH_CONSEQUENCES],
    ids=[case.name for case in CASES if case.name not in WITH_CONSEQUENCES],
)
def test_one_mistake_gives_one_finding(case: Planted, inspect: Callable[..., Loaded]) -> None:
    text, *_ = place_of_mark(VALID.replace(case.old, case.new, 1))
    assert [one.code for one in inspect(text).diagnostics] == [case.code]


def test_all_mistakes_in_one_pass(inspect: Callable[..., Loaded]) -> None:
    text = VALID
    planted = ["data key", "layer", "argument of the optimizer", "reference", "warm-up", "mode", "metric", "keep key"]
    for case in CASES:
        if case.name in planted:
            text = text.replace(case.old, case.new.replace("«", "").replace("»", ""), 1)
    codes = sorted(one.code for one in inspect(text).diagnostics)
    assert codes == sorted(case.code for case in CASES if case.name in planted)


@pytest.mark.parametrize("name, code, base, hint", INCLUDED, ids=[case[0] for case in INCLUDED])
def test_planted_in_an_included_file(
    name: str, code: str, base: str, hint: str, inspect: Callable[..., Loaded]
) -> None:
    text, line, col, end_col = place_of_mark(base)
    section = text.partition(":")[0]
    kept = "\n".join(part for part in sections(VALID) if not part.startswith(section + ":"))
    found = inspect(f"{kept}\nextends: middle.yaml\n", middle="extends: base.yaml\n", base=text)
    (wanted,) = [one for one in found.diagnostics if one.code == code]
    assert (wanted.file, wanted.line, wanted.col, wanted.end_col) == ("base.yaml", line, col, end_col)
    assert wanted.origin.kind == "include"
    chain_line = kept.count("\n") + 2
    assert wanted.origin.chain == (("middle.yaml", 1), ("main.yaml", chain_line))
    assert hint in (wanted.hint or "")
