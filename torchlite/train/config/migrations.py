"""Files of older versions of the configuration format: read as if they were new, with a warning at what changes.

Every warning carries its replacement, so that ``torchlite validate --fix`` brings a file up to date.
"""

from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass

from torchlite.train.config.diagnostics import Findings
from torchlite.train.config.document import Entry, Mapping, Scalar

VERSION = 1
"""The version that this release writes."""


@dataclass(frozen=True)
class Renamed:
    """A key that has another name since: dotted path of the old one, and the new name in its place."""

    path: str
    name: str


Migrations = AbstractMapping[int, AbstractSequence[Renamed]]

MIGRATIONS: Migrations = {}
"""What changed after each version; a file of version n gets the changes of n, n + 1, … in turn."""


def migrate(root: Mapping, findings: Findings, migrations: Migrations | None = None) -> None:
    """Changes the tree of an older file in place; trees of this version, or of one that is unknown, stay as they are."""
    known = MIGRATIONS if migrations is None else migrations
    stated = root.get("version")
    if not isinstance(stated, Scalar) or type(stated.value) is not int or stated.value not in known:
        return
    written = stated.value
    message = f"this file is of version {written}"
    hint = f"version {VERSION} is read by every release from now on; --fix rewrites the file"
    findings.report("TL902", stated.at, message, key="version", hint=hint, replacement=str(VERSION))
    for version in range(written, VERSION):
        for change in known.get(version, ()):
            _rename(root, change, findings)
    root.entries["version"].value = Scalar(VERSION, stated.at, str(VERSION))


def _rename(root: Mapping, change: Renamed, findings: Findings) -> None:
    *outer, old = change.path.split(".")
    here: Mapping = root
    for part in outer:
        below = here.get(part)
        if not isinstance(below, Mapping):
            return
        here = below
    entry = here.entries.get(old)
    if entry is None or change.name in here.entries:
        return
    message = f"'{change.path}' is called '{change.name}' since"
    findings.report("TL902", entry.key_at, message, key=change.path, replacement=change.name)
    renamed = {
        (change.name if key == old else key): Entry(change.name, one.key_at, one.value) if key == old else one
        for key, one in here.entries.items()
    }
    here.entries.clear()
    here.entries.update(renamed)
