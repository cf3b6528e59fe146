"""The choice among PyTorch's implementations of attention, for programs that make it: here there is one."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Sequence


class SDPBackend(enum.Enum):
    """PyTorch's implementations of scaled dot product attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Iterator[None]:  # noqa: ARG001
    """Accept a choice of implementations inside the block; `scaled_dot_product_attention` has one and computes the same.

    Raises:
        TypeError: for a choice that is no `SDPBackend` or list of them.
    """
    chosen = [backends] if isinstance(backends, SDPBackend) else list(backends)
    for backend in chosen:
        if not isinstance(backend, SDPBackend):
            raise TypeError(f"sdpa_kernel: expected an SDPBackend or a list of them, got {type(backend).__name__}")
    yield
