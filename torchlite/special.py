"""Special functions: ``torchlite.special``."""

from __future__ import annotations

import math

from torchlite._tensor import Tensor
from torchlite.composites.elementwise import logit as logit
from torchlite.composites.elementwise import mvlgamma as multigammaln
from torchlite.ops.arithmetic import where
from torchlite.ops.error import erfc as erfc
from torchlite.ops.error import erfcx as erfcx
from torchlite.ops.error import erfinv as erfinv
from torchlite.ops.error import log_ndtr as log_ndtr
from torchlite.ops.error import ndtri as ndtri
from torchlite.ops.floating import exp2 as exp2
from torchlite.ops.floating import xlogy as xlogy
from torchlite.ops.gamma import digamma as digamma
from torchlite.ops.gamma import igamma as gammainc
from torchlite.ops.gamma import igammac as gammaincc
from torchlite.ops.gamma import lgamma as gammaln
from torchlite.ops.gamma import polygamma as polygamma
from torchlite.ops.gamma import zeta as zeta
from torchlite.ops.modified_bessel import i0 as i0
from torchlite.ops.modified_bessel import i0e as i0e
from torchlite.ops.modified_bessel import i1 as i1
from torchlite.ops.modified_bessel import i1e as i1e
from torchlite.ops.pointwise import erf as erf
from torchlite.ops.pointwise import expm1 as expm1
from torchlite.ops.pointwise import log1p as log1p
from torchlite.ops.pointwise import round as round
from torchlite.ops.pointwise import sigmoid as expit
from torchlite.ops.softmax import log_softmax as log_softmax
from torchlite.ops.softmax import logsumexp as logsumexp
from torchlite.ops.softmax import softmax as softmax
from torchlite.ops.trigonometry import sinc as sinc

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln", "i0",
    "i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri",
    "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip

psi = digamma


def entr(input: Tensor) -> Tensor:
    """-x ln x for x > 0, 0 at 0, -∞ below."""
    return where(input < 0, -math.inf, -xlogy(input, where(input < 0, 1, input)))


def xlog1py(input: Tensor, other: Tensor) -> Tensor:
    """Input · ln(1 + other), which is 0 at input = 0 whatever other is, except NaN."""
    zero = (input == 0) & ~other.isnan()
    return where(zero, 0.0, input * where(zero, 0.0, other).log1p())


def ndtr(input: Tensor) -> Tensor:
    """The standard normal distribution function."""
    return erfc(input * -math.sqrt(0.5)) * 0.5
