"""The page about compiling shows what happens."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "compile.md"


def test_the_graph_on_the_page_is_the_one_that_is_captured(capsys):
    program, graph, *_ = PAGE.read_text().split("```python\n")[1:]
    scope = {}
    exec(compile(program.partition("```")[0], str(PAGE), "exec"), scope)
    assert capsys.readouterr().out == graph.partition("```")[0]
    if scope["step"].source:  # there is a C compiler
        assert scope["step"].source.endswith(PAGE.read_text().partition("```c\n")[2].partition("```")[0])


def test_the_tests_that_the_page_names_are_there():
    named = set(re.findall(r"\| `(test_\w+)` \|", PAGE.read_text()))
    there = {
        name for path in Path(__file__).parent.glob("test_*.py") for name in re.findall(r"def (\w+)", path.read_text())
    }
    assert len(named) > 40
    assert named <= there
