"""Matrix products by cuBLASLt: of floats, in batches, and with a bias in the product's own store.

Unlike CuPy's they can be recorded in a CUDA graph: the stream and the workspace are arguments of each call. cuBLASLt's
activations are not used: its ReLU is documented as max(x, 0), which may make 0 of NaN.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any, NamedTuple

import numpy as np

from torchlite.backends import array_module, cupy, gpu
from torchlite.backends.matmul_precision import get_float32_matmul_precision
from torchlite.backends.nvidia import cublaslt
from torchlite.backends.nvidia.cublaslt import LIBRARY, Algorithm, call
from torchlite.backends.nvidia.library import Descriptor, Failure

_NUMBERS = {
    "float32": cublaslt.CUDA_R_32F, "float64": cublaslt.CUDA_R_64F, "float16": cublaslt.CUDA_R_16F,
    "bfloat16": cublaslt.CUDA_R_16BF,
}  # fmt: skip
_LARGEST_WORKSPACE = 32 << 20  # as NVIDIA recommends for Hopper; what is taken is what the algorithm needs
_BEST_ALIGNMENT = 256
_MOST_PLANS = 1024


@functools.cache
def _type(dtype: Any) -> int | None:
    """cuBLASLt's number of a type that it multiplies."""
    return _NUMBERS.get(str(dtype))


class _Operand(NamedTuple):
    """How a matrix, or each of a batch, lies in memory.

    Attributes:
        transposed: whether its columns, and not its rows, are what lies without gaps.
        lead: from one row (or column) to the next, in elements.
        batch_stride: from one matrix to the next.
        alignment: of its address, in bytes.
    """

    transposed: bool
    lead: int
    batch_stride: int
    alignment: int


class _Problem(NamedTuple):
    """What an algorithm is chosen for: (batch,) (rows, inner) times (inner, columns)."""

    device: int
    dtype: Any
    batch: int
    rows: int
    inner: int
    columns: int
    left: _Operand
    right: _Operand
    biased: bool
    compute: int


class _Descriptor(Descriptor):
    """One of cuBLASLt's; ``kind`` is MatmulDesc, MatrixLayout or MatmulPreference."""

    def __init__(self, kind: str, *arguments: Any) -> None:
        super().__init__(LIBRARY, f"cublasLt{kind}Create", f"cublasLt{kind}Destroy", *arguments)
        self._kind = kind

    def set(self, attribute: int, value: Any) -> None:
        """Set an attribute to a number of ctypes."""
        call(f"cublasLt{self._kind}SetAttribute", self.pointer, attribute, ctypes.byref(value), ctypes.sizeof(value))


class _Plan:
    """The descriptors of a product and its algorithm.

    cuBLASLt's matrices are column-major, and the result here is row-major. So what is computed is its transpose, the right
    operand's times the left's, both of which lie there as they are.
    """

    def __init__(self, problem: _Problem) -> None:
        self.problem = p = problem
        self.lock = threading.Lock()  # the bias is an attribute of the product's description
        scale = ctypes.c_double if p.dtype == np.float64 else ctypes.c_float
        self.one, self.zero = ctypes.byref(scale(1)), ctypes.byref(scale(0))
        self.product = _Descriptor(
            "MatmulDesc", p.compute, cublaslt.CUDA_R_64F if scale is ctypes.c_double else cublaslt.CUDA_R_32F
        )
        for attribute, operand in (
            (cublaslt.CUBLASLT_MATMUL_DESC_TRANSA, p.right), (cublaslt.CUBLASLT_MATMUL_DESC_TRANSB, p.left),
        ):  # fmt: skip
            operation = cublaslt.CUBLAS_OP_T if operand.transposed else cublaslt.CUBLAS_OP_N
            self.product.set(attribute, ctypes.c_int32(operation))
        if p.biased:
            epilogue = ctypes.c_uint32(cublaslt.CUBLASLT_EPILOGUE_BIAS)
            self.product.set(cublaslt.CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue)
        result = _Operand(False, p.columns, p.rows * p.columns, _BEST_ALIGNMENT)
        self.right = self._layout(p.inner, p.columns, p.right)
        self.left = self._layout(p.rows, p.inner, p.left)
        self.result = self._layout(p.rows, p.columns, result)
        self.algorithm: Any = None  # by reference
        self.workspace = 0
        self.supported = True

    def _layout(self, rows: int, columns: int, operand: _Operand) -> _Descriptor:
        along, across = (rows, columns) if operand.transposed else (columns, rows)
        made = _Descriptor("MatrixLayout", _type(self.problem.dtype), along, across, operand.lead)
        if self.problem.batch > 1:
            made.set(cublaslt.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, ctypes.c_int32(self.problem.batch))
            stride = ctypes.c_int64(operand.batch_stride)
            made.set(cublaslt.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride)
        return made

    def _choose(self, handle: Any) -> None:
        """Take the algorithm that the heuristics put first."""
        preference = _Descriptor("MatmulPreference")
        preference.set(cublaslt.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, ctypes.c_uint64(_LARGEST_WORKSPACE))
        for attribute, operand in (
            (cublaslt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, self.problem.right),
            (cublaslt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, self.problem.left),
        ):
            preference.set(attribute, ctypes.c_uint32(operand.alignment))
        found, count = Algorithm(), ctypes.c_int()
        layouts = (self.right, self.left, self.result, self.result)
        try:
            call(
                "cublasLtMatmulAlgoGetHeuristic", handle, self.product.pointer, *(x.pointer for x in layouts),
                preference.pointer, 1, ctypes.byref(found), ctypes.byref(count),
            )  # fmt: skip
        except Failure as error:
            if error.status != cublaslt.CUBLAS_STATUS_NOT_SUPPORTED:
                raise
        self.supported = count.value > 0 and found.state == 0
        self.algorithm, self.workspace = ctypes.byref(found), found.workspaceSize

    def run(self, xp: Any, handle: Any, left: Any, right: Any, bias: Any, result: Any) -> bool:
        """Compute ``result``; False where there is no algorithm for it."""
        with self.lock:
            if bias is not None:
                self.product.set(cublaslt.CUBLASLT_MATMUL_DESC_BIAS_POINTER, ctypes.c_void_p(bias.data.ptr))
            if self.algorithm is None:
                self._choose(handle)
            if not self.supported:
                return False
            size, out = self.workspace, result.data.ptr
            workspace = xp.cuda.alloc(size) if size else None
            call(
                "cublasLtMatmul", handle, self.product.pointer, self.one, right.data.ptr, self.right.pointer, left.data.ptr,
                self.left.pointer, self.zero, out, self.result.pointer, out, self.result.pointer,
                self.algorithm, None if workspace is None else workspace.ptr, size, xp.cuda.get_current_stream().ptr,
            )  # fmt: skip
        return True


