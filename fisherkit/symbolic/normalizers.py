"""Constants of integration: independent groups of data as densities of their own."""

from __future__ import annotations

from itertools import product
from typing import Any

import sympy as sp

from ..deadline import within
from . import gaussian, kernels
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
    if (quadratic := _gaussian(density)) is not None:
        return quadratic
    if len(density.data) > 1:
        return None
    (x,), (support,) = density.data, density.supports
    if not support.discrete and (mass := kernels.mass(split(density.log_density, x, support, here), x, here)) is not None:
        return sp.expand_log(sp.log(mass), force=True)
    taken = sp.summation if support.discrete else sp.integrate
    total = within(PATIENCE, lambda: taken(sp.exp(density.log_density), (x, support.low, support.high)))
    total = total.args[0].expr if isinstance(total, sp.Piecewise) else total
    return None if total is None or total.has(sp.Integral, sp.Sum, sp.oo, sp.nan) else sp.log(total)


def _sum(density: Density) -> Any:
    outcomes = product(*(support.values or () for support in density.supports))
    return sum(sp.exp(density.log_density.subs(dict(zip(density.data, values, strict=True)))) for values in outcomes)


def _gaussian(density: Density) -> Any | None:
    """Of a quadratic log-density on the whole space: k/2 log 2 pi - log det P / 2 + b' P^-1 b / 2 + c."""
    if not density.is_unbounded or (form := gaussian.read(density.log_density, density.data)) is None:
        return None
    precision, slope, constant = form
    square = (slope.T * precision.LUsolve(slope))[0] / 2
    return len(density.data) * sp.log(2 * sp.pi) / 2 - sp.log(precision.det()) / 2 + sp.cancel(square) + constant
