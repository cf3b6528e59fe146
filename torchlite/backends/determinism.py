"""Whether operators that give the same numbers in every run are insisted on.

NumPy's all do. On a GPU, adding to the same element from several threads rounds in the order in which they come.
"""

from __future__ import annotations

import warnings

_MODES = ("default", "warn", "error")
_mode = 0


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Make operators that are not deterministic raise (or with ``warn_only`` warn)."""
    if not isinstance(mode, bool):
        raise TypeError(f"use_deterministic_algorithms(): argument 'mode' must be bool, not {type(mode).__name__}")
    set_deterministic_debug_mode((1 if warn_only else 2) if mode else 0)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether operators that are not deterministic raise or warn."""
    return _mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether they warn."""
    return _mode == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """0 or "default" to use operators that are not deterministic, 1 or "warn" to warn of them, 2 or "error" to refuse."""
    global _mode
    if debug_mode not in (*_MODES, 0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected one of 0, 1, 2 or {_MODES}, but got {debug_mode}")
    _mode = _MODES.index(debug_mode) if isinstance(debug_mode, str) else debug_mode


def get_deterministic_debug_mode() -> int:
    """The mode as a number; see `set_deterministic_debug_mode`."""
    return _mode


def not_deterministic(name: str) -> None:
    """To be called before ``name`` computes what may differ in the next run."""
    message = f"{name} does not have a deterministic implementation, but deterministic algorithms are asked for"
    if _mode == 1:
        warnings.warn(message, UserWarning, stacklevel=2)
    elif _mode:
        raise RuntimeError(message)
