"""No unbiased estimator beats the Cramer-Rao bound; the efficient one attains it."""

import numpy as np
from scipy import stats

import fisherkit as fk

N, RUNS = 50, 20_000


def test_the_mean_of_a_poisson_attains_the_bound() -> None:
    bound = fk.cramer_rao_bound(fk.expected_information(stats.poisson, {"mu": 3.0}).total(N)).covariance[0, 0]
    means = np.random.default_rng(0).poisson(3.0, (RUNS, N)).mean(axis=1)
    assert abs(means.var() / bound - 1) < 5 * np.sqrt(2 / RUNS)


def test_the_median_of_a_normal_pays_half_of_pi() -> None:
    F = fk.expected_information(stats.Normal, {"mu": 0.0, "sigma": 1.0}).total(N + 1)
    bound = fk.cramer_rao_bound(F).covariance[0, 0]
    medians = np.median(np.random.default_rng(1).normal(size=(RUNS, N + 1)), axis=1)
    ratio = medians.var() / bound
    assert ratio > 1
    assert abs(ratio / (np.pi / 2) - 1) < 0.05


def test_a_shrunken_mean_obeys_the_bound_with_its_bias_gradient() -> None:
    """c * mean has bias (c - 1) mu, so its bound is c^2 times the unbiased one: attained."""
    F = fk.expected_information(stats.norm, {"loc": 2.0}).total(N)
    bound = fk.cramer_rao_bound(F, bias_gradient=[[0.8 - 1]]).covariance[0, 0]
    estimates = 0.8 * np.random.default_rng(2).normal(2.0, 1.0, (RUNS, N)).mean(axis=1)
    assert abs(estimates.var() / bound - 1) < 5 * np.sqrt(2 / RUNS)
