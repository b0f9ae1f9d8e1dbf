"""Models made from models: known parameters, samples, products, truncation, censoring, bins, functions of the data.

Each is a density again (or several side by side), so that the same engine answers, and the rules of information are
theorems about it: independent data add, a sufficient statistic keeps everything, any other loses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import sympy as sp

from ..deadline import within
from ..errors import DataError, LayoutError, MethodError
from ..expressions import checked
from . import kernels
from .closed_forms import valid_point
from .density import Density
from .domain import trial_points
from .independent import Independent
from .numbers import mass
from .pieces import Point, between, invert, number, split
from .support import Support

if TYPE_CHECKING:
    from .model import Model

PATIENCE = 10.0  # seconds for an integral, a sum, an inverse


class Algebra(Density):
    """What a symbolic model turns into."""

    def given(self, **known: Any) -> Model:
        """The model in which these parameters are known: ``model.given(sigma=2)``.

        Values may be numbers or expressions; the other parameters stay, in their order.

        Raises
        ------
        LayoutError
            When a name is none of the symbols, or no parameter is left.
        """
        names = {str(symbol): symbol for symbol in self.free}
        if unknown := sorted(set(known) - set(names)):
            raise LayoutError(f"given() got {', '.join(unknown)}; the density holds {', '.join(sorted(names))}.")
        values = {names[name]: checked(names[name], value) for name, value in known.items()}
        supports = tuple(support.subs(values) for support in self.supports)
        left = [symbol for symbol in self.symbols if symbol not in values]
        return self._made(self.log_density.subs(values), self.data, supports, left)

    def iid(self, n: Any) -> Independent:
        """A sample of n independent observations, ``n`` a number or a positive integer symbol: n times the information.

        Data are rows of n values (of n times as many columns where one observation has several).
        """
        return Independent.of((self, n))

    def __mul__(self, other: Any) -> Independent:
        """One observation of each of two independent models, which may share parameters; data are columns side by side."""
        if not isinstance(other, (Algebra, Independent)):
            return NotImplemented
        return Independent.of((self, 1)) * other

    def truncated(self, low: Any = None, high: Any = None) -> Model:
        """The model of observations that are only seen between ``low`` and ``high`` (inclusive for integers).

        Raises
        ------
        LayoutError
            When the interval does not lie in the support.
        MethodError
            When the probability of the interval is not found in closed form.
        """
        (x,), support = self.data, self._within(low, high)
        log_density = self.log_density - sp.log(self.probability(support.low, support.high))
        return self._made(log_density, (x,), (support,), self.symbols)

    def censored(self, low: Any = None, high: Any = None) -> Model:
        """The model of observations that read ``low`` where they are below it, and ``high`` where they are above it."""
        (x,), (whole,), support = self.data, self.supports, self._within(low, high)
        ends = {}
        if low is not None:
            ends[support.low] = self.probability(whole.low, support.low)
        if high is not None:
            ends[support.high] = self.probability(support.high, whole.high)
        masses = ((sp.log(chance), sp.Eq(x, end)) for end, chance in ends.items())
        return self._made(sp.Piecewise(*masses, (self.log_density, True)), (x,), (support,), self.symbols)

    def binned(self, edges: Sequence[Any]) -> Model:
        """The model of the number of the bin, 0 to len(edges), into which an observation falls; edges belong to the bin below."""
        (support,), inner = self.supports, [sp.sympify(edge) for edge in edges]
        starts = [support.low, *(edge + 1 if support.discrete else edge for edge in inner)]
        chances = [self.probability(low, high) for low, high in zip(starts, [*inner, support.high], strict=True)]
        k = sp.Dummy("bin", integer=True)
        branches = [(sp.log(chance), sp.Eq(k, i)) for i, chance in enumerate(chances)]
        branches[-1] = (branches[-1][0], sp.true)
        values = Support(None, None, discrete=True, values=tuple(sp.Integer(i) for i in range(len(chances))))
        return self._made(sp.Piecewise(*branches), (k,), (values,), self.symbols)

    def pushforward(self, statistic: Any, data: Any) -> Model:
        """The model of a function of one real observation, written in the model's data symbol and called ``data`` from then on.

        A one-to-one function that holds no parameter changes no information; one that folds the line keeps it where it is
        sufficient.

        Parameters
        ----------
        statistic : expression in the data symbol
            Monotone on the support, or folded once onto the same values from both sides, such as x**2 about 0.
        data : symbol

        Raises
        ------
        MethodError
            When the function could not be inverted.
        """
        if any(support.discrete for support in self.supports):
            raise MethodError("the values of a discrete variable are labels: a one-to-one map changes no information.")
        made = within(PATIENCE, lambda: self._pushed(statistic, data))
        if made is None:
            raise MethodError(f"{statistic} was not inverted within {PATIENCE:g} seconds.")
        return made

    def _pushed(self, statistic: Any, data: Any) -> Model:
        (x,), (support,) = self.data, self.supports
        at, _ = valid_point(self)
        branches = [_branch(self.log_density, statistic, x, data, part, at) for part in _monotone(statistic, x, support, at)]
        first = branches[0][1]
        if any(image != first and sp.simplify(sp.Matrix(image) - sp.Matrix(first)) != sp.zeros(2, 1) for _, image in branches):
            raise MethodError(
                f"{statistic} folds the support onto different intervals: {', '.join(str(b[1]) for b in branches)}."
            )
        total = branches[0][0]
        if len(branches) > 1:
            total = sp.log(sp.simplify(sum(sp.exp(log) for log, _ in branches)))
        return self._made(total, (data,), (Support(*first),), self.symbols)

    def probability(self, low: Any, high: Any) -> Any:
        """P(low <= X <= high), checked against quadrature at a point.

        Raises
        ------
        MethodError
            When it is not found in closed form.
        """
        (x,), (support,) = self.data, self.supports
        if support.discrete:
            return _count(self, low, high)
        if (support.low, support.high) == (low, high):
            return sp.S.One
        inside = Density(self.log_density, self.data, (Support(low, high),), self.symbols)
        at = _point_with(self, inside)
        pieces = split(self.log_density, x, support, at)
        for total in chain([kernels.probability(pieces, x, at, low, high)], _integral(inside)):
            if total is not None and abs(number(total, at) - mass(inside, at)) < 1e-7:
                return total
        raise MethodError(f"P({low} <= {x} <= {high}) was not found in closed form.")

    def _within(self, low: Any, high: Any) -> Support:
        if len(self.data) > 1:
            raise LayoutError(f"an interval is of one data symbol; this model has {self.data}.")
        (support,) = self.supports
        if support.values is not None or (low is None and high is None):
            raise LayoutError(f"low or high must cut an interval of {self.data[0]}; got low={low}, high={high}.")
        ends = [support.low if low is None else sp.sympify(low), support.high if high is None else sp.sympify(high)]
        if all(end.is_number for end in ends) and not ends[0] < ends[1]:
            raise LayoutError(f"an interval needs low < high; got ({ends[0]}, {ends[1]}).")
        if any(
            inner.is_number and outer.is_number and not sign * (inner - outer) > 0
            for inner, outer, sign in ((ends[0], support.high, -1), (ends[1], support.low, 1))
        ):
            raise LayoutError(f"the interval ({ends[0]}, {ends[1]}) lies outside the support ({support.low}, {support.high}).")
        return Support(ends[0], ends[1], discrete=support.discrete)

    def _made(self, log_density: Any, data: Sequence[Any], supports: Sequence[Support], parameters: Sequence[Any]) -> Model:
        support = tuple(supports) if len(supports) > 1 else supports[0]
        make: Any = type(self)
        made: Model = make(log_density=log_density, data=tuple(data), parameters=parameters, support=support)
        return made


def _point_with(model: Density, inside: Density) -> Point:
    """A point at which the model is one and the interval is in its support."""
    at, _ = valid_point(model)
    (whole,), (part,) = model.supports, inside.supports
    for more in trial_points(sorted(inside.free - set(at), key=str)):
        here = {**more, **at}
        if number(whole.low, here) <= number(part.low, here) < number(part.high, here) <= number(whole.high, here):
            return here
    raise LayoutError(f"the interval ({part.low}, {part.high}) was in the support ({whole.low}, {whole.high}) at no point tried.")


def _integral(density: Density) -> Iterator[Any]:
    (x,), (support,) = density.data, density.supports
    f = sp.exp(density.log_density)
    total = within(PATIENCE, lambda: _first(sp.simplify(sp.integrate(f, (x, support.low, support.high)))))
    if total is not None and not total.has(sp.Integral):
        yield total


def _first(expression: Any) -> Any:
    """The branch of a Piecewise that holds under the usual conditions; the check at a point decides whether it does."""
    return expression.args[0].expr if isinstance(expression, sp.Piecewise) else expression


def _count(density: Density, low: Any, high: Any) -> Any:
    """The probability of a range of integers: of those in it, or of those that are not."""
    (k,), (support,) = density.data, density.supports
    pmf = sp.exp(density.log_density)

    def total(first: Any, last: Any) -> Any:
        return sum(sp.simplify(pmf.subs(k, i)) for i in range(int(first), int(last) + 1))

    if (sp.sympify(high) - low).is_number and (sp.sympify(high) - low).is_finite:
        return total(low, high)
    if high == support.high and (sp.sympify(low) - support.low).is_number:
        return 1 - total(support.low, low - 1)
    found = within(PATIENCE, lambda: _first(sp.summation(pmf, (k, low, high))))
    if found is None or found.has(sp.Sum):
        raise MethodError(f"P({low} <= {k} <= {high}) was not found in closed form.")
    return found


def _monotone(statistic: Any, x: Any, support: Support, at: Point) -> list[Support]:
    """The support, cut where the function turns."""
    low, high = number(support.low, at), number(support.high, at)
    slope = sp.diff(statistic, x)
    if slope == 0:
        raise DataError(f"{statistic} does not depend on {x}.")
    turning = slope.args[0] if isinstance(slope, sp.sign) else slope
    found = [] if turning.subs(at).is_number else sp.solve(turning, x)
    turns = [t for t in found if not t.has(sp.I) and low < number(t, at) < high]
    cuts = [support.low, *sorted(turns, key=lambda t: number(t, at)), support.high]
    return [Support(a, b) for a, b in pairwise(cuts)]


def _branch(log_density: Any, statistic: Any, x: Any, y: Any, part: Support, at: Point) -> tuple[Any, tuple[Any, Any]]:
    """The log-density of y = statistic on one monotone part, and the interval that y runs over."""
    inside = {**at, x: between(number(part.low, at), number(part.high, at))}
    h = invert(statistic, x, y, inside)
    there = {**inside, y: statistic.subs(inside)}
    candidates = [h] if h is not None else sp.solve(sp.Eq(statistic, y), x)
    back = next((c for c in candidates if abs(sp.N((c - x).subs(there), 20)) < 1e-12), None)
    if back is None:
        raise MethodError(f"{statistic} = {y} could not be solved for {x}.")
    slope = sp.simplify(sp.diff(back, y))
    rising = number(slope, there) > 0
    ends = [_limit(statistic, x, end, side) for end, side in ((part.low, "+"), (part.high, "-"))]
    image = (ends[0], ends[1]) if rising else (ends[1], ends[0])
    return log_density.subs(x, back) + sp.log(slope if rising else -slope), image


def _limit(statistic: Any, x: Any, end: Any, side: str) -> Any:
    value = sp.limit(statistic, x, end, side)
    if value.has(sp.Limit, sp.AccumBounds, sp.nan):
        raise MethodError(f"{statistic} has no limit at {x} = {end}.")
    return value
