"""How the weights of convolutions lie in memory."""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from torchlite import layouts
from torchlite.nn.module import Module

M = TypeVar("M", bound=Module)


def convert_conv2d_weight_memory_format(module: M, memory_format: layouts.memory_format) -> M:
    """Let the weights of all two-dimensional convolutions in ``module`` lie in the order of ``memory_format``."""
    return _convert(module, 2, memory_format)


def convert_conv3d_weight_memory_format(module: M, memory_format: layouts.memory_format) -> M:
    """Let the weights of all three-dimensional convolutions in ``module`` lie in the order of ``memory_format``."""
    return _convert(module, 3, memory_format)


def _convert(module: M, dims: int, memory_format: layouts.memory_format) -> M:
    convolution = import_module("torchlite.nn.convolution")
    kinds = (getattr(convolution, f"Conv{dims}d"), getattr(convolution, f"ConvTranspose{dims}d"))
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().contiguous(memory_format=memory_format)
    return module
