"""Sums of cotangents by the numbers of the rows that they belong to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchlite.backends.native.library import Family

Array = np.ndarray[Any, Any]

C = Family(
    "embeddings.h", "embeddings.c", embedding_rows="aaannn->i", embedding_sums="aaannn->i"
)  # fmt: skip


def index_add(values: Array, *numbers: Array, spec: tuple[str, ...], shape: tuple[int, ...]) -> Array | None:
    """Zeros of ``shape`` to whose rows those of ``values`` are added; None for a number outside."""
    if spec[0] != "tensor" or len(numbers) != 1 or numbers[0].dtype != np.int64 or values.dtype != np.float32:
        return None
    width = math.prod(shape[1:])
    if values.size != numbers[0].size * width:  # broadcast values
        return None
    out = np.empty(shape, values.dtype)
    arrays = np.ascontiguousarray(values), np.ascontiguousarray(numbers[0])
    return out if C.embedding_sums(*arrays, out, numbers[0].size, shape[0], width) else None
