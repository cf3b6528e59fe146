"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.functional.lengths import lengths
from torchlite.nn.lazy import LazyModuleMixin
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter, UninitializedParameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Filters(Module):
    """What convolutions and their transposes have in common: a bank of filters and how it moves."""

    inferred: ClassVar[Mapping[str, int]] = {"in_channels": 1}
    spatial_dims: ClassVar[int]
    transposed: ClassVar[bool]

    def _create(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: dtypes.dtype | None,
    ) -> None:
        if groups <= 0 or in_channels % groups:
            raise ValueError(f"in_channels must be divisible by groups: got {in_channels} and {groups}")
        if out_channels % groups:
            raise ValueError(f"out_channels must be divisible by groups: got {out_channels} and {groups}")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, got {padding_mode!r}")
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._lengths("kernel_size", kernel_size)
        self.stride = self._lengths("stride", stride)
        self.padding: Any = padding if isinstance(padding, str) else self._lengths("padding", padding)
        self.dilation = self._lengths("dilation", dilation)
        self.output_padding = self._lengths("output_padding", output_padding)
        self.groups = groups
        self.padding_mode = padding_mode
        if padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
        self.weight = Parameter(empty(*self._weight_shape(), device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _lengths(self, argument: str, value: Any) -> tuple[int, ...]:
        return lengths(type(self).__name__, argument, value, self.spatial_dims)

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw new initial values: uniform in ±1/√fan_in."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        for name, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name)
            if value != (usual,) * len(value):
                parts.append(f"{name}={value}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Convolution(_Filters):
    """Cross-correlation with a bank of filters.

    Args:
        in_channels: channels of the input.
        out_channels: filters.
        kernel_size, stride, dilation: an int or one for each dimension.
        padding: an int, one for each dimension, "valid" or "same".
        groups: blocks of channels that are convolved apart.
        bias: whether a number is added to each channel.
        padding_mode: what the padding holds: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the parameters.

    Shape:
        (N, in_channels, *) → (N, out_channels, *') where a length n becomes
        ⌊(n + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1, or both without N;
        weight: (out_channels, in_channels / groups, *kernel_size), bias: (out_channels,).
    """

    transposed = False
    _convolve: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        self._create(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        """The input correlated with every filter."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._borders(), self.padding_mode), 0
        return self._convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def _borders(self) -> list[int]:
        """The padding as `pad` takes it: (before, after) from the last dimension forwards."""
        if self.padding == "valid":
            return [0, 0] * self.spatial_dims
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
        return [side for p in reversed(self.padding) for side in (p, p)]


class Conv1d(_Convolution):
    __doc__ = _Convolution.__doc__
    spatial_dims = 1
    _convolve = staticmethod(F.conv1d)


class Conv2d(_Convolution):
    __doc__ = _Convolution.__doc__
    spatial_dims = 2
    _convolve = staticmethod(F.conv2d)


class Conv3d(_Convolution):
    __doc__ = _Convolution.__doc__
    spatial_dims = 3
    _convolve = staticmethod(F.conv3d)


class _TransposedConvolution(_Filters):
    """The transpose of a convolution: its gradient with respect to its input.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size, stride, padding, dilation: of the convolution that this is the transpose of.
        output_padding: added at the end of the result, of which several sizes would fit.
        groups: blocks of channels that are convolved apart.
        bias: whether a number is added to each channel.
        padding_mode: "zeros".
        device, dtype: of the parameters.

    Shape:
        (N, in_channels, *) → (N, out_channels, *') where a length n becomes
        (n - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1, or both without N;
        weight: (in_channels, out_channels / groups, *kernel_size), bias: (out_channels,).
    """

    transposed = True
    _convolve: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}, got {padding_mode!r}')
        self._create(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution; ``output_size`` chooses among the sizes that fit, instead of ``output_padding``."""
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return self._convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding by which the result gets a size.

        Raises:
            ValueError: for a size that no convolution of this geometry has.
        """
        n = self.spatial_dims
        lead = input.ndim - n
        if len(output_size) not in (n, lead + n):
            raise ValueError(
                f"{type(self).__name__}: for {input.ndim}D input, output_size must have {n} or {lead + n} elements (got "
                f"{len(output_size)})"
            )
        least = [
            (m - 1) * s - 2 * p + d * (k - 1) + 1
            for m, s, p, d, k in zip(
                input.shape[lead:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        extra = tuple(wanted - m for wanted, m in zip(output_size[-n:], least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
            raise ValueError(
                f"{type(self).__name__}: requested an output size of {list(output_size)}, but valid sizes range from "
                f"{least} to {most} (for an input of {list(input.shape[lead:])})"
            )
        return extra


class ConvTranspose1d(_TransposedConvolution):
    __doc__ = _TransposedConvolution.__doc__
    spatial_dims = 1
    _convolve = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_TransposedConvolution):
    __doc__ = _TransposedConvolution.__doc__
    spatial_dims = 2
    _convolve = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_TransposedConvolution):
    __doc__ = _TransposedConvolution.__doc__
    spatial_dims = 3
    _convolve = staticmethod(F.conv_transpose3d)


class _LazyFilters(LazyModuleMixin, _Filters):
    """Filters whose number of input channels is that of the first input."""

    inferred: ClassVar[Mapping[str, int]] = {}

    def _leave_open(self, out_channels: int, bias: bool, device: Any, dtype: dtypes.dtype | None) -> None:
        if out_channels % self.groups:
            raise ValueError(f"out_channels must be divisible by groups: got {out_channels} and {self.groups}")
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new initial values, once there is something to draw."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *_args: Any, **_kwargs: Any) -> None:
        """Make the parameters for the channels of ``input``.

        Raises:
            RuntimeError: for an input of another number of dimensions.
        """
        if not self.has_uninitialized_params():
            return
        n = self.spatial_dims
        if input.ndim not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input of "
                f"size: {list(input.shape)}"
            )
        self.in_channels = input.shape[input.ndim - n - 1]
        if self.in_channels % self.groups:
            raise ValueError(f"in_channels must be divisible by groups: got {self.in_channels} and {self.groups}")
        self.weight.materialize(self._weight_shape())
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConvolution(_LazyFilters):
    """A convolution whose ``in_channels`` is the number of channels of the first input; see `Conv2d`."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self._leave_open(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConvolution, Conv1d):
    __doc__ = _LazyConvolution.__doc__
    cls_to_become = Conv1d


class LazyConv2d(_LazyConvolution, Conv2d):
    __doc__ = _LazyConvolution.__doc__
    cls_to_become = Conv2d


class LazyConv3d(_LazyConvolution, Conv3d):
    __doc__ = _LazyConvolution.__doc__
    cls_to_become = Conv3d


class _LazyTransposedConvolution(_LazyFilters):
    """A transposed convolution whose ``in_channels`` is the number of channels of the first input; see `ConvTranspose2d`."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device, dtype
        )
        self._leave_open(out_channels, bias, device, dtype)


class LazyConvTranspose1d(_LazyTransposedConvolution, ConvTranspose1d):
    __doc__ = _LazyTransposedConvolution.__doc__
    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposedConvolution, ConvTranspose2d):
    __doc__ = _LazyTransposedConvolution.__doc__
    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposedConvolution, ConvTranspose3d):
    __doc__ = _LazyTransposedConvolution.__doc__
    cls_to_become = ConvTranspose3d
