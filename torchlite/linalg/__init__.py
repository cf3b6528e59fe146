"""Linear algebra of (batches of) matrices: ``torchlite.linalg``, one topic a file.

Norms and products are composed of operators; what LAPACK computes stands in `torchlite.ops`, beside what NumPy lacks.
"""

from torchlite.composites.products import multi_dot
from torchlite.errors import LinAlgError
from torchlite.linalg.determinants import det, slogdet
from torchlite.linalg.elimination import lu, lu_factor, lu_factor_ex, lu_solve
from torchlite.linalg.ldl import ldl_factor, ldl_factor_ex, ldl_solve
from torchlite.linalg.norms import cond, matrix_norm, norm, vector_norm
from torchlite.linalg.orthogonal import householder_product, qr
from torchlite.linalg.positive_definite import cholesky, cholesky_ex
from torchlite.linalg.products import cross, diagonal, matrix_exp, matrix_power, vander, vecdot
from torchlite.linalg.pseudoinverse import lstsq, matrix_rank, pinv
from torchlite.linalg.solutions import inv, inv_ex, solve, solve_ex, solve_triangular, tensorinv, tensorsolve
from torchlite.linalg.spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals
from torchlite.ops.contraction import matmul

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]
