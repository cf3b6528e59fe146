"""Every primitive operator, one family a file; importing this package attaches them all to Tensor."""

from torchlite.ops import (
    arithmetic,
    comparison,
    contraction,
    conversion,
    creation,
    indexing,
    joining,
    mutation,
    pointwise,
    random,
    reduction,
    scan,
    softmax,
    standardize,
    views,
    windows,
)

__all__ = [
    "arithmetic",
    "comparison",
    "contraction",
    "conversion",
    "creation",
    "indexing",
    "joining",
    "mutation",
    "pointwise",
    "random",
    "reduction",
    "scan",
    "softmax",
    "standardize",
    "views",
    "windows",
]
