"""Write ``docs/parity.md`` and the record that ``test_op_db.py`` holds: ``python tests/parity/op_db_report.py``.

With names of operators (``linalg.``: all that begin so) it only prints their counts and differences.
"""

import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.op_db import CONSIDERED, OPERATORS, RECORD, TAKEN, Counts, Measured, measure, not_public

SHOWN = 6
PAGE = Path(__file__).parents[2] / "docs" / "parity.md"


def main() -> None:
    if len(sys.argv) > 1:
        describe([name for name in sorted(OPERATORS) if any(_chosen(name, given) for given in sys.argv[1:])])
    else:
        write()


def _chosen(name: str, given: str) -> bool:
    return name.startswith(given) if given.endswith(".") else name == given or OPERATORS[name].name == given


def describe(names: list[str]) -> None:
    """Print what was measured of some operators."""
    for name in names:
        measured = measure(name)
        print(name, "absent" if measured.counts is None else measured.counts)
        for difference in measured.differences[:SHOWN]:
            print("   ", difference)


def write() -> None:
    """Measure all operators and write the page and the record."""
    names = sorted(OPERATORS)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        measured = dict(zip(names, pool.map(measure, names, chunksize=8), strict=True))
    present = {name: m.counts for name, m in measured.items() if m.counts is not None}
    rows = ",\n".join(f'"{name}": {json.dumps(counts.row())}' for name, counts in present.items())
    RECORD.write_text("{\n" + rows + "\n}\n")
    PAGE.write_text(page(measured, present))


def page(measured: dict[str, Measured], present: dict[str, Counts]) -> str:
    """The page: totals, a row for each operator, what is absent."""
    public = [name for name in measured if not_public(name) is None]
    absent = [name for name in public if name not in present]
    return "\n".join(
        [
            "# Parity with PyTorch's operator database",
            "",
            "Written by `python tests/parity/op_db_report.py`; do not edit. Every entry of PyTorch 2.13's `op_db` runs its own",
            "sample inputs (float64, float32, int64, bool) with both libraries. Results are compared with PyTorch's default",
            "tolerances, float64 gradients with a random cotangent; what misses them in float32 counts as equal if PyTorch's own",
            "result in float64 is no farther from it than from PyTorch's in float32, whose rounding depends on the processor.",
            "Variants are the method, the in-place form, `out=` and the operator's other names.",
            "For what PyTorch refuses, an error of the same type must be raised.",
            f"The samples are seeded; of the first {CONSIDERED} of each dtype at most {TAKEN} are taken, evenly spaced.",
            "",
            "| | equal | of | |",
            "|---|---:|---:|---:|",
            _total("operators present", len(public) - len(absent), len(public)),
            _total("of them with names of their own", _distinct(set(public) - set(absent)), _distinct(public)),
            _total("samples", *_sums(present.values(), "samples")),
            _total("gradients", *_sums(present.values(), "gradients")),
            _total("methods, in-place forms, `out=`, aliases", *_sums(present.values(), "variants")),
            _total("errors", *_sums(present.values(), "errors")),
            "",
            "## Operators",
            "",
            "| operator | samples | gradients | variants | errors |",
            "|---|---:|---:|---:|---:|",
            *(_row(name, counts) for name, counts in present.items()),
            "",
            "## Absent",
            "",
            *(f"- `{name}`" for name in absent),
            "",
            "## Left out by design",
            "",
            *(f"- `{name}`: {not_public(name)}" for name in measured if not_public(name) and name not in present),
            "",
        ]
    )


def _distinct(names: Iterable[str]) -> int:
    """Number of operators: several entries may test one under different arguments."""
    return len({OPERATORS[name].name for name in names})


def _sums(counts: Iterable[Counts], what: str) -> tuple[int, int]:
    rows = list(counts)
    return sum(getattr(c, what) for c in rows), sum(getattr(c, f"of_{what}") for c in rows)


def _total(what: str, equal: int, of: int) -> str:
    return f"| {what} | {equal:,} | {of:,} | {100 * equal / max(of, 1):.1f} % |"


def _row(name: str, c: Counts) -> str:
    def cell(equal: int, of: int) -> str:
        return f"{equal}/{of}" if of else ""

    kinds = ("samples", "gradients", "variants", "errors")
    cells = " | ".join(cell(getattr(c, kind), getattr(c, f"of_{kind}")) for kind in kinds)
    return f"| `{name}` | {cells} |"


if __name__ == "__main__":
    main()
