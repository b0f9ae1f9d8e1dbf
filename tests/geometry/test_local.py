"""Jeffreys prior, natural gradient, and divergences of small steps."""

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit import geometry
from tests.geometry.families import BERNOULLI, BETA, CATEGORICAL, GAMMA, NORMAL, POISSON, RATE, SIGMA, P


def test_priors_of_the_textbook() -> None:
    assert geometry.jeffreys_prior(BERNOULLI) == 1 / (sp.sqrt(P) * sp.sqrt(1 - P))
    assert geometry.jeffreys_prior(NORMAL) == sp.sqrt(2) / SIGMA**2
    assert geometry.jeffreys_prior(POISSON) == 1 / sp.sqrt(RATE)
    assert geometry.jeffreys_prior(NORMAL.at(mu=0, sigma=2)) == pytest.approx(np.sqrt(2) / 4)


@pytest.mark.parametrize("F", [BERNOULLI, BETA, CATEGORICAL, GAMMA], ids=["bernoulli", "beta", "categorical", "gamma"])
def test_a_prior_is_the_root_of_the_determinant(F: fk.FisherInformation) -> None:
    """Real and positive where the metric is: no factor may bring an imaginary unit."""
    at = dict(zip(F.parameters.names, (0.2, 0.3, 0.1), strict=False))
    prior = geometry.jeffreys_prior(F)
    value = complex(prior.subs({s: at[s.name] for s in prior.free_symbols}).evalf())
    assert value.imag == 0
    assert value.real == pytest.approx(np.sqrt(np.linalg.det(np.asarray(F.at(at)))), rel=1e-10)


def test_a_prior_is_a_density() -> None:
    """New parameters multiply it by the Jacobian."""
    logit = sp.Symbol("eta", real=True)
    moved = geometry.jeffreys_prior(BERNOULLI.reparametrize((logit,), {"p": 1 / (1 + sp.exp(-logit))}))
    p = 1 / (1 + np.exp(-0.3))
    assert float(moved.subs(logit, 0.3)) == pytest.approx(np.sqrt(p * (1 - p)), rel=1e-10)


def test_a_singular_information_has_no_prior() -> None:
    with pytest.raises(fk.errors.SingularInformationError, match=r"\+1 a -1 b"):
        geometry.jeffreys_prior(fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]], parameters=("a", "b")))


def test_the_natural_gradient_does_not_depend_on_the_parameters() -> None:
    """Its image under the change of parameters is the natural gradient there."""
    F, gradient = NORMAL.at(mu=1, sigma=2), np.array([0.3, -0.7])
    step = geometry.natural_gradient(F, gradient)
    moved = F.reparametrize({"mu": 1.0, "log_sigma": np.log(2.0)}, lambda t: np.array([t[0], np.exp(t[1])]))
    there = geometry.natural_gradient(moved, gradient * [1, 2.0])
    np.testing.assert_allclose(step, there * [1, 2.0], rtol=1e-8)
    assert geometry.natural_gradient(F, {"mu": 1.0, "sigma": 0.0}) == {"mu": 4.0, "sigma": 0.0}
    singular = fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        geometry.natural_gradient(singular, [1.0, 0.0])


@pytest.mark.parametrize(("coordinates", "order"), [(None, 3), ("mean", 4)], ids=["second order", "mean parameter, third order"])
def test_the_divergence_of_a_small_step(coordinates: str | None, order: int) -> None:
    """Poisson, whose rate is a mean parameter: halving the step divides the error by 2 to the order."""

    def error(d: float) -> float:
        exact = 2.0 * np.log(2.0 / (2.0 + d)) + d
        told = geometry.kullback_leibler(POISSON, [d], coordinates=coordinates)
        return abs(exact - float(told.subs(RATE, 2)))

    assert np.log2(error(0.02) / error(0.01)) == pytest.approx(order, abs=0.05)


def test_the_divergence_in_natural_parameters() -> None:
    eta = sp.Symbol("eta", real=True)
    F = POISSON.reparametrize((eta,), {"rate": sp.exp(eta)})
    d = 0.01
    exact = np.exp(0.3) * (-d - 1 + np.exp(d))  # A(eta + d) - A(eta) - d A'(eta)
    told = float(geometry.kullback_leibler(F, [d], coordinates="natural").subs(eta, 0.3))
    assert abs(told - exact) < d**4
    assert abs(0.5 * np.exp(0.3) * d**2 - exact) > 0.1 * d**3  # the second order alone would be seen
    with pytest.raises(fk.errors.MethodError, match="'natural' or 'mean'"):
        geometry.kullback_leibler(F, [d], coordinates="canonical")
    with pytest.raises(fk.errors.EntriesError, match="needs F as a function"):
        geometry.kullback_leibler(F.at(eta=0.3), [d], coordinates="natural")
    assert geometry.kullback_leibler(F.at(eta=0), [0.1]) == pytest.approx(0.005)
