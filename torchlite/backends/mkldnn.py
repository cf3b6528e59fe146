"""``torch.backends.mkldnn``: settings of a library that is not used here; kept, and without effect but for ``matmul`` and ``conv``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torchlite.backends.matmul_precision import get_cpu_precision, set_cpu_precision

enabled = True
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False: oneDNN is not used."""
    return False


class _Products:
    """Settings of one kind of products on a CPU."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    @property
    def fp32_precision(self) -> str:
        """How compiled functions multiply float32 numbers.

        By "none" also as sums of three numbers of bfloat16, whose products err less than those of float32, or in convolutions
        as sums of neighbours (Winograd), whose products are fewer, where that is faster; by "ieee" only the numbers themselves
        by fused multiply-adds. "tf32" and "bf16" would allow more, and are as "none".
        """
        return get_cpu_precision(self._kind)

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        set_cpu_precision(self._kind, precision)


matmul = _Products("matmul")
"""Products of matrices."""
conv = _Products("conv")
"""Convolutions."""


@contextmanager
def flags(enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True) -> Iterator[None]:
    """Other settings inside the block."""
    inside = {"enabled": enabled, "deterministic": deterministic, "allow_tf32": allow_tf32}
    before = {name: globals()[name] for name in inside}
    globals().update(inside)
    try:
        yield
    finally:
        globals().update(before)
