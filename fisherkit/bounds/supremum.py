"""The best test point: looked for in numbers, or a limit or stationary point in symbols."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..arrays import as_entries
from ..errors import DataError, FisherkitError, MethodError
from ..information import FisherInformation
from ..methods import Method, MonteCarlo, seed_sequence
from ..model import Model, Theta
from ..uncertainty import Expectation
from .bound import Bound, between
from .functions import Target
from .repeated import grown

SMALLEST = 1e-6  # of E[(f_t / f)^2] - 1: below it little but rounding is left
PER_DECADE = 6
AGREE = 1e-5

Point = dict[str, Any]


# -- numbers


def numeric(source: Model, theta: Theta, target: Target, n: int, method: Method | None) -> Bound:
    """The largest bound over test points, or the limit of small steps where that is larger."""
    search, final = _split(method)
    flat = np.array([float(value) for value in target.point.values()])

    def objective(t: np.ndarray) -> float:
        point = dict(zip(target.point, t.tolist(), strict=True))
        with suppress(FisherkitError, FloatingPointError, OverflowError):
            excess = float(source.ratios(theta, order=0, points=[point], method=search).value[0, 0])
            if excess > SMALLEST:
                return _quotient(target, point, excess, n)
        return 0.0

    limit = _limit(source, theta, target, n, final)
    best, value = _search(objective, flat, _radii(n), None if limit is None else _direction(limit[0], target))
    small = float(limit[1].covariance[0, 0]) if limit is not None else 0.0
    if limit is not None and value <= small * (1 + AGREE):
        return limit[1]
    if value == 0:
        raise DataError(f"no test point around {_told(target.point)} bounds anything: give test_point=.")
    point = dict(zip(target.point, best.tolist(), strict=True))
    moments = source.ratios(theta, order=0, points=[point], method=final)

    def bound(gram: Any) -> np.ndarray:
        return np.array([[_quotient(target, point, float(gram[0, 0]), n)]])

    return Bound(bound(moments.value), moments.mcse_of(bound), point)


def _quotient(target: Target, point: Mapping[str, Any], excess: float, n: int) -> float:
    step = float(target.values(point)[0] - target.values(target.point)[0])
    distance = float(grown(excess, n))
    return step**2 / distance if 0 < distance < np.inf else 0.0


def _split(method: Method | None) -> tuple[Method | None, Method | None]:
    """Random numbers to choose with, and others to report with."""
    if not isinstance(method, MonteCarlo):
        return method, method
    choose, report = seed_sequence(method.rng).spawn(2)
    return replace(method, rng=choose), replace(method, rng=report)


def _limit(source: Model, theta: Theta, target: Target, n: Any, method: Method | None) -> tuple[FisherInformation, Bound] | None:
    """The Cramer-Rao bound, where there is one."""
    with suppress(FisherkitError, UserWarning), warnings.catch_warnings():
        warnings.simplefilter("error")  # scores whose mean is not zero are no regular model's
        information = n * source.expected_information(theta, inputs=None, method=method, structure="dense")
        gradient = as_entries(target.derivatives(1))
        return information, Bound(between(information, gradient), information.mcse_of(lambda F: between(F, gradient)))
    return None


def _direction(information: FisherInformation, target: Target) -> np.ndarray:
    return np.asarray(information.solve(target.derivatives(1)[0]), dtype=float)


def _radii(n: float) -> np.ndarray:
    """Lengths of steps relative to the parameter: a support that moves is known to about 1/n of its size."""
    decades = 3 + np.log10(n)
    return np.logspace(1 - decades, 1, round(PER_DECADE * decades) + 1)


def _search(
    objective: Callable[[np.ndarray], float], start: np.ndarray, radii: np.ndarray, direction: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """A scan along lines through theta in both directions, refined along the best, then in all directions."""
    from scipy.optimize import minimize, minimize_scalar

    size = np.where(start == 0, 1.0, np.abs(start))
    lines = list(np.diag(size))
    if direction is not None and len(start) > 1:
        lines.append(direction / np.max(np.abs(direction) / size))
    scan = [(objective(start + s * r * line), s * r, line) for line in lines for s in (1, -1) for r in radii[:: len(start)]]
    value, r, line = max(scan, key=lambda found: found[0])
    if value == 0:
        return start, 0.0
    if abs(r) == radii[-1]:
        _refuse_unbounded([objective(start + r * 10.0**k * line) for k in range(6)])
    step = radii[1] / radii[0]
    ends = sorted((r / step, r * step))
    found = minimize_scalar(
        lambda u: -objective(start + u * line), bounds=ends, method="bounded", options={"xatol": 1e-7 * abs(r)}
    )
    if -found.fun > value:
        value, r = -float(found.fun), float(found.x)
    best = start + r * line
    if len(start) > 1:
        scale = np.maximum(np.abs(best - start), 1e-2 * size)
        refined = minimize(
            lambda u: -objective(start + u * scale),
            (best - start) / scale,
            method="Nelder-Mead",
            options={"maxfev": 60 * len(start)},
        )
        if -refined.fun > value:
            best, value = start + refined.x * scale, -float(refined.fun)
    return best, value


def _refuse_unbounded(values: list[float]) -> None:
    if all(b > 1.5 * a for a, b in pairwise(values)):
        raise DataError(
            "the bound grows without limit as the test point moves away: no unbiased estimator has a finite variance. Take more "
            "observations, n=, or another function, of=."
        )


def _told(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in point.items())


# -- symbols


def symbolic(source: Model, theta: Theta, target: Target, n: Any, method: Method | None) -> Bound:
    """The limit of small steps or a stationary point, whichever the scan finds to be the supremum."""
    limit = _limit(source, theta, target, n, method)
    for h, point in _moved(target.point):
        with suppress(MethodError, DataError):
            moments = source.ratios(theta, order=0, points=[point], method=method)
            found = target, point, h, moments, n
            break
    else:
        raise _no_form(target)
    return _closed(*found, None if limit is None else limit[1])


def _moved(point: Mapping[str, Any]) -> Iterator[tuple[Any, Point]]:
    """Test points at a step of either sign from the parameter; upwards and downwards alone where the support moves."""
    import sympy

    if len(point) > 1:
        return
    ((name, symbol),) = point.items()
    h, d = sympy.Dummy("h", real=True), sympy.Dummy("d", positive=True)
    yield from ((h, {name: symbol + h}), (d, {name: symbol - d}), (d, {name: symbol + d}))


def _closed(target: Target, point: Point, h: Any, moments: Expectation, n: Any, limit: Bound | None) -> Bound:
    import sympy

    step = target.values(point)[0] - target.values(target.point)[0]
    phi = sympy.piecewise_fold(step**2 / grown(moments.value[0, 0], n))
    small = None if limit is None else limit.covariance[0, 0]
    free = sorted(phi.free_symbols.union(*(v.free_symbols for v in target.point.values())) - {h}, key=str)
    trials = [_trial(free, shift) for shift in (0, 1)]
    ((name, moved),) = point.items()
    tops = [_scan(phi.subs(at), h, target.point[name], moved, at) for at in trials]
    if small is not None and all(top <= float(small.subs(at)) * (1 + AGREE) for top, at in zip(tops, trials, strict=True)):
        assert limit is not None
        return limit
    candidates = [(root, sympy.simplify(phi.subs(h, root))) for root in _stationary(phi, h)]
    for root, value in candidates:
        if all(_equal(value.subs(at), top) for top, at in zip(tops, trials, strict=True)):
            return Bound(sympy.ImmutableMatrix([[value]]), None, {name: sympy.simplify(moved.subs(h, root))})
    raise _no_form(target)


def _stationary(phi: Any, h: Any) -> list[Any]:
    import sympy

    formula = phi.args[0].expr if isinstance(phi, sympy.Piecewise) else phi
    top, _ = sympy.fraction(sympy.together(sympy.diff(formula, h)))
    factors = [factor.as_base_exp()[0] for factor in sympy.Mul.make_args(sympy.factor(top))]
    roots: list[Any] = []
    for factor in factors:
        if factor.has(h) and _soluble(factor, h):
            with suppress(NotImplementedError):
                roots += sympy.solve(factor, h)
    return [root for root in roots if root != 0]


def _soluble(factor: Any, h: Any) -> bool:
    """Quadratic, or short: what SymPy solves at once, and a reader understands."""
    from sympy import count_ops, degree

    return bool(degree(factor, h) <= 2 if factor.is_polynomial(h) else count_ops(factor) <= 12)


def _scan(phi: Any, h: Any, symbol: Any, moved: Any, at: Mapping[Any, Any]) -> float:
    """The largest value over steps of both signs that leave the parameter in its domain, refined."""
    import mpmath
    import sympy
    from scipy.optimize import minimize_scalar

    function = sympy.lambdify(h, phi, modules=["mpmath"])
    size = abs(float(symbol.subs(at))) or 1.0

    def value(u: float) -> float:
        with suppress(ZeroDivisionError, TypeError, ValueError, OverflowError), mpmath.workdps(40):
            found = complex(function(mpmath.mpf(u)))
            if found.imag == 0 and np.isfinite(found.real):
                return found.real
        return 0.0

    steps = [s * r * size for s in ((1,) if h.is_positive else (1, -1)) for r in np.logspace(-6, 1, 43)]
    inside = [u for u in steps if not symbol.is_positive or float(moved.subs({**at, h: u})) > 0]
    best = max(inside, key=value)
    ends = sorted((best / 1.5, best * 1.5))
    refined = minimize_scalar(lambda u: -value(u), bounds=ends, method="bounded", options={"xatol": 1e-9 * abs(best)})
    return max(value(best), -float(refined.fun))


def _equal(value: Any, top: float) -> bool:
    found = complex(value)
    return abs(found - top) <= AGREE * abs(top)


def _trial(symbols: list[Any], shift: int) -> dict[Any, Any]:
    """Rational values for symbols, different for each; a positive parameter's is positive."""
    import sympy

    return {
        s: sympy.Integer(k + 3 + shift) if s.is_integer else sympy.Rational(sympy.prime(9 + 2 * k + shift), sympy.prime(7 + k))
        for k, s in enumerate(symbols)
    }


def _no_form(target: Target) -> MethodError:
    return MethodError(
        f"no closed form of the supremum over test points was found for {', '.join(target.point)}. Give test_point=, or theta "
        f"for numbers." + (" With several parameters there is none." if len(target.point) > 1 else "")
    )
