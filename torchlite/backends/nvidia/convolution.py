"""Convolution and its two gradients by cuDNN, in one to three dimensions."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from torchlite.backends import cudnn as settings
from torchlite.backends import cupy, determinism, gpu
from torchlite.backends.memory import dense_strides
from torchlite.backends.nvidia import channels, cudnn
from torchlite.backends.nvidia.channels import Shape
from torchlite.backends.nvidia.cudnn import LIBRARY, Algorithm, call
from torchlite.backends.nvidia.library import Descriptor, Failure

_TYPES = {
    "float32": cudnn.CUDNN_DATA_FLOAT, "float64": cudnn.CUDNN_DATA_DOUBLE, "float16": cudnn.CUDNN_DATA_HALF,
    "bfloat16": cudnn.CUDNN_DATA_BFLOAT16,
}  # fmt: skip
_MOST_NUMBERS = 1 << 31  # descriptors count with ints
_MOST_ALGORITHMS = 16
_MOST_PLANS = 1024


class _Function(NamedTuple):
    """One of cuDNN's three functions.

    Attributes:
        name: of it.
        heuristics: the function that ranks its algorithms.
        weight: which of its three arrays, the last of which is the result, is the weight.
        result: which of input, weight and output is the result.
    """

    name: str
    heuristics: str
    weight: int
    result: int


_FORWARD = _Function("cudnnConvolutionForward", "cudnnGetConvolutionForwardAlgorithm_v7", 1, 2)
_INPUT_GRAD = _Function("cudnnConvolutionBackwardData", "cudnnGetConvolutionBackwardDataAlgorithm_v7", 0, 0)
_WEIGHT_GRAD = _Function("cudnnConvolutionBackwardFilter", "cudnnGetConvolutionBackwardFilterAlgorithm_v7", 2, 1)


class _Problem(NamedTuple):
    """What algorithms are chosen for.

    Attributes:
        function, device: which, and the number of the GPU.
        shapes: of its three arrays, in the order of their dimensions in a tensor.
        dtype: of all three.
        last: whether channels lie innermost in memory.
        window, groups: as operators have them.
        math: CUDNN_..._MATH.
        deterministic: whether only algorithms are wanted that give the same numbers each time.
    """

    function: _Function
    device: int
    shapes: tuple[Shape, Shape, Shape]
    dtype: Any
    last: bool
    window: Any
    groups: int
    math: int
    deterministic: bool


def _descriptor(kind: str) -> Descriptor:
    """One of a Tensor, a Filter or a Convolution, not yet set."""
    return Descriptor(LIBRARY, f"cudnnCreate{kind}Descriptor", f"cudnnDestroy{kind}Descriptor")


class _Plan:
    """The descriptors of a problem, and the algorithms that can solve it, those that should be fast first."""

    def __init__(self, problem: _Problem, handle: Any) -> None:
        self.problem = problem
        is_weight = [i == problem.function.weight for i in range(3)]
        describe = {True: self._weight, False: self._tensor}
        self.arrays = [describe[w](shape) for w, shape in zip(is_weight, problem.shapes, strict=True)]
        self.by_math = {problem.math: self._convolution(problem.math)}
        self.algorithms = self._ranked(handle)
        for algorithm in self.algorithms:
            self.by_math.setdefault(algorithm.mathType, self._convolution(algorithm.mathType))
        number = ctypes.c_double if problem.dtype == np.float64 else ctypes.c_float
        self.one, self.zero = ctypes.byref(number(1)), ctypes.byref(number(0))
        self.timed = False

    def _tensor(self, shape: Shape) -> Descriptor:
        strides = dense_strides(shape, channels.last(len(shape)) if self.problem.last else ())
        made = _descriptor("Tensor")
        kind = _TYPES[str(self.problem.dtype)]
        call("cudnnSetTensorNdDescriptor", made.pointer, kind, len(shape), _ints(shape), _ints(strides))
        return made

    def _weight(self, shape: Shape) -> Descriptor:
        made = _descriptor("Filter")
        kind = _TYPES[str(self.problem.dtype)]
        order = cudnn.CUDNN_TENSOR_NHWC if self.problem.last else cudnn.CUDNN_TENSOR_NCHW
        call("cudnnSetFilterNdDescriptor", made.pointer, kind, order, len(shape), _ints(shape))
        return made

    def _convolution(self, math: int) -> Descriptor:
        window, made = self.problem.window, _descriptor("Convolution")
        lengths = map(_ints, (window.padding, window.stride, window.dilation))
        double = self.problem.dtype == np.float64
        sums = cudnn.CUDNN_DATA_DOUBLE if double else cudnn.CUDNN_DATA_FLOAT  # halves are added up in float32
        mode = cudnn.CUDNN_CROSS_CORRELATION
        call("cudnnSetConvolutionNdDescriptor", made.pointer, window.ndim, *lengths, mode, sums)
        call("cudnnSetConvolutionGroupCount", made.pointer, self.problem.groups)
        call("cudnnSetConvolutionMathType", made.pointer, math)
        return made

    def _ranked(self, handle: Any) -> list[Algorithm]:
        """What the heuristics recommend."""
        problem, found, count = self.problem, (Algorithm * _MOST_ALGORITHMS)(), ctypes.c_int()
        first, second, result = (array.pointer for array in self.arrays)
        convolution = self.by_math[problem.math].pointer
        arguments = (handle, first, second, convolution, result, _MOST_ALGORITHMS, ctypes.byref(count), found)
        try:
            call(problem.function.heuristics, *arguments)
        except Failure as error:
            if cudnn.unsupported(error):
                return []
            raise
        return [
            algorithm
            for algorithm in found[: count.value]
            if algorithm.status == 0
            and (not problem.deterministic or algorithm.determinism == cudnn.CUDNN_DETERMINISTIC)
            and (problem.math != cudnn.CUDNN_FMA_MATH or algorithm.mathType in (problem.math, cudnn.CUDNN_DEFAULT_MATH))
        ]

    def run(self, xp: Any, handle: Any, first: Any, second: Any, result: Any) -> bool:
        """Compute ``result`` by the best algorithm whose memory is there; False where none can."""
        if settings.benchmark and not self.timed:
            self._by_time(xp, handle, first, second, result)
        return any(self._runs(algorithm, xp, handle, first, second, result) for algorithm in self.algorithms)

    def _runs(self, algorithm: Algorithm, xp: Any, handle: Any, first: Any, second: Any, result: Any) -> bool:
        exact = self.problem.math == cudnn.CUDNN_FMA_MATH  # where TF32 is ruled out, whatever the heuristics say
        convolution = self.by_math[self.problem.math if exact else algorithm.mathType]
        try:
            workspace = xp.cuda.alloc(algorithm.memory)
            call(
                self.problem.function.name, handle, self.one, self.arrays[0].pointer, first.data.ptr,
                self.arrays[1].pointer, second.data.ptr, convolution.pointer, algorithm.algo, workspace.ptr,
                algorithm.memory, self.zero, self.arrays[2].pointer, result.data.ptr,
            )  # fmt: skip
        except MemoryError:
            return False
        except Failure as error:
            if cudnn.unsupported(error):
                return False
            raise
        return True

    def _by_time(self, xp: Any, handle: Any, *arrays: Any) -> None:
        """Put the fastest algorithm first, of as many as `torch.backends.cudnn.benchmark_limit` allows."""
        milliseconds = {}
        for i, algorithm in enumerate(self.algorithms[: settings.benchmark_limit or None]):
            if self._runs(algorithm, xp, handle, *arrays):  # which also loads it
                start, end = xp.cuda.Event(), xp.cuda.Event()
                start.record()
                self._runs(algorithm, xp, handle, *arrays)
                end.record()
                end.synchronize()
                milliseconds[i] = xp.cuda.get_elapsed_time(start, end)
        best = sorted(milliseconds, key=milliseconds.__getitem__)[:1]
        self.algorithms = [self.algorithms[i] for i in best] + [
            a for i, a in enumerate(self.algorithms) if i not in best
        ]
        self.timed = True


def _ints(lengths: Sequence[int]) -> Any:
    return (ctypes.c_int * len(lengths))(*lengths)


def _math(dtype: Any) -> int:
    if dtype.itemsize == 2:
        return cudnn.CUDNN_TENSOR_OP_MATH
    if dtype == np.float32 and not settings.allow_tf32:
        return cudnn.CUDNN_FMA_MATH
    return cudnn.CUDNN_DEFAULT_MATH


class _Way(NamedTuple):
    """How a result is computed.

    Attributes:
        plan: by what.
        last: whether channels lie innermost in memory.
        first_copied, second_copied: whether an array is copied first, because it lies otherwise.
    """

    plan: _Plan
    last: bool
    first_copied: bool
    second_copied: bool


class _Array(NamedTuple):
    """An array as far as it matters: its shape, strides in bytes, and dtype."""

    shape: Shape
    strides: Shape
    dtype: Any


@functools.lru_cache(_MOST_PLANS)
def _way(
    function: _Function,
    device: int,
    first: _Array,
    second: _Array,
    lengths: tuple[Shape, Shape, Shape],
    window: Any,
    groups: int,
    math: int,
    deterministic: bool,
) -> _Way | None:
    """How the result is computed from arrays like these; None where cuDNN does not compute it.

    Handles say where to compute, not what, so all threads share it.
    """
    if not 1 <= window.ndim <= 3 or not _fit(lengths, window, groups):
        return None
    if first.dtype != second.dtype or str(first.dtype) not in _TYPES:
        return None
    last = any(channels.innermost(*array) for array in (first, second))
    copied = [not channels.without_gaps(*array, last) for array in (first, second)]
    shapes: Any = (first.shape, second.shape, lengths[function.result])
    if window.ndim == 1:  # as two dimensions, the first of length 1
        shapes, window = tuple((*s[:2], 1, *s[2:]) for s in shapes), window.stacked()
    problem = _Problem(function, device, shapes, first.dtype, last, window, groups, math, deterministic)
    return _Way(_Plan(problem, cudnn.handle(device)), last, *copied)


def _computed(
    function: _Function, first: Any, second: Any, lengths: tuple[Shape, Shape, Shape], window: Any, groups: int
) -> Any:
    """The result (N, C, *) or (O, C / groups, *); None where cuDNN does not compute it.

    Args:
        function: which of the three.
        first, second: its arrays.
        lengths: the shapes of input, weight and output, whichever of them is the result.
        window, groups: the geometry.
    """
    if not settings.enabled:
        return None
    xp, device, dtype = cupy(), first.device.id, first.dtype
    with gpu(device):
        handle = cudnn.handle(device)
        if handle is None:
            return None
        left, right = (_Array(array.shape, array.strides, array.dtype) for array in (first, second))
        deterministic = settings.deterministic or determinism.are_deterministic_algorithms_enabled()
        way = _way(function, device, left, right, lengths, window, groups, _math(dtype), deterministic)
        if way is None:
            return None
        if way.first_copied:
            first = channels.dense(xp, first, way.last)
        if way.second_copied:
            second = channels.dense(xp, second, way.last)
        result = channels.empty(xp, lengths[function.result], dtype, way.last)
        return result if way.plan.run(xp, handle, first, second, result) else None


def _fit(lengths: tuple[Shape, Shape, Shape], window: Any, groups: int) -> bool:
    """Whether input, weight and output are those of one convolution, and such that cuDNN can count their elements."""
    x, weight, out = lengths
    return (
        all(0 < math.prod(shape) < _MOST_NUMBERS for shape in lengths)
        and min(window.padding) >= 0
        and x[1] == weight[1] * groups
        and (x[0], weight[0]) == out[:2]
        and weight[0] % groups == 0
        and window.out_size("convolution", x[2:]) == out[2:]
    )


def convolution(x: Any, weight: Any, *bias: Any, window: Any, groups: int) -> Any:
    """The convolution of x (N, C, *) with a weight (O, C / groups, *), plus a bias (O,)."""
    shape = (x.shape[0], weight.shape[0], *window.out_size("convolution", x.shape[2:]))
    result = _computed(_FORWARD, x, weight, (x.shape, weight.shape, shape), window, groups)
    if result is None:
        return None
    for b in bias:
        result += b.reshape(-1, *[1] * window.ndim)
    return result


def input_grad(g: Any, weight: Any, *, window: Any, groups: int, size: Shape) -> Any:
    """The cotangent of x, of ``size`` after its channels."""
    shape = (g.shape[0], weight.shape[1] * groups, *size)
    return _computed(_INPUT_GRAD, weight, g, (shape, weight.shape, g.shape), window, groups)


def weight_grad(x: Any, g: Any, *, window: Any, groups: int) -> Any:
    """The cotangent of the weight."""
    shape = (g.shape[1], x.shape[1] // groups, *window.kernel)
    return _computed(_WEIGHT_GRAD, x, g, (x.shape, shape, g.shape), window, groups)
