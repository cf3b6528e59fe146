"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.errors import RequirementError, UsageError

if TYPE_CHECKING:
    from torchlite.train.config.schema import Config

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Changes to the configuration: key=value, key+=value, unset:key.",
        show_default=False,
    ),
]
Run = Annotated[str, typer.Argument(help="A run: its folder, or runs/NAME/latest.", show_default=False)]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that run folders are made in.")]
Plain = Annotated[bool, typer.Option("--plain", help="Plain lines, also on a terminal.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Only the result.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="Let code that came with the run's folder run.")]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require", metavar="'NAME>=VALUE'", help="Fail (exit 9) unless the result meets this.", show_default=False
    ),
]
Trained = Annotated[
    str,
    typer.Argument(
        metavar="RUN|CHECKPOINT", help="A run, or the folder of one of its checkpoints.", show_default=False
    ),
]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help="best, last, or a step.")]

Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, cuda:N or auto; that of the configuration where unset.", show_default=False),
]


class OnOom(StrEnum):
    """What to do when a batch does not fit into memory."""

    fail = "fail"
    accumulate = "accumulate"


Oom = Annotated[
    OnOom | None,
    typer.Option(
        "--on-oom",
        help="A batch that does not fit into memory: fail (exit 7), or accumulate the gradients of its parts.",
        show_default=False,
    ),
]


def run_options(
    overrides: list[str] | None,
    *,
    config: Path | None = None,
    steps: int | None = None,
    name: str | None = None,
    device: str | None = None,
    on_oom: OnOom | None = None,
) -> list[str]:
    """The overrides of a command line, with those that its flags stand for behind them."""
    changes = list(overrides or [])
    if steps is not None:
        from torchlite.train.config.load import inspect_config

        written = inspect_config(config, changes).config if config is not None else None
        if written is not None and written.train.epochs is not None:
            changes.append("unset:train.epochs")
        changes.append(f"train.steps={steps}")
    if name is not None:
        changes.append(f"name={name}")
    if device is not None:
        changes.append(f"train.device={device}")
    if on_oom is not None:
        changes.append(f"train.on_oom={on_oom.value}")
    return changes


_REQUIREMENT = re.compile(r"\s*(?P<name>.+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<value>[-+0-9.eE]+)\s*\Z")
_HOLDS = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


@dataclass(frozen=True)
class Requirement:
    """A comparison such as ``accuracy>=0.97``."""

    name: str
    sign: str
    value: float

    def holds(self, value: float) -> bool:
        """Whether a result meets it."""
        return _HOLDS[self.sign](value, self.value)


def parse_requirement(option: str, text: str) -> Requirement:
    """The comparison that an option was given.

    Raises:
        UsageError: when it can't be read.
    """
    match = _REQUIREMENT.match(text)
    try:
        wanted = float(match["value"]) if match else None
    except ValueError:
        wanted = None
    if match is None or wanted is None:
        raise UsageError(f"{option} {text!r}: expected NAME>=VALUE, such as 'accuracy>=0.97'")
    return Requirement(match["name"], match["sign"], wanted)


def expect_requirements(requirements: list[str] | None, config: Config | None = None) -> None:
    """See before anything runs whether what ``--require`` asks for can be read, and of a configuration whether a run has it.

    Raises:
        UsageError: for a requirement that can't be read or names no result.
    """
    from torchlite.train.config.semantics import monitored_values

    known = monitored_values(config) if config is not None and config.train.step is None else None
    for text in requirements or ():
        name = parse_requirement("--require", text).name
        parts = config is not None and any(name.startswith(f"val/{metric.called}") for metric in config.metrics)
        if known is not None and name not in known and not parts:
            raise _no_result(text, name, known)


def _no_result(text: str, name: str, results: Collection[str]) -> UsageError:
    from torchlite.train.config.diagnostics import suggestion

    best, hint = suggestion(name, results)
    listed = f"the results are {', '.join(results)}"
    return UsageError(f"--require {text!r}: there is no {name!r}; {f'{hint} ({listed})' if best else listed}")


def check_requirements(
    requirements: list[str] | None, results: Mapping[str, float], groups: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Hold results against what ``--require`` asked for.

    Args:
        requirements: as they were typed.
        results: the numbers by name.
        groups: names that stand for several results, each of which has to meet what is asked for.

    Raises:
        UsageError: for a requirement that can't be read or names no result.
        RequirementError: listing those that are not met.
    """
    failed = []
    for text in requirements or ():
        one = parse_requirement("--require", text)
        names = (groups or {}).get(one.name, [one.name])
        for name in names:
            if name not in results:
                raise _no_result(text, name, results)
            if not one.holds(results[name]):
                failed.append(f"{name} is {results[name]:.6g}, required {one.sign} {one.value:g}")
    if failed:
        raise RequirementError("; ".join(failed))


def read_config(target: str, overrides: list[str], *, allow_code: bool) -> Config:
    """The configuration in a file, or that of a run."""
    from torchlite.train.config.load import require_config
    from torchlite.train.run_directory import find_run

    if Path(target).is_file():
        return require_config(target, overrides)
    return find_run(target).read_config(overrides, allow_code=allow_code)


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Rows with their columns below each other; those in ``left`` begin together, the others end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(widths[i]) if i in left else cell.rjust(widths[i]) for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_text(path: Path, text: str) -> None:
    """Write a result to a file that the user named.

    Raises:
        UsageError: when it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from error


def put(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file that the user named."""
    if output is None:
        print(text)
    else:
        write_text(output, f"{text}\n")
