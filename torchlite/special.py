"""Special functions: ``torchlite.special``."""

from __future__ import annotations

import math

from torchlite._tensor import Tensor
from torchlite.composites.elementwise import logit as logit
from torchlite.composites.elementwise import mvlgamma as multigammaln
from torchlite.ops.arithmetic import where
from torchlite.ops.bessel import airy_ai as airy_ai
from torchlite.ops.bessel import bessel_j0 as bessel_j0
from torchlite.ops.bessel import bessel_j1 as bessel_j1
from torchlite.ops.bessel import bessel_y0 as bessel_y0
from torchlite.ops.bessel import bessel_y1 as bessel_y1
from torchlite.ops.bessel import i0 as i0
from torchlite.ops.bessel import i0e as i0e
from torchlite.ops.bessel import i1 as i1
from torchlite.ops.bessel import i1e as i1e
from torchlite.ops.bessel import modified_bessel_k0 as modified_bessel_k0
from torchlite.ops.bessel import modified_bessel_k1 as modified_bessel_k1
from torchlite.ops.bessel import scaled_modified_bessel_k0 as scaled_modified_bessel_k0
from torchlite.ops.bessel import scaled_modified_bessel_k1 as scaled_modified_bessel_k1
from torchlite.ops.destination import takes_out
from torchlite.ops.entropy import entr as entr
from torchlite.ops.entropy import xlog1py as xlog1py
from torchlite.ops.entropy import xlogy as xlogy
from torchlite.ops.error import erfc as erfc
from torchlite.ops.error import erfcx as erfcx
from torchlite.ops.error import erfinv as erfinv
from torchlite.ops.error import log_ndtr as log_ndtr
from torchlite.ops.error import ndtri as ndtri
from torchlite.ops.floating import exp2 as exp2
from torchlite.ops.gamma import digamma as digamma
from torchlite.ops.gamma import igamma as gammainc
from torchlite.ops.gamma import igammac as gammaincc
from torchlite.ops.gamma import lgamma as gammaln
from torchlite.ops.gamma import polygamma as polygamma
from torchlite.ops.gamma import zeta as zeta
from torchlite.ops.orthogonal_polynomials import chebyshev_polynomial_t as chebyshev_polynomial_t
from torchlite.ops.orthogonal_polynomials import chebyshev_polynomial_u as chebyshev_polynomial_u
from torchlite.ops.orthogonal_polynomials import chebyshev_polynomial_v as chebyshev_polynomial_v
from torchlite.ops.orthogonal_polynomials import chebyshev_polynomial_w as chebyshev_polynomial_w
from torchlite.ops.orthogonal_polynomials import hermite_polynomial_h as hermite_polynomial_h
from torchlite.ops.orthogonal_polynomials import hermite_polynomial_he as hermite_polynomial_he
from torchlite.ops.orthogonal_polynomials import laguerre_polynomial_l as laguerre_polynomial_l
from torchlite.ops.orthogonal_polynomials import legendre_polynomial_p as legendre_polynomial_p
from torchlite.ops.orthogonal_polynomials import shifted_chebyshev_polynomial_t as shifted_chebyshev_polynomial_t
from torchlite.ops.orthogonal_polynomials import shifted_chebyshev_polynomial_u as shifted_chebyshev_polynomial_u
from torchlite.ops.orthogonal_polynomials import shifted_chebyshev_polynomial_v as shifted_chebyshev_polynomial_v
from torchlite.ops.orthogonal_polynomials import shifted_chebyshev_polynomial_w as shifted_chebyshev_polynomial_w
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
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e",
    "i1", "i1e", "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1", "multigammaln",
    "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0", "xlog1py", "xlogy", "zeta",
]  # fmt: skip

psi = digamma
modified_bessel_i0, modified_bessel_i1 = i0, i1


@takes_out
def ndtr(input: Tensor) -> Tensor:
    """The standard normal distribution function."""
    return erfc(input * -math.sqrt(0.5)) * 0.5


@takes_out
def spherical_bessel_j0(input: Tensor) -> Tensor:
    """The spherical Bessel function of order 0: sin(x) / x, which is 1 at 0 and 0 at ±∞."""
    zero = input == 0
    ratio = input.sin() / where(zero, 1, input)
    return where(zero, 1.0, where(input.isinf(), 0.0, ratio))
