"""Sums by name, priors, figures of merit, and what a wrong fixed parameter does."""

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from tests.families import FAMILIES as GIVEN

FAMILIES = [*GIVEN[:2], sp.Matrix]
PLANCK = np.array([[9.0, 2.0], [2.0, 4.0]])
SNE = np.array([[5.0, 1.0], [1.0, 3.0]])


@pytest.mark.parametrize("make", FAMILIES)
def test_experiments_add_by_name(make: Callable[[object], object]) -> None:
    F = fk.FisherInformation(make(PLANCK), parameters=("H0", "Om"), n=10)
    G = fk.FisherInformation(make(SNE), parameters=("w", "Om"), n=5)
    both = F.join(G)
    assert both.parameters.names == ("H0", "Om", "w")
    np.testing.assert_allclose(np.asarray(both), [[9, 2, 0], [2, 7, 1], [0, 1, 5]])
    assert both.n == 15
    np.testing.assert_allclose(np.asarray(G.join(F)["H0", "Om", "w"]), np.asarray(both))
    np.testing.assert_allclose(np.asarray(F.join(F)), 2 * PLANCK)
    np.testing.assert_allclose(np.asarray(F.join(G, F)), np.asarray(both.join(F)))


def test_a_sum_by_name_has_the_error_of_its_parts() -> None:
    import scipy.stats

    F = fk.expected_information(scipy.stats.norm, {"loc": 0.0, "scale": 1.0}, method=fk.MonteCarlo(2000, rng=0))
    joined = F.join(fk.FisherInformation([[1.0]], parameters=("w",)))
    np.testing.assert_allclose(joined.mcse[:2, :2], F.mcse)
    np.testing.assert_allclose(joined.mcse[2], 0)


@pytest.mark.parametrize("make", FAMILIES)
def test_a_prior_narrows_what_it_names(make: Callable[[object], object]) -> None:
    F = fk.FisherInformation(make(PLANCK), parameters=("H0", "Om"), n=10, point={"H0": 70, "Om": 0.3})
    told = F.with_prior(H0=0.5)
    np.testing.assert_allclose(np.asarray(told), PLANCK + np.diag([4.0, 0.0]))
    assert (told.n, told.kind, told.point) == (10, "expected+prior", F.point)
    np.testing.assert_allclose(np.asarray(told.with_prior({"Om": 0.1})), PLANCK + np.diag([4.0, 100.0]))
    assert told.with_prior(Om=0.1).kind == "expected+prior"
    narrow = np.asarray(F.with_prior(H0=1e-6).marginalize("H0"))  # a known parameter is a fixed one
    np.testing.assert_allclose(narrow, np.asarray(F.fix("H0")), rtol=1e-9)


def test_a_prior_in_symbols_and_on_a_singular_information() -> None:
    width = sp.Symbol("w", positive=True)
    F = fk.FisherInformation(sp.Matrix([[1, 1], [1, 1]]), parameters=("a", "b"))
    assert F.with_prior(a=width).inverse() == sp.Matrix([[width**2, -(width**2)], [-(width**2), width**2 + 1]])
    diagonal = fk.FisherInformation({"a": np.ones(3), "b": np.ones(())}).with_prior(a=0.5)
    assert diagonal.structure == "diagonal"
    np.testing.assert_allclose(diagonal.diagonal()["a"], 5.0)


def test_a_correlated_prior() -> None:
    covariance = np.array([[0.04, 0.03], [0.03, 0.09]])
    prior = fk.forecast.gaussian_prior(covariance, parameters=("Om", "H0"))
    assert prior.n == 0
    F = fk.FisherInformation(PLANCK, parameters=("H0", "Om"))
    np.testing.assert_allclose(np.asarray(F.join(prior)), PLANCK + np.linalg.inv(covariance)[::-1, ::-1])


