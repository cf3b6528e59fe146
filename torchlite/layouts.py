"""PyTorch's names for how the elements of a tensor lie in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class layout:
    """How a tensor is stored; there are only dense tensors here, whose layout is ``torchlite.strided``."""

    name: str

    def __repr__(self) -> str:
        return f"torch.{self.name}"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class memory_format:
    """The order in which the dimensions follow each other in memory. Each exists once; compare with ``is``.

    Attributes:
        order: the dimensions from the slowest to the fastest; none for row-major order, and where it is to stay.
    """

    name: str
    order: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def order_of(self, ndim: int) -> tuple[int, ...]:
        """``order``, once it is known to fit a tensor of ``ndim`` dimensions.

        Raises:
            RuntimeError: when it is for another number of dimensions.
        """
        if self.order and ndim != len(self.order):
            raise RuntimeError(
                f"required rank {len(self.order)} tensor to use {self.name} format, got one of {ndim} dimensions"
            )
        return self.order


strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", (0, 2, 3, 1))
channels_last_3d = memory_format("channels_last_3d", (0, 2, 3, 4, 1))
