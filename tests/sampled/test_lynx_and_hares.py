"""Lotka-Volterra fitted to the pelts of hares and lynx that the Hudson's Bay Company traded, 1900 to 1920.

Data and posterior from Carpenter (2018), Predator-Prey Population Dynamics: the Lotka-Volterra model in Stan.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fisherkit as fk

HARES = [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1, 40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7]
LYNX = [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4, 8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6]
NAMES = ("birth", "caught", "death", "growth", "hares", "lynx", "of_hares", "of_lynx")
POSTERIOR = {  # mean and standard deviation, under weak priors
    "birth": (0.545, 0.064),
    "caught": (0.028, 0.004),
    "death": (0.803, 0.092),
    "growth": (0.024, 0.004),
    "hares": (33.96, 2.9),
    "lynx": (5.95, 0.53),
}


def log_populations(t: np.ndarray) -> np.ndarray:
    birth, caught, death, growth = t[:4]
    slope = lambda _, y: [birth * y[0] - caught * y[0] * y[1], growth * y[0] * y[1] - death * y[1]]
    run = solve_ivp(slope, (0, 20), t[4:6], t_eval=np.arange(21.0), method="DOP853", rtol=1e-9, atol=1e-9)
    return np.log(run.y).ravel()


def test_the_fit_agrees_with_a_published_posterior() -> None:
    """Estimates within a third of a standard deviation; errors up to a quarter less, as the posterior's noise is a sixth more."""
    data = np.log([*HARES, *LYNX])
    start = dict(zip(NAMES, (0.5, 0.03, 0.8, 0.03, 30.0, 5.0, 0.3, 0.3), strict=True))
    scatter = lambda t: np.repeat(t[6:] ** 2, 21)
    own = fk.sampled.GaussianModel(log_populations, scatter, parameters=NAMES, derivatives="complex")
    fit = fk.estimation.fisher_scoring(own, start, [data])
    for name, (mean, deviation) in POSTERIOR.items():
        assert abs(fit.estimate[name] - mean) < 0.35 * deviation
        assert 0.74 < fit.standard_errors[name] / deviation < 1.0
    residuals = (data - log_populations(np.array(list(fit.estimate.values())))).reshape(2, 21)
    assert [fit.estimate["of_hares"], fit.estimate["of_lynx"]] == pytest.approx(np.sqrt((residuals**2).mean(axis=1)), rel=1e-6)
    assert fk.estimation.identifiability(fit.information).identifiable


def test_hares_alone_do_not_tell_how_many_lynx_there_are() -> None:
    """The unit of lynx is arbitrary without their pelts: those caught by each, and their first number, never part."""
    alone = lambda t: log_populations(t)[:21]
    own = fk.sampled.GaussianModel(alone, np.full(21, 0.05), parameters=NAMES[:6], derivatives="complex")
    F = fk.expected_information(own, [0.54, 0.027, 0.8, 0.024, 34.6, 5.8])
    found = fk.estimation.identifiability(F)
    assert not found.identifiable
    with pytest.raises(fk.errors.SingularInformationError, match=r"caught.*lynx|lynx.*caught"):
        F.inverse()
    assert F.fix("lynx").standard_errors()[0] < 0.3
