r"""Closed forms of E[g] for functions g of the data, tier by tier, each answer tried against the integral at a point.

- finite: every outcome by name;
- moments: g a polynomial in the statistics T of an exponential family. From
  :math:`\partial_\theta E[g] = E[g s]` and :math:`s = J^\top (T - E[T])` follows
  :math:`E[T g] = E[T] E[g] + J^{-\top} \partial_\theta E[g]`: no integral;
- integrate: SymPy, under a deadline.

The likelihood ratios of two test points need no expectation in an exponential family (Chapman & Robbins 1951 for the normal):
:math:`E[f_s f_t / f^2] = \exp(A(\theta^*) - A(s) - A(t) + A(\theta))` where :math:`\eta(\theta^*) = \eta(s) + \eta(t) -
\eta(\theta)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np
import sympy as sp

from ..arrays import as_entries
from ..deadline import within
from ..errors import DataError, FisherkitError, MethodError
from ..ratios import View, gauss, gram, moments
from . import evaluate, exponential_family, kernels
from .density import Density
from .domain import trial_points
from .exponential_family import ExponentialFamily
from .pieces import KINKED, Point, kinks, magnitude, steady
from .support import Support
from .tidy import tidy

DEADLINE = 10.0  # seconds for each tier
AGREE = 1e-6


def expectation(model: Density, function: Any, at: Point | None) -> np.ndarray:
    """E of a callable or of expressions, in symbols or at a point."""
    if at is None:
        if callable(function):
            raise MethodError("the expectation of a callable needs numbers: give theta.")
        if (found := closed(model, function)) is None:
            raise MethodError("no closed form of the expectation was found. Give theta for numbers.")
        return np.asarray(as_entries(np.array([*found, None], dtype=object)[:-1]))
    own = np.array([float(at[symbol]) for symbol in model.symbols])
    if not callable(function):
        compiled = evaluate.arrays([g.subs(at) for g in function], model.data)
        function = lambda x: compiled(*np.reshape(x, (len(x), -1)).T).T  # noqa: E731 the expressions as a callable
    if model.is_finite:
        columns = outcomes(model)
        mass = np.exp(evaluate.arrays([model.log_density.subs(at)], model.data)(*columns)[0])
        return np.asarray(mass @ function(columns[0] if len(columns) == 1 else np.stack(columns, axis=1)))
    return moments(view(model, at), own, function).mean


def known(model: Density, values: Mapping[str, Any]) -> Density:
    """The same law with values for its parameters: none is left."""
    at = {symbol: sp.sympify(values[str(symbol)]) for symbol in model.symbols}
    return Density(model.log_density.subs(at), model.data, tuple(support.subs(at) for support in model.supports), ())


def nodes(model: Density, at: Point, count: int) -> tuple[np.ndarray, np.ndarray]:
    return gauss(view(model, at), np.array([float(at[symbol]) for symbol in model.symbols]), count)


def outcomes(model: Density) -> list[np.ndarray]:
    """Every outcome of finite supports, one column for each data symbol."""
    grids = np.meshgrid(*([float(v) for v in support.values or ()] for support in model.supports))
    return [axis.ravel() for axis in grids]


def closed(model: Density, functions: Sequence[Any]) -> list[Any] | None:
    """E of each function of the data, or None where no tier answers and agrees with the integral."""
    if model.is_finite:
        return _enumerated(model, functions)
    for tier in (_moments, _kernels, _integrated):
        with suppress(MethodError, NotImplementedError, ZeroDivisionError):
            found: list[Any] | None = within(DEADLINE, partial(tier, model, functions))
            if found is not None and _agrees(model, functions, found):
                return found
    return None


def _enumerated(model: Density, functions: Sequence[Any]) -> list[Any]:
    totals = [sp.S.Zero] * len(functions)
    for values in product(*(support.values or () for support in model.supports)):
        outcome = dict(zip(model.data, values, strict=True))
        mass = sp.exp(model.log_density.subs(outcome))
        totals = [total + mass * g.subs(outcome) for total, g in zip(totals, functions, strict=True)]
    return [tidy(sp.expand(total)) for total in totals]


# -- moments of an exponential family


def _moments(model: Density, functions: Sequence[Any]) -> list[Any] | None:
    family = _full(model)
    if family is None:
        return None
    back, known = family.jacobian.T.inv(), {(0,) * len(family.statistics): sp.S.One}
    means = list(family.mean)
    generators = sorted({base for t in family.statistics for base in t.as_powers_dict()}, key=sp.default_sort_key)
    vectors = [tuple(t.as_powers_dict().get(base, 0) for base in generators) for t in family.statistics]

    def moment(powers: tuple[int, ...]) -> Any:
        if powers not in known:
            k = next(i for i, power in enumerate(powers) if power)
            lower = moment((*powers[:k], powers[k] - 1, *powers[k + 1 :]))
            slope = sum(back[k, j] * sp.diff(lower, s) for j, s in enumerate(model.symbols))
            known[powers] = sp.cancel(sp.together(means[k] * lower + slope))
        return known[powers]

    out = []
    for g in functions:
        total: dict[tuple[int, ...], Any] = {}
        for term in sp.Add.make_args(sp.expand(sp.expand_log(g, force=True))):
            coefficient, part = term.as_independent(*model.data, as_Add=False)
            target = part.as_powers_dict()
            if set(target) - {*generators, sp.S.One}:
                return None
            powers = _combination(tuple(target.get(base, 0) for base in generators), vectors)
            if powers is None:
                return None
            total[powers] = total.get(powers, 0) + coefficient
        out.append(tidy(sp.expand(sp.Add(*(c * moment(powers) for powers, c in total.items())))))
    return out


def _full(model: Density) -> ExponentialFamily | None:
    """The exponential family with as many statistics as parameters, on a support that stays."""
    if not model.symbols or any(support.free_symbols & set(model.symbols) for support in model.supports):
        return None
    family = exponential_family.find(model)  # type: ignore[arg-type]  # it reads what a density has
    return family if len(family.natural) == len(model.symbols) and sp.simplify(family.jacobian.det()) != 0 else None


def _combination(target: tuple[Any, ...], vectors: list[tuple[Any, ...]]) -> tuple[int, ...] | None:
    """Powers of the statistics whose product has these exponents: the least number of factors."""
    if not all(sp.sympify(e).is_Integer for e in target):
        return None
    layer: dict[tuple[Any, ...], tuple[int, ...]] = {(sp.S.Zero,) * len(target): (0,) * len(vectors)}
    seen = set(layer)
    target = tuple(map(sp.sympify, target))
    for _ in range(1 + sum(abs(int(e)) for e in target)):
        if target in layer:
            return layer[target]
        grown = {}
        for exponents, powers in layer.items():
            for k, vector in enumerate(vectors):
                reached = tuple(a + b for a, b in zip(exponents, vector, strict=True))
                if reached not in seen:
                    grown[reached] = (*powers[:k], powers[k] + 1, *powers[k + 1 :])
        seen |= set(grown)
        layer = grown
    return None


# -- SymPy's integrals


def _kernels(model: Density, functions: Sequence[Any]) -> list[Any] | None:
    if len(model.data) > 1:
        return None
    (x,), (support,), free = (
        model.data,
        model.supports,
        set(model.free).union(*(g.free_symbols for g in functions)) - set(model.data),
    )
    for at in islice(trial_points(sorted(free, key=str)), 3):
        with suppress(FisherkitError, TypeError, ValueError):
            pieces = steady(model.log_density, x, support, at, also=functions)
            found = pieces and kernels.expectations(pieces, x, functions, at)
            return [tidy(value) for value in found] if found else None
    return None


def _integrated(model: Density, functions: Sequence[Any]) -> list[Any] | None:
    if len(model.data) > 1 or model.log_density.has(*KINKED, sp.Sum):
        return None
    (x,), (support,) = model.data, model.supports
    terms = sp.Add.make_args(sp.expand(model.log_density))
    density = sp.Mul(*(sp.exp(term).rewrite(sp.Pow) for term in terms))
    return integrals([sp.expand(density * g) for g in functions], x, support)


def integrals(integrands: Sequence[Any], x: Any, support: Support) -> list[Any] | None:
    """Over a support; None where SymPy leaves one undone, or answers under a condition."""
    if not support.discrete and sp.sympify(support.low).is_nonnegative:
        positive = sp.Dummy("x", positive=True)
        integrands, x = [integrand.subs(x, positive) for integrand in integrands], positive
    out = []
    for integrand in integrands:
        verb = sp.summation if support.discrete else sp.integrate
        found = sp.S.Zero if integrand == 0 else verb(sp.powsimp(integrand), (x, support.low, support.high))
        if found.has(sp.Integral, sp.Sum, sp.exp_polar, sp.Piecewise, sp.zoo, sp.nan, sp.oo):
            return None
        out.append(tidy(found))
    return out


# -- likelihood ratios of test points


def overlap(model: Density, s: Point, t: Point) -> Any | None:
    """E[f_s f_t / f^2] for two test points, with the condition under which it is finite; None where no form was found."""
    if model.is_finite:
        ratios = [sp.exp(model.log_density.subs(at, simultaneous=True) - model.log_density) for at in (s, t)]
        return _enumerated(model, [ratios[0] * ratios[1]])[0]
    for tier in (_shifted, _overlap_integrated):
        with suppress(MethodError, NotImplementedError, ZeroDivisionError):
            found = within(DEADLINE / 2, partial(tier, model, s, t))
            if found is not None and _overlaps(model, s, t, found):
                return found
    return None


def _overlaps(model: Density, s: Point, t: Point, found: Any) -> bool:
    """The formula against the integral, at a point where both can be had."""
    if len(model.data) > 1:
        return True
    free = set(model.free).union(*(sp.sympify(v).free_symbols for point in (s, t) for v in point.values()))
    for at in _trials(model, free):
        own, *two = (
            [float(sp.sympify(point[q]).subs(at)) for q in model.symbols] for point in ({q: q for q in model.symbols}, s, t)
        )
        with suppress(FisherkitError, TypeError, ValueError, ZeroDivisionError):
            if (formula := complex(found.subs(at))) == complex("inf"):
                continue
            value = gram(view(model, at), np.array(own), None, 0, [np.array(point) for point in two])[0, 1] + 1
            return bool(abs(formula - value) <= AGREE * abs(value))
    return False


def _shifted(model: Density, s: Point, t: Point) -> Any | None:
    if (family := _full(model)) is None:
        return None
    moved = [sp.expand(e.subs(s, simultaneous=True) + e.subs(t, simultaneous=True) - e) for e in family.natural]
    stars = [sp.Dummy(symbol.name) for symbol in model.symbols]
    renamed = dict(zip(model.symbols, stars, strict=True))
    equations = [e.subs(renamed) - m for e, m in zip(family.natural, moved, strict=True)]
    solutions = sp.solve(equations, stars, dict=True)
    for solution in solutions:
        if set(solution) != set(stars):
            continue
        star = {symbol: sp.factor(solution[renamed[symbol]]) for symbol in model.symbols}
        positive = [star[symbol] for symbol in model.symbols if symbol.is_positive]
        if not _somewhere_positive(positive, model):
            continue
        A = family.log_partition
        value = A.subs(star, simultaneous=True) - A.subs(s, simultaneous=True) - A.subs(t, simultaneous=True) + A
        value = _exponential(value)
        condition = sp.And(*(c for each in positive for c in _positive(each)))
        return value if condition == True else sp.Piecewise((value, condition), (sp.oo, True))  # noqa: E712 SymPy's
    return None


def _exponential(log: Any) -> Any:
    """exp of a sum of logarithms and of rational terms, each kind by itself."""
    terms = sp.Add.make_args(sp.expand(log))
    rational = sp.factor(sp.together(sp.Add(*(t for t in terms if not t.has(sp.log)))))
    value = sp.exp(rational) * sp.powsimp(sp.exp(sp.logcombine(sp.Add(*(t for t in terms if t.has(sp.log))), force=True)))
    return value if (short := tidy(value)).has(sp.I) else short


def _trials(model: Density, symbols: set[Any]) -> Iterator[Point]:
    """Trial points, with small values too for the symbols that are steps from the model's own."""
    for at in trial_points(sorted(symbols, key=str)):
        yield {q: v if q in model.free else v / 20 for q, v in at.items()}
        yield at


