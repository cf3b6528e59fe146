"""Kernels as operators: a fused operation allocates its results and launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite.backends import cupy, gpu
from torchlite.backends.memory import dense_strides
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
        self.given: list[Any] = []  # numbers behind all arrays
        self.strides = [row_by_row(v) for v in arguments.arrays]
        self.doubtful: Sequence[int] = range(len(arguments.arrays))  # the inputs that might have gaps

    def write(self, named: Named) -> None:
        """Write the kernel; ``named`` gives the name of the function with these parameters and this body."""
        arguments = self.arguments
        if not arguments.region.dims:
            body, grid, block = pointwise(arguments)
            bodies, types = [(body, grid, block)], []
        else:
            reduction = Reduction(arguments)
            division, types = reduction.division, reduction.partial_types()
            bodies = [(reduction.body(), division.grid, division.block)]
            if types:
                bodies.append((reduction.second(), (division.kept,), (32,)))
            self.partials = [(PARTIAL_TYPES[kind], division.kept * division.shares) for kind in types]
        declared = [*arguments.declared(), *(f"{kind} *__restrict__ q{i}" for i, kind in enumerate(types))]
        declared += arguments.declared_numbers()
        self.launches = [Launch(named(declared, body), grid, block) for body, grid, block in bodies]
        self.given = arguments.given()

    def bind(self, module: Any) -> None:
        """Take the functions from the compiled module."""
        self.functions = [module.get_function(launch.name) for launch in self.launches]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The results, as arrays without gaps."""
        empty, arrays = cupy().empty, list(inputs)
        with gpu(self.device.index):
            for i in self.doubtful:
                arrays[i] = dense(arrays[i], self.strides[i])
            results = tuple([empty(shape, dtype) for shape, dtype in self.results])
            partials = [empty(size, dtype) for dtype, size in self.partials]
            arguments = (*arrays, *results, *partials, *self.given)
            for function, launch in zip(self.functions, self.launches, strict=True):
                function(launch.grid, launch.block, arguments)
        return results


def shape_and_dtype(v: Value) -> tuple[tuple[int, ...], Any]:
    """Of an array."""
    assert v.aval is not None
    return v.aval.shape, v.aval.dtype


def row_by_row(v: Value) -> tuple[int, ...]:
    """The strides in bytes of an array without gaps."""
    assert v.aval is not None
    return tuple(v.aval.dtype.itemsize * step for step in dense_strides(v.aval.shape))


def dense(x: Any, strides: tuple[int, ...]) -> Any:
    """The array, copied where it has gaps or begins where four numbers can't be read at once.

    Args:
        x: the array.
        strides: those that it nearly always has; to ask CuPy whether there are gaps takes longer than to compare them.
    """
    if (x.strides != strides and not x.flags.c_contiguous) or (x.data.ptr % (4 * x.itemsize) and x.size >= 4):
        return x.copy(order="C")
    return x
