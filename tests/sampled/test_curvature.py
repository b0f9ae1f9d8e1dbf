"""Second derivatives of a whole log-likelihood: digits where columns are collinear, and steps that leave the domain."""

import math

import numpy as np
import pytest

import fisherkit as fk
from fisherkit.sampled.curvature import CURVATURE_10, CURVATURE_12, NODES


def test_the_weights_are_of_their_order() -> None:
    for weights, order in ((CURVATURE_12, 12), (CURVATURE_10, 10)):
        for power in range(1, order + 1):
            assert weights @ NODES**power == pytest.approx(2.0 * (power == 2), abs=1e-6)
        assert abs(weights @ NODES ** (order + 2)) > 1


@pytest.mark.parametrize("changes", ["numeric", "complex", "score", "score without complex numbers"])
def test_collinear_columns_cost_no_digits(changes: str) -> None:
    """Powers of a year in odd units as covariates, of condition above 1e6 after scaling: errors against those of a QR."""
    year = np.linspace(1900, 2000, 80)
    X = np.stack([((year - 1800) / 10) ** k for k in range(5)], axis=1) * 10.0 ** np.arange(0, -10, -2)
    X = X * np.array([1, 1, 1e3, 1e-3, 1.0])
    q, r = np.linalg.qr(X)
    eta = q @ np.array([1.0, -2.0, 0.5, 1.0, -1.0])
    beta, y = np.linalg.solve(r, q.T @ eta), (np.arange(80) % 3 > 0).astype(float)
    w = np.exp(eta) / (1 + np.exp(eta)) ** 2
    _, root = np.linalg.qr(np.sqrt(w)[:, None] * q)
    exact = np.sqrt(np.diagonal(np.linalg.inv(root @ r) @ np.linalg.inv(root @ r).T))

    log = lambda x, b: x[:, 0] * (x[:, 1:] @ b) - np.log(1 + np.exp(x[:, 1:] @ b))
    score = lambda x, b: (x[:, 0] - 1 / (1 + np.exp(-x[:, 1:] @ b)))[:, None] * x[:, 1:]
    given: dict = {"derivatives": changes} if changes in ("numeric", "complex") else {"score": score}
    if changes == "score without complex numbers":
        given = {"score": lambda x, b: score(x, np.asarray(b, dtype=float))}
    model = fk.sampled.Model(log, parameters=[f"b{k}" for k in range(5)], **given)
    with np.errstate(all="ignore"):
        F = model.observed_information(beta, data=np.column_stack([y, X]))
    assert F.condition > 1e6
    np.testing.assert_allclose(F.standard_errors(), exact, rtol=1e-7)


@pytest.mark.parametrize("how", ["log-density", "score"])
@pytest.mark.parametrize("p", [0.9, 0.999])
def test_a_step_that_leaves_the_domain_is_taken_shorter(p: float, how: str) -> None:
    """Code that raises outside (0, 1), beside an end of it."""
    n = round(1 / (1 - p))
    data = np.r_[np.ones(n - 1), 0.0]
    at = {"p": 1 - 1 / n}
    log = lambda x, t: x * math.log(t[0]) + (1 - x) * math.log(1 - t[0])

    def score(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        math.log(1 - t[0])
        return (x / t[0] - (1 - x) / (1 - t[0]))[:, None]

    model = fk.sampled.Model(log if how == "log-density" else None, score=score if how == "score" else None, parameters=("p",))
    for verb in (fk.observed_information, fk.empirical_information):
        assert float(verb(model, at, data=data)) == pytest.approx(n / (at["p"] * (1 - at["p"])), rel=1e-9)


def test_a_score_that_mangles_complex_numbers_in_one_small_place_is_not_trusted() -> None:
    """The second parameter, in units of 1e8, is taken by its real part: a complex step would see no curvature in it."""

    def score(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        scale = np.real(t[1]) * 1e-8
        return np.stack([(x - t[0]), (x**2 - scale) * 1e-8 + 0 * t[0]], axis=1)

    model = fk.sampled.Model(score=score, parameters=("mean", "second"))
    data = np.array([-1.0, 0.5, 1.0, -0.5])
    F = fk.observed_information(model, {"mean": 0.0, "second": 0.625e8}, data=data)
    np.testing.assert_allclose(F.diagonal(), [4.0, 4e-16], rtol=1e-7)


def test_what_is_wrong_at_the_point_itself_is_told_as_it_is() -> None:
    model = fk.sampled.Model(lambda x, t: x * math.log(t[0]), parameters=("p",))
    with pytest.raises(ValueError, match=r"math domain|positive|expected"):
        fk.observed_information(model, {"p": -1.0}, data=[1.0, 2.0])


def test_a_noisy_log_density_is_refused() -> None:
    rng = np.random.default_rng(0)
    noisy = fk.sampled.Model(
        lambda x, t: -0.5 * (x - t[0]) ** 2,
        score=lambda x, t: (x - t[0] + 0.01 * rng.normal(size=len(x)))[:, None],
        parameters=("a",),
    )
    with pytest.raises(fk.errors.PrecisionError, match="known to"):
        fk.observed_information(noisy, {"a": 0.0}, data=np.linspace(-1, 1, 20))


def test_few_observations_and_no_information() -> None:
    """Fewer rows than parameters, a parameter that does nothing, and one at 0."""
    x = np.array([[1.0, 2.0, 3.0]])
    line = fk.sampled.Model(lambda r, t: -0.5 * (r @ t[:3]) ** 2 + 0 * t[3], parameters=("a", "b", "c", "idle"))
    F = fk.observed_information(line, {"a": 0.0, "b": 0.5, "c": 0.0, "idle": 1.0}, data=x)
    np.testing.assert_allclose(F.dense()[:3, :3], x.T @ x, rtol=1e-8)
    np.testing.assert_allclose(F.dense()[3], 0, atol=1e-8)
