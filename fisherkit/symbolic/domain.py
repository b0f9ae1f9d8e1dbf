"""Where the parameters may be: points that respect the assumptions, and the interval around a point that does not do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import sympy as sp

from .pieces import Point

HALVINGS = 22


def trial_points(symbols: list[Any], *, more: bool = False, scattered: int = 0) -> Iterator[Point]:
    """Rational values that respect the assumptions: fractions, larger numbers, both mixed, rising and falling; scattered ones.

    The latter are for what several symbols must satisfy together, such as the entries of a covariance matrix.
    """
    count = len(symbols)
    fractions = [sp.Rational(3 + 2 * k, 7 + 4 * count) for k in range(count)]
    larger = [sp.Rational(sp.prime(6 + k), 11) for k in range(count)]  # no integers: singularities love them
    small = [sp.Rational(2 + k, 11 + count**2) for k in range(count)]
    mixed = [(larger if k % 2 else fractions)[k] for k in range(count)]
    other = [(fractions if k % 2 else larger)[k] for k in range(count)]
    shapes = [larger, fractions, mixed, other, small, larger[::-1], fractions[::-1], [v + 2 for v in larger]]
    if more:
        shapes += [[v / d for v in larger] for d in (2, 3, 4, 6)] + [[v * d for v in larger] for d in (2, 3, 6)]
    draw = random.Random(0)
    shapes += [[sp.Rational(round(1000 / 50 * 150 ** draw.random()), 1000) for _ in symbols] for _ in range(scattered)]
    for values in shapes:
        yield {
            s: (-v if s.is_negative else sp.Integer(k + 3) if s.is_integer else v)
            for k, (s, v) in enumerate(zip(symbols, values, strict=True))
        }


def allowed(valid: Callable[[Point], bool], at: Point) -> tuple[Any, str] | None:
    """The symbol whose value is to blame at a point, and the interval that the others leave it; None if none alone is."""
    symbols = sorted(at, key=str)
    for symbol in symbols:

        def fits(value: Any, symbol: Any = symbol) -> bool:
            return valid({**at, symbol: value})

        given, trials = sp.sympify(at[symbol]), (trial[symbol] for trial in trial_points(symbols, more=True))
        inside = next((value for value in trials if value != given and fits(value)), None)
        if inside is not None:
            far = _end(symbol, upwards=bool(inside > given))
            ends = sorted((_edge(fits, inside, given), far if far.is_infinite else _edge(fits, inside, far)))
            return symbol, f"{symbol} = {float(given):.6g} is outside its domain: the others let it be in ({ends[0]}, {ends[1]})."
    return None


def _end(symbol: Any, *, upwards: bool) -> Any:
    """Where the assumptions end."""
    if upwards:
        return sp.S.Zero if symbol.is_nonpositive else sp.oo
    return sp.S.Zero if symbol.is_nonnegative else -sp.oo


def _edge(valid: Callable[[Any], bool], inside: Any, outside: Any) -> Any:
    """Where validity ends between two values, as a short number."""
    end = outside
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if valid(middle) else (inside, middle)
    return sp.nsimplify(sp.Float(outside), tolerance=1e-4, rational=True) if outside != end else end
