"""Constants of integration: independent groups of data as densities of their own."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import Any

import sympy as sp

from . import kernels
from .deadline import Expired, deadline
from .density import Density
from .pieces import Point, split

PATIENCE = 3.0  # seconds for one integral


def normalized(density: Density, at: Point) -> list[Density] | None:
    """The independent groups with their constants; None where there is one group, or a constant is not found."""
    each, rest = density.groups
    if len(each) == 1:
        return None
    alike = [canonical(group) for group in each]
    keys = list(dict.fromkeys(one.log_density for one, _ in alike))
    if len(keys) == 1 and not any(back for _, back in alike):
        logs = [-rest / len(each)] * len(each)
    else:
        found = {key: log_mass(next(one for one, _ in alike if one.log_density == key), at) for key in keys}
        logs = [None if (log := found[one.log_density]) is None else log.subs(back) for one, back in alike]
        if logs.count(None) > 1:
            return None
        if None in logs:
            logs[logs.index(None)] = -rest - sum(log for log in logs if log is not None)
    return [Density(g.log_density - log, g.data, g.supports, _moved(g, density, log)) for g, log in zip(each, logs, strict=True)]


def _moved(group: Density, whole: Density, log: Any) -> tuple[Any, ...]:
    mentioned = group.free | sp.sympify(log).free_symbols
    return tuple(symbol for symbol in whole.symbols if symbol in mentioned)


def canonical(group: Density) -> tuple[Density, dict[Any, Any]]:
    """With standard names for its data and known constants, so that equal groups are seen; and the constants' own names."""
    constants = sorted(group.free - set(group.symbols), key=str)
    names = {x: sp.Symbol(f"_x{k}", **x._assumptions_orig) for k, x in enumerate(group.data)}
    named = {c: sp.Symbol(f"_c{k}", **c._assumptions_orig) for k, c in enumerate(constants)}
    names.update(named)
    supports = tuple(support.subs(names) for support in group.supports)
    alike = Density(group.log_density.xreplace(names), tuple(names[x] for x in group.data), supports, group.symbols)
    return alike, {name: constant for constant, name in named.items()}


def log_mass(density: Density, at: Point) -> Any | None:
    """The logarithm of the integral, or None where it is not found."""
    known = {name: value for name, value in at.items() if name in density.free}
    here = known | {c: sp.Rational(7 + k, 11) for k, c in enumerate(sorted(density.free - set(known), key=str))}
    if density.is_finite:
        return sp.log(_sum(density))
    if (gaussian := _gaussian(density)) is not None:
        return gaussian
    if len(density.data) > 1:
        return None
    (x,), (support,) = density.data, density.supports
    if not support.discrete and (mass := kernels.mass(split(density.log_density, x, support, here), x, here)) is not None:
        return sp.expand_log(sp.log(mass), force=True)
    with suppress(Expired), deadline(PATIENCE):
        ends = (x, support.low, support.high)
        total = (sp.summation if support.discrete else sp.integrate)(sp.exp(density.log_density), ends)
        total = total.args[0].expr if isinstance(total, sp.Piecewise) else total
        return None if total.has(sp.Integral, sp.Sum, sp.oo, sp.nan) else sp.log(total)
    return None


def _sum(density: Density) -> Any:
    outcomes = product(*(support.values or () for support in density.supports))
    return sum(sp.exp(density.log_density.subs(dict(zip(density.data, values, strict=True)))) for values in outcomes)


def _gaussian(density: Density) -> Any | None:
    """Of a quadratic log-density on the whole space: k/2 log 2 pi - log det P / 2 + b' P^-1 b / 2 + c."""
    log = sp.expand(density.log_density)
    if any(support.discrete or (support.low, support.high) != (-sp.oo, sp.oo) for support in density.supports):
        return None
    if not log.is_polynomial(*density.data) or sp.Poly(log, *density.data).total_degree() != 2:
        return None
    precision, at_zero = -sp.hessian(log, density.data), dict.fromkeys(density.data, 0)
    slope = sp.Matrix([sp.diff(log, x).subs(at_zero) for x in density.data])
    square = (slope.T * precision.LUsolve(slope))[0] / 2
    k = len(density.data)
    return k * sp.log(2 * sp.pi) / 2 - sp.log(precision.det()) / 2 + sp.cancel(square) + log.subs(at_zero)
