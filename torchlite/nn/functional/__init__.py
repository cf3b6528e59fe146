"""``torchlite.nn.functional``: the functions behind the modules of `torchlite.nn`, written with operators."""

# ruff: noqa: F401

from torchlite.nn.functional.activation import gelu
from torchlite.nn.functional.convolution import conv2d
from torchlite.nn.functional.dropout import dropout
from torchlite.nn.functional.embedding import embedding, one_hot
from torchlite.nn.functional.loss import binary_cross_entropy_with_logits, cross_entropy, mse_loss, nll_loss
from torchlite.nn.functional.normalization import batch_norm, layer_norm
from torchlite.nn.functional.padding import pad
from torchlite.nn.functional.pooling import adaptive_avg_pool2d, max_pool2d
from torchlite.ops.contraction import linear
from torchlite.ops.pointwise import relu, sigmoid, softplus, tanh
from torchlite.ops.softmax import log_softmax, softmax
