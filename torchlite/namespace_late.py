"""The names of ``import torchlite as torch`` that come from layers, files and transformations of functions.

They are loaded when one of them is first used: tensors and operators, in `torchlite.namespace`, need none of it.
"""

# ruff: noqa: F401

from torchlite.amp.autocast_mode import (
    autocast,
    autocast_decrement_nesting,
    autocast_increment_nesting,
    clear_autocast_cache,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_cache_enabled,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
    set_autocast_cache_enabled,
    set_autocast_cpu_dtype,
    set_autocast_cpu_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
    set_autocast_gpu_dtype,
)
from torchlite.compiler.module import compile
from torchlite.func import vmap
from torchlite.nn.functional.activation import (
    celu,
    celu_,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    threshold,
    threshold_,
)
from torchlite.nn.functional.adaptive_pooling import adaptive_avg_pool1d
from torchlite.nn.functional.adaptive_pooling import adaptive_max_pool1d_with_indices as adaptive_max_pool1d
from torchlite.nn.functional.average_pooling import avg_pool1d
from torchlite.nn.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    convolution,
)
from torchlite.nn.functional.distance import cosine_similarity, pairwise_distance, pdist
from torchlite.nn.functional.grid_sampling import affine_grid_generator, grid_sampler, grid_sampler_2d, grid_sampler_3d
from torchlite.nn.functional.linear import bilinear
from torchlite.nn.functional.main_namespace import (
    alpha_dropout,
    alpha_dropout_,
    batch_norm,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    ctc_loss,
    dropout,
    dropout_,
    embedding,
    embedding_renorm_,
    feature_alpha_dropout,
    feature_alpha_dropout_,
    feature_dropout,
    feature_dropout_,
    hinge_embedding_loss,
    instance_norm,
    kl_div,
    margin_ranking_loss,
    native_dropout,
    norm_except_dim,
    poisson_nll_loss,
    triplet_margin_loss,
)
from torchlite.nn.functional.max_pooling import max_pool1d, max_pool1d_with_indices, max_pool2d, max_pool3d
from torchlite.nn.functional.normalization import group_norm, layer_norm, native_group_norm, native_layer_norm, rms_norm
from torchlite.nn.functional.recurrent import (
    gru,
    gru_cell,
    lstm,
    lstm_cell,
    rnn_relu,
    rnn_relu_cell,
    rnn_tanh,
    rnn_tanh_cell,
)
from torchlite.nn.functional.shuffling import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from torchlite.serialization import load, save
from torchlite.utils.dlpack import to_dlpack

__all__ = [name for name in dir() if not name.startswith("_")]
