"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.adaptive_pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
)
from torchlite.nn.adaptive_pooling import _AdaptiveAvgPool as _AdaptiveAvgPoolNd
from torchlite.nn.adaptive_pooling import _AdaptiveMaxPool as _AdaptiveMaxPoolNd
from torchlite.nn.average_pooling import AvgPool1d, AvgPool2d, AvgPool3d, LPPool1d, LPPool2d, LPPool3d
from torchlite.nn.average_pooling import _AvgPool as _AvgPoolNd
from torchlite.nn.average_pooling import _LPPool as _LPPoolNd
from torchlite.nn.fractional_pooling import FractionalMaxPool2d, FractionalMaxPool3d
from torchlite.nn.max_pooling import MaxPool1d, MaxPool2d, MaxPool3d, MaxUnpool1d, MaxUnpool2d, MaxUnpool3d
from torchlite.nn.max_pooling import _MaxPool as _MaxPoolNd
from torchlite.nn.max_pooling import _MaxUnpool as _MaxUnpoolNd

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "_AdaptiveAvgPoolNd",
    "_AdaptiveMaxPoolNd",
    "_AvgPoolNd",
    "_LPPoolNd",
    "_MaxPoolNd",
    "_MaxUnpoolNd",
]
