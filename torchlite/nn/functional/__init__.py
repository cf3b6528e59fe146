"""``torchlite.nn.functional``: the functions behind the modules of `torchlite.nn`, written with operators."""

# ruff: noqa: F401

from torchlite.composites.activation import hardshrink, prelu
from torchlite.composites.padding import pad
from torchlite.nn.functional.activation import (
    celu,
    celu_,
    elu,
    elu_,
    gelu,
    glu,
    gumbel_softmax,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    log_softmax,
    logsigmoid,
    mish,
    relu,
    relu6,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
    threshold_,
)
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
from torchlite.nn.functional.attention import multi_head_attention_forward, scaled_dot_product_attention
from torchlite.nn.functional.average_pooling import avg_pool1d, avg_pool2d, avg_pool3d, lp_pool1d, lp_pool2d, lp_pool3d
from torchlite.nn.functional.binary_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from torchlite.nn.functional.chunked_cross_entropy import linear_cross_entropy
from torchlite.nn.functional.class_loss import cross_entropy, multi_margin_loss, multilabel_margin_loss, nll_loss
from torchlite.nn.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from torchlite.nn.functional.distance import cosine_similarity, normalize, pairwise_distance, pdist
from torchlite.nn.functional.dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from torchlite.nn.functional.embedding import embedding, embedding_bag, one_hot
from torchlite.nn.functional.folding import fold, unfold
from torchlite.nn.functional.fractional_pooling import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from torchlite.nn.functional.grid_sampling import affine_grid, grid_sample
from torchlite.nn.functional.interpolation import interpolate, upsample, upsample_bilinear, upsample_nearest
from torchlite.nn.functional.linear import bilinear, linear
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
from torchlite.nn.functional.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from torchlite.nn.functional.ranking_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from torchlite.nn.functional.regression_loss import (
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)
from torchlite.nn.functional.sequence_loss import ctc_loss
from torchlite.nn.functional.shuffling import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from torchlite.ops.pointwise import sigmoid, tanh
