"""Standard errors from noisy simulated derivatives: plain, ours, and theirs with random splits (Coulton & Wandelt 2023).

Run ``python -m tests.benchmarks.sampled_simulator``. In each problem the noise is such that the plain estimate is 31 % low at 40
simulations per parameter. Per problem, number of simulations and estimate: the mean over runs and parameters of the standard
error relative to the right one, its root mean square error, the share of runs that are refused, and how often a 95 % interval
holds the right one. ``--package`` shows that the ten lines below do what CompressedFisher does.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fisherkit as fk

LOW = 0.69  # of the right standard error, in the plain estimate at 40 simulations
SIMULATIONS = (40, 100, 400)
PLANS = ("none", "subtracted", "shrunk")


@dataclass(frozen=True)
class Problem:
    """Whitened derivatives (p, d), and what makes the noise of a simulated one, (m, p, d) of unit covariance in the mean."""

    slopes: np.ndarray
    noise: Callable[[np.random.Generator, int, int, int], np.ndarray]

    @property
    def exact(self) -> np.ndarray:
        return np.sqrt(np.diagonal(np.linalg.inv(self.slopes @ self.slopes.T)))

    @property
    def level(self) -> float:
        """The noise with which a plain estimate is as low as that."""
        p, d = self.slopes.shape
        low, high = 1e-6, 1e6
        for _ in range(100):
            level = np.sqrt(low * high)
            biased = self.slopes @ self.slopes.T + level**2 * d / 40 * np.eye(p)
            ratio = np.mean(np.sqrt(np.diagonal(np.linalg.inv(biased))) / self.exact)
            low, high = (level, high) if ratio > LOW else (low, level)
        return float(level)

    def simulated(self, rng: np.random.Generator, m: int) -> np.ndarray:
        return self.slopes + self.level * self.noise(rng, m, *self.slopes.shape)


def white(rng: np.random.Generator, m: int, p: int, d: int) -> np.ndarray:
    return rng.normal(size=(m, p, d))


def correlated(rng: np.random.Generator, m: int, p: int, d: int) -> np.ndarray:
    """Neighbouring data share their noise."""
    x = np.arange(d)
    return rng.normal(size=(m, p, d)) @ np.linalg.cholesky(np.exp(-abs(x[:, None] - x) / 2)).T


def heavy(rng: np.random.Generator, m: int, p: int, d: int) -> np.ndarray:
    """Powers: differences of two exponentials."""
    return (rng.exponential(size=(m, p, d)) - rng.exponential(size=(m, p, d))) / np.sqrt(2)


def waves(p: int, d: int) -> np.ndarray:
    """Derivatives that overlap, of equal length."""
    x = np.linspace(0, 1, d)
    slopes = np.stack([np.cos(np.pi * k * x) + 0.6 for k in range(p)])
    return np.asarray(slopes / np.linalg.norm(slopes, axis=1, keepdims=True))


def polynomials(p: int, d: int) -> np.ndarray:
    x = np.linspace(-1, 1, d)
    slopes = np.stack([(1 + x) ** k for k in range(p)])
    return np.asarray(slopes / np.linalg.norm(slopes, axis=1, keepdims=True))


PROBLEMS = {
    "60 data, p = 4": Problem(waves(4, 60), white),
    "20 data, p = 2": Problem(waves(2, 20), white),
    "200 data, p = 6": Problem(waves(6, 200), white),
    "100 data, p = 3, correlated noise": Problem(waves(3, 100), correlated),
    "60 data, p = 3, nearly degenerate": Problem(polynomials(3, 60), white),
    "60 data, p = 4, heavy tails": Problem(waves(4, 60), heavy),
}


# -- theirs


def split(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of the derivatives compress the data; the other half is compressed, and combined with its plain estimate."""
    order, half = rng.permutation(len(w)), len(w) // 2
    a, b = w[order[:half]].mean(axis=0), w[order[half:]].mean(axis=0)
    compressed = a @ b.T
    return geometric_mean(b @ b.T, compressed.T @ np.linalg.solve(a @ a.T, compressed))