def _somewhere_positive(values: Sequence[Any], model: Density) -> bool:
    """Whether all are positive at one of the trial points: a wrong root never is."""
    for at in _trials(model, set().union(*(value.free_symbols for value in values))):
        numbers = [complex(value.subs(at).evalf()) for value in values]
        if all(abs(v.imag) < 1e-12 and v.real > 0 for v in numbers):
            return True
    return False


def _positive(value: Any) -> list[Any]:
    """Conditions under which a value is real and positive; a square root asks for what is under it."""
    if value.is_positive:
        return []
    under = [power.base for power in value.atoms(sp.Pow) if power.exp.is_Rational and not power.exp.is_Integer]
    return [base > 0 for base in under if not base.is_positive] or [value > 0]


def _overlap_integrated(model: Density, s: Point, t: Point) -> Any | None:
    if len(model.data) > 1 or model.log_density.has(*KINKED, sp.Sum):
        return None
    (x,), (support,) = model.data, model.supports
    moved = [support.subs(at) for at in (s, t)]
    low, high = sp.Max(*(m.low for m in moved)), sp.Min(*(m.high for m in moved))
    if any(end.has(sp.Max, sp.Min) for end in (low, high, sp.Max(low, support.low), sp.Min(high, support.high))):
        return None
    if any(_outside(m, support) for m in moved):
        raise DataError("a test point has mass where the density has none: choose one whose support lies inside.")
    logs = [model.log_density.subs(at, simultaneous=True) for at in (s, t)]
    integrand = sp.exp(sp.expand(logs[0] + logs[1] - model.log_density))
    found = integrals([integrand], x, dataclasses.replace(support, low=low, high=high))
    return None if found is None else found[0]