@pytest.mark.parametrize("covariance", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], sp.Matrix([[1, 2], [2, 1]])])
def test_a_prior_that_is_none(covariance: object) -> None:
    with pytest.raises(fk.errors.DataError, match=r"positive definite covariance; its lowest eigenvalue is (-1|-?\d.*e-\d+|0)"):
        fk.forecast.gaussian_prior(covariance, parameters=("a", "b"))


def test_figure_of_merit() -> None:
    F = fk.FisherInformation([[9.0, 2.0, 1.0], [2.0, 7.0, 1.0], [1.0, 1.0, 5.0]], parameters=("w0", "wa", "H0"))
    covariance = np.linalg.inv(np.asarray(F))[:2, :2]
    assert fk.forecast.figure_of_merit(F, "w0", "wa") == pytest.approx(1 / np.sqrt(np.linalg.det(covariance)))
    from fisherkit.plots.ellipse import outlines

    ((x, y),) = outlines(F, "w0", "wa", [0.9545])  # its area, by the shoelace formula
    area = 0.5 * abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
    assert area == pytest.approx(-2 * np.pi * np.log(1 - 0.9545) / fk.forecast.figure_of_merit(F, "w0", "wa"), rel=1e-3)
    s = sp.Symbol("s", positive=True)
    assert fk.forecast.figure_of_merit(fk.FisherInformation(sp.diag(s**-2, s**-2), parameters=("a", "b"))) == s**-2
    with pytest.raises(fk.errors.LayoutError, match="unknown parameter wp"):
        fk.forecast.figure_of_merit(F, "w0", "wp")
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        fk.forecast.figure_of_merit(fk.FisherInformation(np.ones((2, 2)), parameters=("a", "b")))


@pytest.mark.parametrize("make", FAMILIES)
def test_the_bias_of_a_wrong_fixed_parameter_is_that_of_least_squares(make: Callable[[object], object]) -> None:
    """Exact in a linear model: fit with one coefficient held at a wrong value, on data without noise."""
    X = np.random.default_rng(0).normal(size=(30, 3))
    truth, wrong = np.array([1.0, -2.0, 0.5]), 0.7
    fit = np.linalg.lstsq(X[:, :2], X @ truth - wrong * X[:, 2], rcond=None)[0]
    F = fk.FisherInformation(make(X.T @ X), parameters=("a", "b", "c"))
    bias = fk.forecast.fixed_parameter_bias(F, {"c": wrong - truth[2]})
    assert [float(bias["a"]), float(bias["b"])] == pytest.approx(list(fit - truth[:2]), rel=1e-9)


def test_what_a_forecast_refuses() -> None:
    F = fk.FisherInformation(PLANCK, parameters=("H0", "Om"))
    with pytest.raises(fk.errors.LayoutError, match=r"join all of them with F.join\(G\)"):
        F + fk.FisherInformation(SNE, parameters=("w", "Om"))
    for width in (0.0, -1.0):
        with pytest.raises(fk.errors.DataError, match="the prior width of H0 must be positive"):
            F.with_prior(H0=width)
    with pytest.raises(fk.errors.DataError, match="the prior width of H0 must be finite"):
        F.with_prior(H0=np.inf)
    with pytest.raises(fk.errors.LayoutError, match="unknown parameter h"):
        F.with_prior(h=1.0)
    with pytest.raises(fk.errors.LayoutError, match="takes informations; got float"):
        F.join(0.5)
    with pytest.raises(fk.errors.LayoutError, match="one shape per name"):
        fk.FisherInformation({"a": np.ones(2)}).join(fk.FisherInformation({"a": np.ones(3)}))
    with pytest.raises(fk.errors.LayoutError, match="leaves no parameter"):
        fk.forecast.fixed_parameter_bias(F, {"H0": 1.0, "Om": 0.1})
    with pytest.raises(fk.errors.LayoutError, match="at least one fixed parameter"):
        fk.forecast.fixed_parameter_bias(F, {})
