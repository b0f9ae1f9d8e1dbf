"""Monte Carlo averages of score products: seeded chunks, summed in order, with leave-one-out groups."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..methods import MonteCarlo
from ..uncertainty import average

CHUNK = 8192
GROUPS = 20

Scores = Callable[[int, np.random.Generator], np.ndarray]


class SamplerMismatchWarning(UserWarning):
    """The drawn scores do not have mean zero: the sampler and the log-density are not of one model."""


def estimate(
    scores: Scores, p: int, method: MonteCarlo, *, diagonal: bool
) -> tuple[np.ndarray, list[np.ndarray] | None, tuple[float, ...]]:
    """Mean of s s' (or of its diagonal), leave-one-out replicates and their weights.

    Memory is O(groups p^2) (or p), whatever the number of draws. The result depends on the seed and on n alone, not
    on the workers.
    """
    groups = min(method.n, GROUPS if method.groups is None else max(method.groups, 1))
    sizes = [method.n // groups + (g < method.n % groups) for g in range(groups)]
    chunks = [(g, min(CHUNK, size - start)) for g, size in enumerate(sizes) for start in range(0, size, CHUNK)]
    seeds = method.seeds(len(chunks))

    def work(job: tuple[int, Any]) -> tuple[np.ndarray, np.ndarray]:
        size, seed = job
        s = scores(size, np.random.default_rng(seed))
        return (s**2).sum(axis=0) if diagonal else s.T @ s, s.sum(axis=0)

    sums, totals = [np.zeros((p,) if diagonal else (p, p)) for _ in sizes], np.zeros(p)
    jobs = [(size, seed) for (_, size), seed in zip(chunks, seeds, strict=True)]
    with mapper(method.workers) as each:
        for (g, _), (products, total) in zip(chunks, each(work, jobs), strict=True):
            sums[g] += products
            totals += total
    mean, replicates, weights = average([sums], [sizes])
    _warn_of_mismatch(totals, mean if diagonal else np.diagonal(mean), method.n)
    return mean, replicates, weights


@contextmanager
def mapper(workers: int | Executor) -> Iterator[Callable[..., Any]]:
    """`map`, or that of an executor; a caller's executor is not shut down."""
    if isinstance(workers, Executor):
        yield workers.map
    elif workers == 1:
        yield map
    else:
        with ThreadPoolExecutor(workers) as pool:
            yield pool.map


def _warn_of_mismatch(totals: np.ndarray, variances: np.ndarray, n: int) -> None:
    """E[s] = 0 when the draws come from the density; six standard errors are no accident."""
    z = np.abs(totals) / np.sqrt(np.maximum(n * variances, 1e-300))
    if n >= 100 and (worst := float(z.max(initial=0))) > 6:
        warnings.warn(
            f"the scores of {n} draws do not have mean zero (z = {worst:.1f} in parameter {int(z.argmax())}): the sampler does "
            "not draw from the log-density, or a factor that depends on the parameter is missing.",
            SamplerMismatchWarning,
            stacklevel=4,
        )
