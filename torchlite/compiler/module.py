"""`torchlite.compile` for functions and for modules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torchlite.compiler import compiled
from torchlite.compiler.options import check, wants_cuda_graphs
from torchlite.nn.module import Module

if TYPE_CHECKING:
    from torchlite.compiler.function import CompiledFunction
    from torchlite.compiler.graph import Graph


class OptimizedModule(Module):
    """A module whose call is captured and replayed; its parameters are those of ``_orig_mod``, the module itself."""

    def __init__(self, module: Module, *, full: bool = False, cuda_graphs: bool = False) -> None:
        super().__init__()
        self._orig_mod = module
        vars(self).update(_full=full, _cuda_graphs=cuda_graphs)
        self._begin()

    def _begin(self) -> None:
        object.__setattr__(self, "_call", compiled(self._orig_mod, full=self._full, cuda_graphs=self._cuda_graphs))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The result of the module."""
        return self._call(*args, **kwargs)

    @property
    def training(self) -> bool:
        """The mode of the module."""
        return self._orig_mod.training

    @training.setter
    def training(self, mode: bool) -> None:
        module = self.__dict__.get("_modules", {}).get("_orig_mod")
        if module is not None:  # Module.__init__ sets the mode before there is one
            module.training = mode

    @property
    def graph(self) -> Graph:
        """The graph of the newest capture."""
        call: CompiledFunction = self._call
        return call.graph

    @property
    def source(self) -> str:
        """The C text of the newest capture."""
        call: CompiledFunction = self._call
        return call.source

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "_orig_mod" or "_orig_mod" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_own(name):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_own(name):
            super().__delattr__(name)
        else:
            delattr(self._orig_mod, name)

    def _is_own(self, name: str) -> bool:
        """Whether an attribute is not one of the module's."""
        own = self.__dict__
        return name in own or hasattr(type(self), name) or name == "_orig_mod" or not own.get("_modules")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._orig_mod)})

    def __len__(self) -> int:
        return len(self._orig_mod)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_call"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Capture a function or module as a graph of operators at its second call, and replay that from then on.

    A function may be a whole training step: forward, backward, clipping and optimizer become one graph, which reads
    parameters, states of optimizers, learning rates and random streams anew at each call and writes them back. Other
    shapes, modes or Python values around the function make it be captured again (``TORCHLITE_LOG=recompiles`` prints
    why), and so does another side of a branch that the numbers of tensors decide on. A function that needs these numbers
    in Python otherwise, or that changes Python values in ways that can't be repeated, runs as it is after one warning.

    Args:
        model: the function or module; without it, a decorator.
        fullgraph: raise where something can't be captured, instead of running uncompiled.
        backend: "inductor", PyTorch's name for what compiles, or "eager" for nothing.
        disable: return ``model`` as it is.
        mode: "reduce-overhead" and "max-autotune" replay programs on a GPU as CUDA graphs: one launch instead of one for each
            kernel (see docs/gpu.md). Otherwise, and on the CPU, all modes are the same.
        options: ``{"triton.cudagraphs": True}`` is another way of saying so.
        dynamic: for PyTorch's sake; there is one capture for each shape.

    Raises:
        ValueError: for an unknown ``backend``.
        RuntimeError: for an unknown ``mode`` or option, and for both at once.
        TypeError: for something that can't be called, and a ``dynamic`` that is no truth value.

    >>> import torchlite as torch
    >>> step = torch.compile(lambda x: (x.exp() * 2).sum())
    >>> [step(torch.zeros(3)).item() for _ in range(3)]
    [6.0, 6.0, 6.0]
    >>> print(step.graph)
    def captured(x):
        # x: float32[3]
        v0 = ops.exp(x)  # float32[3]
        v1 = ops.mul(v0, np.array(2.0, "float32"))  # float32[3]
        v2 = np.asarray(ops.sum(v1, dims=(0,), keepdim=False))  # float32[]
        return (v2,)
    """
    check(backend, mode, options, dynamic)
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable
        )
    if not callable(model):
        raise TypeError(f"compile: expected a function or a module, got {type(model).__name__}")
    if disable or backend == "eager":
        return model
    graphs = wants_cuda_graphs(mode, options)
    if isinstance(model, Module):
        return OptimizedModule(model, full=fullgraph, cuda_graphs=graphs)
    return compiled(model, full=fullgraph, cuda_graphs=graphs)
