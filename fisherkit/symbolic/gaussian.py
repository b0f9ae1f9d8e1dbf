r"""Gaussian data with parameters in mean and covariance: read from a log-density that is quadratic in the data.

.. math:: I_{ij} = \partial_i\mu^\top P\, \partial_j\mu + \tfrac12 \mathrm{tr}(P^{-1} \partial_i P\, P^{-1} \partial_j P),

with the precision P = minus the Hessian in the data. Needed where the statistics outnumber the parameters (curved
families, structured covariance), so that E[score] = 0 leaves moments open.
"""

from __future__ import annotations

from typing import Any

import sympy as sp


def read(log_density: Any, data: tuple[Any, ...]) -> tuple[Any, Any, Any] | None:
    """P, b and c of -x' P x / 2 + b' x + c; None where the log-density is no such form."""
    quadratic = sp.expand(log_density)
    if not quadratic.is_polynomial(*data) or sp.Poly(quadratic, *data).total_degree() != 2:
        return None
    at_zero = dict.fromkeys(data, 0)
    slope = sp.Matrix([sp.diff(quadratic, x).subs(at_zero) for x in data])
    return -sp.hessian(quadratic, data), slope, quadratic.subs(at_zero)


def information(log_density: Any, data: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any | None:
    """The (p, p) matrix, or None where the log-density is not quadratic in the data."""
    if (form := read(log_density, data)) is None:
        return None
    precision, slope, _ = form
    covariance = precision.inv().applyfunc(sp.cancel)
    mean = (covariance * slope).applyfunc(sp.cancel)
    moved = [mean.diff(parameter) for parameter in parameters]
    turned = [covariance * precision.diff(parameter) for parameter in parameters]
    p = len(parameters)
    return sp.Matrix(p, p, lambda i, j: (moved[i].T * precision * moved[j])[0] + (turned[i] * turned[j]).trace() / 2)
