"""Information of neural networks, through PyTorch."""

from __future__ import annotations

from ..optional import require

require("torch", extra="torch", what="fisherkit.networks")

from .eigenbasis import EKFAC  # noqa: E402 only once torch is there
from .kept import LowRank  # noqa: E402
from .kronecker import KFAC  # noqa: E402
from .likelihood import Likelihood  # noqa: E402 only once torch is there
from .likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Poisson  # noqa: E402
from .model import Model  # noqa: E402

__all__ = [
    "EKFAC",
    "KFAC",
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Likelihood",
    "LowRank",
    "Model",
    "Poisson",
]
