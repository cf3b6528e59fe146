"""cuBLASLt's functions for matrix products, and a handle for each GPU."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

from torchlite.backends import cupy
from torchlite.backends.nvidia.library import Failure, Library

# Enumerators of library_types.h, cublas_api.h and cublasLt.h.
CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, CUDA_R_16BF = 0, 1, 2, 14
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F = 68, 77, 70
CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_STATUS_NOT_SUPPORTED = 15
CUBLASLT_MATMUL_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSB = 3, 4
CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 7, 8
CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 5, 6
CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1
CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 5, 6
CUBLASLT_EPILOGUE_BIAS = 4

FUNCTIONS = {
    "cublasLtGetVersion": "->n",
    "cublasLtGetStatusString": "i->s",
    "cublasLtCreate": "p",
    "cublasLtMatmulDescCreate": "pii",
    "cublasLtMatmulDescSetAttribute": "pipn",
    "cublasLtMatmulDescDestroy": "p",
    "cublasLtMatrixLayoutCreate": "pinnl",
    "cublasLtMatrixLayoutSetAttribute": "pipn",
    "cublasLtMatrixLayoutDestroy": "p",
    "cublasLtMatmulPreferenceCreate": "p",
    "cublasLtMatmulPreferenceSetAttribute": "pipn",
    "cublasLtMatmulPreferenceDestroy": "p",
    "cublasLtMatmulAlgoGetHeuristic": "pppppppipp",
    "cublasLtMatmul": "ppppppppppppppnp",
}


class Algorithm(ctypes.Structure):
    """``cublasLtMatmulHeuristicResult_t``: how a product is to be computed, which begins with what cuBLASLt calls the algorithm."""

    workspaceSize: int
    state: int
    _fields_ = (
        ("algo", ctypes.c_uint64 * 8), ("workspaceSize", ctypes.c_size_t), ("state", ctypes.c_int),
        ("wavesCount", ctypes.c_float), ("reserved", ctypes.c_int * 4),
    )  # fmt: skip


def _file() -> str:
    """The library of the CUDA that CuPy is built for."""
    return f"libcublasLt.so.{cupy().cuda.runtime.runtimeGetVersion() // 1000}"


LIBRARY = Library(
    "cuBLASLt", _file, FUNCTIONS, lambda library, status: str(library.cublasLtGetStatusString(status).decode())
)
call = LIBRARY.call
_handles: dict[int, Any] = {}  # of all threads, by the number of the GPU; None where cuBLASLt refuses it


def version() -> int | None:
    """cuBLASLt's version, such as 131000; None where it is not found, or no CUDA that CuPy could use."""
    try:
        return None if LIBRARY.loaded is None else int(LIBRARY.loaded.cublasLtGetVersion())
    except Exception:  # the CUDA runtime raises its own error types, and only where it can be imported
        return None


def handle(device: int) -> Any:
    """The handle for CuPy's current GPU, which has this number; None where cuBLASLt is missing or refuses this GPU."""
    if LIBRARY.loaded is None:
        return None
    if device not in _handles:
        try:
            _handles[device] = LIBRARY.create("cublasLtCreate")
        except Failure as error:
            _handles[device] = None
            warnings.warn(f"{error}; products on cuda:{device} are CuPy's", RuntimeWarning, stacklevel=2)
    return _handles[device]
