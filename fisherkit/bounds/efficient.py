"""The estimator that attains the Cramer-Rao bound, where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import as_entries, family, public
from ..errors import MethodError
from ..model import as_model
from ..verbs import expected_information, score
from .functions import Target


def efficient_estimator(model: Any, *, of: Any = None) -> Any:
    r"""The unbiased estimator whose covariance is the Cramer-Rao bound, as an expression in the data.

    Equality in the Schwarz inequality asks for an estimator that is linear in the score,
    :math:`\hat g(x) = g(\theta) + G\, I(\theta)^{-1} s(x; \theta)`, and for an estimator theta must drop out of it.

    Parameters
    ----------
    model : symbolic.Model, or a ``sympy.stats`` variable
    of : SymPy expression, or several; or callable that accepts symbols; optional
        The function g; the parameters themselves by default. Parameters that g does not hold are nuisances.

    Returns
    -------
    expression, or Matrix (q, 1) for several
        In the model's data symbols, of one observation. Of n independent ones the efficient estimator is the mean of the n
        values.

    Raises
    ------
    MethodError
        When theta does not drop out, so that no unbiased estimator attains the bound; or when the model has no closed form.

    Notes
    -----
    There is one only for linear functions of the mean E[T] of the sufficient statistic of an exponential family (Wijsman 1973):
    of the
    mean of an exponential law, not of its rate. Where there is none, `bhattacharyya_bound` is a sharper bound.

    References
    ----------
    Wijsman (1973), On the attainment of the Cramer-Rao lower bound, Ann. Statist. 1, 538-542; Lehmann & Casella (1998), Theory of
    Point Estimation, 2nd ed., theorem 2.5.12.

    Examples
    --------
    >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    >>> x = sympy.Symbol("x", real=True)
    >>> density = sympy.exp(-((x - mu) ** 2) / (2 * sigma**2)) / (sigma * sympy.sqrt(2 * sympy.pi))
    >>> normal = fk.symbolic.Model(density, data=x, parameters=sigma, support=(-sympy.oo, sympy.oo))
    >>> fk.bounds.efficient_estimator(normal, of=sigma**2)  # the mean is known
    (-mu + x)**2
    """
    import sympy

    source = as_model(model)
    point = source.point(None)
    target = Target(of, point)
    if not target.symbolic:
        raise MethodError("an estimator is an expression in the data: give a symbolic model.")
    information = expected_information(source)
    if family(as_entries(information.dense())) != "sympy":
        raise MethodError("an estimator is an expression in the data: give a symbolic model.")
    s = as_entries(score(source)).reshape(-1)
    values = target.values(point) + target.derivatives(1) @ as_entries(information.solve(s)).reshape(-1)
    out = [_without_parameters(sympy.sympify(value), list(point.values())) for value in values]
    for estimator, value in zip(out, values, strict=True):
        if estimator is None:
            raise MethodError(
                f"no unbiased estimator attains the Cramer-Rao bound: the parameters do not drop out of "
                f"{sympy.simplify(value)}. Only "
                "linear functions of the mean of an exponential family's sufficient statistic have one; give such a function "
                "as of=."
            )
    return out[0] if len(out) == 1 else public(np.array(out, dtype=object).reshape(-1, 1))


def _without_parameters(value: Any, parameters: list[Any]) -> Any | None:
    """The value in a form that holds no parameter, or None where it depends on one."""
    import sympy

    for short in (sympy.expand, sympy.simplify):
        form = short(value)
        if not form.has(*parameters):
            return sympy.factor(form) if not form.has(sympy.Piecewise) else sympy.simplify(form)
    if any(sympy.simplify(sympy.diff(value, parameter)) != 0 for parameter in parameters):
        return None
    return sympy.simplify(value.subs(dict.fromkeys(parameters, sympy.S.One)))
