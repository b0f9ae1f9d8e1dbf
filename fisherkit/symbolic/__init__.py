"""Information from formulas, through SymPy."""

from .formulas import lambdify, latex
from .model import Model
from .random_variables import as_model

__all__ = ["Model", "as_model", "lambdify", "latex"]
