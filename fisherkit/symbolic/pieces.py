"""Where a density changes its formula: kinks, branches, and smooth pieces between them.

Absolute values, signs, steps, maxima and branches are read at a point inside each piece, so that what is left is smooth
there, and its derivatives are derivatives: no delta function is lost or kept by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import mpmath
import sympy as sp
from sympy.core.relational import Relational

from ..errors import MethodError, RegularityError
from .support import Support

Point = dict[Any, Any]
KINKED = (sp.Abs, sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise)


@dataclass(frozen=True)
class Piece:
    """A smooth log-density between two ends; ``inside`` is a rational number between them at the point."""

    log_density: Any
    low: Any
    high: Any
    inside: Any


def split(log_density: Any, x: Any, support: Support, at: Point, *, also: Sequence[Any] = ()) -> list[Piece]:
    """The pieces of a continuous support at a point, from left to right; ends and formulas keep their symbols.

    Cut where the log-density changes its formula, and where another function does.
    """
    cuts = [support.low, *kinks(sp.Tuple(log_density, *also), x, support, at), support.high]
    out = []
    for low, high in pairwise(cuts):
        inside = between(number(low, at), number(high, at))
        smooth = resolve(log_density, {**at, x: inside})
        if not smooth.has(sp.zoo, sp.nan) and smooth != -sp.oo:
            out.append(Piece(smooth, low, high, inside))
    if not out:
        raise RegularityError("the density is zero everywhere on its support.", condition="not_normalised")
    return out


def steady(log_density: Any, x: Any, support: Support, at: Point, *, also: Sequence[Any] = ()) -> list[Piece] | None:
    """Pieces whose order is that of every point: one cut at most, or none that moves; None where it may be another."""
    if support.discrete or log_density.has(sp.Sum):
        return None
    pieces = split(log_density, x, support, at, also=also)
    inner = {end for piece in pieces for end in (piece.low, piece.high)} - {support.low, support.high}
    return pieces if len(inner) <= 1 or not any(sp.sympify(end).free_symbols for end in inner) else None


def kinks(formulas: Any, x: Any, support: Support, at: Point) -> list[Any]:
    """Where in the support a formula, or one of a tuple, changes, in order at the point."""
    low, high = number(support.low, at), number(support.high, at)
    found: dict[Any, Any] = {}
    needed = _turnings(formulas)
    zeros = {f.args[0] for f in formulas.atoms(sp.log) if f.args[0].is_polynomial(x)}
    for turning in sorted(needed | zeros, key=sp.default_sort_key):
        for root in roots(turning, x, at, needed=turning in needed) if turning.has(x) else ():
            value = number(root, at)
            if low < value < high and not any(abs(value - other) < mpmath.mpf(10) ** -20 for other in found.values()):
                found[root] = value
    return sorted(found, key=lambda root: found[root])


def _turnings(expression: Any) -> set[Any]:
    out = {f.args[0] for f in expression.atoms(sp.Abs, sp.sign, sp.Heaviside)}
    for f in expression.atoms(sp.Max, sp.Min):
        out |= {left - right for left, right in pairwise(f.args)}
    for f in expression.atoms(sp.Piecewise):
        for _, condition in f.args:
            out |= {r.lhs - r.rhs for r in condition.atoms(Relational) if not isinstance(r, (sp.Eq, sp.Ne))}
    return out


def roots(turning: Any, x: Any, at: Point, *, needed: bool = True) -> list[Any]:
    """Zeros of a polynomial of degree one or two in x, or of one that x enters once."""
    if turning.is_polynomial(x) and 1 <= (degree := sp.degree(turning, x)) <= 2:
        c2, c1, c0 = (turning.expand().coeff(x, power) for power in (2, 1, 0))
        if degree == 1:
            return [-c0 / c1]
        root = sp.sqrt(c1**2 - 4 * c2 * c0)
        return [(-c1 + sign * root) / (2 * c2) for sign in (-1, 1)] if number(root**2, at) >= 0 else []
    found = invert(turning, x, sp.S.Zero, at)
    if found is None and not needed:
        return []
    if found is None:
        raise MethodError(f"the density changes its formula where {turning} = 0, which could not be solved for {x}.")
    return [found]


def resolve(expression: Any, at: Point) -> Any:
    """The formula that holds at a point, without absolute values, signs, steps or branches."""
    for _ in range(20):
        if not (kinked := [f for f in expression.atoms(*KINKED) if not any(g.has(*KINKED) for g in f.args)]):
            return expression
        expression = expression.xreplace({f: _choose(f, at) for f in kinked})
    return expression


def _choose(f: Any, at: Point) -> Any:
    if isinstance(f, (sp.Max, sp.Min)):
        return (max if isinstance(f, sp.Max) else min)(f.args, key=lambda g: number(g, at))
    if isinstance(f, sp.Piecewise):
        return next((branch for branch, condition in f.args if condition.subs(at) == True), sp.nan)  # noqa: E712 SymPy's
    positive = number(f.args[0], at) > 0
    if isinstance(f, sp.Abs):
        return f.args[0] if positive else -f.args[0]
    return sp.Integer(1 if positive else 0 if isinstance(f, sp.Heaviside) else -1)


def invert(g: Any, x: Any, target: Any, at: Point) -> Any | None:
    """x where g(x) = target, for an x that enters once, on the branch that holds at the point; None otherwise."""
    while g != x:
        if g.is_Add or g.is_Mul:
            known, rest = g.as_independent(x, as_Add=g.is_Add)
            if type(rest) is type(g):
                return None
            target, g = (target - known if g.is_Add else target / known), rest
        elif isinstance(g, sp.log):
            g, target = g.args[0], sp.exp(target)
        elif isinstance(g, sp.exp) or (g.is_Pow and not g.base.has(x)):
            base, g = g.as_base_exp()
            target = sp.log(target) / sp.log(base)
        elif g.is_Pow and not g.exp.has(x):
            negative = x in at and number(g.base, at) < 0
            if negative and not g.exp.is_even:
                return None
            flipped = g.exp.is_odd and target.free_symbols <= set(at) and number(target, at) < 0
            root = -((-target) ** (1 / g.exp)) if flipped else target ** (1 / g.exp)
            g, target = g.base, -root if negative else root
        else:
            return None
    return target


def magnitude(log_density: Any) -> Any:
    """A log-density as the sum of logarithms of absolute values: its factors may be negative two by two.

    A density that is negative somewhere then has too much mass, and is told by it.
    """
    return log_density.replace(sp.log, lambda part: sp.log(part if part.is_nonnegative else sp.Abs(part)))


def between(low: Any, high: Any) -> Any:
    """A rational number strictly between two real ones."""
    if mpmath.isinf(low) and mpmath.isinf(high):
        return sp.Rational(1, 7)
    if mpmath.isinf(low) or mpmath.isinf(high):
        end, sign = (high, -1) if mpmath.isinf(low) else (low, 1)
        return sp.Rational(str(mpmath.nstr(end + sign * max(abs(end), 1) / 3, 15)))
    return sp.Rational(str(mpmath.nstr(low + (high - low) * mpmath.mpf("0.4375"), 20)))


def number(expression: Any, at: Point) -> Any:
    """A real number at a point, by mpmath."""
    value = sp.sympify(expression).subs(at)
    if value.is_infinite:
        return mpmath.mpf(float(value))
    return mpmath.mpf(sp.re(value.evalf(mpmath.mp.dps + 10)))
