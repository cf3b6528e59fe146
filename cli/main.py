"""The `torchlite` command: its subcommands, and the boundary where errors become exit codes."""

import importlib
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from torchlite import __version__
from torchlite.cli import common
from torchlite.errors import TorchliteError

# The commands, each with its module in this package, which has a function `command`, or an `app` of several.
COMMANDS = {
    "train": "train",
    "resume": "resume",
    "eval": "evaluate",
    "predict": "predict",
    "export": "export",
    "serve": "serve",
    "report": "report",
    "validate": "validate",
    "init": "init",
    "summary": "summary",
    "sweep": "sweep",
    "show": "show",
    "runs": "runs",
    "data": "data",
    "find": "find",
    "profile": "profile",
    "bench": "bench",
    "list": "catalogue",
    "explain": "explain",
    "schema": "schema",
    "doctor": "doctor",
}


class Commands(TyperGroup):
    """A group that looks for no options where the name of a command comes first.

    Typer imports pydantic to find that an option is absent, which takes longer than the help of the command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments of the command."""
        if args and args[0] in self.commands:
            self.params, self.add_help_option = [], False
        return super().parse_args(ctx, args)


def application(*names: str) -> typer.Typer:
    """`torchlite` with the commands named, whose modules alone are imported; where none is, with all, but only to list them."""
    app = typer.Typer(
        name="torchlite",
        help="Train, evaluate and export neural networks from one YAML file.\n\n"
        "Every command understands the options below, also behind its name.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(cls=Commands)(_options)
    for name in names or COMMANDS:
        module = importlib.import_module(f"torchlite.cli.{COMMANDS[name]}")
        if hasattr(module, "app"):
            app.add_typer(module.app if names else typer.Typer(help=module.app.info.help), name=name, cls=Commands)
            for one in module.app.registered_commands:
                one.epilog = common.EPILOG
        else:
            command = app.command(name, help=module.command.__doc__, epilog=common.EPILOG)
            command(module.command if names else _listed)
    return app


def _listed() -> None:
    """Stands for a command where its parameters are not needed, which Typer takes long to read."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"torchlite {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    color: Annotated[
        str, typer.Option("--color", metavar="auto|always|never", help="Colours; auto asks NO_COLOR, CLICOLOR_FORCE.")
    ] = "auto",
    log_level: Annotated[
        str | None,
        typer.Option("--log-level", metavar="debug|info|warning|error", help="What is logged to standard error."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", help="The same as --log-level info; -vv is debug.")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask, as without a terminal.")] = False,
) -> None:
    """For the help of the whole alone: `common.take` has read all but the first."""


def _wanted(arguments: list[str]) -> Iterable[str]:
    """The commands that arguments may be for: the first of them, none where none is named, all where a shell completes."""
    if "_TORCHLITE_COMPLETE" in os.environ:
        return COMMANDS
    if COMMANDS.keys() & set(arguments[:1]):
        return arguments[:1]
    return COMMANDS if COMMANDS.keys() & set(arguments) else ()


def main() -> None:
    """Runs the command line and exits with the code that tells what happened."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            arguments = common.take(sys.argv[1:])
            common.begin_logging()
            application(*_wanted(arguments))(arguments)
        finally:
            sys.stdout.flush()
    except TorchliteError as error:
        common.say(f"error: {error}" if "\n" not in str(error) else str(error), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read what is printed has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        typer.echo("This is a bug in torchlite: please report it with the lines above.", err=True)
        sys.exit(1)
