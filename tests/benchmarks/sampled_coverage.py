"""How often the 95 % intervals of a Monte Carlo information hold the exact value, and its variance at equal budget.

Run ``python -m tests.benchmarks.sampled_coverage`` for coverage, with ``--variance`` for the gain over the plain outer product
at the same number of score evaluations. Coverage is the mean over entries, in percent, of the information F, its inverse, the
bound on standard errors, and the log-determinant; runs whose inverse is refused count for F alone.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np

import fisherkit as fk
from tests.benchmarks.sampled_problems import PROBLEMS

WHAT = ("F", "inverse", "bound", "logdet")
ESTIMATORS = ("auto", "outer_product", "score_control", "hessian", "bartlett")


def values(matrix: np.ndarray) -> np.ndarray:
    """Entries, inverse, bounds on standard errors and log-determinant of a matrix, in one array."""
    upper = np.triu_indices(len(matrix))
    inverse = np.linalg.inv(matrix)
    with np.errstate(invalid="ignore"):
        return np.concatenate([matrix[upper], inverse[upper], np.sqrt(np.diagonal(inverse)), [np.linalg.slogdet(matrix)[1]]])


def rows(p: int) -> dict[str, slice]:
    """Where each kind of value stands."""
    m = p * (p + 1) // 2
    return {"F": slice(0, m), "inverse": slice(m, 2 * m), "bound": slice(2 * m, 2 * m + p), "logdet": slice(-1, None)}


def coverage(name: str, method: Callable[[int], fk.MonteCarlo], runs: int) -> tuple[dict[str, float], dict[str, int], float]:
    """Percent of intervals that hold the exact value, which estimators were used, and the mean score evaluations."""
    problem = PROBLEMS[name]
    exact, model, theta = problem.exact(problem), problem.model(), np.array(problem.theta)
    truth, used, hits, draws, inverted = values(exact), {}, np.zeros(len(values(exact))), 0, 0
    entries = rows(len(theta))["F"]
    for seed in range(runs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            F = fk.expected_information(model, theta, method=method(seed))
        low, high = F.interval_of(lambda G: values(G.dense()))
        held = (low <= truth) & (truth <= high)
        hits[entries] += held[entries]
        if not is_refused(F):
            hits[entries.stop :] += held[entries.stop :]
            inverted += 1
        used[F.method.estimator] = used.get(F.method.estimator, 0) + 1
        draws += F._provenance.draws
    count = {"F": runs, "inverse": inverted, "bound": inverted, "logdet": inverted}
    used |= {"inverse refused": runs - inverted} if inverted < runs else {}
    shares = {what: 100 * float(hits[where].mean()) / max(count[what], 1) for what, where in rows(len(theta)).items()}
    return shares, used, draws / runs


def is_refused(F: fk.FisherInformation) -> bool:
    """Whether there are too few draws for an inverse; such a run counts for the entries of F alone."""
    try:
        F.inverse()
    except ArithmeticError:
        return True
    return False


def gains(name: str, n: int, runs: int, estimator: str | None) -> float:
    """Squared whitened error of the outer product over that of an estimator, both with n score evaluations."""
    problem = PROBLEMS[name]
    exact, model, theta = problem.exact(problem), problem.model(), np.array(problem.theta)
    root = np.linalg.inv(np.linalg.cholesky(exact))

    def error(seed: int, which: str | None) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            F = fk.expected_information(model, theta, method=fk.MonteCarlo(n, rng=seed, estimator=which))
        return float(np.sum((root @ (F.dense() - exact) @ root.T) ** 2))

    plain = np.mean([error(seed, "outer_product") for seed in range(runs)])
    return float(plain / np.mean([error(10_000 + seed, estimator) for seed in range(runs)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variance", action="store_true")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--n", type=int, nargs="*", default=[200, 2000])
    parser.add_argument("--estimators", nargs="*", default=list(ESTIMATORS))
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--rtol", type=float)
    arguments = parser.parse_args()
    if arguments.variance:
        inexact = []
        for name in arguments.problems:
            found = gains(name, arguments.n[-1], arguments.runs, None)
            inexact += [] if found > 1e9 else [found]
            print(f"{name:20s} {found:10.3g}", flush=True)
        print(f"geometric mean of the {len(inexact)} that are not exact: {np.exp(np.mean(np.log(inexact))):.3g}")
        return
    for estimator in arguments.estimators:
        for n in arguments.n:
            for name in arguments.problems:
                which = None if estimator == "auto" else estimator
                method = lambda seed: fk.MonteCarlo(n, rng=seed, estimator=which, rtol=arguments.rtol)  # noqa: B023
                found, used, draws = coverage(name, method, arguments.runs)
                told = "  ".join(f"{what} {found[what]:5.1f}" for what in WHAT)
                print(f"{estimator:14s} n={n:6d} {name:20s} {told}  {draws:7.0f} draws {used}", flush=True)


if __name__ == "__main__":
    main()
