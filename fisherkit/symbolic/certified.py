r"""E[s s'] to any number of digits, with an error bound, and the order in which a density meets its ends.

Each smooth piece is cut at the bulk's centre, and each half is written in the distance d from its own end, so that no digit
is lost beside it; the double-exponential rule (Takahasi & Mori 1974) is halved until two levels agree. Sums go term by term;
a heavy tail is left to the Euler-Maclaurin formula, with derivatives by Cauchy's integral on a circle.

Convergence of a rule proves nothing about an integral (a logarithmic divergence looks finite), so at every end the
exponent e of :math:`s_i^2 f \sim d^e` is read first: information is finite where e > -1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import sympy as sp

from ..errors import PrecisionError, RegularityError
from .evaluate import digits as compiled
from .pieces import Piece

Function = Callable[[Any], list[Any]]
D = sp.Dummy("d", positive=True)
GUARD = 15
MAX_TERMS = 600  # of a sum, before its tail is integrated
NOTHING = -1e9  # a log-density below which even its exponential would take long
EXPONENT = 2e-3  # what is known of an exponent that a logarithm blurs


@dataclass(frozen=True)
class Side:
    """Log-density and scores as functions of the distance from an end, up to ``size`` (infinite: to the far end)."""

    functions: Function
    size: Any
    scale: Any
    end: Any  # the end itself, None where it is only a cut
    beyond: bool = False  # the interesting end is the far one, at infinity


@dataclass(frozen=True)
class Total:
    """Mass, mean score and the lower triangle of E[s s'], packed into one list."""

    values: list[Any]
    p: int

    @property
    def mass(self) -> Any:
        return self.values[0]

    @property
    def mean(self) -> list[Any]:
        return self.values[1 : 1 + self.p]

    def entry(self, i: int, j: int) -> Any:
        i, j = max(i, j), min(i, j)
        return self.values[1 + self.p + i * (i + 1) // 2 + j]

    def distance(self, other: Total) -> Any:
        """Largest difference, relative to the diagonal."""
        root = [mpmath.sqrt(abs(self.entry(i, i))) or mpmath.mpf(1) for i in range(self.p)]
        scale = [mpmath.mpf(1), *root, *(root[i] * root[j] for i in range(self.p) for j in range(i + 1))]
        return max(abs(a - b) / s for a, b, s in zip(self.values, other.values, scale, strict=True))


def products(values: list[Any], log_weight: Any = 0) -> list[Any]:
    """Weighted mass, scores and score products at one abscissa."""
    log, *s = values
    log += log_weight
    mass = mpmath.exp(log) if mpmath.re(log) > NOTHING else mpmath.mpf(0)
    weighted = [mass * score for score in s]
    return [mass, *weighted, *(weighted[i] * s[j] for i in range(len(s)) for j in range(i + 1))]


# -- integrals


def sides(piece: Piece, x: Any, scores: list[Any], center: Any, falls: Callable[[Any, int], Any]) -> list[Side]:
    """The halves of a piece whose formulas are numbers but for x; ``falls(c, sign)`` is the bulk's width beside c."""
    low, high = sp.sympify(piece.low), sp.sympify(piece.high)
    inside = low < center < high
    cut = center if inside else None
    out = []
    if cut is None and not low.is_infinite and not high.is_infinite:
        cut = (low + high) / 2
    if cut is None:  # the bulk is in another piece: one side to infinity
        end, sign = (low, 1) if high.is_infinite else (high, -1)
        return [_side(piece, x, scores, end, sign, sp.oo, falls(end, sign), end)]
    for end, sign in ((low, 1), (high, -1)):
        if end.is_infinite:
            out.append(_side(piece, x, scores, cut, -sign, sp.oo, falls(cut, -sign), None))
        else:
            out.append(_side(piece, x, scores, end, sign, abs(cut - end), abs(cut - end), end))
    return out


def _side(piece: Piece, x: Any, scores: list[Any], start: Any, sign: int, size: Any, scale: Any, end: Any) -> Side:
    formulas = [e.subs(x, start + sign * D) for e in (piece.log_density, *scores)]
    return Side(compiled(formulas, (D,)), _number(size), _number(scale), end, beyond=size.is_infinite)


def integrate(parts: list[Side], p: int, digits: int) -> tuple[Total, Any]:
    """The integrals over all sides, and their relative error."""
    ranges = [_range(side, p, digits) for side in parts]
    previous, total, error = None, None, mpmath.inf
    sums = [[mpmath.mpf(0)] * len(r.last) for r in ranges]
    for level in range(2, 12):
        step = mpmath.mpf(2) ** -level
        for k, (side, reach) in enumerate(zip(parts, ranges, strict=True)):
            fresh = _rule(side, reach, step, digits, only_new=level > 2)
            sums[k] = [old / 2 + new for old, new in zip(sums[k], fresh, strict=True)]
        total = Total([mpmath.fsum(column) for column in zip(*sums, strict=True)], p)
        if previous is not None:
            error = total.distance(previous)
            if error < mpmath.mpf(10) ** (-digits - 2):
                break
        previous = total
    assert total is not None
    missed = sum(_ratio(r.last, total, p) for r in ranges)
    return total, error + missed + mpmath.mpf(10) ** (-digits - 3)


@dataclass(frozen=True)
class Range:
    """The abscissae t that matter, and what the outermost terms are worth."""

    low: Any
    high: Any
    last: list[Any]


def _range(side: Side, p: int, digits: int) -> Range:
    """Walk outwards by quarters until six terms in a row are negligible beside the largest."""
    step, small = mpmath.mpf(1) / 4, mpmath.mpf(10) ** (-digits - 8)
    size = 1 + p + p * (p + 1) // 2
    largest = [mpmath.mpf(0)] * size
    ends, last = [], [mpmath.mpf(0)] * size
    for sign in (1, -1):
        quiet, k, term = 0, 0 if sign > 0 else 1, None
        while quiet < 6 and k < 44 + 16 * digits:
            term = _term(side, sign * k * step, digits) or [mpmath.mpf(0)] * size
            largest = [max(a, abs(b)) for a, b in zip(largest, term, strict=True)]
            negligible = all(abs(b) <= small * a for a, b in zip(largest, term, strict=True))
            quiet = quiet + 1 if negligible and k > 8 else 0
            k += 1
        ends.append(sign * (k - max(quiet - 2, 0)) * step)
        last = [a + 8 * abs(b) for a, b in zip(last, term or last, strict=True)]
    return Range(ends[1], ends[0], last)


def _rule(side: Side, reach: Range, step: Any, digits: int, *, only_new: bool) -> list[Any]:
    first, last = int(mpmath.ceil(reach.low / step)), int(mpmath.floor(reach.high / step))
    ks = (k for k in range(first, last + 1) if k % 2 or not only_new)
    rows = [row for k in ks if (row := _term(side, k * step, digits)) is not None]
    return [step * mpmath.fsum(column) for column in zip(*rows, strict=True)] if rows else [mpmath.mpf(0)] * len(reach.last)


def _term(side: Side, t: Any, digits: int) -> list[Any] | None:
    """The integrand at one abscissa times its weight, with digits to spare beside the end."""
    bend = mpmath.pi / 2 * mpmath.sinh(t)
    decimals = int(mpmath.log10(1 + abs(bend)))  # of log d before its point
    spare = int(abs(bend)) if side.beyond or t < 0 else 0  # more than the decimals of d, which may cancel beside the end
    spare = spare if spare < 20 * digits + 100 else 0  # so far out only tails heavier than any power weigh, and nothing cancels
    with mpmath.workdps(digits + GUARD + decimals):
        bend, slope = mpmath.pi / 2 * mpmath.sinh(t), mpmath.pi / 2 * mpmath.cosh(t)
        if side.beyond:
            d, log_weight = side.scale * mpmath.exp(bend), mpmath.log(side.scale * slope) + bend
        else:
            q = mpmath.exp(2 * bend)
            d = side.size * q / (1 + q)
            log_weight = mpmath.log(2 * side.size * slope / (1 + q) ** 2) + 2 * bend
    with mpmath.workdps(digits + GUARD + 25 * -(-(decimals + spare) // 25)):  # few precisions, each with its constants
        try:
            row = products([_whole(value) for value in side.functions(d)], log_weight)
        except RegularityError:
            raise
        except (ZeroDivisionError, ValueError, OverflowError):
            return None
        return row if all(mpmath.isfinite(value) for value in row) else None


def _whole(value: Any) -> Any:
    """A real number; the logarithm of a negative density is none."""
    if isinstance(value, mpmath.mpc):
        if abs(value.imag) > mpmath.mpf(10) ** (-mpmath.mp.dps // 2) * (1 + abs(value.real)):
            raise RegularityError("the density is negative, or not real, somewhere on its support.", condition="not_normalised")
        return value.real
    return value


def _number(value: Any) -> Any:
    value = sp.sympify(value)
    return mpmath.mpf(float(value)) if value.is_infinite else mpmath.mpf(str(value.evalf(mpmath.mp.dps + 5)))


# -- how a density meets an end


def orders(side: Side, p: int) -> tuple[Any, list[Any]]:
    """Exponents of f and of each s_i^2 f in the distance from the end of a side; +inf where they fall faster than a power.

    At infinity the distance is 1/x, and dx is read in it too: at every end e > -1 is finite. Where e = -1 and a logarithm
    decides, the exponent is moved to the side on which the integral is.
    """
    scales = (3, 6, 12, 24, 48) if side.beyond else (12, 24, 48, 96, 192)
    for precision, some in ((30, scales[:1]), (120 if side.beyond else 250, scales)):
        readings: list[list[Any]] = []
        with mpmath.workdps(precision):
            for k in some:
                if (reading := _reading(side, k)) is None:
                    break
                if reading[0] < -300 * k:  # beyond the power 130
                    return mpmath.inf, [mpmath.inf] * p
                readings.append(reading)
    if len(readings) < 3:
        return mpmath.mpf(0), [mpmath.mpf(0)] * p
    k = scales[len(readings) - 1]
    exponents = [_exponent(a, b, c, k) for a, b, c in zip(*readings[-3:], strict=True)]
    return exponents[0], exponents[1:]


def _reading(side: Side, k: int) -> list[Any] | None:
    """Logarithms of f and of each s_i^2 f, per unit of the distance 10^-k; None where they cannot be had."""
    d = mpmath.mpf(10) ** (k if side.beyond else -k) * side.scale
    try:
        log, *s = (_whole(value) for value in side.functions(d))
    except (ZeroDivisionError, ValueError, OverflowError, RegularityError):
        return None
    log += 2 * mpmath.log(d) if side.beyond else 0
    return [log, *(log + 2 * mpmath.log(abs(v)) if v else -mpmath.inf for v in s)]


def _exponent(first: Any, second: Any, third: Any, k: int) -> Any:
    """From readings at 10^(-k/4), 10^(-k/2) and 10^-k; a logarithm beside the power halves its share at each step."""
    if mpmath.isinf(third):
        return mpmath.inf
    if mpmath.isinf(first) or mpmath.isinf(second):
        return mpmath.mpf(0)
    decade = mpmath.log(10) * k / 4
    before, last = (first - second) / decade, (second - third) / (2 * decade)
    exponent = 2 * last - before if abs(last) < 50 else last
    if abs(exponent + 1) < EXPONENT:
        logarithm = 2 * decade / mpmath.log(2) * (-1 - last)  # d^-1 log(1/d)^j
        return mpmath.mpf(-1) + (2 * EXPONENT if logarithm < -1.1 else 0)
    return exponent


# -- sums


def summation(functions: Function, low: Any, high: Any, start: int, p: int, digits: int) -> tuple[Total, Any]:
    """Sums over the integers from low to high, outwards from the bulk at ``start``."""
    small = mpmath.mpf(10) ** (-digits - 6)
    total, error = [mpmath.mpf(0)] * (1 + p + p * (p + 1) // 2), mpmath.mpf(0)
    for sign, end in ((1, high), (-1, low)):
        k, before, quiet = start if sign > 0 else start - 1, None, 0
        while sign * (end - k) >= 0 and quiet < 4:
            if abs(k - start) > MAX_TERMS + digits:
                tail, missed = _tail(functions, k, sign, p, digits)
                total, error = [a + b for a, b in zip(total, tail, strict=True)], error + missed
                break
            term = products([_whole(v) for v in functions(mpmath.mpf(k))])
            total = [a + b for a, b in zip(total, term, strict=True)]
            size = _ratio(term, Total(total, p), p)
            quiet = quiet + 1 if before is not None and size < small and size < before * mpmath.mpf("0.9") else 0
            before, k = size, k + sign
        else:
            error += 10 * before if quiet and before is not None else 0
    return Total(total, p), error + mpmath.mpf(10) ** (-digits - 3)


def _ratio(part: list[Any], total: Total, p: int) -> Any:
    """The size of a contribution, relative to the diagonal."""
    return total.distance(Total([a + b for a, b in zip(total.values, part, strict=True)], p))


def _tail(functions: Function, start: int, sign: int, p: int, digits: int) -> tuple[list[Any], Any]:
    r"""Terms from ``start`` outwards by :math:`\int g + g/2 - \sum_j B_{2j} g^{(2j-1)}/(2j)!`."""
    beyond = Side(lambda d: functions(start + sign * d), mpmath.inf, mpmath.mpf(max(abs(start), 1)), None, beyond=True)
    integral, error = integrate([beyond], p, digits)
    first = products([_whole(v) for v in functions(mpmath.mpf(start))])
    total = [a + b / 2 for a, b in zip(integral.values, first, strict=True)]
    last = None
    for order, derivative in _odd_derivatives(functions, start, digits):
        change = [mpmath.bernoulli(order + 1) / mpmath.factorial(order + 1) * sign * c for c in derivative]
        total = [a - b for a, b in zip(total, change, strict=True)]
        last = change
        if _ratio(change, Total(total, p), p) < mpmath.mpf(10) ** (-digits - 5):
            break
    missed = _ratio(last, Total(total, p), p) if last is not None else mpmath.inf
    return total, error + 2 * missed


def _odd_derivatives(functions: Function, start: int, digits: int) -> Iterator[tuple[int, list[Any]]]:
    """g', g''', ... of the products at ``start``, by the trapezoidal rule on a circle of half the distance to 0."""
    count = 4 * digits + 40
    radius = mpmath.mpf(abs(start)) / 2
    circle = [mpmath.expjpi(mpmath.mpf(2 * k) / count) for k in range(count)]
    values = [products(functions(start + radius * z)) for z in circle]
    for order in range(1, 2 * digits, 2):
        turned = [z**-order for z in circle]
        scale = mpmath.factorial(order) / radius**order / count
        yield order, [scale * mpmath.re(mpmath.fdot(turned, column)) for column in zip(*values, strict=True)]


def refuse_imprecise(error: Any, digits: int) -> None:
    if not error <= mpmath.mpf(10) ** -digits:
        raise PrecisionError(
            f"Quadrature(digits={digits}) was asked for; the rule reaches a relative error of {mpmath.nstr(error, 2)} only."
        )


def refuse_mass(mass: Any, error: Any) -> None:
    if not abs(mass - 1) <= 100 * error:
        if abs(mass - 1) < 1e-6:
            raise PrecisionError(
                f"the tail is too heavy for these digits: the mass found is 1 to {mpmath.nstr(abs(mass - 1), 2)} only."
            )
        raise RegularityError(
            f"the density has mass {mpmath.nstr(mass, 8)} over its support at this point, not 1.", condition="not_normalised"
        )
