"""Where NaN and infinities come from: a step is taken once more, and everything that is computed in it is looked at."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.autograd.graph import Node, observe, unobserve
from torchlite.autograd.watching import unwatch, watch
from torchlite.backends import array_module, is_array
from torchlite.nn.module import Module
from torchlite.train.updating import Batch, Moment, NotFinite, Update

_PACKAGE = str(Path(__file__).parents[1])
_MOST_NAMES = 3

CAUSE_OF_BAD_WEIGHTS = (
    "a gradient was NaN or infinite, or an update too large; train.clip.norm, and train.on_nonfinite: skip or rollback, look "
    "at the gradients of every step and say where it begins"
)


def not_finite_names(model: Module) -> str:
    """The parameters that hold NaN or infinities, by name; empty where there are none."""
    names = [repr(name) for name, p in model.named_parameters() if not _finite(p._data)]
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )


def first_bad(update: Update, batches: Sequence[Batch], before: Moment) -> str:
    """What in a step was the first to be NaN or infinite, told in words; empty where it can't be found.

    Gradients are lost, and what ``before`` keeps is as it was then.
    """
    bad = [what for what, part in (("inputs", 0), ("targets", 1)) if not all(_finite(b[part]._data) for b in batches)]
    if bad:
        places = [f"{i} of {len(b[1])}" for b in batches for i in _samples(b[0 if bad[0] == "inputs" else 1])]
        return f"the {bad[0]} of the batch are not finite, at sample {', '.join(places[:_MOST_NAMES])}"
    names = not_finite_names(update.model)
    if names:
        return f"the weights {names} were not finite any more: {CAUSE_OF_BAD_WEIGHTS}"
    before.put_back()
    with _Search(update.model) as search, suppress(NotFinite, MemoryError):
        update.gradients(batches)
    return search.found()


def _samples(values: Tensor) -> list[int]:
    array = backends.to_numpy(values._data)
    return [int(i) for i in np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))]


class _Search:
    """While entered, notes the first operation that makes NaN of what holds none, and the first that makes an infinity."""

    use_cuda = False

    def __init__(self, model: Module) -> None:
        self._names = {id(module): (name, type(module).__name__) for name, module in model.named_modules()}
        self._modules = list(model.modules())
        self._inside: list[str] = []
        self._backward = False
        self._first: dict[str, str] = {}
        self._exit = ExitStack()

    def __enter__(self) -> _Search:
        for module in self._modules:
            for handle in (module.register_forward_pre_hook(self._entered), module.register_forward_hook(self._left)):
                self._exit.callback(handle.remove)
        watch(self)
        self._exit.callback(unwatch, self)
        observe(self._made)
        self._exit.callback(unobserve, self._made)
        return self

    def __exit__(self, *exc: object) -> None:
        self._exit.close()

    def found(self) -> str:
        """What was noted, in the order in which it happened."""
        return ", then ".join(f"{where} gave {what}" for what, where in self._first.items())

    def _entered(self, module: Module, _inputs: Any) -> None:
        self._backward = False
        name, kind = self._names[id(module)]
        self._inside.append(f"'{name}' ({kind})" if name else kind)

    def _left(self, _module: Module, _inputs: Any, _output: Any) -> None:
        self._inside.pop()

    def ran(self, name: str, _start: int, _end: int, arrays: Sequence[Any], result: Any) -> None:
        """Look at what an operator has made of ``arrays`` in the forward pass."""
        if self._backward:
            return
        made = result if isinstance(result, tuple) else (result,)
        inside = f" in {self._inside[-1]}" if self._inside else ""
        self._look(f"`{name.rstrip('_')}`{inside}{_line()}", arrays, made)

    def _made(self, node: Node) -> None:
        inside, line = (f" in {self._inside[-1]}" if self._inside else ""), _line()

        def begin(_arrived: Any) -> None:
            self._backward = True

        def look(given: Iterable[Any], arrived: Iterable[Any]) -> None:
            before, after = ([x._data for x in tensors if isinstance(x, Tensor)] for tensors in (arrived, given))
            self._look(f"the gradient of `{_operation(node)}`{inside}{line}", before, after)

        node.register_prehook(begin)
        node.register_hook(look)

    def _look(self, where: str, before: Sequence[Any], after: Sequence[Any]) -> None:
        floats = [x for x in before if is_array(x) and x.dtype.kind not in "biu"]
        for what, test in (("NaN", "isnan"), ("an infinity", "isinf")):
            if what in self._first or not _any(test, after) or "NaN" in self._first:
                continue
            if floats and not _any(test, floats):
                self._first[what] = where


def _operation(node: Node) -> str:
    """``sqrt`` of ``SqrtBackward0``."""
    return node.name().removesuffix("Backward0").lower()


def _any(test: str, arrays: Iterable[Any]) -> bool:
    return any(
        bool(getattr(array_module(x), test)(x).any()) for x in arrays if is_array(x) and x.dtype.kind not in "biu"
    )


def _finite(array: Any) -> bool:
    return array.dtype.kind in "biu" or bool(array_module(array).isfinite(array).all())


def _line() -> str:
    """The line of code outside of this package, on the way from the training step, that is being run."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not Update.gradients.__code__:
        filename = frame.f_code.co_filename
        if not filename.startswith(_PACKAGE):
            return f" ({Path(filename).name}:{frame.f_lineno})"
        frame = frame.f_back
    return ""
