"""Reports for programs, held against their schemas."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from torchlite.train.config.junit import as_junit
from torchlite.train.config.load import Loaded
from torchlite.train.config.render import as_json
from torchlite.train.config.sarif import as_sarif
from torchlite.train.config.validate import Options, Report, validate

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[3]
MAIN = """\
version: 1
extends: base.yaml
name: "a b"
data: {type: mnist, batch_size: 8, download: yes}
model: {layers: [Flatten, {Linear: 10}]}
optim: {type: sgd, lrr: 0.1, momentum: 010}
seed: "\\x00 <&>"
"""
BASE = "train: {epochs: 1, zebra: 1}\nmetrics: [acuracy]\n"


@pytest.fixture
def report(inspect: Callable[..., Loaded]) -> Report:
    inspect(MAIN, base=BASE, good="version: 1\nabstract: true\n")
    return validate(["main.yaml", "good.yaml"], ["optim.nesterov=3"], "schema")


def check(document: Any, schema: Path) -> None:
    content = json.loads(schema.read_text())
    jsonschema.Draft202012Validator.check_schema(content)
    jsonschema.Draft202012Validator(content).validate(document)


def test_json(report: Report) -> None:
    document = json.loads(as_json(report.record(), report.diagnostics))
    check(document, ROOT / "docs" / "schemas" / "validate.json")
    assert len(document["diagnostics"]) == len(report.diagnostics) >= 7


def test_sarif(report: Report) -> None:
    document = json.loads(as_sarif(report.diagnostics))
    check(document, Path(__file__).parent / "schemas" / "sarif.json")
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert len(run["results"]) == len(report.diagnostics)
    typo = next(result for result in run["results"] if result["ruleId"] == "TL203")
    region = typo["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 6, "startColumn": 20, "endLine": 6, "endColumn": 23}
    assert typo["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"] == {"text": "lr"}
    included = next(result for result in run["results"] if "zebra" in result["message"]["text"])
    assert included["relatedLocations"][0]["physicalLocation"]["region"] == {"startLine": 2}
    override = next(result for result in run["results"] if "in the argument" in result["message"]["text"])
    assert override["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}


def test_junit(report: Report) -> None:
    root = ElementTree.fromstring(as_junit(report.files).encode())
    assert root.tag == "testsuites"
    for suite in (root, *root):
        cases = list(suite.iter("testcase"))
        assert int(suite.get("tests", "")) == len(cases)
        assert int(suite.get("failures", "")) == len(list(suite.iter("failure")))
        assert int(suite.get("skipped", "")) == len(list(suite.iter("skipped")))
    allowed = {"testsuites": {"testsuite"}, "testsuite": {"testcase"}, "testcase": {"failure", "skipped", "system-out"}}
    for parent in root.iter():
        assert {child.tag for child in parent} <= allowed.get(parent.tag, set())
    failures = list(root.iter("failure"))
    assert {failure.get("type", "")[:3] for failure in failures} == {"TL2", "TL3"}
    assert any("main.yaml:6:20" in (failure.text or "") for failure in failures)


def test_codes_are_selected_by_their_beginning(report: Report) -> None:
    def codes(options: Options) -> set[str]:
        return {one.code for one in validate(["main.yaml"], (), options).diagnostics}

    assert codes(Options("schema", select=("TL11", "TL203"))) == {"TL110", "TL203"}
    everything = codes(Options("schema"))
    assert codes(Options("schema", ignore=("TL2",))) == {code for code in everything if not code.startswith("TL2")}
