"""Several tensors as one, and one repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, method
from torchlite.backends import concatenated, signed
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.construct import common_dtype, dims_of
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.views import narrow


def _infer_cat(*xs: Aval, dim: int, lengths: tuple[int, ...]) -> Aval:
    first = xs[0]
    for i, x in enumerate(xs):
        same = len(x.shape) == len(first.shape) and all(
            a == b for d, (a, b) in enumerate(zip(x.shape, first.shape, strict=True)) if d != dim
        )
        if not same:
            raise RuntimeError(
                f"cat: sizes of tensors must match except in dimension {dim}: tensor 0 has shape {list(first.shape)}, "
                f"tensor {i} has shape {list(x.shape)}"
            )
    return Aval((*first.shape[:dim], sum(lengths), *first.shape[dim + 1 :]), first.dtype, first.device)


def _cat_vjp(g: Tensor, _out: Any, *_xs: Any, dim: int, lengths: tuple[int, ...]) -> list[Tensor]:
    starts = [int(n) for n in np.cumsum([0, *lengths])]
    return [narrow(g, dim, start, n) for start, n in zip(starts, lengths, strict=False)]


_cat = register(
    Op(
        "cat",
        "copy",
        run=lambda xp, *xs, dim, lengths: concatenated(xp, xs, dim),  # noqa: ARG005
        infer=_infer_cat,
        vjp=_cat_vjp,
        onnx="Concat",
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 3)), rng.normal(size=(1, 3))), {"dim": 0, "lengths": (2, 1)}),
            Sample((rng.normal(size=(2, 3)), rng.normal(size=(2, 0))), {"dim": 1, "lengths": (3, 0)}),
        ],
        doc="The tensors one after the other along an existing dimension.",
    )
)


def expect_tensors(name: str, tensors: Any, empty: type[Exception] = RuntimeError) -> Sequence[Tensor]:
    """``tensors``, if it is a sequence of at least one tensor."""
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    if not tensors:
        raise empty(f"{name} expects a non-empty sequence of tensors")
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected Tensor as element {i} in argument 0, but got {type(x).__name__}")
    return tensors


@takes_out_as(OutDtype.JOINED)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``; the other lengths must be equal.

    Raises:
        ValueError: for no tensors.
        RuntimeError: naming the shapes where they do not fit.
    """
    expect_tensors("cat", tensors, ValueError)
    dtype = common_dtype(tensors)
    parts = [x.to(dtype) for x in tensors if x._data.shape != (0,)] or [tensors[0].to(dtype)]
    if parts[0].ndim == 0:
        raise RuntimeError("cat: zero-dimensional tensor (at position 0) cannot be concatenated; use stack")
    (position,) = dims_of("cat", dim, parts[0].ndim)
    lengths = tuple(x._data.shape[position] if position < x.ndim else 0 for x in parts)
    return apply(_cat, parts, {"dim": position, "lengths": lengths})


concat = concatenate = cat


@takes_out_as(OutDtype.JOINED)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new dimension ``dim``."""
    expect_tensors("stack", tensors)
    shape = tensors[0].shape
    for i, x in enumerate(tensors):
        if x.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(x.shape)} at entry {i}"
            )
    (position,) = dims_of("stack", dim, len(shape) + 1)
    return cat([x.unsqueeze(position) for x in tensors], position)


@method()
@takes_integers
def repeat(self: Tensor, *sizes: Any) -> Tensor:
    """The tensor repeated ``sizes[i]`` times along dimension i; leading dimensions may be added."""
    counts = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], (int, np.integer)) else sizes
    lead = len(counts) - self.ndim
    if lead < 0:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: repeat got "
            f"{list(counts)} for a tensor of shape {list(self.shape)}"
        )
    shape = (1,) * lead + tuple(self.shape)
    spread = [n for pair in zip(counts, shape, strict=True) for n in pair]
    paired = [n for length in shape for n in (1, length)]
    out: Tensor = self.reshape(paired).expand(spread)
    return out.reshape([c * n for c, n in zip(counts, shape, strict=True)])


def _infer_flip(x: Aval, *, dims: tuple[int, ...]) -> Aval:  # noqa: ARG001
    return x


_flip: Op = register(
    Op(
        "flip",
        "copy",
        run=lambda xp, x, *, dims: xp.flip(x, dims).copy(),
        infer=_infer_flip,
        vjp=(lambda g, _out, _x, dims: g.flip(dims),),
        samples=lambda rng: [Sample((rng.normal(size=(3, 2)),), {"dims": (0,)})],
        doc="The elements in reverse order along dimensions.",
    )
)


@method()
def flip(input: Tensor, *axes: Any, dims: Any = None) -> Tensor:
    """A copy with the order along ``dims`` reversed: ``flip(x, 0, 1)``, ``flip(x, (0, 1))`` or ``flip(x, dims=(0, 1))``."""
    wanted = dims if dims is not None else axes[0] if len(axes) == 1 else axes
    order = (wanted,) if isinstance(wanted, (int, np.integer)) else tuple(wanted)
    return apply(_flip, (input,), {"dims": dims_of("flip", order, input.ndim)}) if order else input.clone()


def _infer_pad(x: Aval, *, widths: tuple[tuple[int, int], ...], value: float) -> Aval:  # noqa: ARG001
    return Aval(tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True)), x.dtype, x.device)


def _run_pad(xp: Any, x: Any, *, widths: tuple[tuple[int, int], ...], value: float) -> Any:
    size = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    out = signed(xp.full(size, value, x.dtype), value)
    out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, widths, strict=True))] = x
    return out


_pad = register(
    Op(
        "constant_pad",
        "copy",
        run=_run_pad,
        infer=_infer_pad,
        vjp=(
            lambda g, _out, _x, widths, value: g[  # noqa: ARG005
                tuple(slice(a, a + n) for n, (a, _) in zip(_x.shape, widths, strict=True))
            ],
        ),
        onnx="Pad",
        samples=lambda rng: [Sample((rng.normal(size=(2, 3)),), {"widths": ((0, 1), (2, 0)), "value": 0.5})],
        doc="x with constant borders of the given widths.",
    )
)


def constant_pad(input: Tensor, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """``input`` with ``value`` around it: ``widths`` gives (before, after) for each dimension."""
    return apply(_pad, (input,), {"widths": tuple(widths), "value": value})
