"""Chapman-Robbins and Barankin bounds: where the support moves, and above Cramer-Rao where it does not."""

import numpy as np
import pytest
import sympy as sp
from scipy import optimize, stats
from sympy.stats import Exponential, Poisson

import fisherkit as fk
from tests.bounds.laws import LAMBDA, LOCATION, MU, NORMAL, SHIFTED, SIGMA, SPREAD, THETA, UNIFORM, N, same

H = sp.Symbol("h", positive=True)
GOLDEN = (np.sqrt(5) - 1) / 2


def test_the_end_of_a_uniform() -> None:
    """Chapman & Robbins (1951): the sup over t in (0, theta) of (theta - t)^2 / ((theta / t)^n - 1)."""
    at_a_step = fk.chapman_robbins_bound(UNIFORM, test_point=THETA - H, n=N).covariance[0, 0]
    assert same(at_a_step, H**2 / ((THETA / (THETA - H)) ** N - 1))
    one = fk.chapman_robbins_bound(UNIFORM)
    assert one.covariance == sp.Matrix([[THETA**2 / 4]])
    assert one.at == {"theta": THETA / 2}
    two = fk.chapman_robbins_bound(UNIFORM, n=2)  # the best test point divides theta by the golden section
    assert two.at is not None
    assert float(two.at["theta"] / THETA) == pytest.approx(GOLDEN)
    assert float(two.covariance[0, 0] / THETA**2) == pytest.approx((1 - GOLDEN) ** 2 / (GOLDEN**-2 - 1))


@pytest.mark.parametrize("n", [1, 5, 40])
def test_numbers_find_the_best_step_themselves(n: int) -> None:
    found = fk.chapman_robbins_bound(UNIFORM, {"theta": 2.0}, n=n).covariance[0, 0]
    best = optimize.minimize_scalar(lambda t: -((2 - t) ** 2) / ((2 / t) ** n - 1), bounds=(0.01, 1.9999), method="bounded")
    assert found == pytest.approx(-best.fun, rel=1e-6)


def test_the_origin_of_an_exponential() -> None:
    """sup h^2 / (exp(n h) - 1) = 0.6476 / n^2 at h = (2 + W(-2 / e^2)) / n; the minimum less 1/n has variance 1 / n^2."""
    bound = fk.chapman_robbins_bound(SHIFTED, n=N)
    constant = (bound.covariance[0, 0] * N**2).evalf()
    assert float(constant) == pytest.approx(0.6476102379)
    numbers = fk.chapman_robbins_bound(SHIFTED, {"mu": 0.7}, n=3)
    assert numbers.covariance[0, 0] == pytest.approx(0.6476102379 / 9)
    assert numbers.at is not None
    assert numbers.at["mu"] - 0.7 == pytest.approx(1.5936242600 / 3, rel=1e-4)


def test_small_steps_are_the_cramer_rao_bound() -> None:
    for model, bound in ((LOCATION, SIGMA**2 / N), (Poisson("X", LAMBDA), LAMBDA / N)):
        found = fk.chapman_robbins_bound(model, n=N)
        assert same(found.covariance[0, 0], bound)
        assert found.at is None


def test_the_spread_of_a_normal_is_bounded_above_cramer_rao() -> None:
    """Chapman & Robbins (1951), example 2: sup over c = t / sigma of (c - 1)^2 / (c^-2n (2 / c^2 - 1)^(-n/2) ... - 1)."""
    n = 3

    def phi(c: float) -> float:
        return -((c - 1) ** 2) / ((c**-1 / np.sqrt(2 - c**2)) ** n - 1)

    best = min(optimize.minimize_scalar(phi, bounds=ends, method="bounded").fun for ends in ((0.05, 0.999), (1.001, 1.4)))
    found = fk.chapman_robbins_bound(SPREAD, {"sigma": 2.0, "mu": 0.0}, n=n).covariance[0, 0]
    assert found == pytest.approx(-4 * best, rel=1e-5)
    assert found > 4 / (2 * n) * 1.01


@pytest.mark.slow
def test_a_nuisance_parameter_moves_too() -> None:
    """The best step in (mu, sigma) is a small one for mu, and its bound is sigma^2."""
    bound = fk.chapman_robbins_bound(NORMAL, {"mu": 0.0, "sigma": 1.5}, of=MU)
    assert bound.covariance[0, 0] == pytest.approx(2.25, rel=1e-5)


def test_a_parameter_that_counts_has_no_score_and_still_a_bound() -> None:
    """Hammersley (1950): the integer mean m of a normal; the step is 1 and the bound 1 / (exp(n) - 1)."""
    bound = fk.chapman_robbins_bound(LOCATION, {"mu": 4, "sigma": 1}, test_point=5, n=3)
    assert bound.covariance[0, 0] == pytest.approx(1 / np.expm1(3.0))


@pytest.mark.slow
def test_drawn_ratios_carry_an_error_and_the_best_of_many_is_not_reported() -> None:
    drawn = fk.chapman_robbins_bound(stats.uniform, {"scale": 2.0}, method=fk.MonteCarlo(2000, rng=1))
    assert drawn.covariance[0, 0] == pytest.approx(1.0, rel=0.1)
    fixed = fk.chapman_robbins_bound(stats.uniform, {"scale": 2.0}, test_point=0.7, method=fk.MonteCarlo(2000, rng=1))
    assert abs(fixed.covariance[0, 0] - 1.3**2 / (2 / 0.7 - 1)) < 4 * fixed.mcse[0, 0]


