"""Every name that ``import torchlite as torch`` offers, from the module that defines it."""

# ruff: noqa: F401

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:  # `torchlite.__getattr__` imports these on first use
    from torchlite import (
        amp,
        autograd,
        backends,
        cpu,
        cuda,
        distributions,
        fft,
        func,
        linalg,
        masked,
        nn,
        optim,
        random,
        signal,
        special,
        utils,
    )
from math import e, inf, nan, pi

from torchlite._tensor import Tensor, is_inference, is_tensor
from torchlite.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from torchlite.autograd import tensor_hooks as _tensor_hooks  # attaches backward and hooks
from torchlite.autograd.anomaly import is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled
from torchlite.autograd.grad_mode import is_inference_mode_enabled
from torchlite.backends.determinism import (
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    is_deterministic_algorithms_warn_only_enabled,
    set_deterministic_debug_mode,
    use_deterministic_algorithms,
)
from torchlite.backends.matmul_precision import get_float32_matmul_precision, set_float32_matmul_precision
from torchlite.backends.threads import get_num_threads, set_num_threads
from torchlite.compiler import whole as _whole  # lets a GPU compute operators of several steps at once
from torchlite.composites import callables as _callables
from torchlite.composites import inplace_views as _inplace_views
from torchlite.composites.activation import hardshrink, prelu
from torchlite.composites.assembly import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block_diag,
    broadcast_shapes,
    broadcast_tensors,
    cartesian_prod,
    column_stack,
    combinations,
    dstack,
    hstack,
    meshgrid,
    row_stack,
    vstack,
)
from torchlite.composites.copies import (
    alias_copy,
    as_strided_copy,
    detach_copy,
    diagonal_copy,
    expand_copy,
    permute_copy,
    select_copy,
    slice_copy,
    split_copy,
    split_with_sizes_copy,
    squeeze_copy,
    t_copy,
    transpose_copy,
    unbind_copy,
    unfold_copy,
    unsqueeze_copy,
    view_as_complex_copy,
    view_as_real_copy,
    view_copy,
)
from torchlite.composites.diagonals import (
    diag,
    diag_embed,
    diagflat,
    trace,
    tril_indices,
    triu_indices,
)
from torchlite.composites.elementwise import (
    absolute,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    clip,
    fix,
    float_power,
    greater,
    greater_equal,
    ldexp,
    less,
    less_equal,
    logit,
    mvlgamma,
    negative,
    not_equal,
    positive,
)
from torchlite.composites.general import (
    addcdiv,
    addcmul,
    allclose,
    equal,
    isclose,
    lerp,
    nonzero,
    nonzero_static,
    std,
    var,
)
from torchlite.composites.histograms import histc, histogram, histogramdd
from torchlite.composites.inplace_views import as_strided_
from torchlite.composites.norms import cdist, dist, norm, renorm
from torchlite.composites.padding import constant_pad_nd
from torchlite.composites.products import (
    addbmm,
    addmm,
    addmv,
    addr,
    baddbmm,
    chain_matmul,
    einsum,
    ger,
    inner,
    kron,
    tensordot,
    vander,
    vdot,
)
from torchlite.composites.properties import (
    get_device,
    is_conj,
    is_distributed,
    is_neg,
    is_nonzero,
    is_same_size,
    is_signed,
    numel,
    result_type,
    typename,
)
from torchlite.composites.rearrangement import (
    dsplit,
    fliplr,
    flipud,
    hsplit,
    narrow_copy,
    ravel,
    repeat_interleave,
    roll,
    rot90,
    tensor_split,
    tile,
    vsplit,
)
from torchlite.composites.sampling import multinomial, normal
from torchlite.composites.scattering import (
    as_strided_scatter,
    diagonal_scatter,
    index_add,
    index_copy,
    index_fill,
    index_put,
    index_reduce,
    masked_scatter,
    masked_select,
    put,
    select_scatter,
    slice_scatter,
    take,
    take_along_dim,
)
from torchlite.composites.searching import (
    argwhere,
    bincount,
    bucketize,
    isin,
    kthvalue,
    msort,
    searchsorted,
    unique,
    unique_consecutive,
    unravel_index,
)
from torchlite.composites.short_time_fourier import istft, stft
from torchlite.composites.statistics import (
    aminmax,
    corrcoef,
    count_nonzero,
    cov,
    cumulative_trapezoid,
    diff,
    gradient,
    median,
    mode,
    nanmean,
    nanmedian,
    nanquantile,
    nansum,
    quantile,
    std_mean,
    trapezoid,
    trapz,
    var_mean,
)
from torchlite.composites.windows import (
    bartlett_window,
    blackman_window,
    hamming_window,
    hann_window,
    kaiser_window,
)
from torchlite.devices import Device as device
from torchlite.devices import get_default_device, set_default_device
from torchlite.dtypes import (
    bfloat16,
    bool_,
    can_cast,
    cdouble,
    cfloat,
    complex64,
    complex128,
    double,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    float_,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    int_,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
    uint16,
    uint32,
    uint64,
)
from torchlite.dtypes import bool_ as bool
from torchlite.dtypes import float_ as float
from torchlite.dtypes import int_ as int
from torchlite.layouts import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from torchlite.linalg import det, matrix_exp, matrix_power
from torchlite.linalg.determinants import logdet
from torchlite.linalg.elimination import lu_unpack
from torchlite.linalg.lowrank import pca_lowrank, svd_lowrank
from torchlite.linalg.older import cholesky, cross, inverse, lu, lu_solve, pinverse, qr, slogdet, svd, triangular_solve
from torchlite.linalg.orthogonal import geqrf, ormqr
from torchlite.linalg.orthogonal import householder_product as orgqr
from torchlite.linalg.positive_definite import cholesky_inverse, cholesky_solve
from torchlite.ops.argsort import argsort
from torchlite.ops.arithmetic import (
    abs,
    add,
    clamp,
    clamp_max,
    clamp_min,
    div,
    divide,
    floor_divide,
    maximum,
    minimum,
    mul,
    multiply,
    neg,
    pow,
    reciprocal,
    remainder,
    rsqrt,
    rsub,
    sign,
    sqrt,
    square,
    sub,
    subtract,
    true_divide,
    where,
)
from torchlite.ops.bessel import i0
from torchlite.ops.buffers import asarray, frombuffer
from torchlite.ops.comparison import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    ge,
    gt,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from torchlite.ops.complex import (
    adjoint,
    angle,
    complex,
    conj,
    conj_physical,
    imag,
    is_complex,
    is_floating_point,
    isreal,
    polar,
    real,
    resolve_conj,
    resolve_neg,
    sgn,
    view_as_complex,
    view_as_real,
)
from torchlite.ops.contraction import bmm, dot, matmul, mm, mv, outer
from torchlite.ops.conversion import clone
from torchlite.ops.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    empty_permuted,
    empty_strided,
    eye,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    range,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)
