"""The ascent to an optimal design: multiplicative steps, then Newton's method on a support that grows where it pays."""

from __future__ import annotations

import numpy as np

from .candidates import Candidates
from .criteria import Criterion


def slopes(own: Candidates, target: Criterion, weights: np.ndarray) -> np.ndarray:
    """The slope of the criterion towards each candidate, (N,)."""
    return np.asarray(np.einsum("k,kab,knab->n", own.prior, target.gradient(own.mixed(weights)), own.parts))


def excess_slopes(own: Candidates, target: Criterion, weights: np.ndarray) -> np.ndarray:
    phi = slopes(own, target, weights)
    return np.asarray(phi - phi @ weights)


def ascend(own: Candidates, target: Criterion, tolerance: float) -> np.ndarray:
    """Multiplicative steps, then Newton steps on a support that grows where the slope is steepest."""
    weights = np.full(own.size, 1 / own.size)
    power = 1.0 if target.name == "D" else 0.5
    for _ in range(60):
        phi = np.maximum(slopes(own, target, weights), 0.0) ** power
        weights = weights * phi / (weights @ phi)
    weights = np.where(weights > 0.02 * weights.max(), weights, 0.0)
    weights = weights / weights.sum()
    for _ in range(400):
        weights = _newton(own, target, weights)
        excess = excess_slopes(own, target, weights)
        value = float(own.prior @ target.values(own.mixed(weights)))
        if excess.max() <= 0.1 * tolerance * (1.0 if target.name == "D" else abs(value)):
            break
        weights = _towards(own, target, weights, int(excess.argmax()))
    return weights


def value_of(own: Candidates, target: Criterion, weights: np.ndarray) -> float:
    return float(own.prior @ target.values(own.mixed(weights)))


def _towards(own: Candidates, target: Criterion, weights: np.ndarray, j: int) -> np.ndarray:
    """The best of the mixtures with one candidate, roughly."""
    vertex = np.eye(own.size)[j]
    shares = 0.5 ** np.arange(1, 30)
    values = [value_of(own, target, (1 - a) * weights + a * vertex) for a in shares]
    a = shares[int(np.argmax(values))]
    return np.asarray((1 - a) * weights + a * vertex)


def _newton(own: Candidates, target: Criterion, weights: np.ndarray) -> np.ndarray:
    """Newton's method on the support, the weights summing to one; a weight that reaches zero leaves."""
    value = value_of(own, target, weights)
    for _ in range(100):
        support = np.flatnonzero(weights)
        step, rise = _newton_step(own, target, weights, support)
        if not rise > 1e-24 * (1 + abs(value)):
            break
        floor = value if rise > 1e-9 * (1 + abs(value)) else value - 1e-13 * (1 + abs(value))  # below it the value tells no more
        falling = step < 0
        reach = float(np.min(-weights[support][falling] / step[falling], initial=np.inf))
        share, found = min(1.0, reach), -np.inf
        for _ in range(40):
            moved = weights.copy()
            moved[support] = np.maximum(moved[support] + share * step, 0.0)
            if share == reach:
                moved[support[np.argmin(np.where(falling, -weights[support] / np.where(falling, step, -1.0), np.inf))]] = 0.0
            moved = moved / moved.sum()
            if (found := value_of(own, target, moved)) > floor:
                break
            share *= 0.5
        if not found > floor:
            break
        weights, value = moved, found
    return weights


def _newton_step(own: Candidates, target: Criterion, weights: np.ndarray, support: np.ndarray) -> tuple[np.ndarray, float]:
    matrices, s = own.mixed(weights), len(support)
    system = np.zeros((s + 1, s + 1))
    for share, matrix, parts in zip(own.prior, matrices, own.parts, strict=True):
        system[:s, :s] += share * target.curvature(matrix, parts[support])
    scale = abs(system[:s, :s]).max()
    system[s, :s] = system[:s, s] = scale
    phi = slopes(own, target, weights)[support]
    solution = np.linalg.lstsq(system, np.append(-(phi - phi @ weights[support]), 0.0), rcond=1e-12)[0]
    step = solution[:s] - solution[:s].sum() * weights[support]
    return step, float(phi @ step)
