"""Second derivatives of the log-likelihood of a whole sample.

Differences are taken along directions that whiten the scores. There a likelihood is nearly one parabola whatever the units and
correlations of its parameters, and what an entry misses its inverse misses too, not times a condition number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..jacobians import differentiate
from . import derivatives
from .derivatives import NODES, ORDER_10, ORDER_12, ROUNDING, LogDensity

REACHES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)  # of the differences, in standard errors
ENOUGH = 1e-11  # relative error at which the search for a reach ends
SETTLED = 1e-8  # relative error above which differences are not used
LEAST = 1e-12  # share of a direction in the scores, below which it is taken for that much

Difference = Callable[[np.ndarray, float], tuple[np.ndarray, float]]


def hessian(
    log_density: LogDensity | None,
    score: Callable[[Any, Any], Any] | None,
    x: Any,
    theta: np.ndarray,
    kind: str,
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """(p, p) second derivatives of the (weighted) sum of the log-density."""
    w = np.ones(len(x)) if weights is None else weights
    if kind == "torch" and score is None and log_density is not None:
        return _torch(log_density, x, theta, w)

    def rows(t: np.ndarray) -> np.ndarray:
        found = derivatives.scores(log_density, x, t, kind)[0] if score is None and log_density is not None else score(x, t)  # type: ignore[misc]
        return np.asarray(found, dtype=float)

    units = _whitening(w[:, None] * rows(theta), theta)
    if score is None and log_density is not None and kind == "numeric":
        found = _of_values(log_density, x, theta, w, units)
    else:
        found = _of_scores(lambda t: w @ rows(t), theta, units)
    if found is None:
        found = differentiate(lambda t: w @ rows(t), theta, name="the summed score")
    return np.asarray(found + found.T) / 2


def _of_values(log_density: LogDensity, x: Any, theta: np.ndarray, w: np.ndarray, units: np.ndarray) -> np.ndarray | None:
    """By second differences of the sum along one direction and along two at once; None where they do not settle."""
    own, _ = derivatives.at_points(log_density, x, theta[None])
    noise = 36 * ROUNDING * float(np.abs(w * own[:, 0]).sum())

    def second(direction: np.ndarray, reach: float) -> tuple[np.ndarray, float]:
        table, _ = derivatives.at_points(log_density, x, theta + np.outer(NODES / 6, reach * direction))
        rise = w @ (table - own)
        better, coarse = (np.asarray(c @ rise) * 36 / reach**2 for c in (CURVATURE_12, CURVATURE_10))
        return better, float(abs(better - coarse)) + noise / reach**2

    one = [_settle(second, u) for u in units]
    out, error = np.diag([float(value) for value, _ in one]), np.diag([e for _, e in one])
    for i, j in zip(*np.tril_indices(len(theta), -1), strict=True):
        both, e = _settle(second, units[i] + units[j])
        out[i, j] = out[j, i] = (both - out[i, i] - out[j, j]) / 2
        error[i, j] = e + error[i, i] + error[j, j]
    return _back(out, error, units)


def _of_scores(total: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, units: np.ndarray) -> np.ndarray | None:
    """By first differences of the summed score; None where they do not settle."""

    def first(direction: np.ndarray, reach: float) -> tuple[np.ndarray, float]:
        table = units @ np.stack([total(theta + k * reach * direction) for k in NODES / 6], axis=1)
        better, coarse = (table @ c * 6 / reach for c in (ORDER_12, ORDER_10))
        return better, float(np.abs(better - coarse).max() + 6 * ROUNDING * np.abs(table).max() / reach)

    columns = [_settle(first, u) for u in units]
    out = np.stack([value for value, _ in columns], axis=1)
    return _back(out, np.array([e for _, e in columns]), units)


def _settle(difference: Difference, direction: np.ndarray) -> tuple[np.ndarray, float]:
    """The difference and its error, at the reach that knows it best."""
    best, least = np.array(np.nan), np.inf
    for reach in REACHES:
        try:
            with np.errstate(all="ignore"):
                value, error = difference(direction, reach)
        except (ArithmeticError, ValueError):  # the user's code, outside its domain
            continue
        if error < least:
            best, least = value, error
        if least <= ENOUGH * np.abs(best).max():
            break
    return best, least


def _back(out: np.ndarray, error: np.ndarray, units: np.ndarray) -> np.ndarray | None:
    """From the whitened directions to the parameters; None where the error is too large."""
    if not (np.isfinite(out).all() and bool((error <= SETTLED * np.abs(np.diagonal(out)).max()).all())):
        return None
    inverse = np.linalg.inv(units)
    return np.asarray(inverse @ out @ inverse.T)


def _whitening(s: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """(p, p) directions as rows, in which the sum of the scores has a covariance of about 1; sizes where that tells nothing."""
    s = np.nan_to_num(s - s.mean(axis=0))
    scale = np.sqrt((s**2).sum(axis=0))
    scale = np.where(scale > 0, scale, 1 / np.where(theta == 0, 1.0, np.abs(theta)))
    values, vectors = np.linalg.eigh((s / scale).T @ (s / scale))
    values = np.maximum(values, LEAST * values.max()) if values.max() > 0 else np.ones(len(values))
    return np.asarray((vectors / np.sqrt(values)).T / scale)


def _torch(log_density: LogDensity, x: Any, theta: np.ndarray, w: np.ndarray) -> np.ndarray:
    import torch

    data, weights, n = derivatives.tensor(x), derivatives.tensor(w), len(x)
    summed = lambda t: (weights * derivatives.evaluate(log_density, data, t, n)).sum()  # noqa: E731 a curried argument
    return np.asarray(torch.func.hessian(summed)(derivatives.tensor(theta)))


def _second_weights(reach: int) -> np.ndarray:
    """Weights of the central second difference on the nodes, of order 2 reach (Fornberg 1988); that of 0 makes their sum 0."""
    return np.asarray(2 / NODES * derivatives.stencil(reach))


CURVATURE_12, CURVATURE_10 = _second_weights(6), _second_weights(5)
