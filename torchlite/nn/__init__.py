"""Building blocks of models, by PyTorch's names, parameter names and layouts."""

import torchlite.autograd.tensor_hooks  # noqa: F401 - attaches backward and hooks
from torchlite.nn import functional, init, utils
from torchlite.nn.activation import GELU, Dropout, Flatten, ReLU, Sigmoid, Softmax, Tanh
from torchlite.nn.containers import ModuleDict, ModuleList, Sequential
from torchlite.nn.convolution import Conv2d
from torchlite.nn.functional.chunked_cross_entropy import LinearCrossEntropyOptions
from torchlite.nn.linear import Embedding, Identity, Linear
from torchlite.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from torchlite.nn.module import Module
from torchlite.nn.normalization import BatchNorm2d, LayerNorm
from torchlite.nn.pooling import AdaptiveAvgPool2d, MaxPool2d
from torchlite.parameter import Buffer, Parameter

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "Linear",
    "LinearCrossEntropyOptions",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "init",
    "utils",
]
