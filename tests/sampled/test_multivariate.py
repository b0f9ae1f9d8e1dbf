"""The multivariate normal of scipy.stats, against the forecaster's formula, differences of its log-density, and algebra."""

import numpy as np
import pytest
from scipy import stats

import fisherkit as fk

MEAN, LOWER = np.array([1.0, -2.0, 0.5]), np.tril_indices(3)
COV = np.array([[2.0, 0.3, -0.4], [0.3, 1.0, 0.2], [-0.4, 0.2, 0.7]])
FROZEN = stats.multivariate_normal(MEAN, COV)
FLAT = np.concatenate([MEAN, COV[LOWER]])


def covariance(flat: np.ndarray) -> np.ndarray:
    out = np.zeros((3, 3))
    out[LOWER] = flat[3:]
    return out + np.tril(out, -1).T


def at(flat: np.ndarray) -> object:
    return stats.multivariate_normal(flat[:3], covariance(flat))


def slopes(function: object, step: float = 1e-5) -> np.ndarray:
    """Central differences in the nine parameters, along the last axis."""
    return np.stack([(function(FLAT + e) - function(FLAT - e)) / (2 * step) for e in step * np.eye(9)], axis=-1)


def test_information_is_the_forecasters_formula() -> None:
    forecast = fk.sampled.GaussianModel(lambda t: t[:3], covariance, parameters=[f"t{i}" for i in range(9)])
    F = fk.expected_information(FROZEN)
    np.testing.assert_allclose(np.asarray(F), np.asarray(fk.expected_information(forecast, FLAT)), rtol=1e-10, atol=1e-10)
    assert F.parameters.labels[:4] == ("mean[0]", "mean[1]", "mean[2]", "cov[0]")


def test_one_dimension_is_the_normal() -> None:
    F = fk.expected_information(stats.multivariate_normal(1.0, 4.0))
    np.testing.assert_allclose(np.asarray(F), np.diag([1 / 4, 1 / (2 * 16)]), rtol=1e-14)


def test_inverse_is_the_known_covariance_of_estimates() -> None:
    """cov(S_ij, S_kl) = C_ik C_jl + C_il C_jk (Anderson 2003, section 3.4)."""
    found = np.asarray(fk.expected_information(FROZEN)["cov"].inverse())
    pairs = list(zip(*LOWER, strict=True))
    wanted = [[COV[i, k] * COV[j, m] + COV[i, m] * COV[j, k] for k, m in pairs] for i, j in pairs]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_data_verbs_are_derivatives_of_the_log_density() -> None:
    x = FROZEN.rvs(50, random_state=1)
    s = fk.score(FROZEN, data=x)
    np.testing.assert_allclose(s, slopes(lambda t: at(t).logpdf(x)), rtol=1e-7, atol=1e-7)
    observed = -slopes(lambda t: fk.score(at(t), data=x).sum(axis=0))
    np.testing.assert_allclose(np.asarray(fk.observed_information(FROZEN, data=x)), observed, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(np.asarray(fk.empirical_information(FROZEN, data=x)), s.T @ s, rtol=1e-12)
    assert fk.sampled.Family(FROZEN).log_likelihood(data=x) == pytest.approx(FROZEN.logpdf(x).sum(), rel=1e-12)


def test_a_known_part_is_fixed() -> None:
    F = fk.expected_information(fk.sampled.Family(stats.multivariate_normal, fixed={"cov": COV}), {"mean": MEAN})
    np.testing.assert_allclose(np.asarray(F), np.linalg.inv(COV), rtol=1e-12, atol=1e-14)
    G = fk.expected_information(fk.sampled.Family(FROZEN, fixed={"mean": MEAN}), structure="diagonal")
    np.testing.assert_allclose(G.diagonal()["cov"], np.diagonal(np.asarray(fk.expected_information(FROZEN)["cov"])), rtol=1e-12)


@pytest.mark.parametrize(
    ("distribution", "theta", "message"),
    [
        (stats.multivariate_normal, None, "needs mean, cov"),
        (stats.multivariate_normal, {"mean": MEAN}, "needs cov"),
        (stats.multivariate_normal, {"mean": MEAN, "cov": np.ones((3, 3))}, "positive definite"),
        (stats.multivariate_normal, {"mean": MEAN[:2], "cov": COV}, r"shape \(3,\)"),
        (stats.multivariate_normal, {"mean": MEAN, "cov": COV + np.triu(COV, 1)}, "symmetric"),
        (stats.multivariate_normal, {"mean": MEAN, "cov": COV, "df": 3.0}, "unknown parameter df"),
        (FROZEN, FLAT, "mapping"),
    ],
)
def test_points_that_are_none(distribution: object, theta: object, message: str) -> None:
    with pytest.raises(fk.errors.LayoutError, match=message):
        fk.expected_information(distribution, theta)


def test_data_that_are_none() -> None:
    with pytest.raises(fk.errors.LayoutError, match=r"shape \(n, 3\)"):
        fk.score(FROZEN, data=np.zeros((4, 2)))
    with pytest.raises(fk.errors.DataError, match="finite"):
        fk.score(FROZEN, data=[[0.0, np.nan, 1.0]])
