"""Information of neural networks, through PyTorch."""

from __future__ import annotations

from ..errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401 asked for here, once, so that the answer is a sentence
except ImportError as error:
    raise MissingDependencyError("fisherkit.networks needs PyTorch: pip install 'fisherkit[torch]'.") from error

from .likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from .model import Model

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "Model"]
