"""The closed form, tier by tier, and what each must pass before it leaves.

A tier is a function of the density alone that answers or declines. An answer is compared, every entry of it, with the score
form of the integral at a random point, and dropped where it differs. Entries that rest on conditions which the
parameters' assumptions do not imply are tried where the condition fails too: they hold there by analytic continuation, or
the information is infinite and the entry is kept with its condition, so that a value outside is refused, never wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import chain, product
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import sympy as sp

from ..deadline import within
from ..errors import DataError, FisherkitError, MethodError, PrecisionError, RegularityError
from . import elementary, evaluate, gaussian, kernels, linear_system
from .density import mixed
from .domain import trial_points
from .normalizers import canonical, normalized
from .numbers import Estimate, taken
from .pieces import KINKED, Piece, Point, steady
from .tidy import tidy

if TYPE_CHECKING:
    from .density import Density

Conditions = dict[Any, set[Any]]
Answer = tuple[Any, Conditions]
Tier = Callable[["Density", Point], Answer | None]
TRIED, JOINT = 8, 2  # digits of the comparison at least, of one variable and of several that no product is
LARGEST_SUM = 200  # outcomes written out
DEADLINE = 10.0  # seconds of processor time for each tier, and for the point of comparison
TIDYING = 1.0  # seconds for each entry
SCATTERED = 60  # trial points more, where several data share parameters that must fit together
FAILURES = (PrecisionError, ZeroDivisionError, TypeError, ValueError)  # of the arithmetic at a point


def find(model: Density) -> tuple[str, Any] | None:
    """The tier that answered, and its (p, p) matrix; None where no closed form was found.

    Raises
    ------
    RegularityError
        When the model has no Fisher information anywhere it was tried.
    """
    if (point := within(DEADLINE, lambda: _checked(model))) is None:
        return None  # nothing could be compared with the integral
    at, there = point
    for name, tier in TIERS.items():
        if (answer := within(DEADLINE, partial(tier, model, at))) is None:
            continue
        short = sp.factor_terms if tier is _product else _tidied  # a product's terms are short already
        matrix = _symmetric(len(model.symbols), lambda i, j: short(answer[0][i, j]))  # noqa: B023 called at once
        if _agrees(matrix, there, at):
            tail = _tail(model)
            conditions = {key: answer[1].get(key, set()) | tail for key in np.ndindex(matrix.shape)}
            return name, _conditioned(model, matrix, conditions)
    return None


def _tidied(entry: Any) -> Any:
    """In a short form where that is found quickly."""
    short = within(TIDYING, partial(tidy, entry))
    return entry if short is None else short


# -- the tiers


def _linear_system(model: Density, at: Point) -> Answer | None:
    if model.log_density.has(*KINKED) and not model.is_finite:
        return None
    matrix = linear_system.information(model.scores, model.data, model.symbols)
    return None if matrix is None else (matrix, {})


def _gaussian(model: Density, at: Point) -> Answer | None:
    if not model.is_unbounded:
        return None
    matrix = gaussian.information(model.log_density, model.data, model.symbols)
    return None if matrix is None else (matrix, {})


def _finite(model: Density, at: Point) -> Answer | None:
    """Every outcome by name."""
    if not model.is_finite or np.prod([len(support.values or ()) for support in model.supports]) > LARGEST_SUM:
        return None
    size = len(model.symbols)
    total = sp.zeros(size, size)
    for values in product(*(support.values or () for support in model.supports)):
        outcome = dict(zip(model.data, values, strict=True))
        mass = tidy(sp.exp(model.log_density.subs(outcome)))
        total -= mass * _symmetric(size, lambda i, j: tidy(model.hessian[i][j].subs(outcome)))  # noqa: B023 called at once
    return total, {}


def _kernels(model: Density, at: Point) -> Answer | None:
    if (pieces := _pieces(model, at)) is None:
        return None
    return kernels.information(pieces, model.data[0], model.symbols, at)


def _elementary(model: Density, at: Point) -> Answer | None:
    if (pieces := _pieces(model, at)) is None:
        return None
    matrix = elementary.information(pieces, model.data[0], model.symbols)
    return None if matrix is None else (matrix, {})


def _parts(density: Density, at: Point) -> Answer | None:
    """Point masses, and a rest with a closed form of its own."""
    if (parts := mixed(density, at)) is None:
        return None
    out, conditions = parts.information(density.symbols), Conditions()
    if parts.rest.symbols:
        if (found := find(parts.rest)) is None:
            return None
        _place(out, conditions, density, parts.rest, found[1], parts.probabilities[-1])
    return out, conditions


def _product(density: Density, at: Point) -> Answer | None:
    """Independent groups of data, each normalized and with a closed form of its own; equal ones are done once."""
    if (each := normalized(density, at)) is None:
        return None
    out, conditions, done = sp.zeros(len(density.symbols)), Conditions(), dict[Any, Any]()
    for group in (one for one in each if one.symbols):
        alike, back = canonical(group)
        if alike.log_density not in done:
            done[alike.log_density] = find(alike)
        if (found := done[alike.log_density]) is None:
            return None
        _place(out, conditions, density, group, found[1].subs(back), 1)
    return out, conditions


def _place(out: Any, conditions: Conditions, whole: Density, part: Density, matrix: Any, weight: Any) -> None:
    """Add a part's matrix at its symbols' places; its own conditions stay with the entries."""
    place = [whole.symbols.index(symbol) for symbol in part.symbols]
    for (i, j), entry in np.ndenumerate(np.array(matrix.tolist(), dtype=object)):
        where = (place[i], place[j])
        if isinstance(entry, sp.Piecewise):
            conditions.setdefault(where, set()).update(sp.And.make_args(entry.args[0].cond))
            entry = entry.args[0].expr
        out[where] += weight * entry


TIERS: dict[str, Tier] = {
    "parts": _parts,
    "product": _product,
    "gaussian": _gaussian,
    "linear system": _linear_system,
    "finite": _finite,
    "kernels": _kernels,
    "elementary": _elementary,
}


def _symmetric(size: int, entry: Callable[[int, int], Any]) -> Any:
    """The (size, size) matrix of which only one half is computed."""
    half = {(i, j): entry(i, j) for i in range(size) for j in range(i + 1)}
    return sp.Matrix(size, size, lambda i, j: half[max(i, j), min(i, j)])


def _pieces(model: Density, at: Point) -> list[Piece] | None:
    return None if len(model.data) > 1 else steady(model.log_density, model.data[0], model.supports[0], at)


# -- the check


def _agrees(matrix: Any, there: Estimate, at: Point) -> bool:
    """Every entry of the formula against the integral."""
    try:
        with mpmath.workdps(20):
            values = np.array([complex(v) for v in evaluate.digits(list(matrix), (), at)()]).reshape(matrix.shape)
    except (TypeError, ValueError, ZeroDivisionError, KeyError, FisherkitError):  # singular there
        return False
    product = there.product.astype(float)
    root = np.sqrt(np.diagonal(product))
    return bool(np.max(np.abs(values - product) / np.outer(root, root)) < max(1e-7, 10 * there.error))


def _conditioned(model: Density, matrix: Any, conditions: Conditions) -> Any:
    """Entries with the conditions that neither the assumptions nor a trial outside make superfluous."""
    needed = {condition for each in conditions.values() for condition in each}
    kept = {condition for condition in needed if not _holds_outside(model, matrix, condition)}
    out = matrix.as_mutable()
    for (i, j), each in conditions.items():
        if (own := sp.And(*(each & kept))) != True:  # noqa: E712 SymPy's
            out[i, j] = sp.Piecewise((out[i, j], own))
    return out


def _tail(model: Density) -> set[Any]:
    """What lets the mass converge where the density falls like a power, `p ~ x^-a` with `a > 1`."""
    if len(model.data) != 1 or model.supports[0].high != sp.oo:
        return set()
    x = model.data[0]
    slope = sp.together(-x * sp.diff(model.log_density, x))
    if not slope.is_rational_function(x):
        return set()
    top, bottom = (sp.Poly(part, x) for part in slope.as_numer_denom())
    power = sp.cancel(top.LC() / bottom.LC()) if top.degree() == bottom.degree() else sp.oo
    return set() if power == sp.oo or (power - 1).is_positive else {power > 1}


def _holds_outside(model: Density, matrix: Any, condition: Any) -> bool:
    """Whether the formula is right at a point where the condition fails."""
    for at in trial_points(sorted(model.free, key=str), more=True):
        if condition.subs(at) != False or matrix.subs(at).has(sp.zoo, sp.nan, sp.oo):  # noqa: E712 SymPy's
            continue
        try:
            return _agrees(matrix, taken(model, at, _digits(model)), at)
        except (RegularityError, PrecisionError):
            return False
    return False


def _digits(model: Density) -> int:
    return TRIED if all(len(group.data) == 1 for group in model.groups[0]) else JOINT


# -- points


def _checked(model: Density) -> tuple[Point, Estimate]:
    """A valid point, where all symbols are assumed to have the signs that they need."""
    at, there = valid_point(model)
    for symbol in sorted(model.free, key=str):
        if symbol.is_nonnegative is None and symbol.is_nonpositive is None:
            _refuse_sign(model, at, symbol)
    return at, there


def _refuse_sign(model: Density, at: Point, symbol: Any) -> None:
    """Refuse a symbol that may be negative by its assumptions, where the density is none however small it then is."""
    others = trial_points(sorted(model.free, key=str), scattered=SCATTERED if len(model.data) > 1 else 0)
    for there in chain([at, {**at, symbol: at[symbol] / 64}], others):
        try:
            taken(model, {**there, symbol: -there[symbol]}, _digits(model))
        except RegularityError as refusal:
            if refusal.condition != "not_normalised":
                return
            last = refusal
        except FAILURES:
            return
        else:
            return
    raise RegularityError(
        f"{symbol} may be negative by its assumptions, and the density then is none: {last} Declare it "
        f'sympy.Symbol("{symbol}", positive=True), or write the density for both signs.',
        condition="not_normalised",
        parameter=str(symbol),
    ) from last


def valid_point(model: Density) -> tuple[Point, Estimate]:
    """A random point at which the density is one, and the information there."""
    refusals: list[tuple[Point, RegularityError]] = []
    outside, late = None, time.monotonic() + DEADLINE
    for at in trial_points(sorted(model.free, key=str), scattered=SCATTERED if len(model.data) > 1 else 0):
        if refusals and time.monotonic() > late:
            break
        try:
            return at, taken(model, at, _digits(model))
        except RegularityError as refusal:
            refusals.append((at, refusal))
        except MethodError:
            raise
        except FAILURES as failure:
            outside = outside or (failure if isinstance(failure, DataError) else None)
    named = [(at, error) for at, error in refusals if error.condition != "not_normalised" or error.parameter] or refusals
    if not named and outside:
        raise outside
    if not named:
        raise MethodError(f"the expectation over {model.data} could not be taken at any point tried, so nothing can be checked.")
    at, first = named[0]
    where = ", ".join(f"{symbol}={value}" for symbol, value in at.items())
    raise RegularityError(f"{first} (Tried at {where}.)", condition=first.condition, parameter=first.parameter) from first
