"""``torch.backends.cudnn``: whether and how convolutions on a GPU go through cuDNN.

Attributes:
    enabled: whether they do; otherwise they are products of matrices.
    benchmark: whether the algorithms for a convolution are timed at its first call, rather than chosen by cuDNN's heuristics.
        Which is fastest can differ from run to run, and then so do the last bits of results.
    benchmark_limit: how many are timed at most; 0 or None for all.
    deterministic: whether only algorithms are taken that give the same numbers each time.
    allow_tf32: whether float32 may be multiplied with 10 bits of mantissa on tensor cores, as PyTorch does where nothing is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

enabled = True
benchmark = False
benchmark_limit: int | None = 10
deterministic = False
allow_tf32 = True

_DTYPES = ("float16", "float32", "float64", "bfloat16")


def is_available() -> bool:
    """Whether cuDNN is found."""
    return version() is not None


def version() -> int | None:
    """cuDNN's version, such as 92801 for 9.28.1; None where it is not found."""
    from torchlite.backends.nvidia import cudnn

    return cudnn.version()


def is_acceptable(tensor: Any) -> bool:
    """Whether cuDNN computes with a tensor like this, on this device and of this dtype, and is enabled."""
    return (
        enabled
        and tensor.device.type == "cuda"
        and str(tensor.dtype).removeprefix("torch.") in _DTYPES
        and is_available()
    )


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int | None = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """Other settings inside the block."""
    inside = {
        "enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit, "deterministic": deterministic,
        "allow_tf32": allow_tf32,
    }  # fmt: skip
    before = {name: globals()[name] for name in inside}
    globals().update(inside)
    try:
        yield
    finally:
        globals().update(before)
