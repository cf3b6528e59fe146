"""Packages that are extras of this one, imported where they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from torchlite.errors import DeviceError


def extra(name: str, what: str, group: str | None = None) -> Any:
    """The package or module ``name``, which ``what`` needs.

    Args:
        name: what is imported.
        what: for the message.
        group: the extra that installs it; called as the package where unset.

    Raises:
        DeviceError: naming the extra, where it is not installed.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise DeviceError(
            f"{what} needs the package {package}, which is not installed: pip install 'torchlite[{group or package}]'"
        ) from None
