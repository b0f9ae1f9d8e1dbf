"""Variance at equal budget, and how often the intervals of a Monte Carlo information hold the exact value.

`python -m tests.benchmarks.sampled --only variance` and `--only coverage` print both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fisherkit as fk
from tests.benchmarks.sampled_problems import FROM_UNIFORMS, PROBLEMS

WHAT = ("F", "inverse", "bound", "log det")
KNOWN = 1e-7  # relative to the roots of the diagonal: what is told so exactly has no coverage
MANY = 1e9  # a gain above it is an estimator that is exact by algebra


@dataclass(frozen=True)
class Coverage:
    """Percent of runs whose interval is not wrong, means over what is not exact; nan where nothing is estimated."""

    shares: dict[str, float]
    worst: float
    refused: float
    draws: float


def values(matrix: np.ndarray) -> np.ndarray:
    """Entries, inverse, bounds on standard errors and log-determinant of a matrix, or of each of many, along the last axis."""
    i, j = np.triu_indices(matrix.shape[-1])
    inverse, logdet = np.linalg.inv(matrix), np.linalg.slogdet(matrix)[1][..., None]
    with np.errstate(invalid="ignore"):
        bound = np.sqrt(np.diagonal(inverse, axis1=-2, axis2=-1))
    return np.concatenate([matrix[..., i, j], inverse[..., i, j], bound, logdet], axis=-1)


def intervals(F: fk.FisherInformation) -> tuple[np.ndarray, np.ndarray]:
    """``F.interval_of(lambda G: values(G.dense()))``, of all replicates at once."""
    errors = F._errors
    assert errors is not None
    return errors.interval(values(F.dense()), list(values(np.stack([np.asarray(r.dense()) for r in errors.replicates]))), 0.95)


def rows(p: int) -> dict[str, slice]:
    """Where each kind of value stands."""
    m = p * (p + 1) // 2
    return {"F": slice(0, m), "inverse": slice(m, 2 * m), "bound": slice(2 * m, 2 * m + p), "log det": slice(-1, None)}


def coverage(name: str, method: Callable[[int], fk.MonteCarlo], runs: int) -> Coverage:
    """Over independent runs. An inverse that is refused is not wrong; what no run told with an error of its own is left out."""
    problem = PROBLEMS[name]
    exact, model, theta = problem.exact(problem), problem.model(), np.array(problem.theta)
    truth, where = values(exact), rows(len(theta))
    right, estimated, draws, refused = np.zeros(len(truth)), np.zeros(len(truth), dtype=bool), 0, 0
    size = np.concatenate(
        [np.sqrt(np.outer(*[np.diagonal(exact)] * 2))[np.triu_indices(len(theta))], np.abs(truth[where["F"].stop :])]
    )
    for seed in range(runs):
        F = _quietly(model, theta, method(seed))
        low, high = intervals(F)
        held, given = (low <= truth) & (truth <= high), _is_given(F)
        held[where["F"].stop :] |= not given
        right, refused, draws = right + held, refused + (not given), draws + F._provenance.draws
        estimated |= ~(high - low < KNOWN * size)
    right = np.where(estimated, 100 * right / runs, np.nan)
    shares = {what: float(np.nanmean(right[at])) if estimated[at].any() else np.nan for what, at in where.items()}
    worst = float(np.nanmin(right)) if estimated.any() else np.nan
    return Coverage(shares, worst, 100 * refused / runs, draws / runs)


def gain(name: str, n: int, runs: int, *, estimator: str | None = None, sobol: bool = False) -> float:
    """Squared whitened error of the outer product over that of an estimator, both with n score evaluations."""
    problem = PROBLEMS[name]
    exact, theta = problem.exact(problem), np.array(problem.theta)
    root = np.linalg.inv(np.linalg.cholesky(exact))

    def error(model: fk.sampled.Model, seed: int, which: str | None) -> float:
        F = _quietly(model, theta, fk.MonteCarlo(n, rng=seed, estimator=which))
        return float(np.sum((root @ (F.dense() - exact) @ root.T) ** 2))

    model = problem.model(uniforms=FROM_UNIFORMS[name] if sobol else None)
    plain = np.mean([error(problem.model(), seed, "outer_product") for seed in range(runs)])
    return float(plain / np.mean([error(model, 10_000 + seed, estimator) for seed in range(runs)]))


def _quietly(model: fk.sampled.Model, theta: np.ndarray, method: fk.MonteCarlo) -> fk.FisherInformation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fk.expected_information(model, theta, method=method)


def _is_given(F: fk.FisherInformation) -> bool:
    try:
        F.inverse()
    except ArithmeticError:
        return False
    return True
