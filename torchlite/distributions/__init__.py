"""Probability distributions with tensors as parameters, as in ``torch.distributions``.

A distribution samples (`sample`, and with gradients `rsample`), gives log-densities (`log_prob`), distribution functions
(`cdf`, `icdf`), moments and entropies; `kl_divergence` compares two. `transforms` make new distributions of old,
`constraints` say where parameters and values lie, `biject_to` and `transform_to` lead there from all numbers.
"""

from torchlite.distributions import constraints, kl, transforms, utils
from torchlite.distributions.bernoulli import Bernoulli
from torchlite.distributions.beta import Beta
from torchlite.distributions.binomial import Binomial
from torchlite.distributions.categorical import Categorical
from torchlite.distributions.cauchy import Cauchy
from torchlite.distributions.chi2 import Chi2
from torchlite.distributions.constraint_registry import biject_to, transform_to
from torchlite.distributions.continuous_bernoulli import ContinuousBernoulli
from torchlite.distributions.dirichlet import Dirichlet
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.exp_family import ExponentialFamily
from torchlite.distributions.exponential import Exponential
from torchlite.distributions.fishersnedecor import FisherSnedecor
from torchlite.distributions.gamma import Gamma
from torchlite.distributions.generalized_pareto import GeneralizedPareto
from torchlite.distributions.geometric import Geometric
from torchlite.distributions.gumbel import Gumbel
from torchlite.distributions.half_cauchy import HalfCauchy
from torchlite.distributions.half_normal import HalfNormal
from torchlite.distributions.independent import Independent
from torchlite.distributions.inverse_gamma import InverseGamma
from torchlite.distributions.kl import kl_divergence, register_kl
from torchlite.distributions.kumaraswamy import Kumaraswamy
from torchlite.distributions.laplace import Laplace
from torchlite.distributions.lkj_cholesky import LKJCholesky
from torchlite.distributions.log_normal import LogNormal
from torchlite.distributions.logistic_normal import LogisticNormal
from torchlite.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from torchlite.distributions.mixture_same_family import MixtureSameFamily
from torchlite.distributions.multinomial import Multinomial
from torchlite.distributions.multivariate_normal import MultivariateNormal
from torchlite.distributions.negative_binomial import NegativeBinomial
from torchlite.distributions.normal import Normal
from torchlite.distributions.one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from torchlite.distributions.pareto import Pareto
from torchlite.distributions.poisson import Poisson
from torchlite.distributions.relaxed_bernoulli import RelaxedBernoulli
from torchlite.distributions.relaxed_categorical import RelaxedOneHotCategorical
from torchlite.distributions.studentT import StudentT
from torchlite.distributions.transformed_distribution import TransformedDistribution
from torchlite.distributions.transforms import *  # noqa: F403
from torchlite.distributions.uniform import Uniform
from torchlite.distributions.von_mises import VonMises
from torchlite.distributions.weibull import Weibull
from torchlite.distributions.wishart import Wishart

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ContinuousBernoulli", "Dirichlet",
    "Distribution", "Exponential", "ExponentialFamily", "FisherSnedecor", "Gamma", "GeneralizedPareto", "Geometric",
    "Gumbel", "HalfCauchy", "HalfNormal", "Independent", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace",
    "LogNormal", "LogisticNormal", "LowRankMultivariateNormal", "MixtureSameFamily", "Multinomial",
    "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough",
    "Pareto", "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT", "TransformedDistribution",
    "Uniform", "VonMises", "Weibull", "Wishart", "biject_to", "constraints", "kl", "kl_divergence", "register_kl",
    "transform_to", "transforms", "utils", *transforms.__all__,
]  # fmt: skip
