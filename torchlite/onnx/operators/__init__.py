"""What operators become in ONNX: a table of rules by operator, a file for each family."""

from torchlite.onnx.operators import (
    elementwise,
    indexing,
    normalization,
    products,
    recurrent,
    reductions,
    shapes,
    windows,
)
from torchlite.onnx.writer import Rule

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **indexing.RULES,
    **normalization.RULES,
    **products.RULES,
    **recurrent.RULES,
    **reductions.RULES,
    **shapes.RULES,
    **windows.RULES,
}
"""For each operator a function of the writer and the operation, that gives the names of its results."""

__all__ = ["RULES"]
