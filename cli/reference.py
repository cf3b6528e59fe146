"""The page of the command line, written from the commands themselves and from what a real run shows.

``python -m torchlite.cli.reference docs/cli.md`` writes the tables anew, with ``--capture`` also the terminal's pictures.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo

from torchlite.cli.display import LiveTable
from torchlite.cli.main import COMMANDS, application

if TYPE_CHECKING:
    from rich.console import Console

    from torchlite.train.loop import Step
    from torchlite.train.plan import Plan
    from torchlite.train.progress import Progress

EXAMPLE = "digits_mlp.yaml"
CHANGES = ("train.epochs=6",)


def command_tables() -> str:
    """Every command with its arguments and options."""
    return "\n".join(_section(name, command) for name, command in _commands(application(*COMMANDS), "torchlite"))


def _commands(group: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    for one in group.registered_commands:
        if one.callback is not None:
            yield f"{path} {one.name}", one.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _commands(inner.typer_instance, f"{path} {inner.name}")


def _section(name: str, command: Callable[..., Any]) -> str:
    """A command: what its documentation says, and a table of what it takes."""
    hints = get_type_hints(command, include_extras=True)
    defaults = {key: one.default for key, one in inspect.signature(command).parameters.items()}
    arguments, options = [], []
    for key in defaults:
        annotation, info = get_args(hints[key])[:2]
        if isinstance(info, ArgumentInfo):
            text = info.metavar or key.upper()
            required = defaults[key] is inspect.Parameter.empty or text.startswith("[")
            arguments.append((text if required else f"[{text}]", info.help))
        else:
            options.append((_option(key, annotation, info), info.help))
    usage = " ".join([name, *(text for text, _ in arguments), *(["[OPTIONS]"] if options else [])])
    rows = [f"| `{_cell(text)}` | {_cell(described)} |" for text, described in arguments + options]
    table = ["| | |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"### `{name}`", "", inspect.getdoc(command) or "", "", f"`{usage}`", "", *table])


def _option(key: str, annotation: Any, info: Any) -> str:
    """An option as it is typed, with what it takes."""
    written = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str) and one.startswith("-")]
    names = ", ".join(written or ["--" + key.replace("_", "-")])
    if annotation is bool:
        return names
    choices = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, StrEnum)]
    return f"{names} {'|'.join(choices[0]) if choices else info.metavar or key.upper()}"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("\n", " ")


class Photographed(LiveTable):
    """A live table of a given width that keeps what it shows when a share of the steps is done, and at the end."""

    def __init__(self, width: int, share: float) -> None:
        self.width, self.share = width, share
        self.picture_on_the_way = ""

    def make_console(self) -> Console:
        """One that draws into nothing."""
        from rich.console import Console

        return Console(file=io.StringIO(), width=self.width, height=40, force_terminal=True, color_system=None)

    def stepped(self, progress: Progress, step: Step) -> None:
        """Take the picture when it is time."""
        super().stepped(progress, step)
        if progress.step == int(self.share * self.plan.total_steps):
            self.picture_on_the_way = self._drawn()

    def started(self, plan: Plan, progress: Progress) -> None:
        """Begin with the plan."""
        from torchlite.cli.display import plan_lines

        super().started(plan, progress)
        self.head = "\n".join(line[: self.width] for line in plan_lines(plan))

    def _drawn(self) -> str:
        console = self.make_console()
        console.print(self.picture())
        lines = [self.head, *console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in lines)


def captures() -> str:
    """What the terminal shows, taken from runs of an example."""
    from torchlite.train.beginning import write_template
    from torchlite.train.config.load import require_config
    from torchlite.train.run import train

    blocks = []
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            write_template(Path(EXAMPLE).stem, Path())
            for width in (80, 140):
                shown = Photographed(width, 0.6)
                train(require_config(EXAMPLE, CHANGES), shown, root=Path("pictures"))
                blocks.append(_block(f"On the way, on a terminal of {width} columns:", shown.picture_on_the_way))
            for title, line in _SESSIONS:
                blocks.append(_block(title, f"$ torchlite {line}\n{_typed(line)}"))
        finally:
            os.chdir(here)
    return "\n".join(blocks)


_SESSIONS = (
    (
        "Without a terminal (or with `--plain`) one line is printed for each evaluation:",
        f"train {EXAMPLE} train.epochs=3",
    ),
    ("One JSON object a line for programs; here the last four:", f"train {EXAMPLE} train.epochs=1 --json | tail -4"),
    (
        "Going on, with the proof that the run repeats and what a change means:",
        "resume runs/digits-mlp/latest train.epochs=2 --verify 5",
    ),
    ("A change that can't be:", "resume runs/digits-mlp/latest data.split.val=0.3"),
    ("Evaluation with a bound:", "eval runs/digits-mlp/latest --require 'accuracy>=0.99'"),
    ("Predictions:", "predict runs/digits-mlp/latest test --topk 2 | head -4"),
    ("The runs:", "runs ls"),
    ("The course of the loss:", "runs plot runs/digits-mlp/latest --width 72 --height 8"),
    ("A learning rate:", f"find lr {EXAMPLE}"),
)


def _typed(line: str) -> str:
    """What a command prints, without a terminal; its exit code where that is not 0."""
    program = f"{sys.executable} -c 'from torchlite.cli.main import main; main()' {line}"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, check=False,
    )  # fmt: skip
    return done.stdout.rstrip() + (f"\n(exit {done.returncode})" if done.returncode else "")


def _block(title: str, text: str) -> str:
    return f"{title}\n\n```text\n{text}\n```\n"


def write_page(page: Path, *, capture: bool) -> None:
    """Write the generated parts of the page anew."""
    text = replaced(page.read_text(encoding="utf-8"), "commands", command_tables())
    if capture:
        text = replaced(text, "captures", captures())
    page.write_text(text, encoding="utf-8")


def replaced(text: str, part: str, content: str) -> str:
    """The page with another content between the marks of a part."""
    begin, end = f"<!-- generated: {part} -->\n", f"<!-- end: {part} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


if __name__ == "__main__":
    write_page(Path(sys.argv[1]), capture="--capture" in sys.argv[2:])
