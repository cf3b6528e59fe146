"""float16 and bfloat16: what an operator gives is of the dtype that its shape inference says."""

import numpy as np
import pytest

import torchlite.ops  # noqa: F401 - registers the operators
from torchlite import dtypes
from torchlite.ir import REGISTRY, Aval, Op

HALVES = [dtypes.float16, dtypes.bfloat16]
# They need integers, complex numbers of twice the size, or LAPACK, none of which there is for half types.
WITHOUT_HALVES = {
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_left_shift", "bitwise_right_shift", "gcd",
    "lcm", "view_as_complex", "fft_real_to_half", "matrix_exp", "inverse", "solve_matrix", "determinant",
    "log_determinant", "cholesky_factor", "lu_factor", "solve_triangle", "ldl_factor", "ldl_unpack", "qr",
    "householder_factor", "eig", "eigvals", "eigh", "eigvalsh", "svd", "svdvals", "pinv",
}  # fmt: skip
OPERATORS = [op for op in REGISTRY.values() if op.samples is not None and op.name not in WITHOUT_HALVES]


@pytest.mark.parametrize("dtype", HALVES, ids=[d.name for d in HALVES])
@pytest.mark.parametrize("op", OPERATORS, ids=[op.name for op in OPERATORS])
def test_the_dtype_is_the_one_inferred(op: Op, dtype: dtypes.dtype) -> None:
    for sample in op.samples(np.random.default_rng(0)):  # type: ignore[misc]
        arrays = [np.asarray(a) for a in sample.arrays]
        arrays = [a.astype(dtype.numpy) if a.dtype == np.float64 else a for a in arrays]
        if not any(a.dtype == dtype.numpy for a in arrays):
            continue
        with np.errstate(all="ignore"):
            results = op.run(np, *arrays, **sample.params)
        avals = op.infer(*(Aval(a.shape, a.dtype) for a in arrays), **sample.params)
        several = (results, avals) if type(avals) is tuple else ((results,), (avals,))
        for result, aval in zip(*several, strict=True):
            assert result.dtype == aval.dtype
            assert result.shape == aval.shape


def test_the_operators_left_out_exist() -> None:
    assert REGISTRY.keys() >= WITHOUT_HALVES