def geometric_mean(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(A)
    root, back = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
    values, vectors = np.linalg.eigh(back @ B @ back)
    return np.asarray(root @ (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T @ root)


def package(w: np.ndarray, shuffles: int) -> np.ndarray:
    """The same from CompressedFisher 0.1, which shuffles by the global random state of NumPy."""
    from CompressedFisher import gaussianFisher

    m, p, d = w.shape
    names = [f"t{j}" for j in range(p)]
    own = gaussianFisher(names, m, include_covmat_param_depedence=False, n_sims_covmat=None, deriv_finite_dif_accuracy=None)
    own._covmat_fisher = own._covmat_comp = np.eye(d)
    own._hartlap_fisher = own._hartlap_comp = 1.0
    own.initailize_deriv_sims(dic_deriv_sims={name: w[:, j] for j, name in enumerate(names)})
    return np.asarray(own.compute_combined_fisher_forecast_wShuffle(names, 0.5, nShuffles=shuffles))


# -- the table


def ours(w: np.ndarray, correction: str, exact: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Standard errors, and whether their interval holds the right ones; None where they are refused."""
    p, d = w.shape[1:]
    names = [f"t{j}" for j in range(p)]
    model = fk.sampled.GaussianModel(None, np.ones(d), parameters=names, derivatives=w, correction=correction)
    F = fk.expected_information(model)
    try:
        found = F.standard_errors()
        low, high = F.interval_of(lambda F: F.standard_errors())
    except ArithmeticError:
        return None, None
    return found, (low <= exact) & (exact <= high)


def table(problem: Problem, m: int, runs: int, seed: int) -> dict[str, tuple[float, float, float, float]]:
    rng, exact = np.random.default_rng(seed), problem.exact
    found: dict[str, list[tuple[np.ndarray | None, np.ndarray | None]]] = {}
    for _ in range(runs):
        w = problem.simulated(rng, m)
        for plan in PLANS:
            found.setdefault(plan, []).append(ours(w, plan, exact))
        for shuffles in (1, 10):
            F = np.mean([split(w, rng) for _ in range(shuffles)], axis=0)
            found.setdefault(f"{shuffles} split{'s' * (shuffles > 1)}", []).append((np.sqrt(np.diagonal(np.linalg.inv(F))), None))
    out = {}
    for name, rows in found.items():
        ratios = np.array([errors / exact for errors, _ in rows if errors is not None])
        held = [inside for _, inside in rows if inside is not None]
        refused = 1 - len(ratios) / runs
        rms = float(np.sqrt(np.mean((ratios - 1) ** 2))) if len(ratios) else float("nan")
        out[name] = (
            float(np.mean(ratios)) if len(ratios) else float("nan"),
            rms,
            refused,
            float(np.mean(held)) if held else np.nan,
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--package", action="store_true", help="compare the ten lines with CompressedFisher, and end")
    arguments = parser.parse_args()
    if arguments.package:
        rng = np.random.default_rng(arguments.seed)
        w = PROBLEMS["60 data, p = 4"].simulated(rng, 40)
        np.random.seed(arguments.seed)  # noqa: NPY002 theirs has no other source
        own = np.linalg.inv(np.mean([split(w, rng) for _ in range(1000)], axis=0))
        print(f"covariances, CompressedFisher\n{package(w, 1000).round(4)}\nten lines\n{own.round(4)}")
        return
    warnings.simplefilter("error")
    for name, problem in PROBLEMS.items():
        for m in SIMULATIONS:
            print(f"{name}; {m} simulations per parameter")
            for plan, (mean, rms, refused, covered) in table(problem, m, arguments.runs, arguments.seed).items():
                print(f"    {plan:12}{mean:7.2f} ({rms:.2f}){refused:7.0%} refused{covered:9.1%} covered", flush=True)


if __name__ == "__main__":
    main()
