"""The expectation at a point: in machine precision where that is enough, else with as many digits as asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from .. import quadrature
from ..deadline import within
from ..errors import DataError, FisherkitError, MethodError, PrecisionError, RegularityError
from ..quadrature import Moments
from . import certified, domain, evaluate, joint, regularity
from .density import Density, Mixed, mixed
from .pieces import Piece, Point, magnitude, number, split

SEARCH = 5.0  # seconds for the interval in which a value would be allowed
MACHINE = 10  # digits up to which float64 is tried first


@dataclass(frozen=True)
class Estimate:
    """Mass, mean score and E[s s'] (float64, or mpmath numbers in an object array), and their relative error."""

    mass: Any
    mean: np.ndarray
    product: np.ndarray
    error: float


def estimate(density: Density, at: Point, digits: int) -> Estimate:
    """E[s s'] at a point, after the regularity conditions, to ``digits`` digits.

    Raises
    ------
    RegularityError
        When the density has no Fisher information there; the condition and the parameter are named.
    PrecisionError
        When the digits cannot be reached.
    """
    try:
        return taken(density, at, digits)
    except RegularityError as refusal:
        found = None
        if refusal.condition == "not_normalised" and refusal.parameter is None:
            found = within(SEARCH, lambda: domain.allowed(partial(_valid, density), at))
        if found is None:
            raise
        raise RegularityError(f"{refusal} {found[1]}", condition=refusal.condition, parameter=str(found[0])) from refusal


def taken(density: Density, at: Point, digits: int) -> Estimate:
    """The same, where a refusal need not say which values would do."""
    exact = {symbol: sp.nsimplify(value) if value.is_Float else value for symbol, value in at.items()}
    if (parts := mixed(density, exact)) is not None:
        return _of_parts(density, parts, exact, digits)
    each, rest = density.groups
    found = [_moments(group, exact, digits) for group in each]
    total = _of_groups(density, each, found, rest, exact, digits) if len(each) > 1 else found[0]
    _check(density, total)
    return total


def _moments(density: Density, at: Point, digits: int) -> Estimate:
    found = _machine(density, at, digits) if digits <= MACHINE or (len(density.data) > 1 and not density.is_finite) else None
    return found if found is not None else _precise(density, at, digits)


def _of_parts(density: Density, parts: Mixed, at: Point, digits: int) -> Estimate:
    """Point masses and a rest: what the label tells, and what the rest tells where an observation falls into it."""
    with mpmath.workdps(digits + certified.GUARD):
        values = evaluate.digits([p.subs(at) for p in parts.probabilities], ())()
        if not all(0 <= p <= 1 for p in values):
            shown = ", ".join(mpmath.nstr(p, 6) for p in values)
            raise DataError(f"the point masses and the rest have probabilities {shown}: the point is outside the domain.")
        label = evaluate.digits([e.subs(at) for e in parts.information(density.symbols)], ())()
        product = np.array(label, dtype=object).reshape(2 * (len(density.symbols),))
        rest = taken(parts.rest, at, digits)
        place = [density.symbols.index(symbol) for symbol in parts.rest.symbols]
        product[np.ix_(place, place)] += values[-1] * rest.product
    return Estimate(rest.mass, np.zeros(len(place)), product if digits > MACHINE else product.astype(float), rest.error)


def _of_groups(density: Density, each: list[Density], found: list[Estimate], rest: Any, at: Point, digits: int) -> Estimate:
    """Independent groups whose log-densities lack constants: means add, covariances add."""
    with mpmath.workdps(digits + certified.GUARD):
        constant, *mean = evaluate.digits([rest.subs(at), *(sp.diff(rest, s).subs(at) for s in density.symbols)], ())()
        mass, center, covariance = mpmath.exp(constant), np.array(mean, dtype=object), np.zeros(2 * (len(mean),), dtype=object)
        for group, part in zip(each, found, strict=True):
            place = [density.symbols.index(symbol) for symbol in group.symbols]
            own = part.mean / part.mass
            mass, center[place] = mass * part.mass, center[place] + own
            covariance[np.ix_(place, place)] += part.product / part.mass - np.outer(own, own)
        product = covariance + np.outer(center, center)
    error = sum(part.error for part in found)
    return Estimate(mass, center, product if digits > MACHINE else product.astype(float), error)


def _valid(density: Density, at: Point) -> bool:
    """Whether nothing speaks against a point, roughly and quickly."""
    try:
        several = len(density.data) > 1 or density.supports[0].values is not None
        with np.errstate(all="ignore"):
            found, error = (_machine(density, at, 5), 0.0) if several else _univariate(density, at)
    except RegularityError as refusal:
        return refusal.condition != "not_normalised"
    except (FisherkitError, ArithmeticError, TypeError, ValueError):
        return True
    return found is None or error > 1e-5 or abs(found.mass - 1) < 1e-5


def _machine(density: Density, at: Point, digits: int) -> Estimate | None:
    """By float64; None where that does not reach the digits and more can be had."""
    with np.errstate(all="ignore"):  # a density that is none at this point is told by its mass
        if density.is_finite or len(density.data) > 1:
            moments, error = joint.moments(density, at)
            if error > 10.0**-digits:
                raise PrecisionError(f"the quadrature of E[s s'] reaches a relative error of {error:.1g} only.")
        else:
            try:
                moments, error = _univariate(density, at)
            except (RegularityError, OverflowError, ZeroDivisionError):  # of the rule: the precise one decides
                return None
            if 0.9 < moments.mass < 1 - 1e-6:  # a tail that machine numbers do not reach
                return None
        product = (moments.product + moments.product.T) / 2
    return None if error > 10.0**-digits else Estimate(moments.mass, moments.mean, product, max(error, 2.0**-52))


def _univariate(density: Density, at: Point) -> tuple[Moments, float]:
    (x,), (support,), p = density.data, density.supports, len(density.symbols)
    ends = support.at(at)
    if support.discrete:
        regularity.check_sum(density, at, partial(sum_functions, density, at))
        log, score = _functions(density.log_density, density.scores, x, at)
        return quadrature.summation(quadrature.Density(log, score, p, ends, (_mode(log, ends),)))
    pieces = split(density.log_density, x, support, at)
    parts = [(piece, all_sides) for piece, all_sides in precise_sides(density, at, pieces, 15)]
    regularity.check(density, at, parts)
    total, error = Moments.zero(p), 0.0
    for piece in pieces:
        low, high = float(number(piece.low, at)), float(number(piece.high, at))
        scores = [sp.diff(piece.log_density, symbol) for symbol in density.symbols]
        part, change = quadrature.integrate(_density(magnitude(piece.log_density), scores, x, (low, high), at, p))
        total, error = total + part, max(error, change)
    return total, error


def mass(density: Density, at: Point) -> float:
    """The mass of a univariate continuous density at a point, roughly and quickly; nan where it is not real somewhere."""
    (x,), (support,), total = density.data, density.supports, 0.0
    with np.errstate(all="ignore"):
        for piece in split(density.log_density, x, support, at):
            ends = float(number(piece.low, at)), float(number(piece.high, at))
            smooth = _density(piece.log_density, [sp.S.One], x, ends, at, 1)
            seen = smooth.log(quadrature.grid(ends, 481)[220:261])
            total += quadrature.integrate(smooth)[0].mass if not np.isnan(seen).any() else np.nan
    return total


def _density(log_density: Any, scores: list[Any], x: Any, ends: tuple[float, float], at: Point, p: int) -> quadrature.Density:
    log, score = _functions(log_density, scores, x, at)
    return quadrature.Density(log, score, p, ends, (quadrature.find_center(log, ends),))


def _functions(log_density: Any, scores: list[Any], x: Any, at: Point) -> tuple[Any, Any]:
    """Log-density and scores of an array, the scores with the errors that they have not."""
    logarithm, functions = evaluate.arrays([log_density], (x,), at), evaluate.arrays(scores, (x,), at)

    def score(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = functions(values).T
        return s, np.zeros_like(s)

    return lambda values: logarithm(values)[0], score


def _mode(log: Any, ends: tuple[float, float], reach: int = 60) -> float:
    """Where the largest term of a sum stands: on a geometric grid, then between its neighbours."""
    steps = np.unique(np.round(1.25 ** np.arange(reach)))
    start = ends[0] if np.isfinite(ends[0]) else min(ends[1], 0.0)
    grid = np.unique(np.concatenate([start + np.r_[0, steps], start - steps]))
    for _ in range(20):
        grid = grid[(ends[0] <= grid) & (grid <= ends[1])]
        best = int(np.argmax(np.nan_to_num(log(grid), nan=-np.inf, posinf=-np.inf)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        if high - low <= 2:
            break
        grid = np.unique(np.round(np.linspace(low, high, 17)))
    return float(grid[best])


# -- more digits


def _precise(density: Density, at: Point, digits: int) -> Estimate:
    p = len(density.symbols)
    with mpmath.workdps(digits + certified.GUARD):
        if density.is_finite:
            total, error = _precise_finite(density, at, digits)
        elif len(density.data) > 1:
            raise MethodError(f"{digits} digits are for one variable, or finite supports; ask for 8 or fewer, or Exact().")
        elif density.supports[0].discrete:
            low, high = (number(end, at) for end in (density.supports[0].low, density.supports[0].high))
            functions = sum_functions(density, at, digits)
            regularity.check_sum(density, at, lambda _: functions)
            log, _ = _functions(density.log_density, [], density.data[0], at)
            start = int(_mode(log, (float(low), float(high)), reach=24 if density.log_density.has(sp.Sum) else 60))
            total, error = certified.summation(functions, low, high, start, p, digits)
        else:
            pieces = split(density.log_density, density.data[0], density.supports[0], at)
            parts = precise_sides(density, at, pieces, digits)
            regularity.check(density, at, parts)
            total, error = certified.integrate([side for _, sides in parts for side in sides], p, digits)
        certified.refuse_imprecise(error, digits)
        product = np.array([[total.entry(i, j) for j in range(p)] for i in range(p)], dtype=object)
        return Estimate(total.mass, np.array(total.mean, dtype=object), product, float(error))


def precise_sides(density: Density, at: Point, pieces: list[Piece], digits: int) -> list[tuple[Piece, list[certified.Side]]]:
    """Each piece with its halves, as functions of the distance from their ends."""
    (x,) = density.data
    out = []
    with mpmath.workdps(digits + 2 * certified.GUARD):
        for piece in pieces:
            scores = [sp.diff(piece.log_density, symbol) for symbol in density.symbols]
            ends = float(number(piece.low, at)), float(number(piece.high, at))
            log = evaluate.arrays([magnitude(piece.log_density)], (x,), at)
            center = quadrature.find_center(_functions(piece.log_density, [], x, at)[0], ends)
            falls = partial(_fall_off, log)
            there = Piece(
                magnitude(piece.log_density.subs(at)), sp.sympify(piece.low).subs(at), sp.sympify(piece.high).subs(at), None
            )
            cut = sp.Rational(str(float(f"{center:.6g}")))
            out.append((piece, certified.sides(there, x, [s.subs(at) for s in scores], cut, falls)))
    return out


def _fall_off(log: Any, start: Any, sign: int) -> float:
    """The distance at which the density has fallen by a factor e^2 from its largest value on that side."""
    c = float(start)
    distances = (abs(c) or 1.0) * 2.0 ** np.arange(-50, 200)
    with np.errstate(all="ignore"):
        values = np.nan_to_num(log(c + sign * distances)[0], nan=-np.inf, posinf=-np.inf)
    top = int(np.argmax(values))
    fallen = values[top:] < values[top] - 2
    return float(distances[top + np.argmax(fallen)]) if fallen.any() else abs(c) or 1.0


def sum_functions(density: Density, at: Point, digits: int) -> certified.Function:
    with mpmath.workdps(digits + 2 * certified.GUARD):
        return evaluate.digits([e.subs(at) for e in (density.log_density, *density.scores)], density.data)


def _precise_finite(density: Density, at: Point, digits: int) -> tuple[certified.Total, Any]:
    functions = evaluate.digits([e.subs(at) for e in (density.log_density, *density.scores)], density.data)
    outcomes: list[tuple[Any, ...]] = [()]
    for support in density.supports:
        outcomes = [(*outcome, certified._number(sp.sympify(v).subs(at))) for outcome in outcomes for v in support.values or ()]
    rows = [certified.products(functions(*outcome)) for outcome in outcomes]
    return certified.Total([mpmath.fsum(column) for column in zip(*rows, strict=True)], len(density.symbols)), mpmath.mpf(10) ** (
        -digits - 3
    )


# -- what every estimate must satisfy


def _check(density: Density, found: Estimate) -> None:
    if found.product.dtype == object:
        certified.refuse_mass(found.mass, found.error)
    if not abs(found.mass - 1) < max(1e-7, 10 * found.error):
        if np.isnan(float(found.mass)):
            raise RegularityError("the density is negative, or not real, somewhere on its support.", condition="not_normalised")
        raise RegularityError(
            f"the density has mass {float(found.mass):.8g} over its support at this point, not 1.", condition="not_normalised"
        )
    size = np.sqrt(np.maximum(np.array([float(v) for v in np.diagonal(found.product)]), 1e-300))
    z = np.abs(found.mean.astype(float)) / size
    if float(z.max(initial=0.0)) > max(1e-6, 100 * found.error):
        symbol = density.symbols[int(z.argmax())]
        raise RegularityError(
            f"the mean score in {symbol} is {float(z.max()):.2g} standard deviations, not 0: the mass changes with {symbol}. "
            "A normalising factor that depends on it is missing.",
            condition="not_normalised",
            parameter=str(symbol),
        )
