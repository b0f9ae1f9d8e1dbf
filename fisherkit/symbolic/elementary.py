r"""Closed forms on intervals where f s_i s_j is a polynomial in the data and in sines or exponentials of one angle.

The angle A, linear in x, becomes the variable and E = exp(A) or exp(iA) a symbol; after cancelling, each term
:math:`A^n E^k` has an antiderivative by parts. Kinked densities are answered piece by piece: this is the score form, which
has no delta functions to lose.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import sympy as sp

from .pieces import Piece

CIRCULAR = (sp.sin, sp.cos, sp.tan)


def information(pieces: list[Piece], x: Any, parameters: tuple[Any, ...]) -> Any | None:
    """The (p, p) matrix, or None where an integrand is of another form."""
    out = sp.zeros(len(parameters), len(parameters))
    for piece in pieces:
        density = sp.powsimp(sp.exp(piece.log_density))
        scores = [sp.diff(piece.log_density, parameter) for parameter in parameters]
        for i, j in combinations_with_replacement(range(len(parameters)), 2):
            part = integral(density * scores[i] * scores[j], x, piece.low, piece.high)
            if part is None:
                return None
            out[i, j] += part
            out[j, i] = out[i, j]
    return out


def integral(integrand: Any, x: Any, low: Any, high: Any) -> Any | None:
    """Over an interval, or None where the integrand is of another form."""
    if integrand == 0:
        return sp.S.Zero
    if sp.sympify(low).is_infinite or sp.sympify(high).is_infinite:
        return None
    angles = {f.args[0] for f in integrand.atoms(*CIRCULAR)} | {f.exp for f in integrand.atoms(sp.exp)}
    angle = min((a for a in angles if a.has(x)), key=sp.count_ops, default=x)
    if sp.expand(angle).as_poly(x) is None or sp.degree(angle, x) != 1 or any(not (a / angle).is_Integer for a in angles):
        return None
    circular = any(f.args[0].has(x) for f in integrand.atoms(*CIRCULAR))
    if circular and any(f.exp.has(x) for f in integrand.atoms(sp.exp)):
        return None
    unit = sp.I if circular else sp.S.One
    A, E = sp.Dummy("A", real=True), sp.Dummy("E")
    c1, c0 = sp.Poly(angle, x).all_coeffs()
    ends = [sp.expand(sp.cancel(angle.subs(x, end))) for end in (low, high)]
    terms = _terms(_in_exponentials(integrand, angle, E).subs(x, (A - c0) / c1), A, E)
    if terms is None:
        return None
    antiderivative = sum(c * _antiderivative(A, n, unit * k) for (n, k), c in terms.items())
    total = antiderivative.subs(A, ends[1]) - antiderivative.subs(A, ends[0])
    return sp.expand(sp.expand_complex(total) if circular else total) / c1


def _in_exponentials(expression: Any, angle: Any, E: Any) -> Any:
    """Sines, cosines and exponentials of multiples of an angle as powers of one symbol."""
    for f in expression.atoms(*CIRCULAR, sp.exp):
        if (k := f.args[0] / angle).is_Integer:
            up, down = E**k, E**-k
            value = {sp.sin: (up - down) / (2 * sp.I), sp.cos: (up + down) / 2, sp.tan: (up - down) / (up + down) / sp.I}
            expression = expression.xreplace({f: value.get(f.func, up)})
    return expression


def _terms(expression: Any, A: Any, E: Any) -> dict[tuple[int, int], Any] | None:
    """Coefficients of A^n E^k, k of either sign; None where it is no sum of them."""
    top, bottom = sp.fraction(sp.cancel(sp.together(expression)))
    if bottom.has(A) or not top.is_polynomial(A, E) or not bottom.is_polynomial(E):
        return None
    shift = sp.degree(bottom, E)
    rest = sp.cancel(bottom / E**shift)
    if rest.has(E):
        return None
    return {(n, k - shift): c / rest for (n, k), c in sp.Poly(top, A, E).terms()}


def _antiderivative(A: Any, n: int, k: Any) -> Any:
    """Of A^n exp(k A)."""
    if k == 0:
        return A ** (n + 1) / (n + 1)
    return sp.exp(k * A) * sum((-1) ** i * sp.ff(n, i) * A ** (n - i) / k ** (i + 1) for i in range(n + 1))
