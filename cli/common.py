"""What every command understands, before or behind its name: colours, log level, and whether a person can be asked."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from torchlite.errors import UsageError

COLORS = ("auto", "always", "never")
LEVELS = ("debug", "info", "warning", "error")
EPILOG = "As every command: --color, --log-level, -v and --no-input; see torchlite --help."


@dataclass
class Settings:
    """What was asked for.

    Attributes:
        color: auto, always or never.
        log_level: of what the package logs to standard error; nothing where unset.
        may_ask: whether a question may be asked where there is someone to answer it.
    """

    color: str = "auto"
    log_level: str | None = None
    may_ask: bool = True


settings = Settings()


def take(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that are meant for every command, which become `settings`.

    Raises:
        UsageError: for a value that none of them takes.
    """
    chosen, rest, waiting = Settings(), [], list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *waiting]
            break
        if name in ("--color", "--log-level"):
            if not equals:
                value = waiting.pop(0) if waiting else ""
            allowed = COLORS if name == "--color" else LEVELS
            if value not in allowed:
                raise UsageError(f"{name} takes {', '.join(allowed[:-1])} or {allowed[-1]}, not {value!r}")
            setattr(chosen, name.removeprefix("--").replace("-", "_"), value)
        elif argument in ("-v", "-vv"):
            deep = argument == "-vv" or chosen.log_level == "info"
            chosen.log_level = "debug" if deep else "info"
        elif argument == "--no-input":
            chosen.may_ask = False
        else:
            rest.append(argument)
    vars(settings).update(vars(chosen))
    return rest


def begin_logging() -> None:
    """Write what the package logs to standard error, where that was asked for."""
    if settings.log_level is None:
        return
    import logging

    logger = logging.getLogger("torchlite")
    logger.handlers = [logging.StreamHandler()]
    logger.handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.setLevel(settings.log_level.upper())
    if settings.log_level == "debug":
        os.environ.setdefault("TORCHLITE_LOG", "recompiles,cudagraphs")


def colored(stream: IO[str]) -> bool:
    """Whether what is written to ``stream`` has colours.

    ``--color`` decides, then NO_COLOR, then CLICOLOR_FORCE and FORCE_COLOR, then whether it is a terminal that has them.
    """
    if settings.color != "auto":
        return settings.color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("CLICOLOR_FORCE", "FORCE_COLOR")):
        return True
    usable = os.environ.get("TERM") != "dumb" and os.environ.get("CLICOLOR") != "0"
    return usable and stream.isatty()


def ask(question: str) -> bool:
    """Whether a person at the terminal says yes; no where there is none, or none may be asked."""
    if not (settings.may_ask and sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


_RED, _YELLOW, _CYAN, _GREEN, _PLAIN = "\033[1;31m", "\033[1;33m", "\033[36m", "\033[32m", "\033[0m"
_PAINTED = (
    (re.compile(r"^error(\[TL\d+\])?:", re.MULTILINE), _RED),
    (re.compile(r"^warning(\[TL\d+\])?:", re.MULTILINE), _YELLOW),
    (re.compile(r"^ +-->", re.MULTILINE), _CYAN),
    (re.compile(r"(?<= )\^+.*$", re.MULTILINE), _GREEN),
)


def say(text: str, *, err: bool = False) -> None:
    """Print findings or an error, with colours where there are any."""
    stream = sys.stderr if err else sys.stdout
    if colored(stream):
        for pattern, color in _PAINTED:
            text = pattern.sub(lambda match, color=color: f"{color}{match[0]}{_PLAIN}", text)  # type: ignore[misc]
    print(text, file=stream, flush=True)
