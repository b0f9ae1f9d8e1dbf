"""Information from formulas, through SymPy."""

from .exponential_family import ExponentialFamily, exponential_family
from .formulas import lambdify, latex
from .model import Model
from .random_variables import as_location_family, as_model

__all__ = ["ExponentialFamily", "Model", "as_location_family", "as_model", "exponential_family", "lambdify", "latex"]
