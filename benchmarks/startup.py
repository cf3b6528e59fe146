"""How long starting and the help of every command take, beside bare Python and PyTorch, and how much space the installation takes.

    python benchmarks/startup.py [--quick]

Seconds of whole processes, taken in turns.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.resources
import importlib.util
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from alternating import print_table

from torchlite.cli.main import COMMANDS, application

PROGRAMS = {
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import torchlite": ["-c", "import torchlite"],
    "import torchlite; torchlite.Tensor": ["-c", "import torchlite; torchlite.Tensor"],
}
if importlib.util.find_spec("torch") is not None:
    PROGRAMS["import torch"] = ["-c", "import torch"]


def helps() -> Iterator[str]:
    """The lines that print a help: of the whole, of every command, and of those in groups."""
    whole = application(*COMMANDS)
    yield "torchlite --help"
    for command in whole.registered_commands:
        yield f"torchlite {command.name} --help"
    for group in whole.registered_groups:
        yield f"torchlite {group.name} --help"
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            yield f"torchlite {group.name} {command.name} --help"


# With compiled bytecode kept, as on a user's machine, whatever this shell says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(arguments: list[str]) -> float:
    """How long Python runs with these arguments."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - start


def requirements(name: str) -> Iterator[str]:
    """The distributions that ``name`` needs without extras, itself first."""
    waiting, seen = [name], set()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        for requirement in importlib.metadata.requires(current) or []:
            if ";" not in requirement:
                waiting.append(re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-"))


def installed_bytes(distribution: str) -> int:
    """Size of the files that a distribution has installed."""
    files = [Path(str(f.locate())) for f in importlib.metadata.files(distribution) or []]
    if distribution == "torchlite":  # an editable installation lists a pointer to the sources instead of them
        packages = ("torchlite", "torchlite.cli", "torchlite.datasets")
        files = [f for p in packages for f in importlib.resources.files(p).rglob("*") if "__pycache__" not in f.parts]
    return sum(f.stat().st_size for f in files if f.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 9

    run = "from torchlite.cli.main import main; main()"
    sides = PROGRAMS | {line: ["-c", run, *line.split()[1:]] for line in helps()}
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for arguments in sides.values():
        seconds(arguments)
    for _ in range(rounds):
        for name, arguments in sides.items():
            figures[name].append(seconds(arguments))
    bare = min(figures["python -c pass"])
    print_table(
        ["seconds", "median", "min", "more than bare Python (min)"],
        [
            [name, f"{statistics.median(taken):.3f}", f"{min(taken):.3f}", f"{min(taken) - bare:.3f}"]
            for name, taken in figures.items()
        ],
    )
    print()
    sizes = {name: installed_bytes(name) for name in requirements("torchlite")}
    rows = sorted(((name, f"{size / 1e6:.1f}") for name, size in sizes.items()), key=lambda row: -float(row[1]))
    print_table(["installed", "MB"], [*rows, ("together", f"{sum(sizes.values()) / 1e6:.1f}")])


if __name__ == "__main__":
    main()
