"""CPU time of an accumulator beside one NumPy product X' Y of the same shapes, and its memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import fisherkit as fk

CHUNK = 8192


def jobs(X: np.ndarray, Y: np.ndarray) -> dict[str, Callable[[], object]]:
    names = tuple(f"a{k}" for k in range(X.shape[1]))

    def accumulate(groups: int, estimator: str) -> Callable[[], object]:
        def run() -> object:
            sums = fk.sampled.Accumulator(names, groups=groups, estimator=estimator)
            for start in range(0, len(X), CHUNK):
                sums.update(X[start : start + CHUNK])
            return sums.choice()

        return run

    return {
        "X.T @ Y": lambda: X.T @ Y,
        "matrix alone": accumulate(1, "outer_product"),
        "with entry errors in 20 groups": accumulate(20, "outer_product"),
        "with controls": accumulate(20, "score_control"),
    }


def measure(n: int, p: int, *, repetitions: int) -> dict[str, tuple[float, float, float]]:
    """Least CPU seconds of interleaved repetitions, relative to the product and by themselves, and peak MiB."""
    X, Y = np.random.default_rng(0).normal(size=(2, n, p))
    todo = jobs(X, Y)
    least = dict.fromkeys(todo, np.inf)
    for _ in range(repetitions):
        for name, job in todo.items():
            start = time.process_time()
            job()
            least[name] = min(least[name], time.process_time() - start)
    return {name: (least[name] / least["X.T @ Y"], least[name], _peak(job)) for name, job in todo.items()}


def _peak(job: Callable[[], object]) -> float:
    tracemalloc.start()
    job()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak
