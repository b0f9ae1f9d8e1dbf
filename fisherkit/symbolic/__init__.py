"""Information from formulas, through SymPy."""

from .exponential_family import ExponentialFamily
from .model import Model
from .random_variables import as_model

__all__ = ["ExponentialFamily", "Model", "as_model"]
