"""The norm of many gradients together, and scaling them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite.backends.native.library import GRAIN, Family, objects

Arrays = Sequence[np.ndarray[Any, Any]]

C = Family(
    "arrays.h", "lists.h", "gradients.c", squares="pna->d", scale="pnf->i", understands="oan->i"
)  # fmt: skip


def norm(arrays: Arrays) -> float | None:
    """The square root of the sum of all squares, each rounded to double; None where an array is not dense or not float32."""
    if not C.understands_arrays:
        return None
    of_tasks = np.empty(sum(a.size // GRAIN + 1 for a in arrays))
    squares = C.squares(objects(arrays), len(arrays), of_tasks)
    return None if squares < 0 else float(squares) ** 0.5


def scale(arrays: Arrays, factor: float) -> bool:
    """Multiply all numbers by a factor; whether that is done, which it is not as above and where arrays share memory."""
    return bool(C.understands_arrays and C.scale(objects(arrays), len(arrays), factor))
