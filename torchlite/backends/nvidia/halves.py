"""Floats in CUDA C++: their types, and functions that make floats of float16 and bfloat16 and round floats to them."""

import functools
from typing import Any

TYPES = {"float16": "__half", "bfloat16": "__nv_bfloat16"}
PRELUDE = {
    "float16": """\
#include <cuda_fp16.h>
__device__ inline float widened(__half x) { return __half2float(x); }
__device__ inline __half as_float16(float x) { return __float2half_rn(x); }
""",
    "bfloat16": """\
#include <cuda_bf16.h>
__device__ inline float widened(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline __nv_bfloat16 as_bfloat16(float x) { return __float2bfloat16_rn(x); }
""",
}

FLOATS = {"float32": "float", "float64": "double", **TYPES}
_IDENTITY = """\
__device__ inline {type} widened({type} x) {{ return x; }}
__device__ inline {type} as_{dtype}({type} x) {{ return x; }}
"""


@functools.cache
def name(dtype: Any) -> str:
    """The name of a dtype, for which NumPy takes some microseconds."""
    return str(dtype)


def prelude(dtype: str) -> str:
    """``widened`` and ``as_...`` of any of the types; wide ones stay what they are."""
    return PRELUDE.get(dtype) or _IDENTITY.format(type=FLOATS[dtype], dtype=dtype)
