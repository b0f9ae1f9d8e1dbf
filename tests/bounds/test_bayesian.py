"""van Trees and hybrid bounds: attained by posterior means of conjugate families, and closed forms."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from sympy.stats import Bernoulli, Beta, Exponential, Gamma, Normal, Poisson

import fisherkit as fk
from tests.bounds.laws import LAMBDA, MU, NORMAL, SIGMA, TAU, N, same

A, B, P = sp.symbols("a b p", positive=True)
PAIR = fk.FisherInformation([[2.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))


def test_a_normal_mean_with_a_normal_prior_is_attained_by_the_posterior() -> None:
    """Gill & Levit (1995): 1 / (n / sigma^2 + 1 / tau^2), the posterior variance."""
    model = fk.symbolic.as_model(Normal("X", MU, SIGMA), parameters=MU)
    bound = fk.van_trees_bound(model, prior={"mu": Normal("M", 0, TAU)}, n=N)
    assert same(bound.covariance[0, 0], 1 / (N / SIGMA**2 + TAU**-2))


def test_a_poisson_rate_with_a_gamma_prior() -> None:
    """E[1 / l] = 1 / ((k - 1) b) and J = 1 / ((k - 2) b^2) for shape k = a + 2."""
    bound = fk.van_trees_bound(Poisson("X", LAMBDA), prior={"lamda": Gamma("L", A + 2, B)}, n=N)
    assert same(bound.covariance[0, 0], 1 / (N / ((A + 1) * B) + 1 / (A * B**2)))


def test_a_coin_with_a_beta_prior() -> None:
    """E[1 / (p q)] = 5 and J = 40 for Beta(3, 3)."""
    bound = fk.van_trees_bound(Bernoulli("X", P), prior={"p": Beta("Q", 3, 3)}, n=N)
    assert same(bound.covariance[0, 0], 1 / (5 * N + 40))


def test_a_function_takes_its_mean_gradient() -> None:
    bound = fk.van_trees_bound(Normal("X", MU, 1), prior={"mu": Normal("M", 1, TAU)}, n=N, of=MU**2)
    assert same(bound.covariance[0, 0], 4 / (N + TAU**-2))


def test_priors_of_two_kinds_and_two_parameters() -> None:
    """E[1 / sigma^2] = 1 / (scale^2 (k - 1)(k - 2)) = 0.2, and J = 1 / (scale^2 (k - 2)) = 1 of a gamma of shape 6, scale 1/2."""
    prior = {"mu": stats.norm(0, 2), "sigma": stats.gamma(6, scale=0.5)}
    bound = fk.van_trees_bound(NORMAL, prior=prior, n=5)
    np.testing.assert_allclose(bound.covariance, np.diag([1 / (5 * 0.2 + 0.25), 1 / (10 * 0.2 + 1)]), rtol=1e-6)


def test_an_information_of_the_prior_is_added() -> None:
    bound = fk.van_trees_bound(PAIR, prior=[[1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(bound.covariance, np.linalg.inv([[3.0, 1.0], [1.0, 3.0]]))
    prior = fk.FisherInformation(np.diag([2.0, 1.0]), parameters=("b", "a"), n=0)
    np.testing.assert_allclose(fk.van_trees_bound(PAIR, prior=prior).covariance, bound.covariance)


def test_hybrid_lies_between() -> None:
    """b random: the Schur complement of a sees the prior's information."""
    fixed = fk.cramer_rao_bound(PAIR).covariance
    hybrid = fk.bounds.hybrid_bound(PAIR, prior={"b": stats.norm(0, 0.5)}).covariance
    both = fk.van_trees_bound(PAIR, prior={"a": stats.norm(0, 0.5), "b": stats.norm(0, 0.5)}).covariance
    np.testing.assert_allclose(hybrid, np.linalg.inv([[2.0, 1.0], [1.0, 5.0]]), rtol=1e-7)
    assert both[0, 0] < hybrid[0, 0] < fixed[0, 0]


def test_hybrid_keeps_the_fixed_parameter_in_the_formula() -> None:
    bound = fk.bounds.hybrid_bound(NORMAL, prior={"mu": Normal("M", 1, TAU)}, n=N).covariance
    assert same(bound[0, 0], 1 / (N / SIGMA**2 + TAU**-2))
    assert same(bound[1, 1], SIGMA**2 / (2 * N))


