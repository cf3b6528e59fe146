"""PyTorch's place of these modules; import them from `torchlite.nn`."""

from torchlite.nn.upsampling import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]
