"""Information from samplers, data, log-densities in code, and the families of SciPy and PyTorch."""

from __future__ import annotations

from typing import Any

from ..errors import MethodError
from .accumulator import Accumulator
from .expectations import shifted
from .families import Family
from .gaussian import GaussianModel
from .latent import LatentModel
from .model import Model
from .perturbation import NoisyModel
from .simulator import Simulator

__all__ = [
    "Accumulator",
    "Family",
    "GaussianModel",
    "LatentModel",
    "Model",
    "NoisyModel",
    "Simulator",
    "as_location_family",
    "as_model",
]


def as_model(value: Any) -> Any:
    """The model that a ``scipy.stats`` family or a ``torch.distributions`` object describes."""
    classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
    if any(cls.__module__.startswith("torch.distributions.") for cls in classes):
        from .torch_distributions import model_of

        return model_of(value)
    return Family(value)


def as_location_family(value: Any) -> Model:
    """The shifts of a distribution: of a frozen family of ``scipy.stats``, or of a model at its own point."""
    own = as_model(value) if not isinstance(value, (Family, Model)) else value
    model = own.model(None) if isinstance(own, Family) else own
    if not isinstance(model, Model):
        raise MethodError(f"a prior is a density of one real variable; got a {type(model).__name__}.")
    return shifted(model, Model)
