"""``docs/operators.md`` names every public function; `tests/parity/operators_page.py` writes it."""

import re
from pathlib import Path

import torchlite

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"


def test_every_public_function_is_on_the_page() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    public = {
        name
        for name in dir(torchlite)
        if not name.startswith("_")
        and callable(getattr(torchlite, name))
        and not isinstance(getattr(torchlite, name), type)
    }
    assert sorted(public - listed) == []
