"""I(phi) = J' I(theta) J, with J = d theta / d phi, against the information computed in the new parameters."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats

import fisherkit as fk

A, RATE = sp.symbols("a rate", positive=True)


def _gamma_by_rate() -> fk.FisherInformation:
    """scipy's gamma has a scale; a model with a rate is written in code."""
    return fk.expected_information(
        fk.sampled.Model(lambda x, t: stats.gamma.logpdf(x, t[0], scale=1 / t[1]), parameters=("a", "rate"), support=(0, np.inf)),
        {"a": 2.5, "rate": 2.0},
    )


@pytest.mark.parametrize(
    "inverse_map",
    [{"a": A, "scale": 1 / RATE}, {"scale": 1 / RATE}, lambda phi: np.array([phi[0], 1 / phi[1]])],
    ids=["expressions", "identity left out", "callable"],
)
def test_moved_information_is_the_one_computed_in_the_new_parameters(inverse_map: object) -> None:
    F = fk.expected_information(stats.gamma, {"a": 2.5, "scale": 0.5})
    fk.checks.check_reparametrization(F, _gamma_by_rate(), inverse_map, {"a": 2.5, "rate": 2.0})


def test_a_jacobian_that_is_not_symmetric() -> None:
    """Mean and shape of a gamma: scale = m / a mixes the two, so J and its transpose differ."""
    by_mean = fk.sampled.Model(
        lambda x, t: stats.gamma.logpdf(x, t[1], scale=t[0] / t[1]), parameters=("m", "a"), support=(0, np.inf)
    )
    direct = fk.expected_information(by_mean, {"m": 1.25, "a": 2.5})
    F = fk.expected_information(stats.gamma, {"a": 2.5, "scale": 0.5})
    m, a = sp.symbols("m a", positive=True)
    for inverse_map in ({"a": a, "scale": m / a}, lambda phi: np.array([phi[1], phi[0] / phi[1]])):
        fk.checks.check_reparametrization(F, direct, inverse_map, {"m": 1.25, "a": 2.5})


def test_there_and_back_again_is_the_identity() -> None:
    F = fk.expected_information(stats.gamma, {"a": 2.5, "scale": 0.5})
    moved = F.reparametrize({"m": 1.25, "a": 2.5}, lambda phi: np.array([phi[1], phi[0] / phi[1]]))
    back = moved.reparametrize({"a": 2.5, "scale": 0.5}, lambda theta: np.array([theta[0] * theta[1], theta[0]]))
    np.testing.assert_allclose(np.asarray(back), np.asarray(F), rtol=1e-9)


def test_symbols_move_to_symbols() -> None:
    mu, sigma = sp.Symbol("mu", real=True), sp.Symbol("sigma", positive=True)
    tau = sp.Symbol("tau", positive=True)
    F = fk.FisherInformation(sp.diag(sigma**-2, 2 * sigma**-2), parameters=(mu, sigma))
    moved = F.reparametrize((mu, tau), {"sigma": tau ** sp.Rational(-1, 2)})  # a precision
    assert moved.dense() == sp.Matrix([[tau, 0], [0, 1 / (2 * tau**2)]])
