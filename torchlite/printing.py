"""How tensors print: as PyTorch prints them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print.

    Args:
        precision: digits after the point.
        threshold: number of elements above which the middle is left out.
        edgeitems: elements shown at each end then.
        linewidth: characters a line.
        profile: "default", "short" (2 digits) or "full" (leave nothing out).
        sci_mode: scientific notation always (True), never (False) or by the numbers (None).
    """
    profiles = {
        "default": (4, 1000.0, 3, 80),
        "short": (2, 1000.0, 2, 80),
        "full": (4, math.inf, 3, 80),
    }
    if profile is not None:
        if profile not in profiles:
            raise ValueError(f"profile must be one of {', '.join(profiles)}, got {profile!r}")
        _options.precision, _options.threshold, _options.edgeitems, _options.linewidth = profiles[profile]
    for name, value in (
        ("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems), ("linewidth", linewidth),
    ):  # fmt: skip
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


@method("__repr__", "__str__")
def tensor_repr(self: Tensor) -> str:
    """``tensor([...])`` with what is not obvious: dtype, device, size, and how the gradient comes about."""
    # A program's own subclass is named; Parameter prints itself, and a Buffer is a tensor like others.
    own = type(self).__module__.partition(".")[0] == "torchlite"
    return _described(self, "tensor(" if own else f"{type(self).__name__}(")


def parameter_repr(self: Tensor) -> str:
    """As `tensor_repr`, headed as PyTorch heads parameters."""
    return "Parameter containing:\n" + _described(self.detach().requires_grad_(self.requires_grad), "tensor(")


def _described(x: Tensor, prefix: str) -> str:
    suffixes = []
    if x.is_meta:
        body = "..."
        suffixes += ["device='meta'", f"size={tuple(x.shape)}"]
    else:
        array = backends.to_numpy(x._data)
        body = "[]" if array.size == 0 else _body(array, len(prefix))
        if (array.size == 0 and x.ndim != 1) or not (array.size == 0 or _options.edgeitems):
            suffixes.append(f"size={tuple(x.shape)}")
        if x.is_cuda:
            suffixes.append(f"device='{x.device}'")
    default = dtypes.get_default_dtype()
    told = x.is_meta or x._data.size == 0  # where no elements tell, only the default dtype is left out
    if x.dtype not in ((default,) if told else (default, dtypes.of_scalar(1j), dtypes.int64, dtypes.bool_)):
        suffixes.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    text = prefix + body
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            text, length = f"{text},\n{' ' * len(prefix)}{suffix}", len(prefix) + len(suffix)
        else:
            text, length = f"{text}, {suffix}", length + len(suffix) + 2
    return text + ")"


def _body(array: np.ndarray[Any, Any], indent: int) -> str:
    summarize = array.size > _options.threshold
    shown = _edges(array) if summarize else array
    if shown.dtype == dtypes.bfloat16.numpy or shown.dtype == np.float16:
        shown = shown.astype(np.float32)
        array = array.astype(np.float32)
    style = _Formatter(shown)
    return _nested(array, style, indent, summarize)


def _edges(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    for axis, n in enumerate(array.shape):
        if n > 2 * _options.edgeitems:
            keep = [*range(_options.edgeitems), *range(n - _options.edgeitems, n)]
            array = np.take(array, keep, axis)
    return array


class _Formatter:
    """One width and notation for all elements; zeros, infinities and NaN have no say in it."""

    def __init__(self, shown: np.ndarray[Any, Any]) -> None:
        self.is_float = shown.dtype.kind == "f"
        self.parts: tuple[_Formatter, _Formatter] | None = None
        self.scientific, self.whole, self.width = False, True, 1
        if shown.dtype.kind == "c":
            self.parts = _Formatter(shown.real), _Formatter(shown.imag)
            self.width = self.parts[0].width + self.parts[1].width + 1
            return
        values = shown.reshape(-1)
        if self.is_float:
            values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
            if values.size:
                low, high = np.abs(values).min(), np.abs(values).max()
                self.whole = bool((values == np.ceil(values)).all())
                self.scientific = bool(high / low > 1000 or high > 1e8 or low < 1e-4)
                if _options.sci_mode is not None:
                    self.scientific = _options.sci_mode
        self.width = max((len(self(v)) for v in values), default=1)

    def __call__(self, value: Any) -> str:
        if self.parts is not None:
            imaginary = self.parts[1](value.imag).lstrip()
            return self.parts[0](value.real) + ("" if imaginary[0] in "+-" else "+") + imaginary + "j"
        if not self.is_float:
            text = str(value)
        elif not math.isfinite(value):
            text = str(float(value))
        elif self.scientific:
            text = f"{value:.{_options.precision}e}"
        else:
            text = f"{value:.0f}." if self.whole else f"{value:.{_options.precision}f}"
        return text.rjust(self.width)


def _nested(array: np.ndarray[Any, Any], style: _Formatter, indent: int, summarize: bool) -> str:
    if array.ndim == 0:
        return style(array[()])
    n, edge = len(array), _options.edgeitems
    cut = summarize and n > 2 * edge
    if array.ndim == 1:
        values = [style(v) for v in (np.concatenate([array[:edge], array[n - edge :]]) if cut else array)]
        if cut:
            values.insert(edge, " ..." if edge else "...")
        per_line = max(1, (_options.linewidth - indent) // (style.width + 2))
        lines = [", ".join(values[i : i + per_line]) for i in range(0, len(values), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [
        _nested(row, style, indent + 1, summarize)
        for row in (array if not cut else [*array[:edge], *array[n - edge :]])
    ]
    if cut:
        rows.insert(edge, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(rows) + "]"