def _outside(inner: Support, outer: Support) -> bool:
    return bool(sp.Max(inner.low, outer.low) != inner.low or sp.Min(inner.high, outer.high) != inner.high)


# -- the check


def _symbols(model: Density, functions: Sequence[Any]) -> list[Any]:
    return sorted(set(model.free).union(*(g.free_symbols for g in functions)) - set(model.data), key=str)


def _agrees(model: Density, functions: Sequence[Any], found: Sequence[Any]) -> bool:
    """Every expectation against its integral, at the first point where both can be had."""
    if len(model.data) > 1:
        return True  # an identity of exponential families; nothing cheaper is at hand
    for at in trial_points(_symbols(model, functions)):
        try:
            own = np.array([float(at[symbol]) for symbol in model.symbols])
            g = evaluate.arrays([function.subs(at).evalf(20) for function in functions], model.data)
            there = moments(view(model, at), own, lambda x, g=g: g(x).T)  # type: ignore[misc]
            formula = np.array([complex(e.subs(at).evalf(20)) for e in found])
        except (FisherkitError, NameError, TypeError, ValueError, ZeroDivisionError, KeyError):
            continue
        return bool(np.all(np.abs(formula - there.mean) <= AGREE * np.sqrt(np.diagonal(there.product))))
    return False


