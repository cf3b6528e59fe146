"""PyTorch's places of its modules, such as ``nn.modules.batchnorm``: they load when first used."""

import importlib
from typing import Any

__all__ = [
    "activation",
    "adaptive",
    "batchnorm",
    "channelshuffle",
    "container",
    "conv",
    "distance",
    "dropout",
    "flatten",
    "fold",
    "instancenorm",
    "lazy",
    "linear",
    "loss",
    "module",
    "normalization",
    "padding",
    "pixelshuffle",
    "pooling",
    "rnn",
    "sparse",
    "transformer",
    "upsampling",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"torchlite.nn.modules.{name}")
    return getattr(importlib.import_module("torchlite.nn"), name)
