"""The Kullback–Leibler divergence of pairs of distributions that have a closed form, as ``torch.distributions.kl``."""

from torchlite.distributions.kl import across_families, multivariate, same_family
from torchlite.distributions.kl.registry import kl_divergence, register_kl

__all__ = ["across_families", "kl_divergence", "multivariate", "register_kl", "same_family"]