def test_barankin_grows_with_test_points_and_contains_the_others() -> None:
    at = {"theta": 2.0}
    single = fk.chapman_robbins_bound(UNIFORM, at).covariance[0, 0]
    bounds = [
        fk.bounds.barankin_bound(UNIFORM, at, test_points=points).covariance[0, 0]
        for points in ([1.0], [0.5, 1.0, 1.5], [0.25 * k for k in range(1, 8)])
    ]
    assert bounds[0] == pytest.approx(single, rel=1e-5)
    assert bounds == sorted(bounds)
    assert bounds[-1] < 4 / 3  # the variance theta^2 / 3 of 2 x, unbiased with the least variance for one observation


def test_barankin_with_many_points_reaches_the_best_unbiased_estimator() -> None:
    points = [2.0 * k / 24 for k in range(1, 24)]
    bound = fk.bounds.barankin_bound(UNIFORM, {"theta": 2.0}, test_points=points).covariance[0, 0]
    assert 4 / 3 * 0.95 < bound < 4 / 3


def test_mcaulay_hofstetter_is_never_below_either() -> None:
    at, points = {"sigma": 2.0, "mu": 0.0}, [{"sigma": 1.2}, {"sigma": 2.5}]
    both = fk.bounds.barankin_bound(SPREAD, at, test_points=points, order=1, n=4).covariance[0, 0]
    assert both > fk.bounds.barankin_bound(SPREAD, at, test_points=points, n=4).covariance[0, 0]
    assert both > fk.bhattacharyya_bound(SPREAD, at, order=1, n=4).covariance[0, 0]
    in_symbols = fk.bounds.barankin_bound(LOCATION, test_points=[MU + 1], order=1).covariance
    assert same(in_symbols[0, 0], SIGMA**2)  # the mean attains Cramer-Rao, so nothing can be sharper


def test_barankin_agrees_with_its_formula_by_hand() -> None:
    """D G^-1 D' with G from chi-square integrals of exponentials, (a b / (l (a + b - l)))^n - 1."""
    rate, a, b, n = 1.0, 1.5, 0.8, 3

    def entry(s: float, t: float) -> float:
        return (s * t / (rate * (s + t - rate))) ** n - 1

    gram, step = np.array([[entry(s, t) for t in (a, b)] for s in (a, b)]), np.array([a - rate, b - rate])
    model = Exponential("X", LAMBDA)
    for theta, points in (({"lamda": rate}, [a, b]),):
        found = fk.bounds.barankin_bound(model, theta, test_points=points, n=n).covariance
        np.testing.assert_allclose(found, [[step @ np.linalg.solve(gram, step)]], rtol=1e-8)


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (
            lambda: fk.chapman_robbins_bound(UNIFORM, {"theta": 2.0}, test_point=3.0),
            "DataError",
            "only mass 0.666667 on the support",
        ),
        (lambda: fk.chapman_robbins_bound(UNIFORM, test_point=THETA + H), "DataError", "whose support lies inside"),
        (lambda: fk.chapman_robbins_bound(UNIFORM, {"theta": 2.0}, test_point=-1.0), "DataError", "outside its domain"),
        (lambda: fk.chapman_robbins_bound(UNIFORM, {"theta": 2.0}, test_point=2.0), "DataError", "is theta itself"),
        (lambda: fk.chapman_robbins_bound(UNIFORM, {"theta": 2.0}, test_point={"sigma": 1}), "LayoutError", "names sigma"),
        (lambda: fk.chapman_robbins_bound(UNIFORM, n=N), "MethodError", "no closed form of the supremum"),
        (lambda: fk.chapman_robbins_bound(NORMAL, {"mu": 0, "sigma": 1}), "LayoutError", "that of one function"),
        (lambda: fk.chapman_robbins_bound(Exponential("X", LAMBDA), {"lamda": 1.0}), "DataError", "grows without limit"),
        (
            lambda: fk.bounds.barankin_bound(SPREAD, {"sigma": 1, "mu": 0}, test_points=[1.5]),
            "DataError",
            "sigma=1.5 has no second moment",
        ),
        (lambda: fk.bounds.barankin_bound(UNIFORM, {"theta": 2.0}, test_points=[1.0, 1.0]), "LayoutError", "more than once"),
        (lambda: fk.bounds.barankin_bound(UNIFORM, {"theta": 2.0}, test_points=[]), "LayoutError", "at least one test point"),
        (
            lambda: fk.chapman_robbins_bound(stats.uniform, {"scale": 2.0}, test_point=3.0, method=fk.MonteCarlo(100, rng=0)),
            "DataError",
            "mass where the density has none",
        ),
    ],
    ids=[
        "outside the support",
        "outside in symbols",
        "outside the domain",
        "no step",
        "no parameter",
        "no closed form",
        "two functions",
        "no finite variance",
        "infinite ratio",
        "twice the same",
        "no points",
        "outside, drawn",
    ],
)
def test_refusals(ask, error: str, match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(getattr(fk.errors, error), match=match):
        ask()
