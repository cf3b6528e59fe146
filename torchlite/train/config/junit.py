"""Findings as JUnit XML, the format in which build servers show tests: a suite a file, a test a level."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from torchlite.train.config.diagnostics import Diagnostic
from torchlite.train.config.render import as_text
from torchlite.train.config.validate import FileReport, level_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(files: Sequence[FileReport]) -> str:
    """Every level of every file as a test: failed where it has errors, skipped where it was; warnings are its output."""
    root = ElementTree.Element("testsuites", name="torchlite validate")
    totals = {"tests": 0, "failures": 0, "skipped": 0}
    for file in files:
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(file.path))
        counts = dict.fromkeys(totals, 0)
        for level, state in file.checks.items():
            case = ElementTree.SubElement(suite, "testcase", classname=_clean(file.path), name=level)
            found = [one for one in file.diagnostics if level_of(one.code) == level]
            errors = [one for one in found if one.severity == "error"]
            counts["tests"] += 1
            if errors:
                counts["failures"] += 1
                _add_failure(case, errors)
            elif state.startswith("skipped"):
                counts["skipped"] += 1
                ElementTree.SubElement(case, "skipped", message=state.partition(":")[2])
            if warnings := [one for one in found if one.severity != "error"]:
                ElementTree.SubElement(case, "system-out").text = _clean(as_text(warnings))
        for name, count in counts.items():
            suite.set(name, str(count))
            totals[name] += count
    for name, count in totals.items():
        root.set(name, str(count))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _add_failure(case: ElementTree.Element, errors: Sequence[Diagnostic]) -> None:
    first = errors[0]
    failure = ElementTree.SubElement(case, "failure", type=first.code, message=_clean(first.message))
    failure.text = _clean(as_text(errors))


def _clean(text: str) -> str:
    """The text without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
