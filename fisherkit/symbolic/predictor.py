r"""Regression: parameters that enter only through a predictor, such as :math:`\eta = x^\top \beta`, are one parameter.

By the chain rule the information of all is :math:`J^\top I(\eta, \varphi) J`, with :math:`\varphi` what enters otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy as sp

if TYPE_CHECKING:
    from .model import Model


def reduced(model: Model) -> tuple[Any, list[Any], dict[Any, Any]] | None:
    """The log-density in a predictor, the parameters that stay, and what the predictor stands for; None where there is none."""
    own, data = set(model.symbols), set(model.data)
    sums = {a for a in model.log_density.atoms(sp.Add) if len(a.free_symbols & own) > 1 and not a.free_symbols & data}
    for eta in sorted(sums, key=lambda a: (-len(a.args), a.could_extract_minus_sign(), str(a))):
        u = sp.Dummy("eta", real=eta.is_real, positive=eta.is_positive)
        for inside in (model.log_density.subs(eta, u), _solved(model.log_density, eta, u, own)):
            if not inside.free_symbols & eta.free_symbols & own:
                return inside, [u, *(s for s in model.symbols if s in inside.free_symbols)], {u: eta}
    return None


def _solved(log_density: Any, eta: Any, u: Any, own: set[Any]) -> Any:
    """With one parameter expressed by the predictor: finds it under numeric factors, which SymPy distributes over sums."""
    for beta in sorted(eta.free_symbols & own, key=str):
        slope = eta.diff(beta)
        if not slope.free_symbols & own:
            return sp.expand(log_density.subs(beta, (u - eta.subs(beta, 0)) / slope))
    return log_density


def find(model: Model) -> tuple[str, Any] | None:
    """J' I J, where the small model has a closed form."""
    if not model.covariates or (found := reduced(model)) is None:
        return None
    inside, parameters, meaning = found
    supports = model.supports if len(model.supports) > 1 else model.supports[0]
    if any(support.free_symbols for support in model.supports):
        return None
    small = type(model)(log_density=inside, data=model.data, parameters=parameters, support=supports)
    if small._closed_form is None:
        return None
    tier, matrix = small._closed_form
    jacobian = sp.Matrix([meaning.get(s, s) for s in parameters]).jacobian(list(model.symbols))
    return tier, (jacobian.T * sp.Matrix(matrix.tolist() if hasattr(matrix, "tolist") else matrix) * jacobian).subs(meaning)
