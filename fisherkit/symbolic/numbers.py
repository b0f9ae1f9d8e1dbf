"""The expectation at a point: in machine precision where that is enough, else with as many digits as asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import sympy as sp

from .. import quadrature
from ..errors import FisherkitError, MethodError, PrecisionError, RegularityError
from ..quadrature import Density, Moments
from . import certified, domain, evaluate, regularity
from .deadline import within
from .pieces import Piece, Point, magnitude, number, split
from .support import Support

if TYPE_CHECKING:
    from .model import Model

SEARCH = 5.0  # seconds for the interval in which a value would be allowed
MACHINE = 10  # digits up to which float64 is tried first


@dataclass(frozen=True)
class Estimate:
    """Mass, mean score and E[s s'] (float64, or mpmath numbers in an object array), and their relative error."""

    mass: Any
    mean: np.ndarray
    product: np.ndarray
    error: float


def estimate(model: Model, at: Point, digits: int) -> Estimate:
    """E[s s'] at a point, after the regularity conditions, to ``digits`` digits.

    Raises
    ------
    RegularityError
        When the density has no Fisher information there; the condition and the parameter are named.
    PrecisionError
        When the digits cannot be reached.
    """
    try:
        return taken(model, at, digits)
    except RegularityError as refusal:
        found = None
        if refusal.condition == "not_normalised" and refusal.parameter is None:
            found = within(SEARCH, lambda: domain.allowed(partial(_valid, model), at))
        if found is None:
            raise
        raise RegularityError(f"{refusal} {found[1]}", condition=refusal.condition, parameter=str(found[0])) from refusal


def taken(model: Model, at: Point, digits: int) -> Estimate:
    """The same, where a refusal need not say which values would do."""
    exact = {symbol: sp.nsimplify(value) if value.is_Float else value for symbol, value in at.items()}
    found = _machine(model, exact, digits) if digits <= MACHINE or len(model.data) > 1 else None
    if found is None:
        found = _precise(model, exact, digits)
    _check(model, found)
    return found


def _valid(model: Model, at: Point) -> bool:
    """Whether nothing speaks against a point, roughly and quickly."""
    try:
        several = len(model.data) > 1 or model.supports[0].values is not None
        with np.errstate(all="ignore"):
            found, error = (_machine(model, at, 5), 0.0) if several else _univariate(model, at)
    except RegularityError as refusal:
        return refusal.condition != "not_normalised"
    except (FisherkitError, ArithmeticError, TypeError, ValueError):
        return True
    return found is None or error > 1e-5 or abs(found.mass - 1) < 1e-5


def _machine(model: Model, at: Point, digits: int) -> Estimate | None:
    """By float64; None where that does not reach the digits and more can be had."""
    finite = all(support.values is not None for support in model.supports)
    with np.errstate(all="ignore"):  # a density that is none at this point is told by its mass
        if finite or len(model.data) > 1:
            functions = evaluate.arrays([model.log_density, *model.scores], model.data, at)
            moments, error = (_enumerated if finite else _joint)(functions, model.supports, at)
            if error > 10.0**-digits:
                raise PrecisionError(f"the quadrature of E[s s'] reaches a relative error of {error:.1g} only.")
        else:
            try:
                moments, error = _univariate(model, at)
            except (RegularityError, OverflowError, ZeroDivisionError):  # of the rule: the precise one decides
                return None
            if 0.9 < moments.mass < 1 - 1e-6:  # a tail that machine numbers do not reach
                return None
    if error > 10.0**-digits:
        return None
    return Estimate(moments.mass, moments.mean, (moments.product + moments.product.T) / 2, max(error, 2.0**-52))


def _univariate(model: Model, at: Point) -> tuple[Moments, float]:
    (x,), (support,), p = model.data, model.supports, len(model.symbols)
    ends = support.at(at)
    if support.discrete:
        regularity.check_sum(model, at, partial(sum_functions, model, at))
        log, score = _functions(model.log_density, model.scores, x, at)
        return quadrature.summation(Density(log, score, p, ends, (_mode(log, ends),)))
    pieces = split(model.log_density, x, support, at)
    parts = [(piece, all_sides) for piece, all_sides in precise_sides(model, at, pieces, 15)]
    regularity.check(model, at, parts)
    total, error = Moments.zero(p), 0.0
    for piece in pieces:
        low, high = float(number(piece.low, at)), float(number(piece.high, at))
        scores = [sp.diff(piece.log_density, symbol) for symbol in model.symbols]
        density = _density(magnitude(piece.log_density), scores, x, (low, high), at, p)
        part, change = quadrature.integrate(density)
        total, error = total + part, max(error, change)
    return total, error


def mass(model: Model, at: Point) -> float:
    """The mass of a univariate continuous density at a point, roughly and quickly; nan where it is not real somewhere."""
    (x,), (support,), total = model.data, model.supports, 0.0
    with np.errstate(all="ignore"):
        for piece in split(model.log_density, x, support, at):
            ends = float(number(piece.low, at)), float(number(piece.high, at))
            density = _density(piece.log_density, [sp.S.One], x, ends, at, 1)
            seen = density.log(quadrature.grid(ends, 481)[220:261])
            total += quadrature.integrate(density)[0].mass if not np.isnan(seen).any() else np.nan
    return total


def _density(log_density: Any, scores: list[Any], x: Any, ends: tuple[float, float], at: Point, p: int) -> Density:
    log, score = _functions(log_density, scores, x, at)
    return Density(log, score, p, ends, (quadrature.find_center(log, ends),))


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


def _enumerated(functions: Any, supports: tuple[Support, ...], at: Point) -> tuple[Moments, float]:
    values = [[float(sp.sympify(v).subs(at)) for v in support.values or ()] for support in supports]
    grid = [axis.ravel() for axis in np.meshgrid(*values)]
    log, *scores = functions(*grid)
    mass, s = np.exp(log), np.stack(scores, axis=1)
    s = np.where(mass[:, None] > 0, s, 0.0)
    return Moments(float(mass.sum()), mass @ s, (s * mass[:, None]).T @ s, np.zeros(s.shape[1])), 1e-15


def _joint(functions: Any, supports: tuple[Support, ...], at: Point) -> tuple[Moments, float]:
    """Two or three real variables, by adaptive cubature of everything at once."""
    from scipy.integrate import cubature

    if len(supports) > 3 or any(support.discrete for support in supports):
        raise PrecisionError(
            "joint densities are integrated over up to three real variables, or enumerated over finite ones. Multiply "
            "independent parts as separate models and add their informations."
        )

    def integrand(x: np.ndarray) -> np.ndarray:
        log, *scores = functions(*x.T)
        s = np.stack(scores, axis=1)
        parts = np.concatenate([np.ones((len(s), 1)), s, (s[:, :, None] * s[:, None, :]).reshape(len(s), -1)], axis=1)
        return np.asarray(np.nan_to_num(np.exp(log)[:, None] * parts, nan=0.0, posinf=0.0, neginf=0.0))

    low, high = zip(*(support.at(at) for support in supports), strict=True)
    found = cubature(integrand, low, high, rtol=1e-8, atol=1e-10, max_subdivisions=4000)
    p = round((np.sqrt(4 * len(found.estimate) - 3) - 1) / 2)
    product = found.estimate[1 + p :].reshape(p, p)
    error = float(np.max(found.error) / max(np.diagonal(product).min(), 1e-300))
    return Moments(float(found.estimate[0]), found.estimate[1 : 1 + p], product, np.zeros(p)), error + 1e-8


# -- more digits


def _precise(model: Model, at: Point, digits: int) -> Estimate:
    p = len(model.symbols)
    with mpmath.workdps(digits + certified.GUARD):
        if all(support.values is not None for support in model.supports):
            total, error = _precise_finite(model, at, digits)
        elif len(model.data) > 1:
            raise MethodError(f"{digits} digits are for one variable, or finite supports; ask for 8 or fewer, or Exact().")
        elif model.supports[0].discrete:
            low, high = (number(end, at) for end in (model.supports[0].low, model.supports[0].high))
            functions = sum_functions(model, at, digits)
            regularity.check_sum(model, at, lambda _: functions)
            log, _ = _functions(model.log_density, [], model.data[0], at)
            start = int(_mode(log, (float(low), float(high)), reach=24 if model.log_density.has(sp.Sum) else 60))
            total, error = certified.summation(functions, low, high, start, p, digits)
        else:
            pieces = split(model.log_density, model.data[0], model.supports[0], at)
            parts = precise_sides(model, at, pieces, digits)
            regularity.check(model, at, parts)
            total, error = certified.integrate([side for _, sides in parts for side in sides], p, digits)
        certified.refuse_mass(total.mass, error)
        certified.refuse_imprecise(error, digits)
        product = np.array([[total.entry(i, j) for j in range(p)] for i in range(p)], dtype=object)
        return Estimate(total.mass, np.array([float(v) for v in total.mean]), product, float(error))


def precise_sides(model: Model, at: Point, pieces: list[Piece], digits: int) -> list[tuple[Piece, list[certified.Side]]]:
    """Each piece with its halves, as functions of the distance from their ends."""
    (x,) = model.data
    out = []
    with mpmath.workdps(digits + 2 * certified.GUARD):
        for piece in pieces:
            scores = [sp.diff(piece.log_density, symbol) for symbol in model.symbols]
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


def sum_functions(model: Model, at: Point, digits: int) -> certified.Function:
    with mpmath.workdps(digits + 2 * certified.GUARD):
        return evaluate.digits([e.subs(at) for e in (model.log_density, *model.scores)], model.data)


def _precise_finite(model: Model, at: Point, digits: int) -> tuple[certified.Total, Any]:
    functions = evaluate.digits([e.subs(at) for e in (model.log_density, *model.scores)], model.data)
    outcomes: list[tuple[Any, ...]] = [()]
    for support in model.supports:
        outcomes = [(*outcome, certified._number(sp.sympify(v).subs(at))) for outcome in outcomes for v in support.values or ()]
    rows = [certified.products(functions(*outcome)) for outcome in outcomes]
    return certified.Total([mpmath.fsum(column) for column in zip(*rows, strict=True)], len(model.symbols)), mpmath.mpf(10) ** (
        -digits - 3
    )


# -- what every estimate must satisfy


def _check(model: Model, found: Estimate) -> None:
    if not abs(found.mass - 1) < max(1e-7, 10 * found.error):
        if np.isnan(float(found.mass)):
            raise RegularityError("the density is negative, or not real, somewhere on its support.", condition="not_normalised")
        raise RegularityError(
            f"the density has mass {float(found.mass):.8g} over its support at this point, not 1.", condition="not_normalised"
        )
    size = np.sqrt(np.maximum(np.array([float(v) for v in np.diagonal(found.product)]), 1e-300))
    z = np.abs(found.mean) / size
    if float(z.max()) > max(1e-6, 100 * found.error):
        symbol = model.symbols[int(z.argmax())]
        raise RegularityError(
            f"the mean score in {symbol} is {float(z.max()):.2g} standard deviations, not 0: the mass changes with {symbol}. "
            "A normalising factor that depends on it is missing.",
            condition="not_normalised",
            parameter=str(symbol),
        )
