"""Bhattacharyya bounds against closed forms: they are attained by unbiased polynomials of the sufficient statistic."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from sympy.stats import Cauchy, Gamma, Laplace, Poisson

import fisherkit as fk
from tests.bounds.laws import LAMBDA, LOCATION, MU, NORMAL, SIGMA, THETA, UNIFORM, K, N, same

LAMBDA_AS_RATE = sp.Symbol("rate", positive=True)
NORMAL_IN_CODE = fk.sampled.Model(
    lambda x, t: -((x - t[0]) ** 2) / 2 - 0.9189385332046727,
    sampler=lambda t, size, rng: rng.normal(t[0], 1.0, size),
    parameters=("mu",),
    support=(-np.inf, np.inf),
)


@pytest.mark.parametrize("order", [2, 3])
def test_the_square_of_a_normal_mean(order: int) -> None:
    """mean^2 - sigma^2 / n has variance 4 mu^2 sigma^2 / n + 2 sigma^4 / n^2 (Lehmann & Casella, section 2.6)."""
    bound = fk.bhattacharyya_bound(LOCATION, of=MU**2, order=order, n=N).covariance[0, 0]
    assert same(bound, 4 * MU**2 * SIGMA**2 / N + 2 * SIGMA**4 / N**2)


def test_the_square_of_a_poisson_mean() -> None:
    """S (S - 1) / n^2, S the sum, is unbiased for lambda^2 with variance 4 lambda^3 / n + 2 lambda^2 / n^2."""
    bound = fk.bhattacharyya_bound(Poisson("X", LAMBDA), of=LAMBDA**2, n=N).covariance[0, 0]
    assert same(bound, 4 * LAMBDA**3 / N + 2 * LAMBDA**2 / N**2)


def test_order_one_is_cramer_rao() -> None:
    model = Gamma("X", K, THETA)
    first = fk.bhattacharyya_bound(model, order=1, n=N).covariance
    rao = fk.cramer_rao_bound(N * fk.expected_information(model)).covariance
    assert (first - rao).applyfunc(sp.simplify) == sp.zeros(2, 2)


def test_the_normal_variance_with_an_unknown_mean() -> None:
    """Order 2 gives 2 sigma^4 / (n - 1), the variance of S^2, where the Cramer-Rao bound stays below it."""
    bound = fk.bhattacharyya_bound(NORMAL, of=SIGMA**2, n=N).covariance[0, 0]
    assert same(bound, 2 * SIGMA**4 / (N - 1))


def test_one_observation_tells_no_unbiased_sigma() -> None:
    with pytest.raises(fk.errors.SingularInformationError, match=r"d sigma \+1 d mu\^2"):
        fk.bhattacharyya_bound(NORMAL)


def test_numbers_agree_with_formulas() -> None:
    by_formula = fk.bhattacharyya_bound(Gamma("X", K, THETA), of=THETA**2, n=3).covariance[0, 0].subs({K: 2, THETA: 3})
    for model, at in ((Gamma("X", K, THETA), {"k": 2.0, "theta": 3.0}),):
        bound = fk.bhattacharyya_bound(model, at, of=THETA**2, n=3)
        np.testing.assert_allclose(float(bound.covariance[0, 0]), float(by_formula), rtol=1e-7)


@pytest.mark.parametrize("order", [2, 3])
def test_code_is_differentiated_too(order: int) -> None:
    bound = fk.bhattacharyya_bound(NORMAL_IN_CODE, {"mu": 0.5}, of=MU**2, order=order, n=2)
    np.testing.assert_allclose(bound.covariance, [[4 * 0.25 / 2 + 2 / 4]], rtol=1e-6)


def test_a_scipy_family_and_its_monte_carlo_error() -> None:
    exact = fk.bhattacharyya_bound(stats.poisson, {"mu": 3.0}, of=lambda t: t[0] ** 2, n=2).covariance
    np.testing.assert_allclose(exact, [[4 * 27 / 2 + 2 * 9 / 4]], rtol=1e-6)
    drawn = fk.bhattacharyya_bound(NORMAL_IN_CODE, {"mu": 0.5}, of=MU**2, n=2, method=fk.MonteCarlo(4000, rng=0))
    assert abs(drawn.covariance[0, 0] - 1.0) < 4 * drawn.mcse[0, 0] < 0.3


@pytest.mark.slow
def test_torch_differentiates_to_any_order() -> None:
    torch = pytest.importorskip("torch")
    bound = fk.bhattacharyya_bound(torch.distributions.Poisson(torch.tensor(3.0)), {"rate": 3.0}, of=LAMBDA_AS_RATE**2, n=2)
    np.testing.assert_allclose(bound.covariance, [[4 * 27 / 2 + 2 * 9 / 4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (lambda: fk.bhattacharyya_bound(Laplace("X", MU, 1), order=2), "RegularityError", "no derivative of that order in mu"),
        (lambda: fk.bhattacharyya_bound(UNIFORM, {"theta": 2.0}), "RegularityError", "Chapman-Robbins bound needs no derivative"),
        (lambda: fk.bhattacharyya_bound(stats.laplace, {"loc": 0.3}, order=2), "PrecisionError", "relative error"),
        (lambda: fk.bhattacharyya_bound(LOCATION, order=0), "DataError", "order must be a positive integer"),
        (lambda: fk.bhattacharyya_bound(LOCATION, n=0), "DataError", "n must be a positive number"),
        (lambda: fk.bhattacharyya_bound(Cauchy("X", MU, 1), of=lambda t: np.log(t[0])), "LayoutError", "SymPy expressions"),
        (lambda: fk.bhattacharyya_bound(LOCATION, {"mu": 0, "sigma": 1}, of=THETA), "LayoutError", "which is no parameter"),
    ],
    ids=["a kink", "a moving support", "a kink in code", "order 0", "no observation", "a callable for arrays", "another symbol"],
)
def test_refusals(ask, error: str, match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(getattr(fk.errors, error), match=match):
        ask()