from torchlite.ops.entropy import xlogy
from torchlite.ops.error import erfc, erfinv
from torchlite.ops.exchange import from_dlpack, from_numpy
from torchlite.ops.floating import (
    copysign,
    exp2,
    fmax,
    fmin,
    fmod,
    frac,
    frexp,
    heaviside,
    isneginf,
    isposinf,
    logaddexp,
    logaddexp2,
    nan_to_num,
    nextafter,
    signbit,
)
from torchlite.ops.gamma import digamma, igamma, igammac, lgamma, polygamma
from torchlite.ops.gathering import gather, index_select, scatter, scatter_add, scatter_reduce
from torchlite.ops.generator import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from torchlite.ops.indexing import masked_fill
from torchlite.ops.integers import bitwise_left_shift, bitwise_right_shift, gcd, lcm
from torchlite.ops.joining import cat, concat, concatenate, flip, stack
from torchlite.ops.mutation import fill
from torchlite.ops.pointwise import (
    ceil,
    cos,
    erf,
    exp,
    expm1,
    floor,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    relu,
    round,
    sigmoid,
    sin,
    tan,
    tanh,
    trunc,
)
from torchlite.ops.products import cumprod, logcumsumexp, prod
from torchlite.ops.random import rand, rand_like, randint, randint_like, randn, randn_like, randperm
from torchlite.ops.reduction import all, amax, amin, any, argmax, argmin, hash_tensor, mean, sum
from torchlite.ops.scan import cummax, cummin, cumsum, max, min, sort, topk
from torchlite.ops.softmax import log_softmax, logsumexp, softmax
from torchlite.ops.storage import TypedStorage, UntypedStorage, resize_as_
from torchlite.ops.strided import as_strided
from torchlite.ops.tensor_types import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    set_default_tensor_type,
)
from torchlite.ops.triangles import tril, triu
from torchlite.ops.trigonometry import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cosh,
    deg2rad,
    hypot,
    rad2deg,
    sinc,
    sinh,
)
from torchlite.ops.variates import bernoulli, binomial, poisson
from torchlite.ops.views import (
    broadcast_to,
    chunk,
    diagonal,
    flatten,
    moveaxis,
    movedim,
    narrow,
    permute,
    reshape,
    select,
    split,
    split_with_sizes,
    squeeze,
    swapaxes,
    swapdims,
    t,
    transpose,
    unbind,
    unflatten,
    unsafe_chunk,
    unsafe_split,
    unsafe_split_with_sizes,
    unsqueeze,
)
from torchlite.printing import set_printoptions
from torchlite.size import Size

newaxis = None

# Methods in place that PyTorch also has as functions: `torchlite.exp_(x)` is `x.exp_()`.
_IN_PLACE = (
    "abs", "acos", "acosh", "addmv", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "asin", "asinh", "atan",
    "atanh", "ceil", "clamp", "clamp_max", "clamp_min", "clip", "conj_physical", "cos", "cosh", "deg2rad", "erf",
    "erfc", "exp", "exp2", "expm1", "fill", "fix", "floor", "frac", "gcd", "i0", "index_put", "lcm", "ldexp", "log", "log10",
    "log1p", "log2", "logit", "nan_to_num", "neg", "negative", "rad2deg", "reciprocal", "relu", "round", "rsqrt",
    "sigmoid", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "xlogy", "zero",
)  # fmt: skip
detach, detach_ = Tensor.detach, Tensor.detach_
globals().update({f"{_name}_": getattr(Tensor, f"{_name}_") for _name in _IN_PLACE})

__all__ = [name for name in dir() if not name.startswith("_")]
