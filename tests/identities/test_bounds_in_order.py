"""Bounds stand in their order: each sharper one above Cramer-Rao, each that knows more below, and no estimator below any."""

from itertools import pairwise
from time import process_time

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from sympy.stats import Beta, Gamma, LogNormal, Normal, Weibull

import fisherkit as fk
from tests.bounds.laws import LOCATION, MU, SIGMA, SPREAD

K, THETA, A, B, ALPHA, N = sp.symbols("k theta a b alpha n", positive=True)
RUNS = 20_000
NOISE = 5 * np.sqrt(2 / RUNS)
GAMMA_AT = {"k": 2.0, "theta": 3.0}


@pytest.mark.parametrize("n", [1, 10])
def test_bhattacharyya_grows_with_its_order(n: int) -> None:
    model = Gamma("X", K, THETA)
    bounds = [fk.bhattacharyya_bound(model, GAMMA_AT, order=m, n=n).covariance for m in (1, 2, 3)]
    rao = fk.cramer_rao_bound(fk.expected_information(model, GAMMA_AT).total(n)).covariance
    np.testing.assert_allclose(bounds[0], rao, rtol=1e-7)
    for lower, higher in pairwise(bounds):
        assert np.linalg.eigvalsh(higher - lower).min() > -1e-8 * np.abs(higher).max()


def test_chapman_robbins_is_never_below_cramer_rao() -> None:
    for n in (1, 4):
        at = {"sigma": 2.0, "mu": 0.0}
        steps = fk.chapman_robbins_bound(SPREAD, at, n=n).covariance[0, 0]
        assert steps >= fk.bhattacharyya_bound(SPREAD, at, order=1, n=n).covariance[0, 0] * (1 - 1e-9)


def test_no_unbiased_estimator_of_the_square_of_a_mean_beats_order_two() -> None:
    """mean^2 - 1/n attains the second order and stands above the first."""
    n, mu = 4, 0.5
    means = np.random.default_rng(0).normal(mu, 1, (RUNS, n)).mean(axis=1)
    estimates = means**2 - 1 / n
    at = {"mu": mu, "sigma": 1}
    first, second = (fk.bhattacharyya_bound(LOCATION, at, of=MU**2, order=m, n=n).covariance[0, 0] for m in (1, 2))
    assert abs(estimates.var() / second - 1) < 3 * NOISE
    assert estimates.var() > first * (1 + 3 * NOISE)


def test_no_unbiased_estimator_of_a_moving_end_beats_chapman_robbins() -> None:
    n, theta = 5, 2.0
    x = np.random.default_rng(1).uniform(0, theta, (RUNS, n))
    bound = fk.chapman_robbins_bound(stats.uniform, {"scale": theta}, n=n).covariance[0, 0]
    best = (x.max(axis=1) * (n + 1) / n).var()  # theta^2 / (n (n + 2)), the least there is
    assert best == pytest.approx(theta**2 / (n * (n + 2)), rel=0.1)
    for variance in (best, (2 * x.mean(axis=1)).var()):
        assert variance > bound * (1 - NOISE)


def test_the_unbiased_estimator_of_a_normal_deviation_stands_above_all_its_bounds() -> None:
    n, sigma = 3, 2.0
    x = np.random.default_rng(2).normal(0, sigma, (RUNS, n))
    root = np.sqrt((x**2).sum(axis=1))
    estimates = root * sigma / root.mean()
    at = {"sigma": sigma, "mu": 0.0}
    bounds = [
        fk.chapman_robbins_bound(SPREAD, at, n=n).covariance[0, 0],
        fk.bhattacharyya_bound(SPREAD, at, order=3, n=n).covariance[0, 0],
        fk.bounds.barankin_bound(SPREAD, at, test_points=[1.2, 1.6, 2.3], order=1, n=n).covariance[0, 0],
    ]
    exact = sigma**2 * (n / 2 * np.exp(2 * (_log_gamma(n / 2) - _log_gamma((n + 1) / 2))) - 1)
    assert abs(estimates.var() / exact - 1) < 2 * NOISE
    assert all(sigma**2 / (2 * n) < bound <= exact * (1 + 1e-9) for bound in bounds)


def _log_gamma(value: float) -> float:
    from scipy.special import gammaln

    return float(gammaln(value))


def test_a_constrained_estimator_attains_its_bound() -> None:
    """Two means known to be equal: their average."""
    F = fk.FisherInformation(np.diag([4.0, 1.0]), parameters=("a", "b"))  # variances 1/4 and 1
    bound = fk.constrained_bound(F, constraints=[[1, -1]]).covariance[0, 0]
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 0.5, RUNS), rng.normal(1, 1.0, RUNS)
    assert abs((0.8 * a + 0.2 * b).var() / bound - 1) < NOISE


TWO_PARAMETERS = {
    "normal": lambda: Normal("X", MU, SIGMA),
    "lognormal": lambda: LogNormal("X", MU, SIGMA),
    "gamma": lambda: Gamma("X", K, THETA),
    "beta": lambda: Beta("X", A, B),
}


@pytest.mark.parametrize("name", TWO_PARAMETERS)
def test_symbolic_bounds_of_two_parameters_take_less_than_two_seconds(name: str) -> None:
    model = fk.symbolic.as_model(TWO_PARAMETERS[name]())
    one, two = model.symbols
    start = process_time()
    F = fk.expected_information(model)
    fk.cramer_rao_bound(N * F, of=one / two)
    middle = process_time()
    fk.constrained_bound(F, constraints=one - two)
    if name != "beta":  # nine generators: a formula that fills pages
        fk.bhattacharyya_bound(model, of=two**2, n=N)
    end = process_time()
    assert middle - start < 2
    assert end - middle < 2


def test_a_weibull_has_its_bound_too() -> None:
    start = process_time()
    bound = fk.cramer_rao_bound(N * fk.expected_information(Weibull("X", ALPHA, B))).covariance
    assert sp.simplify(bound[1, 1] - 6 * B**2 / (sp.pi**2 * N)) == 0
    assert process_time() - start < 2
