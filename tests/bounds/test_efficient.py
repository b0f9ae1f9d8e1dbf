"""The estimator that attains the bound: there in exponential families for the mean of the statistic, and nowhere else."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats
from sympy.stats import Bernoulli, Cauchy, Exponential, Gamma, Poisson

import fisherkit as fk
from tests.bounds.laws import LAMBDA, LOCATION, MU, NORMAL, SIGMA, SPREAD, THETA, UNIFORM, K, same

P = sp.Symbol("p", positive=True)
GAMMA_SCALE = fk.symbolic.as_model(Gamma("X", K, THETA), parameters=THETA)
EXPONENTIAL = fk.symbolic.as_model(Exponential("X", LAMBDA))
CASES = {
    "normal mean": (LOCATION, None, lambda x: x),
    "normal mean, sigma a nuisance": (NORMAL, MU, lambda x: x),
    "normal variance, mean known": (SPREAD, SIGMA**2, lambda x: (x - MU) ** 2),
    "exponential mean": (EXPONENTIAL, 1 / LAMBDA, lambda x: x),
    "Poisson": (fk.symbolic.as_model(Poisson("X", LAMBDA)), None, lambda x: x),
    "gamma scale, shape known": (GAMMA_SCALE, None, lambda x: x / K),
    "gamma mean, both unknown": (fk.symbolic.as_model(Gamma("X", K, THETA)), K * THETA, lambda x: x),
}
NONE = {
    "exponential rate": (EXPONENTIAL, None),
    "Cauchy location": (Cauchy("X", MU, SIGMA), MU),
    "normal standard deviation": (SPREAD, None),
    "normal variance, mean unknown": (NORMAL, SIGMA**2),
    "square of a Poisson mean": (Poisson("X", LAMBDA), LAMBDA**2),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_textbook_one(name: str) -> None:
    model, of, expected = CASES[name]
    estimator = fk.bounds.efficient_estimator(model, of=of)
    assert same(estimator, expected(model.data[0]))


@pytest.mark.parametrize("name", NONE)
def test_there_is_none(name: str) -> None:
    model, of = NONE[name]
    with pytest.raises(fk.errors.MethodError, match="no unbiased estimator attains the Cramer-Rao bound"):
        fk.bounds.efficient_estimator(model, of=of)


def test_a_coin() -> None:
    estimator = fk.bounds.efficient_estimator(Bernoulli("X", P))
    (y,) = estimator.free_symbols
    assert [estimator.subs(y, value) for value in (0, 1)] == [0, 1]


def test_least_squares_is_efficient() -> None:
    """Two points of a line with normal errors."""
    a, b = sp.symbols("a b", real=True)
    y, x = sp.symbols("y1 y2", real=True), (0, 3)
    terms = (-((yi - a - b * xi) ** 2) / 2 - sp.log(2 * sp.pi) / 2 for yi, xi in zip(y, x, strict=True))
    line = fk.symbolic.Model(log_density=sum(terms), data=y, parameters=(a, b), support=((-sp.oo, sp.oo),) * 2)
    estimator = fk.bounds.efficient_estimator(line)
    assert sp.simplify(estimator - sp.Matrix([y[0], (y[1] - y[0]) / 3])) == sp.zeros(2, 1)


def test_it_needs_a_formula() -> None:
    with pytest.raises(fk.errors.MethodError, match="give a symbolic model"):
        fk.bounds.efficient_estimator(stats.norm(0.0, 1.0))
    with pytest.raises(fk.errors.RegularityError, match="Chapman-Robbins"):
        fk.bounds.efficient_estimator(UNIFORM)


def test_simulated_it_attains_the_bound() -> None:
    n, runs, k, theta = 5, 20_000, 2.0, 3.0
    x = GAMMA_SCALE.data[0]
    estimator = sp.lambdify(x, fk.bounds.efficient_estimator(GAMMA_SCALE).subs(K, k))
    values = estimator(np.random.default_rng(3).gamma(k, theta, (runs, n))).mean(axis=1)
    F = n * fk.expected_information(GAMMA_SCALE).at(k=k, theta=theta)
    assert abs(values.mean() - theta) < 4 * values.std() / np.sqrt(runs)
    assert fk.bounds.efficiency(values.var(), F) == pytest.approx(1.0, abs=5 * np.sqrt(2.5 / runs))


def test_efficiency_of_one_and_of_several() -> None:
    F = 50 * fk.FisherInformation(np.diag([0.25, 0.5]), parameters=("mu", "sigma"), point={"mu": 1.0, "sigma": 2.0})
    bound = fk.cramer_rao_bound(F).covariance
    np.testing.assert_allclose(fk.bounds.efficiency(bound * [[2.0, 0], [0, 4.0]], F), [0.5, 0.25])
    np.testing.assert_allclose(fk.bounds.efficiency(2 * bound.diagonal(), F), [0.5, 0.5])
    assert fk.bounds.efficiency(np.diag([2.0, 8.0]) @ bound, F, joint=True) == pytest.approx(1 / 4)
    assert fk.bounds.efficiency(0.16, F, of=lambda t: t[0]) == pytest.approx(0.5)
    symbolic = fk.FisherInformation(sp.diag(SIGMA**-2), parameters=(MU,))
    assert same(fk.bounds.efficiency(sp.pi * SIGMA**2 / 2, symbolic), 2 / sp.pi)
    drawn = fk.expected_information(stats.norm, {"loc": 0.0}, method=fk.MonteCarlo(400, rng=0))
    assert drawn.mcse_of(lambda G: fk.bounds.efficiency(1.0, G)) > 0


@pytest.mark.parametrize(
    ("covariance", "match"),
    [
        (1.0, r"shape \(2, 2\) or \(2,\)"),
        (np.eye(3), "shape"),
        ([1.0, 0.0], "must be positive"),
        ([[-1.0, 0], [0, 1.0]], "must be positive"),
    ],
    ids=["a number for two", "too many", "no variance", "negative"],
)
def test_efficiency_refuses(covariance: object, match: str) -> None:
    F = fk.FisherInformation(np.eye(2), parameters=("a", "b"))
    with pytest.raises(ValueError, match=match):
        fk.bounds.efficiency(covariance, F)
