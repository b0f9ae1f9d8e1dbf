"""Gaussian data with a model for mean and covariance, against closed forms."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fisherkit as fk

X = np.linspace(0.0, 2.0, 7)


def test_a_straight_line_has_the_normal_equations() -> None:
    C = 0.3 * np.exp(-abs(X[:, None] - X))
    line = fk.sampled.GaussianModel(lambda t: t[0] + t[1] * X, C, parameters=("a", "b"))
    J = np.stack([np.ones(7), X], axis=1)
    assert np.asarray(fk.expected_information(line, {"a": 1.0, "b": -2.0})) == pytest.approx(J.T @ np.linalg.inv(C) @ J, rel=1e-9)


@pytest.mark.parametrize("axes", [1, 2])
def test_the_trace_term_is_kept_when_sigma_is_a_parameter(axes: int) -> None:
    """d independent data: d / sigma^2 for the mean and 2 d / sigma^2 for sigma; without the trace term, 0."""
    noise = lambda t: t[1] ** 2 * (np.ones(7) if axes == 1 else np.eye(7))
    own = fk.sampled.GaussianModel(lambda t: t[0] * np.ones(7), noise, parameters=("mu", "sigma"))
    F = np.asarray(fk.expected_information(own, {"mu": 0.5, "sigma": 2.0}))
    assert pytest.approx(np.diag([7 / 4, 14 / 4]), rel=1e-9, abs=1e-10) == F


def test_a_simulated_covariance_is_corrected_for_its_noise() -> None:
    """The mean over covariances estimated from 20 simulations is the information of the true one; uncorrected 85 % too large."""
    rng, truth = np.random.default_rng(0), 7.0
    found = []
    for _ in range(400):
        C = np.cov(rng.normal(size=(20, 7)), rowvar=False)
        own = fk.sampled.GaussianModel(lambda t: t[0] * np.ones(7), C, parameters=("mu",), simulations=20)
        found.append(float(fk.expected_information(own, {"mu": 0.0})))
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / 20


def test_torch_functions_give_the_same() -> None:
    torch = pytest.importorskip("torch")
    x = torch.as_tensor(X)
    numeric = fk.sampled.GaussianModel(
        lambda t: np.exp(-t[0] * X), lambda t: t[1] * np.eye(7) + 0.1 * t[0], parameters=("k", "v")
    )
    own = fk.sampled.GaussianModel(
        lambda t: torch.exp(-t[0] * x),
        lambda t: t[1] * torch.eye(7, dtype=torch.float64) + 0.1 * t[0],
        parameters=("k", "v"),
        derivatives="torch",
    )
    at = {"k": 0.7, "v": 0.2}
    found, expected = (np.asarray(fk.expected_information(model, at)) for model in (own, numeric))
    assert found == pytest.approx(expected, rel=1e-8)


def test_an_epidemic_names_what_its_data_do_not_tell() -> None:
    """Early in an SIR epidemic only beta - gamma shows in the cases; a reporting rate and the first cases never part."""

    def cases(t: np.ndarray) -> np.ndarray:
        beta, gamma, report, first = t
        slope = lambda _, y: [-beta * y[0] * y[1], beta * y[0] * y[1] - gamma * y[1]]
        run = solve_ivp(slope, (0, 8), [1.0, 1e-9 * first], t_eval=np.arange(1.0, 9), rtol=1e-11, atol=1e-20, method="DOP853")
        return 1e9 * report * run.y[1]

    sir = fk.sampled.GaussianModel(cases, np.full(8, 0.01), parameters=("beta", "gamma", "report", "first"))
    F = fk.expected_information(sir, {"beta": 0.9, "gamma": 0.4, "report": 0.5, "first": 2.0})
    with pytest.raises(fk.errors.SingularInformationError, match="report"):
        F.inverse()
    assert F.fix("gamma", "first").standard_errors()[0] < 1e-2


@pytest.mark.parametrize(
    ("covariance", "given", "error", "message"),
    [
        (np.eye(3), {}, fk.errors.LayoutError, "as the mean has 7 data"),
        (-np.ones(7), {}, fk.errors.DataError, "positive definite; its lowest eigenvalue is -1"),
        (np.full(7, np.nan), {}, fk.errors.DataError, "finite and symmetric"),
        (np.eye(7), {"simulations": 9}, fk.errors.DataError, "needs more than 9 simulations"),
        (lambda t: np.eye(7), {"simulations": 90}, fk.errors.MethodError, "cannot be a function of theta"),
        (np.eye(7), {"derivatives": "magic"}, fk.errors.MethodError, "'numeric' or 'torch'"),
    ],
)
def test_bad_input_is_refused_in_words(covariance: object, given: dict, error: type, message: str) -> None:
    ask = lambda: fk.expected_information(
        fk.sampled.GaussianModel(lambda t: t[0] * X, covariance, parameters=("a",), **given), {"a": 1.0}
    )
    with pytest.raises(error, match=message):
        ask()
