"""A density in symbols, and the parts that it falls into: point masses beside a rest, and independent groups of data.

Information of parts is known from the parts': which part an observation fell into is an observation of its own, and
independent groups add.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sympy as sp

from ..errors import RegularityError
from .pieces import Point, between, number
from .support import Support


@dataclass(frozen=True, eq=False)
class Density:
    """``log_density`` of ``data`` on ``supports``; ``symbols`` are those to differentiate by."""

    log_density: Any
    data: tuple[Any, ...]
    supports: tuple[Support, ...]
    symbols: tuple[Any, ...]

    @cached_property
    def scores(self) -> list[Any]:
        """Derivatives of the log-density, one per parameter."""
        return [sp.diff(self.log_density, symbol) for symbol in self.symbols]

    @cached_property
    def hessian(self) -> list[list[Any]]:
        """Second derivatives."""
        return [[sp.diff(score, symbol) for symbol in self.symbols] for score in self.scores]

    @cached_property
    def free(self) -> set[Any]:
        """Parameters and known constants."""
        ends = set().union(*(support.free_symbols for support in self.supports))
        return (set(self.log_density.free_symbols) | ends) - set(self.data)

    @cached_property
    def groups(self) -> tuple[list[Density], Any]:
        """Independent groups of data, their log-densities up to constants, and the term that is left."""
        return _groups(self)

    @property
    def is_unbounded(self) -> bool:
        """Whether the data are reals without ends."""
        return all(not support.discrete and (support.low, support.high) == (-sp.oo, sp.oo) for support in self.supports)

    @property
    def is_finite(self) -> bool:
        """Whether every outcome is written out."""
        return all(support.values is not None for support in self.supports)


# -- point masses


@dataclass(frozen=True)
class Mixed:
    """Probabilities of the parts, the rest's last, and the rest as a density of its own."""

    probabilities: list[Any]
    rest: Density

    def information(self, symbols: tuple[Any, ...]) -> Any:
        """What the label of the part tells: sum of dP dP' / P."""
        slopes = [sp.Matrix([sp.diff(p, symbol) for symbol in symbols]) for p in self.probabilities]
        return sum(
            (slope * slope.T / p for slope, p in zip(slopes, self.probabilities, strict=True)),
            sp.zeros(len(symbols), len(symbols)),
        )


def mixed(density: Density, at: Point) -> Mixed | None:
    """A density with point masses as its parts; None where it has none."""
    if len(density.data) > 1 or density.is_finite or not density.log_density.has(sp.Eq):
        return None
    (x,), (support,) = density.data, density.supports
    branches = sp.piecewise_fold(density.log_density).args
    points = [(c.lhs if c.rhs == x else c.rhs, part) for part, c in branches if isinstance(c, sp.Eq) and x in c.args]
    others = [(part, c) for part, c in branches if not (isinstance(c, sp.Eq) and x in c.args)]
    masses = {point: sp.exp(part) for point, part in points if support.discrete or not _continues(point, part, others, x, at)}
    if support.discrete and (support := _without(support, masses)) is None:  # type: ignore[assignment]
        return None
    if not masses:
        return None
    if moving := set().union(*(sp.sympify(point).free_symbols for point in masses)) & set(density.symbols):
        raise RegularityError(
            f"a point mass moves with {(symbol := min(moving, key=str))}: the distributions of two values of {symbol} are not "
            "mutually continuous, and there is no Fisher information.",
            condition="support_depends_on_parameter",
            parameter=str(symbol),
        )
    rest = others[0][0] if len(others) == 1 else sp.Piecewise(*others)
    probabilities = [*masses.values(), sp.factor(1 - sum(masses.values()))]
    inside = Density(rest - sp.log(probabilities[-1]), density.data, (support,), density.symbols)
    return Mixed(probabilities, _settled(inside, at))


def _continues(point: Any, part: Any, others: list[tuple[Any, Any]], x: Any, at: Point) -> bool:
    """Whether the value at a point is that of the density beside it, so that it is no mass."""
    here = {**at, x: sp.sympify(point).subs(at)}
    gaps = [sp.N((part - other).subs(here), 20) for other, _ in others]
    return any(gap.is_number and abs(gap) < 1e-12 for gap in gaps)


def _without(support: Support, masses: Iterable[Any]) -> Support | None:
    """The integers that are left when the first or the last ones are taken away; None where others are."""
    left, low, high = set(masses), support.low, support.high
    while left & {low, high}:
        if low in left:
            left.discard(low)
            low += 1
        else:
            left.discard(high)
            high -= 1
    return None if left else replace(support, low=low, high=high)


def _settled(density: Density, at: Point) -> Density:
    """With the symbols that it does not depend on at their values: they cancel between its factors."""
    (x,), (support,) = density.data, density.supports
    low, high = number(support.low, at), number(support.high, at)
    first = between(low, high)
    places = [{**at, x: first}, {**at, x: first + 1 if support.discrete else between(low, number(first, at))}]
    scores = dict(zip(density.symbols, density.scores, strict=True))
    idle = {s: at[s] for s, score in scores.items() if all(abs(sp.N(score.subs(here), 40)) < 1e-30 for here in places)}
    moving = tuple(symbol for symbol in density.symbols if symbol not in idle)
    return Density(density.log_density.subs(idle), density.data, density.supports, moving)


# -- independent groups


def _groups(density: Density) -> tuple[list[Density], Any]:
    parts = {x: frozenset([x]) for x in density.data}
    for x, support in zip(density.data, density.supports, strict=True):
        _join(parts, {x, *(support.free_symbols & set(density.data))})
    terms = sp.Add.make_args(density.log_density)
    if len(density.data) > 1:
        terms = sp.Add.make_args(sp.expand(sp.expand_log(density.log_density, force=True)))
    for term in terms:
        _join(parts, term.free_symbols & set(density.data))
    if len(distinct := list(dict.fromkeys(parts.values()))) == 1:
        return [density], sp.S.Zero
    return [_group(density, members, terms) for members in distinct], sp.Add(*(t for t in terms if not t.has(*density.data)))


def _join(parts: dict[Any, frozenset[Any]], together: set[Any]) -> None:
    joined: frozenset[Any] = frozenset().union(*(parts[x] for x in together))
    parts.update(dict.fromkeys(joined, joined))


def _group(density: Density, members: frozenset[Any], terms: Iterable[Any]) -> Density:
    own = [(x, support) for x, support in zip(density.data, density.supports, strict=True) if x in members]
    log_density = sp.Add(*(term for term in terms if term.has(*members)))
    mentioned = log_density.free_symbols.union(*(support.free_symbols for _, support in own))
    symbols = tuple(symbol for symbol in density.symbols if symbol in mentioned)
    return Density(log_density, tuple(x for x, _ in own), tuple(support for _, support in own), symbols)
