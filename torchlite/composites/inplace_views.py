"""In-place changes of shape: ``x.squeeze_()`` makes the tensor a view of what it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.ops.strided import as_strided
from torchlite.ops.views import squeeze, t, transpose, unsqueeze


def _becomes(view: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of a view operator.

    The tensor that stays behind takes over the memory, the history and the other live views; the one in the caller's
    hand becomes a view of it, so that later writes through any of them reach the others.
    """

    @functools.wraps(view)
    def change(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.is_leaf and self.requires_grad:
            if grad_mode.enabled:
                raise RuntimeError(
                    f"a leaf Variable that requires grad is being used in an in-place operation ({view.__name__}_); "
                    "write inside torchlite.no_grad()"
                )
            self.data = view(self.detach(), *args, **kwargs)
            return self
        was = self if self._base is not None else _left_behind(self)
        now = view(was, *args, **kwargs)
        if now is not was:
            self._data, self._node, self._base, self._recipe = now._data, now._node, now._base, now._recipe
            self._storage.add_view(self)
        return self

    change.__name__ = f"{view.__name__}_"
    change.__doc__ = f"In-place form of ``{view.__name__}``."
    return change


def _left_behind(x: Tensor) -> Tensor:
    """A tensor that takes the place of ``x`` as the base of its views."""
    was: Tensor = wrap(x._data, x._node)
    was._storage = x._storage
    for ref in x._storage.views or ():
        view = ref()
        if view is not None and view._base is x:
            view._base = was
    return was


method("squeeze_")(_becomes(squeeze))
method("unsqueeze_")(_becomes(unsqueeze))
method("transpose_", "swapaxes_", "swapdims_")(_becomes(transpose))
method("t_")(_becomes(t))
as_strided_ = _becomes(as_strided)
method("as_strided_")(as_strided_)
