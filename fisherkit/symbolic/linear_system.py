r"""Closed forms without integration: E[score] = 0 is a linear system for the moments that the Hessian needs.

Where score and Hessian are affine in common statistics, :math:`s = A\,T(x) + c` and :math:`H_{ij} = h_{ij}^\top T(x) +
d_{ij}` with A, c, h, d free of the data and T free of the parameters, the p equations :math:`A\,E[T] = -c` give
:math:`E[h^\top T] = -\lambda^\top c` for every h in the row space of A, :math:`\lambda^\top A = h^\top`. No moment is
looked up and nothing is integrated: any normaliser will do, continuous, discrete or joint.

It assumes E[score] = 0, so a density that is not normalised gives a confident wrong matrix: every answer is compared
with the integral at a point before it is used (`numeric`).
"""

from __future__ import annotations

from typing import Any

import sympy as sp

Affine = tuple[dict[Any, Any], Any]  # coefficients by statistic, and the constant


def information(scores: list[Any], hessian: list[list[Any]], data: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any | None:
    """The (p, p) expected information as a SymPy matrix, or None where the score is not of this form."""
    affine = [_affine(score, data, parameters) for score in scores]
    if any(part is None for part in affine):
        return None
    known = [part for part in affine if part is not None]
    statistics = sorted({t for coefficients, _ in known for t in coefficients}, key=sp.default_sort_key)
    A = sp.Matrix([[coefficients.get(t, 0) for t in statistics] for coefficients, _ in known])
    c = sp.Matrix([constant for _, constant in known])
    p = len(scores)
    out = sp.zeros(p, p)
    for i in range(p):
        for j in range(i + 1):
            entry = _expectation(_affine(hessian[i][j], data, parameters), statistics, A, c)
            if entry is None:
                return None
            out[i, j] = out[j, i] = -entry
    return out


def _expectation(affine: Affine | None, statistics: list[Any], A: Any, c: Any) -> Any | None:
    """E of an affine function of the statistics, where the system determines it."""
    if affine is None or any(t not in statistics for t in affine[0]):
        return None
    coefficients, constant = affine
    if not coefficients:
        return constant
    h = sp.Matrix([coefficients.get(t, 0) for t in statistics])
    try:
        weights, free = A.T.gauss_jordan_solve(h)
    except ValueError:  # h is outside the row space
        return None
    weights = weights.subs(dict.fromkeys(free, 0))
    return constant - (weights.T * c)[0]


def _affine(expression: Any, data: tuple[Any, ...], parameters: tuple[Any, ...]) -> Affine | None:
    """Coefficients of the statistics, which must be free of the parameters."""
    coefficients: dict[Any, Any] = {}
    constant = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(sp.expand_log(sp.expand_trig(expression), force=True))):
        free, statistic = term.as_independent(*data, as_Add=False)
        if statistic == 1:
            constant += free
        elif statistic.has(*parameters):
            return None
        else:
            coefficients[statistic] = coefficients.get(statistic, 0) + free
    return {t: sp.cancel(k) for t, k in coefficients.items() if sp.cancel(k) != 0}, constant
