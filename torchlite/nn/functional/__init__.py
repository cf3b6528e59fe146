"""``torchlite.nn.functional``: the functions behind the modules of `torchlite.nn`, written with operators."""

# ruff: noqa: F401

from torchlite.nn.functional.activation import gelu
from torchlite.nn.functional.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
)
from torchlite.nn.functional.average_pooling import avg_pool1d, avg_pool2d, avg_pool3d, lp_pool1d, lp_pool2d, lp_pool3d
from torchlite.nn.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from torchlite.nn.functional.dropout import dropout
from torchlite.nn.functional.embedding import embedding, one_hot
from torchlite.nn.functional.folding import fold, unfold
from torchlite.nn.functional.fractional_pooling import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from torchlite.nn.functional.grid_sampling import affine_grid, grid_sample
from torchlite.nn.functional.interpolation import interpolate, upsample, upsample_bilinear, upsample_nearest
from torchlite.nn.functional.loss import binary_cross_entropy_with_logits, cross_entropy, mse_loss, nll_loss
from torchlite.nn.functional.max_pooling import (
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from torchlite.nn.functional.normalization import batch_norm, layer_norm
from torchlite.nn.functional.padding import pad
from torchlite.nn.functional.shuffling import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from torchlite.ops.contraction import linear
from torchlite.ops.pointwise import relu, sigmoid, softplus, tanh
from torchlite.ops.softmax import log_softmax, softmax
