"""Attributes of tensors that are properties while a thread traces: who touches an array or a gradient asks the tracer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchlite._tensor import Tensor
from torchlite.backends import is_array
from torchlite.compiler.tracer import Tracer
from torchlite.ir import Aval
from torchlite.tracing import Uncapturable, active

_lock = threading.Lock()
_tracing = 0


@contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """Trace in this thread."""
    _watch(+1)
    active.tracer = tracer
    try:
        yield
    finally:
        tracer.restore()
        active.tracer = None
        _watch(-1)


def _watch(change: int) -> None:
    """Let attributes be properties while any thread traces."""
    global _tracing
    with _lock:
        _tracing += change
        if _tracing == 1 and change == 1:
            Tensor._data = property(_get_data, _set_data)
            Tensor._grad = property(_get_grad, _set_grad)  # type: ignore[assignment]
            Tensor.requires_grad = _noting_requires_grad()  # type: ignore[method-assign, assignment]
        elif _tracing == 0:
            del Tensor._data
            Tensor._grad = None
            Tensor.requires_grad = _requires_grad  # type: ignore[method-assign]


def _get_data(tensor: Tensor) -> Any:
    tracer = active.tracer
    data = tensor.__dict__["_data"]
    if tracer is None or isinstance(data, Aval):
        return data
    return tracer.symbol(tensor)


def _set_data(tensor: Tensor, data: Any) -> None:
    tracer = active.tracer
    if tracer is not None:
        if is_array(data):
            data = tracer.constant(data)
        if is_array(tensor.__dict__.get("_data")):
            tracer.external(tensor)
        if id(tensor) in tracer.externals:
            raise Uncapturable("the memory of a tensor from outside is exchanged (.data =, set_, resize_)")
    tensor.__dict__["_data"] = data


_requires_grad: Any = Tensor.requires_grad


def _noting_requires_grad() -> property:
    """`Tensor.requires_grad`, where a replay is right only as long as the answer is the same."""

    def get(tensor: Tensor) -> bool:
        tracer = active.tracer
        if tracer is not None and is_array(tensor.__dict__["_data"]):
            tracer.external(tensor)
        return tensor._node is not None

    return property(get, _requires_grad.fset)


def _get_grad(tensor: Tensor) -> Any:
    tracer = active.tracer
    return tensor.__dict__.get("_grad") if tracer is None else tracer.gradient(tensor)


def _set_grad(tensor: Tensor, value: Any) -> None:
    tracer = active.tracer
    if tracer is None:
        tensor.__dict__["_grad"] = value
    else:
        tracer.set_gradient(tensor, value)
