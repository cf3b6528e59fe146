"""Write ``docs/parity_optimizers.md`` and the record that ``test_optim_db.py`` holds: ``python tests/parity/optim_db_report.py``.

With names of optimizers it only prints their counts and differences.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.optim_db import ABSENT, LBFGS_ITERATIONS, OPTIMIZERS, RECORD, STEPS, Counts, measure

PAGE = Path(__file__).parents[2] / "docs" / "parity_optimizers.md"


def main() -> None:
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            measured = measure(name)
            print(name, measured.counts, *measured.differences, sep="\n    ")
        return
    counts = {name: measure(name).counts for name in sorted(OPTIMIZERS) if name not in ABSENT}
    rows = ",\n".join(f'"{name}": {json.dumps(of_one.row())}' for name, of_one in counts.items())
    RECORD.write_text("{\n" + rows + "\n}\n")
    PAGE.write_text(page(counts))


def page(counts: dict[str, Counts]) -> str:
    """The page: what is compared, a row for each optimizer, what is absent."""
    total = [sum(column) for column in zip(*(of_one.row() for of_one in counts.values()), strict=True)]
    return "\n".join(
        [
            "# Parity with PyTorch's optimizer database",
            "",
            "Written by `python tests/parity/optim_db_report.py`; do not edit. Every configuration of PyTorch 2.13's `optim_db`",
            "runs beside PyTorch on one problem in float64, on complex parameters where they are supported, and as `foreach`,",
            "`fused` and `capturable` where PyTorch has them.",
            "",
            f"- **steps**: configurations whose parameters equal PyTorch's to 1e-6 after each of {STEPS} steps (of LBFGS "
            f"with {LBFGS_ITERATIONS} iterations each);",
            "- **states**: state_dicts with the same keys, shapes and dtypes, and runs that go on in the other library (both",
            "  directions) as they would have at home;",
            "- **gradients**: steps with `differentiable=True` through which the same gradients flow;",
            "- **errors**: what PyTorch refuses, refused with its type of error and its text.",
            "",
            "| optimizer | steps | states | gradients | errors |",
            "|---|---:|---:|---:|---:|",
            *(_row(f"`{name}`", of_one.row()) for name, of_one in counts.items()),
            _row("all", total),
            "",
            *(f"Absent: `{name}`, which {why}." for name, why in ABSENT.items()),
            "",
            "Where torchlite does more than PyTorch, or otherwise:",
            "",
            "- `capturable` works on a CPU; `foreach` and `fused` are accepted and change nothing, there is one way of updating;",
            "- a loaded state is copied, PyTorch's shares the memory of what it was loaded from;",
            "- with `differentiable`, gradients also flow through the first momentum of SGD and the first step sizes of Rprop and",
            "  ASGD, which PyTorch detaches;",
            "- copies (`deepcopy`, `pickle`) of LBFGS can make steps;",
            "- where a subclass's `step` calls that of its parent, hooks are called once.",
            "",
        ]
    )


def _row(name: str, row: list[int]) -> str:
    cells = (f"{a}/{of}" if of else "" for a, of in zip(row[::2], row[1::2], strict=True))
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
