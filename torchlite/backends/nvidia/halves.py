"""float16 and bfloat16 in CUDA C++: their types, and functions that make floats of them and round floats to them."""

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
