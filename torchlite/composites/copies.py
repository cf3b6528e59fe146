"""Views in memory of their own: ``permute_copy`` is ``permute`` and then ``clone``, and so on.

A write into a copy reaches nothing else, which is what programs without shared memory are written with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.layouts import contiguous_format
from torchlite.ops.complex import view_as_complex, view_as_real
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.strided import as_strided
from torchlite.ops.unfolding import unfold
from torchlite.ops.views import (
    diagonal,
    expand,
    permute,
    select,
    split,
    split_with_sizes,
    squeeze,
    t,
    transpose,
    unbind,
    unsqueeze,
    view,
)


def _copied(x: Tensor) -> Tensor:
    return x.clone(memory_format=contiguous_format)


def _copy_of(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with results in memory of their own."""

    def copy(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return _copied(result) if isinstance(result, Tensor) else tuple(map(_copied, result))

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = f"`{function.__name__}` in memory of its own."
    return takes_out_as(OutDtype.SAME)(copy)


def _expanded(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:  # noqa: ARG001
    return expand(input, size)


def _sliced(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return input[(*(slice(None),) * input._checked_dim(dim), slice(start, end, step))]


_expanded.__name__, _sliced.__name__ = "expand", "slice"

alias_copy = _copy_of("alias_copy", lambda input: input)
as_strided_copy = _copy_of("as_strided_copy", as_strided)
detach_copy = _copy_of("detach_copy", Tensor.detach)
diagonal_copy = _copy_of("diagonal_copy", diagonal)
expand_copy = _copy_of("expand_copy", _expanded)
permute_copy = _copy_of("permute_copy", permute)
select_copy = _copy_of("select_copy", select)
slice_copy = _copy_of("slice_copy", _sliced)
split_copy = _copy_of("split_copy", split)
split_with_sizes_copy = _copy_of("split_with_sizes_copy", split_with_sizes)
squeeze_copy = _copy_of("squeeze_copy", squeeze)
t_copy = _copy_of("t_copy", t)
transpose_copy = _copy_of("transpose_copy", transpose)
unbind_copy = _copy_of("unbind_copy", unbind)
unfold_copy = _copy_of("unfold_copy", unfold)
unsqueeze_copy = _copy_of("unsqueeze_copy", unsqueeze)
view_as_complex_copy = _copy_of("view_as_complex_copy", view_as_complex)
view_as_real_copy = _copy_of("view_as_real_copy", view_as_real)
view_copy = _copy_of("view_copy", view)
