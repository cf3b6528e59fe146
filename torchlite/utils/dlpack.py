"""DLPack by the names of the time before ``Tensor.__dlpack__``."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.ops.exchange import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """The tensor as a DLPack capsule that shares memory and can be taken up once.

    >>> import torchlite as torch
    >>> from torchlite.utils.dlpack import from_dlpack, to_dlpack
    >>> from_dlpack(to_dlpack(torch.tensor([1, 2])))
    tensor([1, 2])
    """
    return tensor.__dlpack__()
