"""A split in memory, and a fingerprint of its contents."""

from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np


class Arrays(NamedTuple):
    """The samples of one split.

    Shape:
        inputs: (N, …) as the card's `input`, for images (N, channels, height, width) of uint8.
        targets: (N,) of int64, class indices.
    """

    inputs: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]


def fingerprint(arrays: Arrays) -> str:
    """The SHA-256 (hex) of dtypes, shapes and contents: equal exactly for equal arrays.

    Memory layout and byte order do not matter.

    >>> row, column = Arrays(np.zeros((1, 2)), np.zeros(1)), Arrays(np.zeros((2, 1)), np.zeros(1))
    >>> fingerprint(row) == fingerprint(column)
    False
    """
    digest = sha256()
    for name, array in zip(arrays._fields, arrays, strict=True):
        # A fixed byte order, so that the fingerprint is the same on every machine.
        little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        header = f"{name} {little_endian.dtype.str} {array.shape}\n"
        digest.update(header.encode())
        digest.update(little_endian.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
