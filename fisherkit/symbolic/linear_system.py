r"""Closed forms without integration: E[score] = 0 is a linear system for the moments that the Hessian needs.

Where the score is affine in statistics, :math:`s = A\,T(x) + c` with A and c free of the data and T free of the parameters,
so is the Hessian, :math:`H_{ij} = h^\top T(x) + d` with :math:`h = \partial_j A_i` and :math:`d = \partial_j c_i`. The p
equations :math:`A\,E[T] = -c` give :math:`E[h^\top T] = -\lambda^\top c` for every h in the row space of A,
:math:`\lambda^\top A = h^\top`. No moment is looked up and nothing is integrated: any normaliser will do, continuous, discrete
or joint.

It assumes E[score] = 0, so a density that is not normalised gives a confident wrong matrix: every answer is compared
with the integral at a point before it is used.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

Affine = tuple[dict[Any, Any], Any]  # coefficients by statistic, and the constant


def information(scores: list[Any], data: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any | None:
    """The (p, p) expected information as a SymPy matrix, or None where the score is not of this form."""
    known: list[Affine] = []
    for score in scores:
        if (affine := _affine(score, data, parameters)) is None:
            return None
        known.append(affine)
    statistics = sorted({t for coefficients, _ in known for t in coefficients}, key=sp.default_sort_key)
    A = sp.Matrix([[coefficients.get(t, 0) for t in statistics] for coefficients, _ in known])
    c = sp.Matrix([constant for _, constant in known])
    out = sp.zeros(len(scores), len(scores))
    for i in range(len(scores)):
        for j in range(i + 1):
            entry = _expectation(A[i, :].diff(parameters[j]), c[i].diff(parameters[j]), A, c)
            if entry is None:
                return None
            out[i, j] = out[j, i] = -entry
    return out


def _expectation(h: Any, d: Any, A: Any, c: Any) -> Any | None:
    """E of h' T + d, where the system determines it."""
    if h.is_zero_matrix:
        return d
    try:
        weights, free = A.T.gauss_jordan_solve(h.T)
    except ValueError:  # h is outside the row space
        return None
    return d - (weights.subs(dict.fromkeys(free, 0)).T * c)[0]


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
