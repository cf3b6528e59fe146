"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.functional.lengths import lengths
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter


class Conv2d(Module):
    """2-D cross-correlation with a bank of filters.

    Args:
        in_channels: channels of the input.
        out_channels: filters.
        kernel_size, stride, dilation: an int or (height, width).
        padding: an int, (height, width), "valid" or "same".
        groups: blocks of channels that are convolved apart.
        bias: whether a number is added to each channel.
        padding_mode: "zeros".
        device, dtype: of the parameters.

    Shape:
        (N, in_channels, H, W) → (N, out_channels, H', W') with H' = ⌊(H + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1;
        weight: (out_channels, in_channels / groups, kernel height, kernel width), bias: (out_channels,).
    """

    inferred: ClassVar[Mapping[str, int]] = {"in_channels": 1}

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
        if groups <= 0 or in_channels % groups:
            raise ValueError(f"in_channels must be divisible by groups: got {in_channels} and {groups}")
        if out_channels % groups:
            raise ValueError(f"out_channels must be divisible by groups: got {out_channels} and {groups}")
        if padding_mode != "zeros":
            raise ValueError(f"padding_mode must be 'zeros', got {padding_mode!r}")
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = lengths("Conv2d", "kernel_size", kernel_size, 2)
        self.stride = lengths("Conv2d", "stride", stride, 2)
        self.padding = padding if isinstance(padding, str) else lengths("Conv2d", "padding", padding, 2)
        self.dilation = lengths("Conv2d", "dilation", dilation, 2)
        self.groups = groups
        self.padding_mode = padding_mode
        if padding == "same" and self.stride != (1, 1):
            raise ValueError("padding='same' is not supported for strided convolutions")
        self.weight = Parameter(
            empty(out_channels, in_channels // groups, *self.kernel_size, device=device, dtype=dtype)
        )
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: uniform in ±1/√fan_in."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, input: Tensor) -> Tensor:
        """The input correlated with every filter."""
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)
