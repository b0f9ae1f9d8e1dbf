r"""The conditions that Fisher information rests on, at a point, before any number is computed.

Where the support, a kink or a branch ends at a point e(theta) that moves, :math:`f \sim d^q` at distance d from it:

- q <= 0, a jump or a pole: not regular;
- 0 < q <= 1: the information is infinite, for q = 1 only logarithmically;
- q > 1, or faster than any power: regular (:math:`\sqrt f` is differentiable in L2).

The same reading of :math:`s_i^2 f \sim d^e` at every end, fixed or at infinity too, tells an infinite information (e <= -1)
from one that a rule would make finite. van der Vaart (1998), chapter 7; Smith (1985).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mpmath
import sympy as sp

from ..errors import RegularityError
from . import certified
from .pieces import Piece, Point, number

if TYPE_CHECKING:
    from .density import Density


def check(model: Density, at: Point, parts: list[tuple[Piece, list[certified.Side]]]) -> None:
    """Refuse a univariate continuous density without Fisher information at the point."""
    (support,) = model.supports
    outer = (support.low, support.high)
    for piece, _ in parts:
        _check_sign(piece, model.data[0], at)
    _check_jumps(model, at, [piece for piece, _ in parts], outer)
    for piece, sides in parts:
        for side in sides:
            if side.end is None and not side.beyond:
                continue
            f, squares = certified.orders(side, len(model.symbols))
            end = None if side.beyond else _nearer(piece, side.end, at)
            if end is not None and end in outer and (moving := _moving(model, end)) and f <= certified.EXPONENT:
                _refuse_end(moving[0], f, integer=False)
            _check_finite(model, squares, end)


def check_sum(model: Density, at: Point, functions: Callable[[int], certified.Function]) -> None:
    """The same for a sum: ends that move, and tails."""
    (support,) = model.supports
    for end, sign in ((support.high, 1), (support.low, -1)):
        if moving := _moving(model, end):
            _refuse_end(moving[0], mpmath.mpf(0), integer=True)
        if sp.sympify(end).is_infinite and not model.log_density.has(sp.Sum):
            side = certified.Side(_outwards(functions(15), sign), mpmath.inf, mpmath.mpf(1), None, beyond=True)
            try:
                _, squares = certified.orders(side, len(model.symbols))
            except (RegularityError, TypeError, NotImplementedError):  # a mass function that has no value there
                continue
            _check_finite(model, squares, None)


def _outwards(functions: certified.Function, sign: int) -> certified.Function:
    return lambda d: functions(sign * d)


def check_declared(model: Density) -> None:
    """What needs no point: integer parameters, and ends of joint supports that move."""
    for symbol in model.symbols:
        moves = any(symbol in support.free_symbols for support in model.supports)
        if symbol.is_integer:
            raise RegularityError(
                f"{symbol} counts something: the density has no derivative in it. Declare it real or positive, or leave it out "
                "of parameters=.",
                condition="integer_parameter",
                parameter=str(symbol),
            )
        if moves and len(model.data) > 1:
            _refuse_end(symbol, mpmath.mpf(0), integer=False)


def _check_sign(piece: Piece, x: Any, at: Point) -> None:
    """Refuse a density whose logarithm has an odd multiple of i pi somewhere inside the piece."""
    turn = sp.im(piece.log_density.subs({**at, x: piece.inside}).evalf(20)) / sp.pi
    if turn.is_number and round(float(turn)) % 2:
        raise RegularityError(f"the density is negative at {x} = {float(piece.inside):.4g}.", condition="not_normalised")


def _check_jumps(model: Density, at: Point, pieces: list[Piece], outer: tuple[Any, Any]) -> None:
    """Refuse a density that jumps at a point inside the support that moves with a parameter."""
    (x,) = model.data
    for left, right in zip(pieces, [*pieces[1:], None], strict=True):
        for piece, end in ((left, left.high), *(((right, right.low),) if right else ())):
            if end in outer or not (moving := _moving(model, end)):
                continue
            other = right if piece is left else left
            joined = other is not None and number(other.low if piece is left else other.high, at) == number(end, at)
            here = _value(piece, x, end, at)
            there = _value(other, x, end, at) if joined and other is not None else mpmath.mpf(0)
            if not abs(here - there) <= 1e-9 * (abs(here) + abs(there)) and (joined or here > 0):
                _refuse_end(moving[0], mpmath.mpf(0), integer=False)


def _value(piece: Piece, x: Any, end: Any, at: Point) -> Any:
    """The density beside an end of a piece, a hair inside."""
    edge = sp.nsimplify(sp.sympify(end).subs(at), rational=True)
    inward = 1 if number(piece.inside, at) > number(edge, at) else -1
    with mpmath.workdps(60):
        return mpmath.exp(number(piece.log_density.subs(at).subs(x, edge + inward * sp.Rational(1, 10**40)), {}))


def _moving(model: Density, end: Any) -> list[Any]:
    return [symbol for symbol in model.symbols if symbol in sp.sympify(end).free_symbols]


def _nearer(piece: Piece, end: Any, at: Point) -> Any:
    """The end of a piece, in symbols, whose value is this number."""
    return min((e for e in (piece.low, piece.high) if not sp.sympify(e).is_infinite), key=lambda e: abs(number(e - end, at)))


def _check_finite(model: Density, squares: list[Any], end: Any) -> None:
    for symbol, exponent in zip(model.symbols, squares, strict=True):
        if exponent <= -1 + certified.EXPONENT:
            where = "in its tail" if end is None else f"beside {end}"
            raise RegularityError(
                f"the information about {symbol} is infinite at this point: its score squared times the density is not "
                f"integrable {where} (order {mpmath.nstr(exponent, 4)}, and more than -1 is needed).",
                condition="infinite_information",
                parameter=str(symbol),
            )


def _refuse_end(symbol: Any, order: Any, *, integer: bool) -> None:
    if integer:
        raise RegularityError(
            f"{symbol} counts the outcomes: the density has no derivative in it. Leave it out of parameters=.",
            condition="integer_parameter",
            parameter=str(symbol),
        )
    raise RegularityError(
        f"the density jumps at a point that moves with {symbol} (of order {float(order):.2g} in the distance from it, and more "
        f"than 1 is needed), so there is no Fisher information about {symbol}. Leave it out of parameters= where known; the "
        "Chapman-Robbins bound needs no derivative.",
        condition="support_depends_on_parameter",
        parameter=str(symbol),
    )
