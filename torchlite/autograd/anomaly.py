"""Anomaly mode: which line of the forward pass made the operation whose gradient is NaN.

While the mode is on, the stack is remembered with every node that is made.
"""

from __future__ import annotations

import functools
import os
import traceback
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torchlite import backends
from torchlite.autograd.graph import Node, observe, unobserve
from torchlite.ir import Aval

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_forward_stacks: weakref.WeakKeyDictionary[Any, list[traceback.FrameSummary]] = weakref.WeakKeyDictionary()


class _AnomalyMode:
    enabled = False
    check_nan = True


anomaly_mode = _AnomalyMode()


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Turn anomaly mode on or off; see `set_detect_anomaly`."""
    _switch(bool(enabled), check_nan)


class set_detect_anomaly:
    """Turn anomaly mode on or off: at once when called, until the block ends when used with ``with``.

    Args:
        mode: on or off.
        check_nan: whether backward looks for NaN, and does not only say where failing operations were recorded.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.previous = (anomaly_mode.enabled, anomaly_mode.check_nan)
        _switch(bool(mode), check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _switch(*self.previous)


class detect_anomaly:
    """Inside the block, a NaN that backward makes is an error that shows the forward line it belongs to.

    Args:
        check_nan: as in `set_detect_anomaly`.

    >>> import torchlite as torch
    >>> x = torch.tensor(0.0, requires_grad=True)
    >>> with torch.autograd.detect_anomaly():
    ...     (x.sqrt() * 0).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output. ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan

    def __enter__(self) -> None:
        self.previous = (anomaly_mode.enabled, anomaly_mode.check_nan)
        _switch(True, self.check_nan)

    def __exit__(self, *exc: object) -> None:
        _switch(*self.previous)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Use as a decorator: the mode is on inside the function."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with detect_anomaly(self.check_nan):
                return function(*args, **kwargs)

        return wrapper


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return anomaly_mode.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return anomaly_mode.check_nan


def _switch(enabled: bool, check_nan: bool) -> None:
    if enabled and not anomaly_mode.enabled:
        observe(_remember)
    elif anomaly_mode.enabled and not enabled:
        unobserve(_remember)
    anomaly_mode.enabled, anomaly_mode.check_nan = enabled, check_nan


def _remember(node: Node) -> None:
    _forward_stacks[node] = traceback.extract_stack()[:-2]


def forward_location(node: Any) -> str:
    """The user's stack at which ``node`` was recorded, ready to print."""
    frames = _forward_stacks.get(node)
    if frames is None:
        return "It was recorded while anomaly mode was off: turn the mode on before the forward pass to see where."
    users = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
    return "It was recorded here in the forward pass:\n" + "".join(traceback.format_list(users or frames)).rstrip()


def check_gradients(node: Any, gradients: Iterable[Any]) -> None:
    """Raise where a gradient that ``node`` gave holds NaN.

    Raises:
        RuntimeError: naming the operation and showing where it was recorded.
    """
    for i, g in enumerate(gradients):
        if g is None or isinstance(g._data, Aval) or g._data.dtype.kind in "biu":
            continue
        xp = backends.array_module(g._data)
        if bool(xp.isnan(g._data).any()):
            raise RuntimeError(
                f"Function '{node.name()}' returned nan values in its {i}th output. {forward_location(node)}"
            )
