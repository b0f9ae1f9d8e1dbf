r"""Geodesics, :math:`\ddot\theta^k = -\Gamma^k_{ij} \dot\theta^i \dot\theta^j`, by initial velocity or between two points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, PrecisionError
from .connection import second_kind
from .metric import Formula, Information, Metric, as_metric

MOST = 6_000  # evaluations along one curve: near the end of a domain the steps would become ever smaller


@dataclass(frozen=True)
class Geodesic:
    """A geodesic at equal steps of length.

    Attributes
    ----------
    points : array (m, p)
        From the start to the end, in the order of ``parameters``.
    parameters : tuple of names
    velocity : array (p,)
        At the start; the curve takes unit time.
    length : float
        In the Fisher metric: n observations give sqrt(n) times that of one.
    error : float
        How far the last point is from the end asked for, in the Fisher metric, plus what the speed along the curve lost or
        gained. By the triangle inequality it estimates the error of ``length`` too, where the curve is the shortest one.
    """

    points: np.ndarray
    parameters: tuple[str, ...]
    velocity: np.ndarray
    length: float
    error: float


def geodesic(information: Information, start: Any, end: Any = None, *, velocity: Any = None, points: int = 101) -> Geodesic:
    r"""The curve of shortest Fisher-Rao length between two points, or the straightest one by its initial velocity.

    Parameters
    ----------
    information : FisherInformation with expressions in its p parameters, or callable theta -> FisherInformation
    start : array (p,), or mapping from name to number
    end : array (p,), or mapping from name to number, optional
    velocity : array (p,), or mapping from name to number, optional
        Instead of ``end``: d theta / dt at the start; the curve is followed for unit time.
    points : int
        How many points are kept.

    Returns
    -------
    Geodesic

    Raises
    ------
    DataError
        When a point is outside the domain, or the geodesic leaves it.
    PrecisionError
        When no geodesic was found to 1e-6 of its length.
    SingularInformationError
        When the metric has no inverse at a point; the null directions are named.

    Notes
    -----
    Collocation (`scipy.integrate.solve_bvp`) finds the curve, by way of nearer ends where that fails (a callable starts from
    the straight line instead: near points only); Newton shooting with
    DOP853 at 1e-11 (1e-8 for a callable) sharpens it. Where curvature is positive several geodesics may join two points; the one
    found is nearest to the straight line in the parameters. A callable is evaluated some 10^4 times: make it cheap.

    References
    ----------
    Atkinson & Mitchell (1981), Rao's distance measure, Sankhya A 43, 345-365.

    Examples
    --------
    >>> mu, sigma = sympy.Symbol("mu", real=True), sympy.Symbol("sigma", positive=True)
    >>> F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
    >>> path = fk.geometry.geodesic(F, [0.0, 1.0], [0.0, 2.0])
    >>> print(round(path.length / np.log(2), 8))
    1.41421356
    """
    metric = as_metric(information, "geodesic", start)
    if (end is None) == (velocity is None):
        raise LayoutError("geodesic needs either an end or velocity=, not both.")
    a = metric.read(start, "start").astype(float)
    if end is not None:
        b = metric.read(end, "end").astype(float)
        return between(metric, a, b, points)
    v = np.array([leaf[0] for leaf in metric.parameters.split(velocity, name="velocity")], dtype=float)
    return _kept(metric, a, v, points, miss=0.0)


def between(metric: Metric, a: np.ndarray, b: np.ndarray, points: int) -> Geodesic:
    """The geodesic from a to b."""
    if np.array_equal(a, b):
        return Geodesic(np.tile(a, (points, 1)), metric.parameters.names, np.zeros_like(a), 0.0, 0.0)
    first = _collocated(metric, a, b) if isinstance(metric, Formula) else b - a
    v, miss = _shoot(metric, a, b, first)
    found = _kept(metric, a, v, points, miss=miss)
    if not miss <= 1e-6 * found.length:
        raise PrecisionError(
            f"no geodesic was found from {a.tolist()} to {b.tolist()}: the best ends {miss:.2g} away, of a length of "
            f"{found.length:.3g}. Go by way of a point between, or reparametrize F."
        )
    return found


def _collocated(metric: Metric, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The initial velocity, by nearer ends first where the whole way does not converge."""
    from scipy.integrate import solve_bvp

    t, p = np.linspace(0, 1, 17), len(a)
    guess = np.concatenate([a[:, None] + np.outer(b - a, t), np.outer(b - a, np.ones_like(t))])
    reached, step = 0.0, 1.0
    while reached < 1.0:
        share = min(1.0, reached + step)
        goal = a + share * (b - a)
        start = guess if reached == 0 else _stretched(guess, t, a, goal, share / reached)
        if reached == 0:
            start = np.concatenate([a[:, None] + np.outer(goal - a, t), np.outer(goal - a, np.ones_like(t))])
        with np.errstate(all="ignore"):
            try:
                found = solve_bvp(
                    lambda _, y: _flow(metric, y),
                    lambda left, right, goal=goal: np.concatenate([left[:p] - a, right[:p] - goal]),
                    t,
                    start,
                    tol=1e-4,
                    max_nodes=2000,
                )
                good = found.status == 0 and np.isfinite(found.y).all() and _inside(metric, found.y[:p])
            except (np.linalg.LinAlgError, ValueError):
                good = False
        if good:
            t, guess, reached, step = found.x, found.y, share, 2 * step
        elif (step := step / 2) < 1e-5:
            raise PrecisionError(
                f"no geodesic was found from {a.tolist()} to {b.tolist()}: the way was lost after {reached:.0%}. "
                "The domain between may not be connected; else go by way of a point between, or reparametrize F."
            )
    velocity: np.ndarray = guess[p:, 0]
    return velocity


