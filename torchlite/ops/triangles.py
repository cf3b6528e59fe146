"""The triangles of matrices."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor, method
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import Op, Sample, register
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.mutation import inplace


def _run(xp: Any, x: Any, *, upper: bool, diagonal: int) -> Any:
    result = xp.triu(x, diagonal) if upper else xp.tril(x, diagonal)
    return result.astype(x.dtype, copy=False)  # CuPy's of bfloat16 are float32


_triangle: Op = register(
    Op(
        "triangle",
        "elementwise",
        run=_run,
        infer=lambda x, *, upper, diagonal: x,  # noqa: ARG005
        vjp=(lambda g, _out, _x, upper, diagonal: apply(_triangle, (g,), {"upper": upper, "diagonal": diagonal}),),
        onnx="Trilu",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"upper": True, "diagonal": 0}),
            Sample((rng.normal(size=(2, 4, 3)),), {"upper": False, "diagonal": -1}),
            Sample((rng.normal(size=(2, 0)),), {"upper": False, "diagonal": 1}),
        ],
        doc="Matrices with 0 below (above) a diagonal.",
    )
)


@takes_integers
def _triangle_of(name: str, x: Tensor, upper: bool, diagonal: int) -> Tensor:
    if x.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got shape {list(x.shape)}")
    return apply(_triangle, (x,), {"upper": upper, "diagonal": diagonal})


@takes_out_as(OutDtype.SAME)
@method()
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, 0 above the diagonal."""
    return _triangle_of("tril", input, False, diagonal)


@takes_out_as(OutDtype.SAME)
@method()
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, 0 below the diagonal."""
    return _triangle_of("triu", input, True, diagonal)


method("tril_")(inplace(tril))
method("triu_")(inplace(triu))
