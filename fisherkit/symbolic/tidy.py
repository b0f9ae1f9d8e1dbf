"""Short forms of the entries, without a long search."""

from __future__ import annotations

from typing import Any

import sympy as sp

SMALL = 60  # operations up to which `sympy.simplify` may try too
LARGE = 2000  # operations from which nothing is tried


def tidy(expression: Any) -> Any:
    """A form that a textbook would print."""
    if expression.is_Atom:
        return expression
    if expression.has(sp.beta, sp.binomial, sp.factorial):
        expression = sp.gammasimp(expression.rewrite(sp.gamma))
    lowered = expression.replace(sp.polygamma, _lowered)
    if sp.count_ops(lowered) > LARGE:
        return lowered
    short = sp.cancel(sp.together(lowered))
    candidates = [short, sp.factor(short), sp.expand(short), expression]
    if short.has(sp.exp, sp.gamma) and sp.count_ops(short) < SMALL:
        candidates.append(sp.gammasimp(sp.powsimp(sp.factor(short))))
    if sp.count_ops(short) < SMALL and short.has(sp.log, sp.sqrt, sp.sin, sp.cos, sp.exp):
        candidates.append(sp.simplify(short))
    best = min(candidates, key=sp.count_ops)
    return _partial_fractions(best)


def _lowered(order: Any, argument: Any) -> Any:
    """polygamma(n, z + k) by polygamma(n, z), with the rational part of the argument in [0, 1)."""
    constant = sp.sympify(argument).as_coeff_Add()[0]
    if not constant.is_Rational or not argument.free_symbols or not sp.sympify(order).is_Integer:
        return sp.polygamma(order, argument)
    steps = int(sp.floor(constant))
    start = argument - steps
    poles = sum(1 / (start + i) ** (order + 1) for i in range(steps)) - sum(
        1 / (start - 1 - i) ** (order + 1) for i in range(-steps)
    )
    return sp.polygamma(order, start) + (-1) ** order * sp.factorial(order) * poles


def _partial_fractions(expression: Any) -> Any:
    """Special functions collected, each with a short coefficient, where that is shorter."""
    special = sorted(expression.atoms(sp.polygamma, sp.log, sp.expint, sp.meijerg, sp.zeta), key=sp.default_sort_key)
    special = [f for f in special if f.free_symbols]
    if not special:
        return expression
    collected = sp.collect(sp.expand(expression), special, sp.factor)
    return min((expression, collected), key=sp.count_ops)
