"""Where a tensor lives: ``cpu`` (NumPy), ``cuda:N`` (CuPy) or ``meta`` (shape and dtype only)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

_TYPES = ("cpu", "cuda", "meta")


@dataclass(frozen=True, slots=True, repr=False)
class Device:
    """A device, by PyTorch's names; also a context in which factories create on it.

    >>> Device("cuda:1"), Device("cuda", 1) == Device("cuda:1"), str(Device("cpu"))
    (device(type='cuda', index=1), True, 'cpu')

    Raises:
        RuntimeError: for a string that names no device.
    """

    type: str
    index: int | None

    def __init__(self, type: str | Device, index: int | None = None) -> None:
        if isinstance(type, Device):
            index = type.index
            type = type.type
        if not isinstance(type, str):
            raise TypeError(f"a device is a string such as 'cpu' or 'cuda:0', got {type!r}")
        name, colon, number = type.partition(":")
        if name not in _TYPES or (colon and (not number.isdigit() or index is not None)):
            raise RuntimeError(f"no such device: {type!r}; expected 'cpu', 'cuda', 'cuda:N' or 'meta'")
        object.__setattr__(self, "type", name)
        object.__setattr__(self, "index", int(number) if colon else index)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __enter__(self) -> Device:
        _defaults.stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _defaults.stack.pop()


CPU = Device("cpu")
META = Device("meta")


class _Defaults(threading.local):
    def __init__(self) -> None:
        self.stack: list[Device] = [CPU]


_defaults = _Defaults()


def get_default_device() -> Device:
    """The device on which factories create: the innermost ``with device(...)`` or what was set."""
    return _defaults.stack[-1]


def set_default_device(device: Any) -> None:
    """Make factories create on ``device`` in this thread; None restores the CPU."""
    _defaults.stack[0] = CPU if device is None else Device(device)