@pytest.mark.slow
def test_families_in_numbers_are_averaged_by_a_gauss_rule() -> None:
    one = fk.van_trees_bound(stats.norm, prior={"loc": stats.norm(0, 2)}, n=5)
    np.testing.assert_allclose(one.covariance, [[1 / (5 + 0.25)]], rtol=1e-7)
    hybrid = fk.bounds.hybrid_bound(stats.norm, {"scale": 2.0}, prior={"loc": stats.norm(0, 1)}, n=4)
    np.testing.assert_allclose(hybrid.covariance, np.diag([1 / (4 / 4 + 1), 4 / 8]), rtol=1e-6, atol=1e-9)


def test_numbers_are_averaged_with_few_evaluations() -> None:
    model = fk.sampled.Model(
        lambda x, t: -((x - t[0] ** 2) ** 2) / 2 - 0.9189385332046727,  # I = 4 mu^2, mean 4 (1 + 1/4)
        score=lambda x, t: (2 * t[0] * (x - t[0] ** 2))[:, None],
        parameters=("mu",),
        support=(-np.inf, np.inf),
    )
    bound = fk.van_trees_bound(model, prior={"mu": stats.norm(1.0, 0.5)}, n=3)
    np.testing.assert_allclose(bound.covariance, [[1 / (3 * 5 + 4)]], rtol=1e-6)


def test_the_error_travels() -> None:
    F = fk.expected_information(stats.norm, {"loc": 1.0}, method=fk.MonteCarlo(500, rng=0))
    bound = fk.van_trees_bound(F, prior=[[1.0]])
    assert abs(bound.covariance[0, 0] - 0.5) < 4 * bound.mcse[0, 0]


def test_simulated_the_posterior_mean_attains_it_and_another_does_not() -> None:
    rng, n, tau, runs = np.random.default_rng(5), 4, 0.7, 40_000
    mu = rng.normal(0, tau, runs)
    means = mu + rng.normal(size=runs) / np.sqrt(n)
    bound = fk.van_trees_bound(Normal("X", MU, 1), prior={"mu": Normal("M", 0, TAU)}, n=n).covariance[0, 0].subs(TAU, tau)
    noise = 5 * np.sqrt(2 / runs)
    assert abs(np.mean((means * n / (n + tau**-2) - mu) ** 2) / float(bound) - 1) < noise
    assert np.mean((means - mu) ** 2) / float(bound) > 1 + noise


INFORMATION_AT_A_POINT = fk.FisherInformation([[4.0]], parameters=("mu",), point={"mu": 1.0})


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (lambda: fk.van_trees_bound(PAIR, prior=[[1.0, 0], [0, -1.0]]), "DataError", "must be positive definite"),
        (lambda: fk.van_trees_bound(PAIR, prior=[[1.0, 1], [1, 1.0]]), "DataError", "must be positive definite"),
        (lambda: fk.van_trees_bound(PAIR, prior={"a": stats.norm(0, 1)}), "LayoutError", "needs a prior for b too"),
        (lambda: fk.van_trees_bound(PAIR, prior={"c": stats.norm(0, 1)}), "LayoutError", "the prior names c"),
        (lambda: fk.van_trees_bound(PAIR, prior=stats.norm(0, 1)), "LayoutError", "give a mapping"),
        (lambda: fk.van_trees_bound(PAIR, prior=[[1.0, 0], [0, 1.0]], n=5), "LayoutError", "brings its own"),
        (lambda: fk.van_trees_bound(Poisson("X", LAMBDA), prior={"lamda": Exponential("L", 1)}), "RegularityError", "jumps"),
        (lambda: fk.van_trees_bound(stats.norm, prior={"loc": stats.uniform(0, 1)}), "RegularityError", "support ends at"),
        (lambda: fk.van_trees_bound(Bernoulli("X", P), prior={"p": Beta("Q", 2, 3)}), "RegularityError", "infinite"),
        (lambda: fk.van_trees_bound(INFORMATION_AT_A_POINT, prior={"mu": stats.norm(0, 1)}), "LayoutError", "taken at one point"),
        (
            lambda: fk.van_trees_bound(NORMAL, prior={"mu": Poisson("M", 3), "sigma": Gamma("S", 5, 1)}),
            "MethodError",
            "cannot be a prior",
        ),
    ],
    ids=[
        "negative",
        "singular",
        "incomplete",
        "unknown",
        "one for two",
        "n twice",
        "jumps at 0",
        "a box",
        "infinite",
        "at one point",
        "discrete",
    ],
)
def test_refusals(ask, error: str, match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(getattr(fk.errors, error), match=match):
        ask()
