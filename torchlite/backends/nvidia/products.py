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

from torchlite.backends import array_module
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
        self.algorithm: Algorithm | None = None
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
        self.algorithm = found

    def run(self, xp: Any, handle: Any, left: Any, right: Any, bias: Any, result: Any) -> bool:
        """Compute ``result``; False where there is no algorithm for it."""
        with self.lock:
            if bias is not None:
                self.product.set(cublaslt.CUBLASLT_MATMUL_DESC_BIAS_POINTER, ctypes.c_void_p(bias.data.ptr))
            if self.algorithm is None:
                self._choose(handle)
            if not self.supported:
                return False
            assert self.algorithm is not None
            size, out = self.algorithm.workspaceSize, result.data.ptr
            workspace = xp.empty(size, np.uint8) if size else None
            call(
                "cublasLtMatmul", handle, self.product.pointer, self.one, right.data.ptr, self.right.pointer, left.data.ptr,
                self.left.pointer, self.zero, out, self.result.pointer, out, self.result.pointer,
                ctypes.byref(self.algorithm), None if workspace is None else workspace.data.ptr, size,
                xp.cuda.get_current_stream().ptr,
            )  # fmt: skip
        return True


_planned = functools.lru_cache(_MOST_PLANS)(_Plan)


def _compute(dtype: Any) -> int:
    """In what sums are formed."""
    if dtype == np.float64:
        return cublaslt.CUBLAS_COMPUTE_64F
    if dtype == np.float32 and get_float32_matmul_precision() != "highest":
        return cublaslt.CUBLAS_COMPUTE_32F_FAST_TF32
    return cublaslt.CUBLAS_COMPUTE_32F


def _laid(xp: Any, array: Any) -> tuple[Any, _Operand]:
    """A matrix or a batch of them, copied where rows and columns both have gaps, and how it lies."""
    lead = _lead(array)
    if lead is None:
        array = xp.ascontiguousarray(array)
        lead = (False, array.shape[-1])
    step = array.strides[0] // array.itemsize if array.ndim == 3 and array.shape[0] > 1 else 0
    pointer = array.data.ptr
    return array, _Operand(*lead, step, min(pointer & -pointer, _BEST_ALIGNMENT))


def _lead(array: Any) -> tuple[bool, int] | None:
    """Whether columns and not rows lie without gaps, and what is from one to the next; None where neither does."""
    (rows, columns), (down, across), size = array.shape[-2:], array.strides[-2:], array.itemsize
    if (across == size or columns == 1) and (down >= columns * size or rows == 1):
        return False, columns if rows == 1 else down // size
    if (down == size or rows == 1) and (across >= rows * size or columns == 1):
        return True, rows if columns == 1 else across // size
    return None


def _product(left: Any, right: Any, bias: Any) -> Any:
    """The product of two matrices or of two batches, one of which may have length 1; None where it is not cuBLASLt's."""
    if _type(left.dtype) is None or right.dtype != left.dtype or (bias is not None and bias.dtype != left.dtype):
        return None
    (rows, inner), columns = left.shape[-2:], right.shape[-1]
    if 0 in left.shape or 0 in right.shape or right.shape[-2] != inner:
        return None
    xp, device = array_module(left), left.device.id
    with xp.cuda.Device(device):
        handle = cublaslt.handle()
        if handle is None:
            return None
        lead = (max(left.shape[0], right.shape[0]),) if left.ndim == 3 else ()
        batch = lead[0] if lead else 1
        (left, lying), (right, beside) = _laid(xp, left), _laid(xp, right)
        compute, biased = _compute(left.dtype), bias is not None
        problem = _Problem(device, left.dtype, batch, rows, inner, columns, lying, beside, biased, compute)
        result = xp.empty((*lead, rows, columns), left.dtype)
        bias = None if bias is None else xp.ascontiguousarray(bias)
        return result if _planned(problem).run(xp, handle, left, right, bias, result) else None


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
