"""The geometry of windows that slide over the last dimensions of a tensor: what convolution and pooling share."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from torchlite.backends import signed

Lengths = tuple[int, ...]


class Window(NamedTuple):
    """The geometry of a sliding window, one number for each dimension that it moves along."""

    kernel: Lengths
    stride: Lengths
    padding: Lengths
    dilation: Lengths
    ceil: bool = False

    @classmethod
    def of(
        cls,
        kernel: Lengths,
        stride: Lengths | None = None,
        padding: Lengths | None = None,
        dilation: Lengths | None = None,
        ceil: bool = False,
    ) -> Window:
        """A window whose stride and dilation are 1 and whose padding is 0 where they are not given."""
        ones = (1,) * len(kernel)
        return cls(kernel, stride or ones, padding or (0,) * len(kernel), dilation or ones, ceil)

    def out_size(self, name: str, size: Lengths) -> Lengths:
        """Number of window positions over an input of ``size``.

        Raises:
            RuntimeError: when the window does not fit into the padded input.
        """
        result = []
        for n, k, s, p, d in zip(size, *self[:4], strict=True):
            span = n + 2 * p - d * (k - 1) - 1
            count = (span + (s - 1 if self.ceil else 0)) // s + 1
            if self.ceil and (count - 1) * s >= n + p:  # a window that would start in the padding is left out
                count -= 1
            if count < 1:
                raise RuntimeError(
                    f"{name}: kernel size {list(self.kernel)} (dilation {list(self.dilation)}) can't be greater than the "
                    f"padded input size {[m + 2 * q for m, q in zip(size, self.padding, strict=True)]}: Output size is "
                    "too small"
                )
            result.append(count)
        return tuple(result)

    def stacked(self) -> Window:
        """This window with a dimension before the others, along which each of its positions has length 1."""
        return Window((1, *self.kernel), (1, *self.stride), (0, *self.padding), (1, *self.dilation), self.ceil)

    def offsets(self) -> list[Lengths]:
        """The window's elements in row-major order, as distances from its first."""
        return list(
            itertools.product(
                *(range(0, (k - 1) * d + 1, d) for k, d in zip(self.kernel, self.dilation, strict=True)),
            )
        )

    def slices(self, offset: Lengths, out: Lengths, first: int = 0) -> tuple[Any, ...]:
        """Where, in the padded input, the element at ``offset`` of every window lies, from row ``first`` of windows on."""
        starts = (offset[0] + first * self.stride[0], *offset[1:])
        return (..., *(slice(o, o + s * (n - 1) + 1, s) for o, s, n in zip(starts, self.stride, out, strict=True)))

    def padded_size(self, size: Lengths, out: Lengths) -> Lengths:
        """Size of the padded input, long enough for the last window."""
        return tuple(
            max(n + 2 * p, (m - 1) * s + (k - 1) * d + 1) for n, m, k, s, p, d in zip(size, out, *self[:4], strict=True)
        )

    @property
    def ndim(self) -> int:
        """Number of dimensions that the window moves along."""
        return len(self.kernel)

    @property
    def overlapping(self) -> bool:
        """Whether one element may lie in several windows."""
        return any(s < (k - 1) * d + 1 for s, k, d in zip(self.stride, self.kernel, self.dilation, strict=True))

    @property
    def trivial(self) -> bool:
        """Whether every element is a window of its own."""
        return all(k == s == 1 for k, s in zip(self.kernel, self.stride, strict=True))


def size_of(x: Any, window: Window) -> Lengths:
    """The lengths of ``x`` that ``window`` moves along."""
    return tuple(int(n) for n in x.shape[x.ndim - window.ndim :])


def lead_of(x: Any, window: Window) -> Lengths:
    """The lengths of ``x`` before those."""
    return tuple(int(n) for n in x.shape[: x.ndim - window.ndim])


def padded(xp: Any, x: Any, window: Window, out: Lengths, value: float = 0.0) -> Any:
    """``x`` with the window's padding, filled with ``value``."""
    size = size_of(x, window)
    full = window.padded_size(size, out)
    if full == size:
        return x
    result = signed(xp.full((*lead_of(x, window), *full), value, x.dtype), value)
    inside(result, window, size)[...] = x
    return result


def inside(padded: Any, window: Window, size: Lengths) -> Any:
    """The part of a padded array that is not padding."""
    return padded[(..., *(slice(p, p + n) for p, n in zip(window.padding, size, strict=True)))]
