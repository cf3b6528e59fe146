"""The named tuples that functions with several results return: ``torchlite.max(x, 0)`` is a ``return_types.max``.

>>> import torchlite as torch
>>> values, indices = result = torch.max(torch.tensor([[1, 5], [7, 2]]), 0)
>>> result
torch.return_types.max(
values=tensor([7, 5]),
indices=tensor([1, 0]))
>>> result.indices is indices
True
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any


class Results(tuple[Any, ...]):
    """A tuple whose elements also have names; made, as in PyTorch, from one sequence of them."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __new__(cls, values: Any) -> Results:  # noqa: D102
        result = super().__new__(cls, values)
        if len(result) != len(cls.__match_args__):
            raise TypeError(
                f"{cls.__module__}.{cls.__name__}() takes a {len(cls.__match_args__)}-sequence "
                f"({len(result)}-sequence given)"
            )
        return result

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self.__match_args__, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{fields})"


def _results(name: str, *fields: str) -> type[Results]:
    attributes: dict[str, Any] = {field: property(itemgetter(i)) for i, field in enumerate(fields)}
    return type(name, (Results,), {"__slots__": (), "__module__": __name__, "__match_args__": fields, **attributes})


_ORDERED = ("values", "indices")
cummax = _results("cummax", *_ORDERED)
cummin = _results("cummin", *_ORDERED)
kthvalue = _results("kthvalue", *_ORDERED)
max = _results("max", *_ORDERED)
median = _results("median", *_ORDERED)
min = _results("min", *_ORDERED)
mode = _results("mode", *_ORDERED)
nanmedian = _results("nanmedian", *_ORDERED)
sort = _results("sort", *_ORDERED)
topk = _results("topk", *_ORDERED)

aminmax = _results("aminmax", "min", "max")
frexp = _results("frexp", "mantissa", "exponent")
histogram = _results("histogram", "hist", "bin_edges")
histogramdd = _results("histogramdd", "hist", "bin_edges")

geqrf = _results("geqrf", "a", "tau")
lu_unpack = _results("lu_unpack", "P", "L", "U")
qr = _results("qr", "Q", "R")
slogdet = _results("slogdet", "sign", "logabsdet")
svd = _results("svd", "U", "S", "V")
triangular_solve = _results("triangular_solve", "solution", "cloned_coefficient")
linalg_cholesky_ex = _results("linalg_cholesky_ex", "L", "info")
linalg_eig = _results("linalg_eig", "eigenvalues", "eigenvectors")
linalg_eigh = _results("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_inv_ex = _results("linalg_inv_ex", "inverse", "info")
linalg_ldl_factor = _results("linalg_ldl_factor", "LD", "pivots")
linalg_ldl_factor_ex = _results("linalg_ldl_factor_ex", "LD", "pivots", "info")
linalg_lstsq = _results("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_lu = _results("linalg_lu", "P", "L", "U")
linalg_lu_factor = _results("linalg_lu_factor", "LU", "pivots")
linalg_lu_factor_ex = _results("linalg_lu_factor_ex", "LU", "pivots", "info")
linalg_qr = _results("linalg_qr", "Q", "R")
linalg_slogdet = _results("linalg_slogdet", "sign", "logabsdet")
linalg_solve_ex = _results("linalg_solve_ex", "result", "info")
linalg_svd = _results("linalg_svd", "U", "S", "Vh")
