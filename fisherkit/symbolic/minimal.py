"""The shortest sum of products of a weight (of the parameters) and a statistic (of the data), and points to compare it at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import mpmath
import sympy as sp

from .support import Support

if TYPE_CHECKING:
    from .model import Model

Terms = dict[Any, Any]  # weights by statistic


def reduce(terms: Terms, model: Model) -> tuple[Terms, Any, Any]:
    """Independent weights and statistics, and what moves into the log-partition and the carrier on the way."""
    shift, fixed = sp.S.Zero, sp.S.Zero
    terms = _independent_weights(terms, model.symbols)
    while len(terms) and (relation := _relation(list(terms), model)) is not None:
        coefficients, constant = relation  # sum of c_i T_i = constant
        statistics = list(terms)
        last = max(k for k, c in enumerate(coefficients) if c != 0)
        weight = terms.pop(statistics[last])
        for statistic, c in zip(statistics, coefficients, strict=True):
            if statistic in terms:
                terms[statistic] = sp.expand(terms[statistic] - weight * c / coefficients[last])
        shift += weight * constant / coefficients[last]
        terms = _independent_weights({t: w for t, w in terms.items() if w != 0}, model.symbols)
    while len(terms) and (relation := _relation(list(terms.values()), model)) is not None:
        coefficients, constant = relation  # sum of c_i eta_i = constant
        statistics = list(terms)
        last = max(k for k, c in enumerate(coefficients) if c != 0)
        gone = statistics[last]
        del terms[gone]
        fixed += gone * constant / coefficients[last]
        terms = {t - gone * c / coefficients[last]: terms[t] for t, c in zip(statistics, coefficients, strict=True) if t in terms}
    return terms, shift, fixed


def _independent_weights(terms: Terms, parameters: tuple[Any, ...]) -> Terms:
    """Weights that are multiples and sums of others, seen in their monomials, merged into one statistic."""
    if not terms:
        return terms
    rows = [_monomials(weight, parameters) for weight in terms.values()]
    columns = sorted({monomial for row in rows for monomial in row}, key=sp.default_sort_key)
    matrix = sp.Matrix([[row.get(monomial, 0) for monomial in columns] for row in rows])
    _, pivots = matrix.T.rref()
    if len(pivots) == len(rows):
        return terms
    basis = matrix.extract(list(pivots), list(range(len(columns))))
    shares = matrix * basis.T * (basis * basis.T).inv()
    statistics, weights = list(terms), list(terms.values())
    return {
        sp.expand(sum(sp.cancel(shares[i, j]) * statistic for i, statistic in enumerate(statistics))): weights[pivot]
        for j, pivot in enumerate(pivots)
    }


def _monomials(weight: Any, parameters: tuple[Any, ...]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for term in sp.Add.make_args(sp.expand(weight)):
        coefficient, monomial = term.as_independent(*parameters, as_Add=False)
        out[monomial] = out.get(monomial, 0) + coefficient
    return out


def _relation(functions: list[Any], model: Model) -> tuple[list[Any], Any] | None:
    """Rational c with sum of c_i f_i constant, or None where the functions and 1 are independent (at random points)."""
    count = len(functions) + 1
    at_points = list(points(model, 2 * count + 2))
    with mpmath.workdps(40):
        rows = [[*(value(f, at) for f in functions), mpmath.mpf(1)] for at in at_points]
        _, sizes, turned = mpmath.svd_r(mpmath.matrix(rows)) if len(rows) >= count else (None, [1], None)
        if turned is None or sizes[len(sizes) - 1] > mpmath.mpf(10) ** -25 * sizes[0]:
            return None
        null = [turned[turned.rows - 1, k] for k in range(count)]
        largest = max(null[:-1], key=abs, default=mpmath.mpf(0))
        if abs(largest) < mpmath.mpf(10) ** -20:
            return None
        found = [sp.nsimplify(sp.Float(part / largest, 30), rational=True, tolerance=1e-15) for part in null]
        *coefficients, constant = found
        sums = [
            sum(value(c * f, at) for f, c in zip(functions, coefficients, strict=True)) + value(constant, {}) for at in at_points
        ]
        exact = max(map(abs, sums)) < mpmath.mpf(10) ** -20 * (1 + abs(rows[0][0]))
    return (coefficients, -constant) if exact else None


# -- points, to compare functions at


def points(model: Model, count: int, *, start: int = 0) -> Iterator[dict[Any, Any]]:
    """Values of all symbols; data inside their supports, parameters and constants by their assumptions."""
    free = sorted(model.free, key=str)
    for k in range(start, start + count):
        at = {s: _varied(s, k + 3 * i) for i, s in enumerate(free)}
        yield {**at, **{x: _inside(support.subs(at), k, i, x) for i, (x, support) in enumerate(_observed(model))}}


def _observed(model: Model) -> list[tuple[Any, Support]]:
    return list(zip(model.data, model.supports, strict=True))


def _varied(symbol: Any, k: int) -> Any:
    if symbol.is_integer:
        return sp.Integer(k + 7)
    value = sp.Rational(sp.prime(k + 2) % 11 + 1, 13 + 2 * k)  # below 1: a probability too
    return -value if symbol.is_negative else value


def _inside(support: Support, k: int, i: int, x: Any) -> Any:
    if support.values is not None:
        return sp.sympify(support.values[k % len(support.values)])
    low, high = sp.sympify(support.low), sp.sympify(support.high)
    if support.discrete:
        step = (k * (2 * i + 3) + i * k * k + i) % 11
        return low + step if low.is_finite else high - step if high.is_finite else sp.Integer(step - 5)
    fraction = sp.Rational(sp.prime(k + 3 * i + 1) % 17 + 1, 19 + k)
    if low.is_finite and high.is_finite:
        return low + (high - low) * fraction / 2
    return low + 2 * fraction if low.is_finite else high - 2 * fraction if high.is_finite else (-1) ** k * 2 * fraction


def value(function: Any, at: dict[Any, Any]) -> Any:
    """Its real part, by mpmath; nan where it has none."""
    found = sp.re(sp.sympify(function).subs(at).evalf(40))
    return mpmath.mpf(found) if found.is_Float or found.is_Integer else mpmath.nan
