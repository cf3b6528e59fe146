"""Views, and what puts arrays together."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.compiler.graph import Node
from torchlite.onnx.lengths import Length
from torchlite.onnx.writer import Rule, Writer

_LAST = (1 << 63) - 1


def _view(writer: Writer, node: Node) -> str:
    return writer.reshape(writer.of(node.inputs[0]), writer.params(node)["shape"])


def _permute(writer: Writer, node: Node) -> str:
    return writer.add("Transpose", writer.of(node.inputs[0]), perm=list(node.params["dims"]))


def _expand(writer: Writer, node: Node) -> str:
    return writer.add("Expand", writer.of(node.inputs[0]), writer.lengths(writer.params(node)["shape"]))


def _select(writer: Writer, node: Node) -> str:
    """Slices first, then integers, which take dimensions away, then new dimensions."""
    name, shape = writer.of(node.inputs[0]), writer.shape(node.inputs[0])
    entries = list(writer.params(node)["index"])
    if Ellipsis in entries:
        at = entries.index(Ellipsis)
        missing = len(shape) - sum(e is not None and e is not Ellipsis for e in entries)
        entries[at : at + 1] = [slice(None)] * missing
    cuts: list[tuple[int, Any, Any, int]] = []
    gone: list[int] = []
    new: list[int] = []
    axis = place = 0
    for entry in entries:
        if entry is None:
            new.append(place)
            place += 1
            continue
        if isinstance(entry, slice):
            if entry != slice(None):
                cuts.append((axis, *_bounds(entry, shape[axis])))
            place += 1
        else:
            cuts.append((axis, entry, entry + 1 if entry != -1 else _LAST, 1))
            gone.append(axis)
        axis += 1
    if cuts:
        axes, starts, ends, steps = zip(*cuts, strict=True)
        name = writer.add(
            "Slice", name, writer.lengths(starts), writer.lengths(ends), writer.integers(axes), writer.integers(steps)
        )
    if gone:
        name = writer.add("Squeeze", name, writer.integers(gone))
    return writer.add("Unsqueeze", name, writer.integers(new)) if new else name


def _bounds(entry: slice, length: Any) -> tuple[Any, Any, int]:
    if isinstance(length, Length) or isinstance(entry.start, Length) or isinstance(entry.stop, Length):
        return entry.start or 0, _LAST if entry.stop is None else entry.stop, entry.step or 1
    return entry.indices(length)


def _flip(writer: Writer, node: Node) -> str:
    dims = node.params["dims"]
    if not dims:
        return writer.of(node.inputs[0])
    starts, ends = [-1] * len(dims), [-_LAST] * len(dims)
    return writer.add(
        "Slice", writer.of(node.inputs[0]), *(writer.integers(x) for x in (starts, ends, dims, [-1] * len(dims)))
    )


def _cat(writer: Writer, node: Node) -> str:
    out = node.outputs[0]
    assert out.aval is not None
    names = []
    for v in node.inputs:
        assert v.aval is not None
        names.append(writer.cast(writer.of(v), v.aval.dtype, out.aval.dtype))
    return writer.add("Concat", *names, axis=node.params["dim"])


def _constant_pad(writer: Writer, node: Node) -> str:
    widths = node.params["widths"]
    pads = [before for before, _ in widths] + [after for _, after in widths]
    value = writer.number(node.params["value"], node.outputs[0])
    return writer.add("Pad", writer.of(node.inputs[0]), writer.integers(pads), value)


def _unfold(writer: Writer, node: Node) -> str:
    dim, size, step = (node.params[key] for key in ("dim", "size", "step"))
    ndim, length = len(node.inputs[0].shape), writer.shape(node.inputs[0])[dim]
    if isinstance(length, Length):
        raise writer.unsupported("along a varying length")
    starts = np.arange((length - size) // step + 1, dtype=np.int64) * step
    beside = writer.add(
        "Gather", writer.of(node.inputs[0]), writer.constant(starts[:, None] + np.arange(size)), axis=dim
    )
    order = [*range(dim + 1), *range(dim + 2, ndim + 1), dim + 1]
    return writer.add("Transpose", beside, perm=order)


def _triangle(writer: Writer, node: Node) -> str:
    diagonal = writer.constant(np.asarray(node.params["diagonal"], np.int64))
    return writer.add("Trilu", writer.of(node.inputs[0]), diagonal, upper=int(node.params["upper"]))


RULES: dict[str, Rule] = {
    "cat": _cat,
    "constant_pad": _constant_pad,
    "expand": _expand,
    "flip": _flip,
    "permute": _permute,
    "select": _select,
    "triangle": _triangle,
    "unfold": _unfold,
    "view": _view,
}
