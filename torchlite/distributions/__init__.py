"""Probability distributions with tensors as parameters, as in `torch.distributions`."""

from torchlite.distributions import constraints, kl, transforms
from torchlite.distributions.bernoulli import Bernoulli, Geometric
from torchlite.distributions.categorical import Categorical, OneHotCategorical
from torchlite.distributions.cauchy import Cauchy
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.exponential import Exponential
from torchlite.distributions.independent import Independent
from torchlite.distributions.kl import kl_divergence, register_kl
from torchlite.distributions.laplace import Laplace
from torchlite.distributions.normal import HalfNormal, Normal
from torchlite.distributions.transformed_distribution import LogNormal, TransformedDistribution
from torchlite.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    SigmoidTransform,
    TanhTransform,
    Transform,
)
from torchlite.distributions.uniform import Uniform

__all__ = [
    "AffineTransform",
    "Bernoulli",
    "Categorical",
    "Cauchy",
    "ComposeTransform",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "Geometric",
    "HalfNormal",
    "Independent",
    "Laplace",
    "LogNormal",
    "Normal",
    "OneHotCategorical",
    "SigmoidTransform",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "constraints",
    "kl",
    "kl_divergence",
    "register_kl",
    "transforms",
]
