"""Kernels as operators: a fused operation allocates its results and launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite.backends import cupy
from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.pointwise import pointwise
from torchlite.compiler.cuda.reductions import Reduction
from torchlite.compiler.graph import Value
from torchlite.devices import Device

Named = Callable[[Sequence[str], str], str]
PARTIAL_TYPES = {"int": np.int32, "float": np.float32, "double": np.float64, "long long": np.int64}


@dataclass(frozen=True)
class Launch:
    """A function of the module, and how many threads run it."""

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]


class Kernel:
    """A region on arrays of a GPU."""

    def __init__(self, arguments: Arguments, device: Device) -> None:
        self.arguments = arguments
        self.device = device
        self.results = [shape_and_dtype(v) for v in arguments.results]
        self.launches: list[Launch] = []
        self.partials: list[tuple[Any, int]] = []  # what one launch leaves to the next: dtypes and numbers of elements
        self.functions: list[Any] = []

    def write(self, named: Named) -> None:
        """Write the kernel; ``named`` gives the name of the function with these parameters and this body."""
        declared = self.arguments.declared()
        if not self.arguments.region.dims:
            body, grid, block = pointwise(self.arguments)
            self.launches = [Launch(named(declared, body), grid, block)]
            return
        reduction = Reduction(self.arguments)
        division, types = reduction.division, reduction.partial_types()
        declared += [f"{kind} *__restrict__ q{i}" for i, kind in enumerate(types)]
        self.launches = [Launch(named(declared, reduction.body()), division.grid, division.block)]
        if types:
            self.launches.append(Launch(named(declared, reduction.second()), (division.kept,), (32,)))
        self.partials = [(PARTIAL_TYPES[kind], division.kept * division.shares) for kind in types]

    def bind(self, module: Any) -> None:
        """Take the functions from the compiled module."""
        self.functions = [module.get_function(launch.name) for launch in self.launches]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The results, as arrays without gaps."""
        xp = cupy()
        with xp.cuda.Device(self.device.index):
            arrays = [dense(x) for x in inputs]
            results = tuple(xp.empty(shape, dtype) for shape, dtype in self.results)
            partials = [xp.empty(size, dtype) for dtype, size in self.partials]
            arguments = (*arrays, *results, *partials)
            for function, launch in zip(self.functions, self.launches, strict=True):
                function(launch.grid, launch.block, arguments)
        return results


def shape_and_dtype(v: Value) -> tuple[tuple[int, ...], Any]:
    """Of an array."""
    assert v.aval is not None
    return v.aval.shape, v.aval.dtype


def dense(x: Any) -> Any:
    """The array, copied where it has gaps or begins where four numbers can't be read at once."""
    if not x.flags.c_contiguous or (x.size >= 4 and x.data.ptr % (4 * x.itemsize)):
        return x.copy(order="C")
    return x
