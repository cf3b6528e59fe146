"""The `torchlite` command: its subcommands, and the boundary where errors become exit codes."""

import os
import sys
import traceback
from typing import Annotated

import typer

from torchlite import __version__
from torchlite.cli import (
    bench,
    catalogue,
    common,
    data,
    doctor,
    evaluate,
    explain,
    export,
    find,
    init,
    predict,
    profile,
    report,
    resume,
    runs,
    schema,
    serve,
    show,
    summary,
    sweep,
    train,
    validate,
)
from torchlite.errors import TorchliteError

app = typer.Typer(
    name="torchlite",
    help="Train, evaluate and export neural networks from one YAML file.\n\n"
    "Every command understands the options below, also behind its name.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("train")(train.command)
app.command("resume")(resume.command)
app.command("eval")(evaluate.command)
app.command("predict")(predict.command)
app.command("export")(export.command)
app.command("serve")(serve.command)
app.command("report")(report.command)
app.command("validate")(validate.command)
app.command("init")(init.command)
app.command("summary")(summary.command)
app.command("sweep")(sweep.command)
app.command("show")(show.command)
app.add_typer(runs.app, name="runs")
app.add_typer(data.app, name="data")
app.add_typer(find.app, name="find")
app.command("profile")(profile.command)
app.command("bench")(bench.command)
app.command("list")(catalogue.command)
app.command("explain")(explain.command)
app.command("schema")(schema.command)
app.command("doctor")(doctor.command)


for group in (app, runs.app, data.app, find.app):
    for registered in group.registered_commands:
        registered.epilog = common.EPILOG


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"torchlite {__version__}")
        raise typer.Exit


@app.callback()
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
    """Train, evaluate and export neural networks from one YAML file.

    The options below are understood by every command, also behind its name.
    """  # `common.take` has read them


def main() -> None:
    """Runs the command line and exits with the code that tells what happened."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            arguments = common.take(sys.argv[1:])
            common.begin_logging()
            app(arguments)
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
