"""How precisely float32 numbers are multiplied: in full, on a GPU in TF32 (10 bits of mantissa), on a CPU in bfloat16.

On a CPU "medium" rounds the numbers to bfloat16 before they are multiplied, where matrices are large enough for compiled
products; "high" is as "highest" there, and compiled functions always multiply in full. In full is also what they do in tile
registers, as sums of three numbers of bfloat16 (``split_float32.h``), where a CPU has these and ``fp32_precision`` of
``torch.backends.mkldnn.matmul``, or of ``conv`` for convolutions, is not "ieee"; elsewhere convolutions then multiply sums of
neighbours (``winograd.h``). CuPy reads the environment variable
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
_cpu_precision = {"matmul": "none", "conv": "none"}


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


def get_cpu_precision(kind: str) -> str:
    """What `set_cpu_precision` has set; "none" at first."""
    return _cpu_precision[kind]


def set_cpu_precision(kind: str, precision: str) -> None:
    """Let compiled functions multiply float32 numbers by fused multiply-adds alone ("ieee"), or not.

    Args:
        kind: "matmul" for products of matrices, or "conv" for convolutions.
        precision: the word.

    Raises:
        RuntimeError: for a word that PyTorch does not know.
    """
    if precision not in _CPU_PRECISIONS:
        raise RuntimeError(f"unknown precision {precision!r}: expected one of {', '.join(map(repr, _CPU_PRECISIONS))}")
    _cpu_precision[kind] = precision


def splits_float32(kind: str) -> bool:
    """Whether compiled functions may multiply other numbers than are given: parts in bfloat16 of float32, or sums of neighbours."""
    return _cpu_precision[kind] != "ieee"


def _let_cupy(use_tf32: bool) -> None:
    os.environ["CUPY_TF32"] = str(int(use_tf32))
    products: Any = sys.modules.get("cupy._core._routines_linalg")
    if products is not None:
        kind = products.COMPUTE_TYPE_TF32 if use_tf32 else products.COMPUTE_TYPE_DEFAULT
        for dtype in ("f", "F"):
            products.set_compute_type(dtype, kind)
