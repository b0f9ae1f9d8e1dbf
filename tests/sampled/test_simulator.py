"""Simulators without a density: the noise of derivatives, its correction, and its interval, against a closed form."""

from __future__ import annotations

import numpy as np
import pytest

import fisherkit as fk

TIMES = np.linspace(0.5, 3, 6)
AT = np.array([2.0, 0.7])


def mean(t: np.ndarray) -> np.ndarray:
    return t[0] * np.exp(-t[1] * TIMES)


def simulate(t: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A decay with Gaussian noise of covariance 1/4, whose phase turns with the parameters: derivatives are noisy."""
    one, two = rng.normal(0, 0.5, (2, size, 6))
    phase = 2 * (t[0] + t[1])
    return mean(t) + one * np.cos(phase) + two * np.sin(phase)


def exact() -> np.ndarray:
    J = np.stack([np.exp(-AT[1] * TIMES), -AT[0] * TIMES * np.exp(-AT[1] * TIMES)], axis=1)
    return 4 * J.T @ J


def run(n: int, seed: int, **given: object) -> fk.FisherInformation:
    model = fk.sampled.Simulator(**{"simulate": simulate, "parameters": ("a", "b"), "step": (0.02, 0.007), **given})
    return fk.expected_information(model, AT, method=fk.MonteCarlo(n, rng=seed))


def means(n: int, runs: int, noise: str) -> tuple[np.ndarray, np.ndarray]:
    found = np.array([run(n, seed, noise=noise).dense() for seed in range(runs)])
    return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(runs)


def test_the_noise_of_derivatives_is_subtracted() -> None:
    """40 simulations at each of five points add 6 x 2^2 / 40 = 0.6 to every entry; the corrected form is unbiased."""
    plain, error = means(200, 300, "keep")
    assert np.abs((plain - exact() - 0.6) / error).max() < 4.5
    assert (plain - exact())[0, 0] > 5 * error[0, 0]
    clean, error = means(200, 300, "subtract")
    assert np.abs((clean - exact()) / error).max() < 4
    between, _ = means(200, 300, "geometric")
    assert (np.diagonal(between) < np.diagonal(plain)).all()


def test_the_interval_holds_the_exact_value() -> None:
    hits = []
    for seed in range(150):
        low, high = run(1000, seed).interval_of()
        hits.append((low <= exact()) & (exact() <= high))
    assert 0.88 < np.mean(hits) < 0.995


def test_gaussian_summaries_of_a_location() -> None:
    model = fk.sampled.Simulator(lambda t, n, rng: t + rng.normal(0, 2, (n, 3)), parameters=("m",), step=[0.1])
    F = fk.expected_information(model, [0.0], method=fk.MonteCarlo(30_000, rng=0))
    assert abs(float(F) - 0.75) < 4 * F.mcse[0, 0]
    diagonal = fk.expected_information(model, [0.0], method=fk.MonteCarlo(30_000, rng=0), structure="diagonal")
    assert diagonal.diagonal()[0] == pytest.approx(float(F))


def test_what_is_refused() -> None:
    with pytest.raises(fk.errors.MethodError, match=r"pays for 4 simulations at each of 5 points; 6 summaries need \d+: give"):
        run(20, 0)
    with pytest.raises(fk.errors.DataError, match="step must be positive"):
        run(1000, 0, step=(0.0, 0.1))
    with pytest.raises(fk.errors.MethodError, match="noise must be one of subtract, geometric, keep"):
        run(1000, 0, noise="ignore")
    with pytest.raises(fk.errors.LayoutError, match=r"must return summaries of shape \(200, d\); got \(200,\)"):
        run(1000, 0, simulate=lambda t, n, rng: np.zeros(n))
    with pytest.raises(fk.errors.DataError, match="summary 1 of simulation 0 is not finite"):
        run(1000, 0, simulate=lambda t, n, rng: np.tile([1.0, np.nan], (n, 1)))