def view(model: Density, at: Point) -> View:
    """A univariate model as functions of arrays of data and of its parameters; other symbols take their values."""
    if len(model.data) > 1:
        raise MethodError(
            f"numbers need one data symbol or finite supports; this model has {len(model.data)}. Write it as "
            "fk.sampled.Model with a sampler, for MonteCarlo."
        )
    (x,), (support,) = model.data, model.supports
    constants = {symbol: value for symbol, value in at.items() if symbol not in model.symbols}
    log_density = model.log_density.subs(constants)
    if support.values is None and not support.discrete and not log_density.has(*KINKED):
        log_density = magnitude(log_density)
    log = evaluate.arrays([log_density], (x, *model.symbols))

    def named(theta: np.ndarray) -> Point:
        return {**constants, **{symbol: sp.Float(float(v)) for symbol, v in zip(model.symbols, theta, strict=True)}}

    def ends(theta: np.ndarray) -> tuple[float, float]:
        return support.at(named(theta)) if support.free_symbols else support.at({})

    def cuts(theta: np.ndarray) -> list[float]:
        if not log_density.has(*KINKED):
            return []
        return [float(sp.sympify(cut).subs(named(theta))) for cut in kinks(model.log_density, x, support, named(theta))]

    return View(lambda data, theta: log(data, *theta)[0], ends, cuts, support.discrete)