def _compute(dtype: Any) -> int:
    """In what sums are formed."""
    if dtype == np.float64:
        return cublaslt.CUBLAS_COMPUTE_64F
    if dtype == np.float32 and get_float32_matmul_precision() != "highest":
        return cublaslt.CUBLAS_COMPUTE_32F_FAST_TF32
    return cublaslt.CUBLAS_COMPUTE_32F


class _Array(NamedTuple):
    """A matrix or a batch of them: its shape, strides in bytes, and alignment of its address."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    alignment: int


def _array(array: Any) -> _Array:
    pointer = array.data.ptr
    return _Array(array.shape, array.strides, min(pointer & -pointer, _BEST_ALIGNMENT))


def _operand(array: _Array, size: int) -> tuple[_Operand, bool]:
    """How an array of elements of ``size`` bytes lies, and whether as a copy, because rows and columns both have gaps."""
    (rows, columns), lead = array.shape[-2:], _lead(array, size)
    batched = len(array.shape) == 3 and array.shape[0] > 1
    if lead is None:
        return _Operand(False, columns, rows * columns if batched else 0, _BEST_ALIGNMENT), True
    return _Operand(*lead, array.strides[0] // size if batched else 0, array.alignment), False


def _lead(array: _Array, size: int) -> tuple[bool, int] | None:
    """Whether columns and not rows lie without gaps, and what is from one to the next; None where neither does."""
    (rows, columns), (down, across) = array.shape[-2:], array.strides[-2:]
    if (across == size or columns == 1) and (down >= columns * size or rows == 1):
        return False, columns if rows == 1 else down // size
    if (down == size or rows == 1) and (across >= rows * size or columns == 1):
        return True, rows if columns == 1 else across // size
    return None


class _Way(NamedTuple):
    """How arrays are multiplied.

    Attributes:
        plan: of their product.
        left_copied, right_copied: whether an array has gaps and is copied first.
        shape: of the result.
    """

    plan: _Plan
    left_copied: bool
    right_copied: bool
    shape: tuple[int, ...]


@functools.lru_cache(_MOST_PLANS)
def _way(device: int, dtype: Any, left: _Array, right: _Array, biased: bool, compute: int) -> _Way | None:
    """How arrays like these are multiplied; None where they can't be, or have no elements."""
    (rows, inner), columns = left.shape[-2:], right.shape[-1]
    if 0 in left.shape or 0 in right.shape or right.shape[-2] != inner:
        return None
    lead = (max(left.shape[0], right.shape[0]),) if len(left.shape) == 3 else ()
    (lying, left_copied), (beside, right_copied) = _operand(left, dtype.itemsize), _operand(right, dtype.itemsize)
    batch = lead[0] if lead else 1
    problem = _Problem(device, dtype, batch, rows, inner, columns, lying, beside, biased, compute)
    return _Way(_Plan(problem), left_copied, right_copied, (*lead, rows, columns))


def _product(left: Any, right: Any, bias: Any) -> Any:
    """The product of two matrices or of two batches, one of which may have length 1; None where it is not cuBLASLt's."""
    dtype = left.dtype
    if _type(dtype) is None or right.dtype != dtype or (bias is not None and bias.dtype != dtype):
        return None
    xp, device = cupy(), left.device.id
    with gpu(device):
        handle = cublaslt.handle(device)
        if handle is None:
            return None
        way = _way(device, dtype, _array(left), _array(right), bias is not None, _compute(dtype))
        if way is None:
            return None
        if way.left_copied:
            left = xp.ascontiguousarray(left)
        if way.right_copied:
            right = xp.ascontiguousarray(right)
        result = xp.empty(way.shape, dtype)
        bias = None if bias is None else xp.ascontiguousarray(bias)
        return result if way.plan.run(xp, handle, left, right, bias, result) else None


def linear(x: Any, weight: Any, bias: Any) -> Any:
    """x Wᵀ + b of a batch of rows."""
    if bias.shape != weight.shape[:1]:
        return None
    return _product(x, weight.T, bias)


def matmul(x: Any, y: Any) -> Any:
    """The product over the last two dimensions, the others broadcast."""
    if x.ndim == y.ndim == 2:
        return _product(x, y, None)
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    result = _product(_batched(x, lead), _batched(y, lead), None)
    return None if result is None else result.reshape(*lead, *result.shape[-2:])


def _batched(x: Any, lead: tuple[int, ...]) -> Any:
    """With one dimension before the matrices' own; the one matrix that all of a batch share stays one."""
    if x.size == x.shape[-2] * x.shape[-1]:
        return x.reshape(1, *x.shape[-2:])
    xp = array_module(x)
    return xp.broadcast_to(x, (*lead, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
