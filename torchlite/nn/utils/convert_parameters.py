"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from torchlite._tensor import Tensor
from torchlite.ops.joining import cat


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of ``parameters``, one after the other."""
    return cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let ``parameters`` look at consecutive parts of ``vec``.

    Raises:
        TypeError: when ``vec`` is no Tensor.
        RuntimeError: when it has fewer elements than the parameters together.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: expected a Tensor, got {type(vec).__name__}")
    targets = list(parameters)
    total = sum(parameter.numel() for parameter in targets)
    if total > vec.numel():
        raise RuntimeError(
            f"vector_to_parameters: the vector has {vec.numel()} elements and the parameters have {total}"
        )
    start = 0
    for parameter in targets:
        end = start + parameter.numel()
        parameter.data = vec[start:end].view(parameter.shape).data
        start = end
