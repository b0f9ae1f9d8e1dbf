r"""Moments of several data symbols that do not fall into groups, in machine precision.

Integers are enumerated; a quadratic log-density is integrated by the Gauss-Hermite rule in its own axes, which is exact; up to
three reals by a product of double-exponential rules, or adaptively where their scales differ too much; more reals by
importance sampling from a Student t fitted at the mode, on scrambled Sobol points, with the error read from scrambles.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from ..errors import PrecisionError, RegularityError
from ..quadrature import Moments
from . import evaluate, gaussian
from .density import Density
from .pieces import Point

Function = Callable[..., np.ndarray]
LARGEST = 2_000_000  # outcomes enumerated
CUBATURE = 3  # reals integrated by rules
GOOD = 1e-9  # change at which a rule stands
SUBDIVISIONS = 1000  # of the box, at most


def moments(density: Density, at: Point) -> tuple[Moments, float]:
    """Mass, mean score and E[s s'] at a point, and their relative error."""
    if (quadratic := _quadratic(density, at)) is not None:
        return quadratic
    discrete = [support.discrete for support in density.supports]
    if any(discrete) and not all(discrete):
        return _part_discrete(density, at)
    functions = _functions(density, at)
    if all(discrete):
        return _enumerated(density, functions, at)
    return (_reals if len(density.data) <= CUBATURE else _sampled)(density, functions, at)


# -- integers


def _enumerated(density: Density, functions: Function, at: Point) -> tuple[Moments, float]:
    """All outcomes, or those below a bound that doubles until nothing changes."""
    before, bound = None, 32
    while True:
        outcomes, complete = _outcomes(density, at, bound)
        with np.errstate(all="ignore"):
            total = _sums(functions(*outcomes.T), np.ones(len(outcomes)))
        change = total.distance(before) if before is not None else np.inf
        if complete or change < 1e-13:
            return total, 1e-15 if complete else 10 * change + 1e-15
        if 2 ** len(density.data) * len(outcomes) > LARGEST:
            raise PrecisionError(f"the sum over {density.data} does not settle in {len(outcomes)} outcomes.")
        before, bound = total, 2 * bound


def _outcomes(density: Density, at: Point, bound: int) -> tuple[np.ndarray, bool]:
    """Outcomes (n, k), symbol by symbol, since ends may depend on the symbols before; and whether these are all."""
    points, complete = np.zeros((1, 0)), True
    for k, support in enumerate(density.supports):
        if support.values is not None:
            values = np.array([float(sp.sympify(v).subs(at)) for v in support.values])
            points = np.column_stack([np.repeat(points, len(values), axis=0), np.tile(values, len(points))])
            continue
        low, high = _ends(density, k, points, at)
        complete = complete and bool(np.isfinite(low).all() and np.isfinite(high).all())
        below, above = np.isinf(low), np.isinf(high)
        low = np.where(below, np.where(above, -bound, high - bound), low)
        high = np.where(above, np.where(below, bound, low + bound), high)
        counts = np.maximum(high - low + 1, 0).astype(int)
        offsets = np.concatenate([np.arange(count) for count in counts]) if counts.sum() else np.zeros(0)
        points = np.column_stack([np.repeat(points, counts, axis=0), np.repeat(low, counts) + offsets])
    return points, complete


def _ends(density: Density, k: int, points: np.ndarray, at: Point) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the k-th symbol at values of the symbols before it."""
    support = density.supports[k]
    ends = [sp.sympify(end).subs(at) for end in (support.low, support.high)]
    low, high = (
        np.broadcast_to(sp.lambdify(density.data[:k], end, "numpy")(*points.T), len(points)).astype(float) for end in ends
    )
    return low, high


def _part_discrete(density: Density, at: Point) -> tuple[Moments, float]:
    """The integers written out, and the reals integrated for each."""
    finite = [k for k, support in enumerate(density.supports) if support.discrete]
    chosen = [(density.data[k], density.supports[k]) for k in finite]
    if any(support.values is None for _, support in chosen):
        raise PrecisionError("a joint density of integers without end and reals is not integrated. Give a finite support.")
    total, error = Moments.zero(len(density.symbols)), 0.0
    for outcome in product(*(support.values or () for _, support in chosen)):
        known = dict(zip((x for x, _ in chosen), outcome, strict=True))
        rest = [(x, s.subs(known)) for x, s in zip(density.data, density.supports, strict=True) if x not in known]
        data, supports = zip(*rest, strict=True)
        part = Density(density.log_density.subs(known), data, supports, density.symbols)
        found, missed = moments(part, at) if len(data) > 1 else _reals(part, _functions(part, at), at)
        total, error = total + found, max(error, missed)
    return total, error


def _functions(density: Density, at: Point) -> Function:
    return evaluate.arrays([e.subs(at) for e in (density.log_density, *density.scores)], density.data)


# -- reals


def _quadratic(density: Density, at: Point) -> tuple[Moments, float] | None:
    """Gauss-Hermite in the axes of a Gaussian: exact where the scores are quadratic, as they are."""
    if not density.is_unbounded or (form := gaussian.read(density.log_density.subs(at), density.data)) is None:
        return None
    slope = np.array(form[1].tolist(), dtype=float).ravel()
    values, vectors = np.linalg.eigh(np.array(form[0].tolist(), dtype=float))
    if values[0] <= 0:
        raise RegularityError("the density grows without end along a direction of the data.", condition="not_normalised")
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    z = np.array(list(product(nodes, repeat=len(values))))
    w = np.prod(list(product(weights, repeat=len(values))), axis=1)
    x = vectors @ (vectors.T @ slope / values) + z / np.sqrt(values) @ vectors.T
    parts = _functions(density, at)(*x.T)
    return _sums(parts, w * np.exp((z**2).sum(axis=1) / 2) / np.sqrt(values.prod())), 1e-12


def _reals(density: Density, functions: Function, at: Point) -> tuple[Moments, float]:
    """One to three real variables on a box; ends that depend on symbols before are at fixed places of a unit interval."""
    box = [_box(support, density.data, at) for support in density.supports]

    def parts(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, width = _unfolded(density, u, box, at)
        return functions(*x.T), width

    with np.errstate(all="ignore"):
        total, error = _tensor(parts, box)
        return (total, error) if error < GOOD else min((_adaptive(parts, box), (total, error)), key=lambda found: found[1])


def _tensor(parts: Any, box: list[tuple[float, float]]) -> tuple[Moments, float]:
    """The product of double-exponential rules, halved until it stands."""
    before, error = None, np.inf
    for steps in (8, 16, 32, 64, 128):
        if (2 * steps) ** len(box) > LARGEST:
            break
        rules = [_double_exponential(low, high, steps) for low, high in box]
        u = np.stack([axis.ravel() for axis in np.meshgrid(*(x for x, _ in rules), indexing="ij")], axis=1)
        w = np.prod(np.meshgrid(*(w for _, w in rules), indexing="ij"), axis=0).ravel()
        values, width = parts(u)
        total = _sums(values, w * width)
        error, before = (total.distance(before) if before is not None else np.inf), total
        if error < GOOD:
            break
    assert before is not None
    return before, error + 1e-12


def _double_exponential(low: float, high: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Abscissae and weights of Takahasi & Mori's rule on an interval, a half-line or the line."""
    t = (np.arange(2 * steps) + 0.5) / steps - 1.0
    if np.isinf(low) and np.isinf(high):
        t, h = 3.0 * t, 3.0 / steps
        bend = np.pi / 2 * np.sinh(t)
        return np.sinh(bend), h * np.pi / 2 * np.cosh(t) * np.cosh(bend)
    if np.isinf(low) or np.isinf(high):
        t, h = 4.0 * t, 4.0 / steps
        x = np.exp(np.pi / 2 * np.sinh(t))
        return (low + x if np.isinf(high) else high - x), h * x * np.pi / 2 * np.cosh(t)
    t, h = 3.2 * t, 3.2 / steps
    q = np.exp(-np.pi * np.abs(np.sinh(t)))
    near = (high - low) * q / (1 + q)
    return np.where(t < 0, low + near, high - near), h * np.pi * np.cosh(t) * near / (1 + q)


def _adaptive(parts: Any, box: list[tuple[float, float]]) -> tuple[Moments, float]:
    from scipy.integrate import cubature

    def integrand(u: np.ndarray) -> np.ndarray:
        (log, *scores), width = parts(u)
        s = np.stack(scores, axis=1)
        all_parts = np.concatenate([np.ones((len(s), 1)), s, (s[:, :, None] * s[:, None, :]).reshape(len(s), -1)], axis=1)
        return np.asarray(np.nan_to_num((np.exp(log) * width)[:, None] * all_parts, nan=0.0, posinf=0.0, neginf=0.0))

    low, high = zip(*box, strict=True)
    found = cubature(integrand, low, high, rtol=1e-8, atol=1e-10, max_subdivisions=SUBDIVISIONS)
    p = round(np.sqrt(len(found.estimate) - 0.75) - 0.5)
    out = Moments(float(found.estimate[0]), found.estimate[1 : 1 + p], found.estimate[1 + p :].reshape(p, p), np.zeros(p))
    return out, float(np.max(found.error) / max(np.diagonal(out.product).min(initial=1.0), 1e-300)) + 1e-8


def _box(support: Any, data: tuple[Any, ...], at: Point) -> tuple[float, float]:
    """The interval that is integrated over: (0, 1) or (0, oo) where an end depends on other data."""
    ends = [sp.sympify(end).subs(at) for end in (support.low, support.high)]
    if not support.free_symbols & set(data):
        return float(ends[0]), float(ends[1])
    return 0.0, float("inf") if any(end.is_infinite for end in ends) else 1.0


def _unfolded(density: Density, u: np.ndarray, box: list[tuple[float, float]], at: Point) -> tuple[np.ndarray, np.ndarray]:
    """Data at points of the box, and the volume element."""
    x, width = np.zeros_like(u), np.ones(len(u))
    for k, (support, (_, top)) in enumerate(zip(density.supports, box, strict=True)):
        if not support.free_symbols & set(density.data):
            x[:, k] = u[:, k]
            continue
        low, high = _ends(density, k, x[:, :k], at)
        if np.isinf(top):
            x[:, k] = low + u[:, k] if np.isinf(high).all() else high - u[:, k]
        else:
            x[:, k], width = low + (high - low) * u[:, k], width * (high - low)
    return x, width


def _sampled(density: Density, functions: Function, at: Point) -> tuple[Moments, float]:
    """Importance sampling from a Student t at the mode, in coordinates that run over the whole line."""
    from scipy.optimize import minimize
    from scipy.stats import qmc, t

    k = len(density.data)
    nu = 4.0

    def log(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, jacobian = _charted(density, z, at)
        values = functions(*x.T)
        return np.nan_to_num(values[0] + jacobian, nan=-1e300, neginf=-1e300), values

    with np.errstate(all="ignore"):
        mode = minimize(lambda z: -log(z[None])[0][0], np.zeros(k), method="BFGS")
        root = np.linalg.cholesky(mode.hess_inv + 1e-9 * np.eye(k))
        parts = []
        for seed in range(16):
            u = qmc.Sobol(k + 1, rng=seed).random(2**12)
            e = t(nu).ppf(np.clip(u[:, :k], 1e-12, 1 - 1e-12))
            logs, values = log(mode.x + 1.3 * e @ root.T)
            weight = np.exp(logs - values[0] - t(nu).logpdf(e).sum(axis=1)) * np.prod(1.3 * np.diag(root)) / len(u)
            parts.append(_sums(values, weight))
    total = sum(parts[1:], parts[0]) * (1 / len(parts))
    spread = np.std([part.distance(total) for part in parts]) + np.mean([part.distance(total) for part in parts])
    return total, float(spread / np.sqrt(len(parts))) * 3


def _charted(density: Density, z: np.ndarray, at: Point) -> tuple[np.ndarray, np.ndarray]:
    """Data at points of the whole space, and the logarithm of the volume element."""
    x, jacobian = np.zeros_like(z), np.zeros(len(z))
    for k in range(z.shape[1]):
        low, high = _ends(density, k, x[:, :k], at)
        u = z[:, k]
        if np.isinf(low).all() and np.isinf(high).all():
            x[:, k] = u
        elif np.isinf(high).all() or np.isinf(low).all():
            x[:, k] = low + np.exp(u) if np.isinf(high).all() else high - np.exp(u)
            jacobian += u
        else:
            x[:, k] = low + (high - low) / (1 + np.exp(-u))
            jacobian += np.log(high - low) - np.abs(u) - 2 * np.log1p(np.exp(-np.abs(u)))
    return x, jacobian


def _sums(values: np.ndarray, weight: np.ndarray) -> Moments:
    """Weighted sums of the density, scores and score products."""
    mass = np.nan_to_num(np.exp(values[0]) * weight)
    s = np.where(mass[:, None] > 0, values[1:].T, 0.0)
    return Moments(float(mass.sum()), mass @ s, (s * mass[:, None]).T @ s, np.zeros(s.shape[1]))
