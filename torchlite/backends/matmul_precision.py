"""How precisely float32 matrices are multiplied: in full, on a GPU in TF32 (10 bits of mantissa), on a CPU in bfloat16.

On a CPU "medium" rounds the numbers to bfloat16 before they are multiplied, where matrices are large enough for compiled
products; "high" is as "highest" there, and compiled functions always multiply in full. In full is also what they do in tile
registers, as sums of three numbers of bfloat16 (``gemm_tiles.h``), where a CPU has these and
``torch.backends.mkldnn.matmul.fp32_precision`` is not "ieee". CuPy reads the environment variable
``CUPY_TF32`` at the first product of a dtype; later its setting has to be changed where it then keeps it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"
_CPU_PRECISIONS = ("none", "ieee", "tf32", "bf16")
_cpu_precision = "none"


def get_float32_matmul_precision() -> str:
    """The precision of products of float32 matrices: "highest", "high" or "medium"."""
    return _precision


def set_float32_matmul_precision(precision: str) -> None:
    """Let float32 matrices be multiplied in full ("highest"), or faster.

    "high" and "medium" are TF32 on a GPU; on a CPU "medium" is bfloat16 with sums in float32.

    Warns of any other word, which changes nothing, as in PyTorch.
    """
    global _precision
    if precision not in _PRECISIONS:
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; set_float32_matmul_precision has no effect",
            stacklevel=2,
        )
        return
    _precision = precision
    _let_cupy(precision != "highest")


def get_cpu_precision() -> str:
    """What `set_cpu_precision` has set; "none" at first."""
    return _cpu_precision


def set_cpu_precision(precision: str) -> None:
    """Let functions that are compiled from now on multiply float32 matrices by fused multiply-adds alone ("ieee"), or not.

    Raises:
        RuntimeError: for a word that PyTorch does not know.
    """
    global _cpu_precision
    if precision not in _CPU_PRECISIONS:
        raise RuntimeError(f"unknown precision {precision!r}: expected one of {', '.join(map(repr, _CPU_PRECISIONS))}")
    _cpu_precision = precision


def splits_float32() -> bool:
    """Whether compiled functions may multiply float32 matrices as sums of three numbers of bfloat16."""
    return _cpu_precision != "ieee"


def _let_cupy(use_tf32: bool) -> None:
    os.environ["CUPY_TF32"] = str(int(use_tf32))
    products: Any = sys.modules.get("cupy._core._routines_linalg")
    if products is not None:
        kind = products.COMPUTE_TYPE_TF32 if use_tf32 else products.COMPUTE_TYPE_DEFAULT
        for dtype in ("f", "F"):
            products.set_compute_type(dtype, kind)
