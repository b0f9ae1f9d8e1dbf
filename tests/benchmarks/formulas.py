"""``python -m tests.benchmarks.formulas``: 1e5 points of each closed form of two parameters through ``F.lambdify()``.

One line per family: seconds for all points, and the largest difference from `F.at` at 20 of them, relative to the roots of
the diagonal. Points are drawn between the two points of the family's row in ``tests/symbolic/families.py``.
"""

from __future__ import annotations

import time

import numpy as np

import fisherkit as fk
from tests.symbolic.families import ROWS, family

POINTS, COMPARED = 100_000, 20
SLOW = {"Gompertz", "Davis"}  # Meijer's G and derivatives of zeta: point by point in mpmath


def measure(name: str, points: int) -> tuple[float, float]:
    """Seconds, and the largest difference."""
    row, rng = family(name), np.random.default_rng(0)
    F = fk.FisherInformation(row.matrix(), parameters=row.parameters)
    low, high = np.sort(np.array(row.points, dtype=float), axis=0)
    at = {s: rng.uniform(*ends, points) for s, *ends in zip(row.parameters, low, high, strict=True)}
    values = F.lambdify()
    start = time.perf_counter()
    found = values(at)
    seconds = time.perf_counter() - start
    worst = 0.0
    for k in range(min(COMPARED, points)):
        expected = np.asarray(F.at({s: column[k] for s, column in at.items()}).dense(), dtype=float)
        root = np.sqrt(np.diagonal(expected))
        worst = max(worst, float(np.max(np.abs(found[k] - expected) / np.outer(root, root))))
    return seconds, worst


def main() -> None:
    print(f"{'family':<20} {'points':>7} {'s':>7} {'difference':>11}")
    for name in sorted(ROWS):
        row = family(name)
        if row.upper and len(row.parameters) == 2:
            points = 200 if name in SLOW else POINTS
            seconds, worst = measure(name, points)
            print(f"{name:<20} {points:>7} {seconds:>7.2f} {worst:>11.1e}", flush=True)


if __name__ == "__main__":
    main()
