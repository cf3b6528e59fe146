"""Closest names, the collection of findings, and the three ways of writing them."""

import json
import re
from collections.abc import Callable

import pytest

from torchlite.train.config.diagnostics import CODES, Diagnostic, Findings, Origin, closest
from torchlite.train.config.load import Loaded
from torchlite.train.config.location import Location, Source
from torchlite.train.config.render import as_github, as_json, as_markdown, as_text


@pytest.mark.parametrize(
    "name, candidates, expected",
    [
        ("weight_decy", ["lr", "weight_decay"], "weight_decay"),
        ("Weight-Decay", ["lr", "weight_decay"], "weight_decay"),
        ("epcohs", ["epochs", "steps"], "epochs"),
        ("linear", ["Linear", "Bilinear"], "Linear"),
        ("x", ["y"], None),
        ("abcdef", ["zyxwvu"], None),
        ("cat", ["bat", "rat"], None),
        ("", ["a"], None),
    ],
)
def test_closest(name: str, candidates: list[str], expected: str | None) -> None:
    assert closest(name, candidates) == expected


def test_every_code_is_documented_and_sorted() -> None:
    assert list(CODES) == sorted(CODES)
    assert all(re.fullmatch(r"TL[1-9]\d\d", code) and text.endswith(".") for code, text in CODES.items())


def found(code: str, severity: str, line: int, message: str = "m", **more: object) -> Diagnostic:
    return Diagnostic(code, severity, message, "configs/a.yaml", line, 3, 7, **more)  # type: ignore[arg-type]


def test_text_shows_the_line_the_caret_and_the_chain() -> None:
    outer = Location(Source.of("configs/main.yaml", "version: 1\nextends: base.yaml\n"), 2, 10, 19)
    source = Source.of("configs/base.yaml", "\n" * 19 + "optim: {type: adamw, weight_decy: 0.01}", included_from=outer)
    findings = Findings("configs/main.yaml")
    findings.report(
        "TL203",
        Location(source, 20, 22, 33),
        "adamw() has no argument 'weight_decy'",
        hint="did you mean 'weight_decay'?",
    )
    assert as_text(findings.in_order()) == (
        "error[TL203]: adamw() has no argument 'weight_decy'\n"
        "  --> configs/base.yaml:20:22   included by configs/main.yaml:2\n"
        "20 | optim: {type: adamw, weight_decy: 0.01}\n"
        "   |                      ^^^^^^^^^^^ did you mean 'weight_decay'?"
    )


def test_text_of_an_override() -> None:
    source = Source("command line", ("optim.lr=fast",), "override")
    findings = Findings("a.yaml")
    findings.report("TL210", Location(source, 1, 10, 14), "no number")
    assert as_text(findings.in_order()) == (
        "error[TL210]: no number\n"
        "  --> command line, column 10   applied to a.yaml\n"
        "1 | optim.lr=fast\n"
        "  |          ^^^^"
    )


def test_the_caret_stands_under_wide_characters_and_long_lines() -> None:
    findings = Findings("a.yaml")
    source = Source.of("a.yaml", "名前: bad\n" + "x" * 300 + "bad\n")
    findings.report("TL101", Location(source, 1, 5, 8), "one")
    findings.report("TL101", Location(source, 2, 301, 304), "two")
    first, second = as_text(findings.in_order()).split("\n\n")
    assert first.splitlines()[3] == "  |       ^^^"
    line, caret = second.splitlines()[2:]
    assert line[caret.index("^") :].startswith("bad") and len(line) < 130


def test_control_characters_do_not_reach_the_terminal(inspect: Callable[..., Loaded]) -> None:
    assert "\x1b" not in as_text(inspect("name: a\x1b[31mred\n").diagnostics)


def test_limit() -> None:
    text = as_text([found("TL201", "error", line) for line in range(1, 6)], limit=2)
    assert text.count("error[TL201]") == 2 and text.endswith("... and 3 more")


def test_a_warning_under_an_error_is_left_out() -> None:
    findings = Findings("a.yaml")
    at = Location(Source.of("a.yaml", "download: yes"), 1, 11, 14)
    findings.report("TL110", at, "one")
    findings.report("TL202", at, "two")
    findings.report("TL202", at, "two again")
    assert [one.code for one in findings.in_order()] == ["TL202"]


def test_json_has_every_key(inspect: Callable[..., Loaded]) -> None:
    loaded = inspect("version: 1\nextends: b.yaml\ntrain: {epcohs: 1}\n", "seed=-1", b="sed: 3\n")
    document = json.loads(as_json({"ok": False, "files": []}, loaded.diagnostics))
    assert list(document) == ["version", "ok", "files", "diagnostics"]
    assert document["version"] == 1
    for record in document["diagnostics"]:
        assert list(record) == [
            "code", "severity", "file", "line", "col", "end_col", "key", "message", "hint", "fix", "origin",
        ]  # fmt: skip
        assert list(record["origin"]) == ["kind", "chain", "argument", "col", "end_col"]
    by_kind = {record["origin"]["kind"]: record for record in document["diagnostics"]}
    assert (
        by_kind["file"]["fix"] == {"line": 3, "col": 9, "end_col": 15, "text": "epochs"}
        or by_kind["file"]["fix"] is None
    )
    assert by_kind["include"]["file"] == "b.yaml"
    assert by_kind["include"]["origin"]["chain"] == [{"file": "main.yaml", "line": 2}]
    override = by_kind["override"]
    assert (override["file"], override["line"], override["col"]) == ("main.yaml", 1, 1)
    assert (override["origin"]["argument"], override["origin"]["col"]) == ("seed=-1", 6)


def test_github_escapes_and_puts_the_worst_first() -> None:
    lines = as_github(
        [
            Diagnostic("TL402", "warning", "100 %\r\nof a:b,c", "a,b:c%.yaml", 1, 2, 3, hint="h"),
            Diagnostic("TL201", "error", "bad", "x.yaml", 4, 5, 6),
        ]
    ).splitlines()
    assert lines == [
        "::error file=x.yaml,line=4,col=5,endColumn=6,title=TL201::bad",
        "::warning file=a%2Cb%3Ac%25.yaml,line=1,col=2,endColumn=3,title=TL402::100 %25%0D%0Aof a:b,c%0Ah",
    ]


def test_github_shows_ten_of_a_kind_and_counts_the_rest() -> None:
    many = [found("TL402", "warning", line) for line in range(15)] + [
        found("TL201", "error", line) for line in range(36)
    ]
    lines = as_github(many).splitlines()
    assert [line.split()[0] for line in lines] == ["::error"] * 10 + ["::warning"] * 10 + ["::notice::31"]
    assert lines[-1] == "::notice::31 more"


def test_github_places_an_override_on_the_first_line() -> None:
    one = found("TL210", "error", 1, origin=Origin("override", argument="a=1"))
    assert as_github([one]) == "::error file=configs/a.yaml,line=1,title=TL210::m%0Ain the argument a=1"


def test_markdown_escapes_cells() -> None:
    table = as_markdown([{"path": "a|b.yaml", "ok": False}], [found("TL201", "error", 2, "x <b> | y\nz")])
    assert "| a\\|b.yaml | failed |" in table
    assert "| TL201 | configs/a.yaml:2:3 | x &lt;b> \\| y z |" in table
