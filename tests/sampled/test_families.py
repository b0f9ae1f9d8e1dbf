"""scipy.stats families by quadrature, against published closed forms and against mpmath (not through fisherkit)."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import ive, polygamma

import fisherkit as fk

PI2, G1 = np.pi**2, 1 - np.euler_gamma
psi1 = lambda x: float(polygamma(1, x))

#: the second derivative of log zeta at 3 and at 1.5, by mpmath
ZETA_3, ZETA_15 = 0.172280711506000317, 3.85496291567603833
FAMILIES = {
    "cauchy": (stats.cauchy, {"loc": 1.0, "scale": 2.0}, np.eye(2) / 8, 1e-9),
    "laplace has a kink": (stats.laplace, {"loc": 0.5, "scale": 0.5}, 4 * np.eye(2), 1e-8),
    "logistic": (stats.logistic, {"loc": -1.0, "scale": 2.0}, np.diag([1 / 3, (3 + PI2) / 9]) / 4, 1e-9),
    "student t": (stats.t, {"df": 5.0}, [[(psi1(2.5) - psi1(3)) / 4 - 10 / (10 * 6 * 8)]], 1e-9),
    "gumbel": (stats.gumbel_r, {"loc": 0.3, "scale": 2.0}, np.array([[1, -G1], [-G1, G1**2 + PI2 / 6]]) / 4, 1e-9),
    "beta": (
        stats.beta,
        {"a": 2.0, "b": 3.0},
        [[psi1(2) - psi1(5), -psi1(5)], [-psi1(5), psi1(3) - psi1(5)]],
        1e-9,
    ),
    "beta, infinite at both ends": (stats.beta, {"a": 0.5, "b": 0.5}, PI2 / 6 * np.array([[2, -1], [-1, 2]]), 1e-5),
    "lognormal": (stats.lognorm, {"s": 0.7, "scale": 3.0}, np.diag([2 / 0.49, 1 / (0.49 * 9)]), 1e-9),
    "pareto shape": (stats.pareto, {"b": 2.5}, [[1 / 6.25]], 1e-9),
    "inverse gamma": (stats.invgamma, {"a": 3.0, "scale": 2.0}, [[psi1(3), -0.5], [-0.5, 3 / 4]], 1e-9),
    "lomax": (stats.lomax, {"c": 3.0, "scale": 2.0}, [[1 / 9, -1 / 8], [-1 / 8, 3 / (4 * 5)]], 1e-9),
    "moving end of order 2": (stats.gamma, {"a": 3.0, "loc": 1.0}, [[psi1(3), 1 / 2], [1 / 2, 1.0]], 1e-7),
    "poisson": (stats.poisson, {"mu": 300.0}, [[1 / 300]], 1e-9),
    "geometric": (stats.geom, {"p": 0.3}, [[1 / (0.09 * 0.7)]], 1e-9),
    "negative binomial p": (stats.nbinom(3.5, 0.3), None, None, None),
    "far away and narrow": (stats.norm, {"loc": 1e6, "scale": 1e-3}, np.diag([1e6, 2e6]), 1e-7),
    "a heavy tail": (stats.zipf, {"a": 3.0}, [[ZETA_3]], 1e-12),
    "a tail without a mean": (stats.zipf, {"a": 1.5}, [[ZETA_15]], 1e-11),
    "a million terms": (stats.geom, {"p": 1e-6}, [[1 / (1e-12 * (1 - 1e-6))]], 1e-11),
    "frozen": (stats.gamma(2.0, scale=3.0), None, [[psi1(2), 1 / 3], [1 / 3, 2 / 9]], 1e-9),
    "new infrastructure": (stats.Normal(mu=3.0, sigma=2.0), None, np.diag([1 / 4, 1 / 2]), 1e-9),
    "new from old": (stats.make_distribution(stats.gamma), {"a": 2.0}, [[psi1(2)]], 1e-9),
}
del FAMILIES["negative binomial p"]


#: written by ``python -m tests.benchmarks.families_reference``, at 70 digits from the formulas of the densities
REFERENCES = json.loads((Path(__file__).parent / "families.json").read_text())

#: families whose log-density in scipy is itself no better: the true error of the information, where it is above 1e-10
INEXACT = {"kstwobign": 1e-8}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "irwinhall" else []) for name in REFERENCES]
)
def test_information_is_that_of_the_formula_within_its_error_bound(name: str) -> None:
    row = REFERENCES[name]
    p = len(row["theta"])
    exact = np.zeros((p, p))
    exact[np.tril_indices(p)] = exact.T[np.tril_indices(p)] = [float(value) for value in row["lower"]]
    F = fk.expected_information(fk.sampled.Family(getattr(stats, name), fixed=row["fixed"]), row["theta"])
    error = float((np.abs(np.asarray(F) - exact) / np.sqrt(np.outer(np.diagonal(exact), np.diagonal(exact)))).max())
    assert error <= F.error_bound
    assert error <= INEXACT.get(name, 1e-10)
    assert F.error_bound <= 4 * INEXACT.get(name, 1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_information_is_the_published_one_within_its_error_bound(name: str) -> None:
    family, theta, exact, tolerance = FAMILIES[name]
    F = fk.expected_information(family, theta)
    root = np.sqrt(np.diagonal(exact))
    error = np.abs(np.asarray(F) - exact) / np.outer(root, root)
    assert error.max() < tolerance
    assert error.max() <= F.error_bound


def test_negative_binomial_with_real_n_has_the_published_entries() -> None:
    F = np.asarray(fk.expected_information(stats.nbinom, {"n": 3.5, "p": 0.3}))
    assert F[1, 1] == pytest.approx(3.5 / (0.09 * 0.7), rel=1e-9)
    assert F[0, 1] == pytest.approx(-1 / 0.3, rel=1e-9)


def test_known_parameters_are_fixed() -> None:
    F = fk.expected_information(fk.sampled.Family(stats.binom, fixed={"n": 10}), {"p": 0.3})
    assert F.parameters.names == ("p",)
    assert float(F) == pytest.approx(10 / 0.21, rel=1e-9)


@pytest.mark.parametrize(
    ("family", "theta", "condition", "parameter"),
    [
        (stats.uniform, {"loc": 0.0, "scale": 2.0}, "support_depends_on_parameter", "loc"),
        (stats.expon, {"loc": 1.0}, "support_depends_on_parameter", "loc"),
        (stats.pareto, {"b": 3.0, "scale": 2.0}, "support_depends_on_parameter", "scale"),
        (stats.gamma, {"a": 2.0, "loc": 0.0}, "infinite_information", "loc"),
        (stats.binom, {"n": 10, "p": 0.3}, "integer_parameter", "n"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_families_without_an_information_are_refused_by_name(
    family: object, theta: dict[str, float], condition: str, parameter: str
) -> None:
    with pytest.raises(fk.errors.RegularityError, match=parameter) as refusal:
        fk.expected_information(family, theta)
    assert (refusal.value.condition, refusal.value.parameter) == (condition, parameter)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ({"shape": 2.0}, "unknown parameter shape; the family has a, loc, scale"),
        ({"a": -2.0}, "a=-2 is outside the domain"),
        ([2.0], "mapping from parameter name"),
        ({}, "at least one parameter"),
        (None, "at least one parameter"),
        ({"a": np.nan}, "outside the domain"),
    ],
)
def test_points_that_are_none(theta: object, message: str) -> None:
    with pytest.raises(fk.errors.LayoutError, match=message):
        fk.expected_information(stats.gamma, theta)


def test_multivariate_families_are_refused_with_what_to_write() -> None:
    with pytest.raises(fk.errors.MethodError, match=r"not a univariate scipy\.stats family"):
        fk.expected_information(stats.multinomial(3, [0.4, 0.6]))


@pytest.mark.parametrize("kappa", [0.3, 4.0, 60.0])
def test_a_periodic_density_has_its_information_over_one_period(kappa: float) -> None:
    """Mardia & Jupp (2000), Directional Statistics, section 5.3: A(kappa) = I1 / I0. scipy declares the whole line."""
    a = ive(1, kappa) / ive(0, kappa)
    F = fk.expected_information(stats.vonmises, {"kappa": kappa, "loc": 0.7})
    np.testing.assert_allclose(np.asarray(F), np.diag([1 - a / kappa - a**2, kappa * a]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("family", "theta", "condition", "parameter"),
    [
        (stats.dgamma, {"a": 1.1, "loc": 0.5}, "infinite_information", "loc"),
        (stats.gennorm, {"beta": 0.4, "loc": 0.5, "scale": 2.0}, "infinite_information", "loc"),
        (stats.vonmises, {"kappa": 2.0, "scale": 2.0}, "support_depends_on_parameter", "scale"),
        (stats.pearson3, {"skew": 1.5}, "infinite_information", "skew"),
        (stats.pearson3, {"loc": 0.0, "scale": 2.0, "skew": 2.0}, "support_depends_on_parameter", "loc"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_singularities_that_a_family_does_not_tell_are_found(
    family: object, theta: dict[str, float], condition: str, parameter: str
) -> None:
    with pytest.raises(fk.errors.RegularityError, match=parameter) as refusal:
        fk.expected_information(family, theta)
    assert (refusal.value.condition, refusal.value.parameter) == (condition, parameter)


def test_an_end_that_a_family_does_not_tell_is_found() -> None:
    """pearson3 of skew 1 is a gamma of shape 4 shifted to mean 0 and scaled to variance 1; scipy declares the whole line."""
    F = fk.expected_information(stats.pearson3, {"loc": 0.5, "scale": 2.0, "skew": 1.0}).fix("skew")
    # gamma(4) with end l = loc - 2 scale and scale s = scale / 2: information of (l, s), then its change of variables
    own = np.array([[1 / 2, 1.0], [1.0, 4.0]])
    jacobian = np.array([[1.0, -2.0], [0.0, 0.5]])
    np.testing.assert_allclose(np.asarray(F), jacobian.T @ own @ jacobian, rtol=1e-9, atol=1e-10)


def test_more_digits_than_there_are_is_refused() -> None:
    with pytest.raises(fk.errors.PrecisionError, match="reaches a relative error"):
        fk.expected_information(stats.beta, {"a": 0.5, "b": 0.5}, method=fk.Quadrature(digits=12))
    with pytest.raises(fk.errors.MethodError, match="symbolic model for more"):
        fk.expected_information(stats.norm, {"loc": 0.0}, method=fk.Quadrature(digits=30))