def _stretched(guess: np.ndarray, t: np.ndarray, a: np.ndarray, goal: np.ndarray, factor: float) -> np.ndarray:
    """The last curve, bent linearly towards the next goal."""
    p = len(a)
    return np.concatenate([guess[:p] + np.outer(goal - guess[:p, -1], t), guess[p:] * factor])


def _inside(metric: Metric, points: np.ndarray) -> bool:
    g = np.moveaxis(metric.values(points), (0, 1), (-2, -1))
    return bool(np.isfinite(g).all() and (np.linalg.eigvalsh(g)[:, 0] > 0).all())


def _flow(metric: Metric, y: np.ndarray) -> np.ndarray:
    """The derivative of (theta, velocity), (2p, *S)."""
    x, v = np.split(y, 2)
    try:
        gamma = second_kind(metric, x)
    except (np.linalg.LinAlgError, DataError):
        return np.full_like(y, np.nan)
    return np.concatenate([v, -np.einsum("kij...,i...,j...->k...", gamma, v, v)])


def _shoot(metric: Metric, a: np.ndarray, b: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, float]:
    """Newton's method on where the geodesic ends; the velocity, and the miss in the metric at the end."""
    size = np.linalg.cholesky(metric.values(b)).T

    def miss(velocity: np.ndarray) -> np.ndarray:
        return np.asarray(size @ (_followed(metric, a, velocity, np.ones(1))[: len(a), -1] - b))

    best = miss(v)
    for _ in range(12):
        length = np.sqrt(v @ metric.values(a) @ v)
        if np.linalg.norm(best) < metric.accuracy * length:
            break
        steps = np.sqrt(metric.accuracy) * np.sqrt(length**2 / np.diagonal(metric.values(a)))
        jacobian = np.stack([(miss(v + h * e) - best) / h for h, e in zip(steps, np.eye(len(v)), strict=True)], axis=1)
        following = v - np.linalg.solve(jacobian, best)
        improved = miss(following)
        if not np.linalg.norm(improved) < np.linalg.norm(best):
            break
        v, best = following, improved
    return v, float(np.linalg.norm(best))


def _followed(metric: Metric, a: np.ndarray, v: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Points and velocities (2p, m) of the geodesic at these times."""
    from scipy.integrate import solve_ivp

    left = DataError(f"the geodesic from {a.tolist()} with velocity {v.tolist()} leaves the domain before unit time.")
    calls = iter(range(MOST))

    def flow(_: float, y: np.ndarray) -> np.ndarray:
        if next(calls, None) is None:
            raise left
        return _flow(metric, y)

    with np.errstate(all="ignore"):
        found = solve_ivp(
            flow, (0, 1), np.concatenate([a, v]), method="DOP853", t_eval=times, rtol=metric.accuracy, atol=1e-2 * metric.accuracy
        )
    if found.status != 0 or not np.isfinite(found.y).all():
        raise left
    return np.asarray(found.y)


def _kept(metric: Metric, a: np.ndarray, v: np.ndarray, points: int, *, miss: float) -> Geodesic:
    """With its length; a geodesic has constant speed, and what it has not is error."""
    x, w = np.split(_followed(metric, a, v, np.linspace(0, 1, max(points, 2))), 2)
    speed = np.sqrt(np.einsum("i...,ij...,j...->...", w, metric.values(x), w))
    spread = float(np.ptp(speed))
    if not spread <= 1e-5 * speed[0]:
        raise DataError(f"the geodesic from {a.tolist()} with velocity {v.tolist()} leaves the domain before unit time.")
    return Geodesic(x.T, metric.parameters.names, v, float(speed.mean()), miss + spread)
