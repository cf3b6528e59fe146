"""Comments that silence findings."""

from collections.abc import Callable

import pytest

from torchlite.train.config.load import Loaded
from torchlite.train.config.validate import validate

VALID = """\
version: 1
data: {type: mnist, batch_size: 8, transforms: [to_float]}
model: {layers: [Flatten, {Linear: 10}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 1}
"""
WARM = "schedule: {type: cosine, warmup: 2 epochs}"


@pytest.mark.parametrize(
    "text",
    [
        f"{WARM}  # tl: ignore[TL404] on purpose\n",
        f"# tl: ignore[TL404]\n{WARM}\n",
        f"{WARM}  # tl:ignore[ TL999 , TL404 ]\n",
    ],
)
def test_a_comment_silences_its_line_or_the_next(text: str, inspect: Callable[..., Loaded]) -> None:
    assert inspect(VALID + text).ok


@pytest.mark.parametrize(
    "text",
    [
        f"{WARM}  # tl: ignore[TL402]\n",
        f"# tl: ignore[TL404]\n\n{WARM}\n",
        f"{WARM}\n# tl: ignore[TL404]\n",
        f"{WARM}  # ignore[TL404]\n",
    ],
)
def test_other_comments_do_not(text: str, inspect: Callable[..., Loaded]) -> None:
    assert [one.code for one in inspect(VALID + text).diagnostics] == ["TL404"]


def test_an_error_that_leaves_nothing_to_run_stays(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(VALID + "zebra: 1  # tl: ignore[TL201]\n")
    assert [one.code for one in loaded.diagnostics] == ["TL201"]


def test_what_silences_nothing_is_reported(inspect: Callable[..., Loaded]) -> None:
    inspect(VALID + "name: a  # tl: ignore[TL404, TL201, TL501]\n")
    found = validate(["main.yaml"], options="schema").diagnostics
    assert [(one.code, one.line, one.col) for one in found] == [("TL901", 6, 10)]
    assert found[0].message == "nothing here gives TL404"


def test_comments_of_bases_count(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect(VALID + "extends: base.yaml\n", base=f"{WARM}  # tl: ignore[TL404]\n")
    assert loaded.ok
