"""Write ``docs/parity_modules.md`` and the record that ``test_module_db.py`` holds: ``python tests/parity/module_db_report.py``.

With names of modules it only prints their counts and differences.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.module_db import MODULES, RECORD, TAKEN, Counts, Measured, measure

SHOWN = 4
PAGE = Path(__file__).parents[2] / "docs" / "parity_modules.md"
KINDS = {"samples": "results", "gradients": "gradients", "states": "state_dict", "errors": "errors"}


def main() -> None:
    if len(sys.argv) > 1:
        describe([name for name in MODULES if name in sys.argv[1:] or name.removeprefix("nn.") in sys.argv[1:]])
    else:
        write()


def describe(names: list[str]) -> None:
    """Print what was measured of some modules."""
    for name in names:
        measured = measure(name)
        print(name, "absent" if measured.counts is None else measured.counts)
        for difference in measured.differences[:SHOWN]:
            print("   ", difference)


def write() -> None:
    """Measure all modules and write the page and the record."""
    names = sorted(MODULES)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        measured = dict(zip(names, pool.map(measure, names, chunksize=4), strict=True))
    present = {name: m.counts for name, m in measured.items() if m.counts is not None}
    rows = ",\n".join(f'"{name}": {json.dumps(counts.row())}' for name, counts in present.items())
    RECORD.write_text("{\n" + rows + "\n}\n")
    PAGE.write_text(page(measured, present))


def page(measured: dict[str, Measured], present: dict[str, Counts]) -> str:
    """The page: totals, a row for each module, what is absent."""
    absent = [name for name in measured if name not in present]
    return "\n".join(
        [
            "# Parity with PyTorch's module database",
            "",
            "Written by `python tests/parity/module_db_report.py`; do not edit. Every entry of PyTorch 2.13's `module_db` runs",
            "its own samples with both libraries, from one `state_dict`, in training and in evaluation, in float64 and in",
            f"float32 (at most {TAKEN} of each, evenly spaced). Results, gradients of inputs and parameters for a random",
            "cotangent, and the `state_dict` (names and shapes before the call, numbers after it) are compared with PyTorch's",
            "default tolerances; for the calls that PyTorch refuses, the type of the error.",
            "",
            "| | equal | of | |",
            "|---|---:|---:|---:|",
            _total("modules present", len(present), len(measured)),
            *(_total(title, *_sums(present, what)) for what, title in KINDS.items()),
            "",
            f"| module | {' | '.join(KINDS.values())} |",
            "|---|---:|---:|---:|---:|",
            *(_row(name, counts) for name, counts in present.items()),
            "",
            *(["## Absent", "", *(f"- `{name}`" for name in absent), ""] if absent else []),
        ]
    )


def _sums(present: dict[str, Counts], what: str) -> tuple[int, int]:
    return (
        sum(getattr(c, what) for c in present.values()),
        sum(getattr(c, f"of_{what}") for c in present.values()),
    )


def _total(what: str, equal: int, of: int) -> str:
    return f"| {what} | {equal:,} | {of:,} | {100 * equal / max(of, 1):.1f} % |"


def _row(name: str, counts: Counts) -> str:
    pairs = [(getattr(counts, what), getattr(counts, f"of_{what}")) for what in KINDS]
    return f"| `{name}` | {' | '.join(f'{equal}/{of}' if of else '' for equal, of in pairs)} |"


if __name__ == "__main__":
    main()
