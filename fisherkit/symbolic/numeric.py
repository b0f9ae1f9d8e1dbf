"""Numbers from a formula: the score form of the integral, in machine precision or with as many digits as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from .. import quadrature
from ..errors import PrecisionError, RegularityError
from ..quadrature import Density, Moments
from .support import Support

Point = dict[Any, Any]


def compile(expressions: list[Any], arguments: tuple[Any, ...]) -> Callable[..., np.ndarray]:
    """Expressions as a function of arrays, (len(expressions), n); by mpmath where NumPy and SciPy lack a function."""
    quick = sp.lambdify(arguments, expressions, modules=["scipy", "numpy"])
    slow = np.vectorize(sp.lambdify(arguments, expressions, modules="mpmath"), otypes=[object])

    def evaluate(*values: Any) -> np.ndarray:
        size = np.broadcast(*values).shape
        try:
            with np.errstate(all="ignore"):
                return np.stack([np.broadcast_to(_real(v), size) for v in quick(*values)])
        except (NameError, TypeError, AttributeError, ValueError):
            rows = slow(*values)
            return np.stack([_real(np.array([complex(v) for v in row])) for row in np.ravel(rows)]).T.reshape(-1, *size)

    return evaluate


def _real(value: Any) -> np.ndarray:
    """Real numbers; one with an imaginary part is no log-density: nan."""
    array = np.asarray(value)
    if not np.iscomplexobj(array):
        return array.astype(float)
    return np.where(np.abs(array.imag) <= 1e-9 * (1 + np.abs(array.real)), array.real, np.nan)


def kinks(log_density: Any, x: Any, at: Point) -> list[Any]:
    """Where an absolute value, a sign or a branch of the log-density changes, for arguments linear in x."""
    turning = [a.args[0] for a in log_density.atoms(sp.Abs, sp.sign, sp.Heaviside)]
    for piece in log_density.atoms(sp.Piecewise):
        turning += [c.lhs - c.rhs for _, condition in piece.args for c in condition.atoms(sp.core.relational.Relational)]
    turning = [part.subs(at) for part in turning]
    slopes = [sp.diff(part, x) for part in turning]
    linear = [(part, slope) for part, slope in zip(turning, slopes, strict=True) if slope.is_number and slope.is_nonzero]
    return sorted({-part.subs(x, 0) / slope for part, slope in linear})


def zeros_move(log_density: Any, x: Any, support: Support, at: Point, symbol: Any) -> bool:
    """Whether the set on which the density is zero changes with a parameter: seen on a grid, for a step of a tenth."""
    grid = quadrature.grid(support.at(at), 20_001)
    step = sp.Abs(at[symbol]) / 10 or sp.Rational(1, 10)
    here, there = (compile([log_density.subs({**at, symbol: value})], (x,))(grid)[0] for value in (at[symbol], at[symbol] + step))
    return bool(np.any(np.isfinite(here) != np.isfinite(there)))


def moments(
    log_density: Any, scores: list[Any], data: tuple[Any, ...], supports: tuple[Support, ...], at: Point
) -> tuple[Moments, float]:
    """Mass, mean score and E[s s'] at a point, with their relative error."""
    functions = compile([e.subs(at) for e in (log_density, *scores)], data)
    with np.errstate(all="ignore"):  # a density that is none at this point is told by its mass
        if all(support.values is not None for support in supports):
            return _enumerated(functions, supports, at)
        if len(data) == 1:
            return _univariate(functions, supports[0], at, [float(turn) for turn in kinks(log_density, data[0], at)])
        return _joint(functions, supports, at)


def _univariate(functions: Callable[..., np.ndarray], support: Support, at: Point, turns: list[float]) -> tuple[Moments, float]:
    ends = support.at(at)

    def log(x: np.ndarray) -> np.ndarray:
        return np.asarray(functions(x)[0])

    def score(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = functions(x)[1:].T
        return s, np.zeros_like(s)

    p = len(functions(np.ones(1))) - 1
    if support.discrete:
        terms = ends[0] + np.arange(2000.0) if np.isfinite(ends[0]) else np.arange(-1000.0, 1000.0)
        terms = terms[terms <= ends[1]]
        center = float(terms[np.argmax(np.nan_to_num(log(terms), nan=-np.inf))])
        return quadrature.summation(Density(log, score, p, ends, (center,)))
    return quadrature.integrate(Density(log, score, p, ends, cuts(log, ends, turns)))


def cuts(log: Callable[[np.ndarray], np.ndarray], ends: tuple[float, float], turns: list[float]) -> tuple[float, ...]:
    """The kinks inside the support, and the bulk's centre unless a kink stands there."""
    inside = [turn for turn in turns if ends[0] < turn < ends[1]]
    center = quadrature.find_center(log, ends)
    near = any(abs(center - turn) <= 1e-3 * max(1.0, abs(center)) for turn in inside)
    return (*inside,) if near else (*inside, center)


def _enumerated(functions: Callable[..., np.ndarray], supports: tuple[Support, ...], at: Point) -> tuple[Moments, float]:
    values = [[float(sp.sympify(v).subs(at)) for v in support.values or ()] for support in supports]
    grid = [axis.ravel() for axis in np.meshgrid(*values)]
    log, *scores = functions(*grid)
    mass, s = np.exp(log), np.stack(scores, axis=1)
    s = np.where(mass[:, None] > 0, s, 0.0)
    return Moments(float(mass.sum()), mass @ s, (s * mass[:, None]).T @ s, np.zeros(s.shape[1])), 1e-15


def _joint(functions: Callable[..., np.ndarray], supports: tuple[Support, ...], at: Point) -> tuple[Moments, float]:
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


def precise(
    log_density: Any, scores: list[Any], x: Any, support: Support, at: Point, digits: int
) -> tuple[list[list[Any]], float]:
    """E[s s'] as mpmath numbers, with its relative error: the same rules, with more digits.

    An end where the density is infinite is approached to 10^(-3 digits); what lies beyond is counted as error.
    """
    with mpmath.workdps(3 * digits + 15):
        exact = {symbol: sp.nsimplify(value) if value.is_Float else value for symbol, value in at.items()}
        functions = sp.lambdify(x, [e.subs(exact) for e in (log_density, *scores)], modules="mpmath")
        if support.discrete:
            return _precise_sum(functions, support, exact, digits)
        inner = _precise_cuts(log_density, x, support, at, exact)
        outer = [_mpf(sp.sympify(end).subs(exact)) for end in (support.low, support.high)]
        pieces = [(inner[0], outer[0]), *pairwise(inner), (inner[-1], outer[1])]
        previous, error = None, mpmath.inf
        for level in range(2, 12):
            parts = [_total(functions, _nodes(start, end, level, digits)) for start, end in pieces]
            total = [mpmath.fsum(column) for column in zip(*(part for part, _ in parts), strict=True)]
            if previous is not None:
                beyond = [mpmath.fsum(column) * 2**level for column in zip(*(edge for _, edge in parts), strict=True)]
                error = _distance(total, previous) + _size_of(beyond, total)
                if error < mpmath.mpf(10) ** (-digits - 2):
                    break
            previous = total
        return _settled(total, error, digits)


def _precise_cuts(log_density: Any, x: Any, support: Support, at: Point, exact: Point) -> list[Any]:
    """The same cuts, kinks with all their digits."""
    log, turns = compile([log_density.subs(at)], (x,)), kinks(log_density, x, exact)
    digits = {float(turn): _mpf(turn) for turn in turns}
    with np.errstate(all="ignore"):
        rough = cuts(lambda v: log(v)[0], support.at(at), list(digits))
    return [digits.get(cut, mpmath.mpf(cut)) for cut in sorted(rough)]


def _mpf(value: Any) -> Any:
    number = sp.sympify(value)
    return mpmath.mpf(float(number)) if number.is_infinite else mpmath.mpf(str(number.evalf(mpmath.mp.dps + 5)))


def _nodes(center: Any, end: Any, level: int, digits: int) -> Iterator[tuple[Any, Any]]:
    """Double-exponential abscissae and weights between the centre and an end."""
    step = mpmath.mpf(2) ** -level
    reach = mpmath.asinh(2 * 3 * digits * mpmath.log(10) / mpmath.pi) + 1
    infinite = mpmath.isinf(end)
    sign = 1 if end > center else -1
    size = max(abs(center), mpmath.mpf(1)) if infinite else abs(end - center)
    for k in range(-int(reach / step), int(reach / step) + 1):
        t = k * step
        if infinite:
            distance = size * mpmath.exp(mpmath.pi / 2 * mpmath.sinh(t))
            yield center + sign * distance, step * distance * mpmath.pi / 2 * mpmath.cosh(t)
        else:
            near = size / (1 + mpmath.exp(mpmath.pi * abs(mpmath.sinh(t))))
            weight = step * mpmath.pi * mpmath.cosh(t) * near * (1 - near / size)
            yield (center + sign * near if t < 0 else end - sign * near), weight


def _total(functions: Callable[[Any], list[Any]], nodes: Iterator[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Mass, then the lower triangle of the weighted products; and the same of the first and last terms alone."""
    rows: list[list[Any]] = []
    for x, weight in nodes:
        try:
            log, *s = functions(x)
            mass = mpmath.exp(log) * weight
            row = [mass, *(mass * s[i] * s[j] for i in range(len(s)) for j in range(i + 1))]
        except (ZeroDivisionError, ValueError, OverflowError):  # an end of the support itself
            continue
        if all(mpmath.isfinite(value) for value in row):
            rows.append(row)
    if not rows:
        raise RegularityError("the density is not finite anywhere on its support.", condition="not_normalised")
    total = [mpmath.fsum(column) for column in zip(*rows, strict=True)]
    return total, [abs(first) + abs(last) for first, last in zip(rows[0], rows[-1], strict=True)]


def _precise_sum(
    functions: Callable[[Any], list[Any]], support: Support, at: Point, digits: int
) -> tuple[list[list[Any]], float]:
    low, high = support.at(at)
    if not np.isfinite(low):
        raise PrecisionError("more than 15 digits of a sum need a support with a lowest value.")
    total, _ = _total(functions, iter([(mpmath.mpf(low), mpmath.mpf(1))]))
    k, block, error = int(low) + 1, 64, mpmath.mpf(0)
    while k <= high:
        part, _ = _total(functions, ((mpmath.mpf(i), mpmath.mpf(1)) for i in range(k, int(min(k + block, high + 1)))))
        grown = [a + b for a, b in zip(total, part, strict=True)]
        error, total = _distance(grown, total), grown
        k, block = k + block, 2 * block
        if error < mpmath.mpf(10) ** (-digits - 3) or block > 2**15:
            break
    return _settled(total, error if k <= high else mpmath.mpf(0), digits)


def _distance(a: list[Any], b: list[Any]) -> Any:
    """Largest change, relative to the diagonal."""
    return _size_of([x - y for x, y in zip(a, b, strict=True)], a)


def _size_of(change: list[Any], total: list[Any]) -> Any:
    p = _size(total)
    root = [mpmath.sqrt(abs(total[1 + i * (i + 1) // 2 + i])) or mpmath.mpf(1) for i in range(p)]
    scale = [mpmath.mpf(1), *(root[i] * root[j] for i in range(p) for j in range(i + 1))]
    return max(abs(x) / s for x, s in zip(change, scale, strict=True))


def _settled(total: list[Any], error: Any, digits: int) -> tuple[list[list[Any]], float]:
    bound = max(error, mpmath.mpf(10) ** (-digits - 3))
    if bound > mpmath.mpf(10) ** -digits:
        raise PrecisionError(f"Quadrature(digits={digits}) was asked for; the rule reaches {mpmath.nstr(bound, 2)} only.")
    if abs(total[0] - 1) > mpmath.mpf(10) ** (-digits // 2):
        raise RegularityError(f"the density has mass {mpmath.nstr(total[0], 8)}, not 1.", condition="not_normalised")
    p = _size(total)
    packed = iter(total[1:])
    lower = [[next(packed) for _ in range(i + 1)] for i in range(p)]
    return [[lower[max(i, j)][min(i, j)] for j in range(p)] for i in range(p)], float(bound)


def _size(total: list[Any]) -> int:
    return int((np.sqrt(8 * (len(total) - 1) + 1) - 1) / 2)
