"""CPU time of an accumulator beside one NumPy product X' Y of the same shapes, and its memory.

Run ``OMP_NUM_THREADS=1 python -m tests.benchmarks.sampled_cpu``: medians of interleaved repetitions.
"""

from __future__ import annotations

import argparse
import statistics
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
        "X' Y": lambda: X.T @ Y,
        "matrix alone": accumulate(1, "outer_product"),
        "with entry errors": accumulate(20, "outer_product"),
        "with controls": accumulate(20, "score_control"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=196_608)
    parser.add_argument("--p", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, arguments.n, arguments.p))
    todo = jobs(X, Y)
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(arguments.repetitions):
        for name, job in todo.items():
            start = time.process_time()
            job()
            seconds[name].append(time.process_time() - start)
    for name, times in seconds.items():
        tracemalloc.start()
        todo[name]()
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        ratio = statistics.median(t / b for t, b in zip(times, seconds["X' Y"], strict=True))
        print(f"{ratio:5.2f}  {statistics.median(times):6.2f} s  peak {peak:7.1f} MiB  {name}")


if __name__ == "__main__":
    main()
