"""The sandwich at the pseudo-true point against White (1982) and by simulation."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from sympy.stats import Exponential, Gamma, Laplace, Logistic, Normal, Poisson

import fisherkit as fk
from tests.bounds.laws import LAMBDA, MU, NORMAL, SIGMA, THETA, K, N, same

GAMMA = Gamma("Y", K, THETA)


def _normal_log(x, t):  # type: ignore[no-untyped-def]
    return -(((x - t[0]) / t[1]) ** 2) / 2 - np.log(t[1]) - 0.9189385332046727


def _normal_score(x, t):  # type: ignore[no-untyped-def]
    z = (x - t[0]) / t[1]
    return np.stack([z / t[1], (z**2 - 1) / t[1]], axis=1)


IN_CODE = fk.sampled.Model(_normal_log, score=_normal_score, parameters=("mu", "sigma"), support=(-np.inf, np.inf))


def test_an_exponential_for_a_gamma() -> None:
    bound = fk.misspecified_bound(Exponential("X", LAMBDA), truth=GAMMA, n=N)
    assert bound.at == {"lamda": 1 / (K * THETA)}
    assert same(bound.covariance[0, 0], 1 / (N * K**3 * THETA**2))  # 1 / mean by the delta method


def test_a_poisson_for_a_gamma_is_robust_for_the_mean() -> None:
    bound = fk.misspecified_bound(Poisson("X", LAMBDA), truth=GAMMA, n=N)
    assert same(bound.covariance[0, 0], K * THETA**2 / N)


def test_a_normal_for_a_gamma() -> None:
    """White (1982), example 1: var of the variance is (mu4 - sigma^4) / n, and the mean and it covary by the third moment."""
    bound = fk.misspecified_bound(NORMAL, truth=GAMMA, of=[MU, SIGMA**2], n=N)
    variance, third, fourth = K * THETA**2, 2 * K * THETA**3, 3 * K * (K + 2) * THETA**4
    assert same(bound.covariance[0, 0], variance / N)
    assert same(bound.covariance[0, 1], third / N)
    assert same(bound.covariance[1, 1], (fourth - variance**2) / N)


def test_a_normal_for_heavier_tails() -> None:
    """The mean has the variance of the truth, and sigma (mu4 - sigma^4) / (4 sigma^2)."""
    m, b = sp.Symbol("m", real=True), sp.Symbol("b", positive=True)
    for truth, variance, fourth in (
        (Laplace("Y", m, b), 2 * b**2, 24 * b**4),
        (Logistic("Y", m, b), sp.pi**2 * b**2 / 3, 7 * sp.pi**4 * b**4 / 15),
    ):
        bound = fk.misspecified_bound(NORMAL, truth=truth, n=N)
        assert bound.at == {"mu": m, "sigma": sp.sqrt(variance)}
        assert bound.covariance[0, 1] == 0
        assert same(bound.covariance[0, 0], variance / N)
        assert same(bound.covariance[1, 1], (fourth - variance**2) / (4 * variance) / N)


def test_where_the_model_is_true_it_is_cramer_rao() -> None:
    a, b = sp.symbols("a b", positive=True)
    bound = fk.misspecified_bound(Gamma("X", 3, a), truth=Gamma("Y", 3, b), n=N)
    assert bound.at == {"a": b}
    assert same(bound.covariance[0, 0], b**2 / (3 * N))


def test_in_numbers() -> None:
    bound = fk.misspecified_bound(IN_CODE, {"mu": 1.0, "sigma": 1.0}, truth=stats.gamma(3.0))
    assert bound.at == pytest.approx({"mu": 3.0, "sigma": np.sqrt(3.0)}, rel=1e-6)
    np.testing.assert_allclose(bound.covariance, [[3.0, np.sqrt(3)], [np.sqrt(3), 3.0]], rtol=1e-6)


@pytest.mark.slow
def test_drawn_it_has_an_error_and_a_simulated_estimator_attains_it() -> None:
    drawn = fk.misspecified_bound(
        IN_CODE, {"mu": 1.0, "sigma": 1.0}, truth=stats.gamma(3.0), n=400, method=fk.MonteCarlo(8000, rng=0)
    )
    exact = np.array([[3.0, np.sqrt(3)], [np.sqrt(3), 3.0]]) / 400
    assert np.all(np.abs(drawn.covariance - exact) < 5 * drawn.mcse)
    x = np.random.default_rng(1).gamma(3.0, size=(5000, 400))
    simulated = np.cov(np.stack([x.mean(axis=1), x.std(axis=1)]))
    np.testing.assert_allclose(simulated, exact, rtol=0.12)
    model_based = np.diag([3.0, 1.5]) / 400  # what one would report without the sandwich: half of the second variance
    assert simulated[1, 1] > 1.7 * model_based[1, 1]


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (lambda: fk.misspecified_bound(NORMAL, truth=Normal("Y", MU, 2)), "MethodError", "both hold mu"),
        (lambda: fk.misspecified_bound(stats.norm, truth=stats.gamma(3.0)), "LayoutError", "a start for the pseudo-true point"),
        (lambda: fk.misspecified_bound(NORMAL, truth=GAMMA, n=0), "DataError", "n must be a positive number"),
    ],
    ids=["shared symbols", "no start", "no observation"],
)
def test_refusals(ask, error: str, match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(getattr(fk.errors, error), match=match):
        ask()
