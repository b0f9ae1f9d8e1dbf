"""Short forms of the entries, without a long search."""

from __future__ import annotations

from typing import Any

import sympy as sp

SMALL = 80  # operations up to which a form over one denominator is tried
SPECIAL = (sp.polygamma, sp.log, sp.expint, sp.meijerg, sp.zeta, sp.besseli, sp.gamma, sp.exp, sp.erfc, sp.Derivative)


def tidy(expression: Any) -> Any:
    """A form that a textbook would print: special functions collected, each with a short coefficient."""
    if expression.is_Atom:
        return expression
    if expression.has(sp.beta, sp.binomial, sp.factorial):
        expression = sp.gammasimp(expression.rewrite(sp.gamma))
    lowered = expression.replace(sp.polygamma, _lowered)
    special = [f for f in lowered.atoms(*SPECIAL) if f.free_symbols]
    collected = _collected(lowered, special)
    candidates = [expression, collected]
    if sp.count_ops(collected) < SMALL:
        whole = sp.factor(collected)
        candidates += [whole, sp.expand(collected)]
        if whole.has(sp.exp, sp.gamma):
            candidates += [sp.powsimp(whole), sp.gammasimp(whole)]
        if whole.has(sp.sin, sp.cos):
            candidates.append(sp.trigsimp(whole))
    return min(candidates, key=sp.count_ops)


def _collected(expression: Any, special: list[Any]) -> Any:
    """The coefficient of each product of special functions, over one denominator."""
    parts = _by_product(expression, special).items()
    return sp.Add(*(sp.factor(coefficient) * product for product, coefficient in parts))


def _by_product(expression: Any, special: list[Any]) -> dict[Any, Any]:
    """Coefficients by product of special functions; multiplied out no further than that takes."""
    if not expression.has(*special):
        return {sp.S.One: expression}
    out: dict[Any, Any] = {}
    if expression.is_Add:
        for term in expression.args:
            for product, coefficient in _by_product(term, special).items():
                out[product] = out.get(product, 0) + coefficient
        return out
    if expression.is_Pow and expression.base.is_Add and expression.exp.is_Integer and expression.exp > 1:
        return _by_product(sp.Mul(expression.base, expression.base ** (expression.exp - 1), evaluate=False), special)
    if not expression.is_Mul:
        return {expression: sp.S.One}
    first, *rest = expression.args
    left, right = _by_product(first, special), _by_product(sp.Mul(*rest, evaluate=False), special)
    for a, u in left.items():
        for b, v in right.items():
            out[a * b] = out.get(a * b, 0) + u * v
    return out


def _lowered(order: Any, argument: Any) -> Any:
    """polygamma(n, z + k) by polygamma(n, z), with the rational part of the argument in [0, 1), or a number in (0, 1]."""
    constant = sp.sympify(argument).as_coeff_Add()[0]
    if not constant.is_Rational or not sp.sympify(order).is_Integer or not -100 < constant < 100:
        return sp.polygamma(order, argument)
    steps = int(sp.floor(constant)) if argument.free_symbols else int(sp.ceiling(constant)) - 1
    start = argument - steps
    poles = sum(1 / (start + i) ** (order + 1) for i in range(steps)) - sum(
        1 / (start - 1 - i) ** (order + 1) for i in range(-steps)
    )
    return sp.polygamma(order, start) + (-1) ** order * sp.factorial(order) * poles
