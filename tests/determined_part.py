"""What is determined of eigenvectors and singular vectors, which are unique up to sign only.

LAPACK's choice depends on its version and on the order of its arithmetic, a GPU's library makes its own. So sizes are
compared. Of each name: a function of the results, tensors of whichever library.
"""

from collections.abc import Callable
from typing import Any


def _sizes_of_vectors(values: Any, vectors: Any) -> Any:
    return values, vectors.abs()


def _singular_vectors(u: Any, s: Any, v: Any) -> Any:
    """Of full matrices, the vectors without a singular value are any orthonormal basis of what remains."""
    k = s.shape[-1]
    return u[..., :k].abs(), s, v[..., :k].abs(), u.mH @ u, v.mH @ v


def _with_rows(u: Any, s: Any, vh: Any) -> Any:
    return _singular_vectors(u, s, vh.mH)


OF_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linalg.eig": _sizes_of_vectors,
    "linalg.eigh": _sizes_of_vectors,
    "svd": _singular_vectors,
    "linalg.svd": _with_rows,
}
OF_OPERATORS: dict[str, Callable[..., Any]] = {"eig": _sizes_of_vectors, "eigh": _sizes_of_vectors, "svd": _with_rows}
