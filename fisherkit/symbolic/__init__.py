"""Information from formulas, through SymPy."""

from .exponential_family import ExponentialFamily
from .model import Model
from .random_variables import as_location_family, as_model
from .statement import parse_model
from .text import parse_expression

__all__ = ["ExponentialFamily", "Model", "as_location_family", "as_model", "parse_expression", "parse_model"]
