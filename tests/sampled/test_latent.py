"""Latent variables: Louis's and Delattre & Kuhn's forms against the marginal density, which these models happen to have."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fisherkit as fk
from tests.benchmarks.sampled_problems import PROBLEMS, draw_chain


def judge(F: fk.FisherInformation, exact: np.ndarray) -> None:
    z = (F.dense() - exact) / F.mcse
    assert np.abs(z).max() < 4.5, z
    assert (F.mcse / np.sqrt(np.outer(*[np.diagonal(exact)] * 2))).max() < 0.3


def marginal(log_density, theta: tuple[float, ...], y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, observed and empirical information of the density of y alone."""
    names = tuple("abc"[: len(theta)])
    model = fk.sampled.Model(lambda x, t: log_density(x, t), parameters=names, derivatives="complex")
    s = fk.score(model, theta, data=y)
    return s, fk.observed_information(model, theta, data=y).dense(), s.T @ s


# -- a mixed model: groups of four with a normal effect


def group_log_density(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The effect integrated out: equal correlation, by hand. t = mean, variance of the effect; the noise has variance 1."""
    r = y - t[0]
    within = (r**2).sum(axis=1) - t[1] / (1 + 4 * t[1]) * r.sum(axis=1) ** 2
    return -0.5 * within - 0.5 * np.log(1 + 4 * t[1])


def group_score(y: np.ndarray, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.stack([(y - t[0] - z[:, None]).sum(axis=1), -0.5 / t[1] + 0.5 * z**2 / t[1] ** 2], axis=1)


def group_posterior(y: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    precision = 4 + 1 / t[1]
    return rng.normal((y - t[0]).sum(axis=1) / precision, np.sqrt(1 / precision))


# -- a hidden chain: all 128 paths of its states


PATHS = np.array(list(product((0, 1), repeat=7)))
STAYS = (PATHS[:, 1:] == PATHS[:, :-1]).sum(axis=1)


def chain_posterior(y: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    emission = np.array([t[1], t[2]])[PATHS]
    logs = y @ np.log(emission).T + (1 - y) @ np.log(1 - emission).T + STAYS * np.log(t[0]) + (6 - STAYS) * np.log(1 - t[0])
    mass = np.exp(logs - logs.max(axis=1, keepdims=True)).cumsum(axis=1)
    return PATHS[(rng.random((len(y), 1)) * mass[:, -1:] > mass).sum(axis=1)]


def chain_score(y: np.ndarray, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    stays = (z[:, 1:] == z[:, :-1]).sum(axis=1)
    columns = [stays / t[0] - (6 - stays) / (1 - t[0])]
    for k in (0, 1):
        ones, zeros = ((z == k) & (y == 1)).sum(axis=1), ((z == k) & (y == 0)).sum(axis=1)
        columns.append(ones / t[1 + k] - zeros / (1 - t[1 + k]))
    return np.stack(columns, axis=1)


# -- a mixture of two normals


def mixture_posterior(y: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    a, b = t[2] * np.exp(-0.5 * (y - t[0]) ** 2), (1 - t[2]) * np.exp(-0.5 * (y - t[1]) ** 2)
    return rng.random(len(y)) * (a + b) < a


def mixture_score(y: np.ndarray, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.stack([z * (y - t[0]), (1 - z) * (y - t[1]), z / t[2] - (1 - z) / (1 - t[2])], axis=1)


def cases() -> dict[str, tuple]:
    rng = np.random.default_rng(0)
    groups = 0.5 + rng.normal(0, 0.8, (60, 1)) + rng.normal(size=(60, 4))
    chain, mixture = PROBLEMS["hidden chain"], PROBLEMS["mixture"]
    mixed = mixture.sampler(np.array(mixture.theta), 300, rng)
    return {
        "mixed model": (group_log_density, group_score, group_posterior, (0.5, 0.6), groups),
        "mixture": (mixture.log_density, mixture_score, mixture_posterior, mixture.theta, mixed),
        "hidden chain": (
            chain.log_density,
            chain_score,
            chain_posterior,
            chain.theta,
            draw_chain(np.array(chain.theta), 200, rng),
        ),
    }


@pytest.mark.parametrize("name", ["mixed model", "mixture", "hidden chain"])
def test_both_forms_agree_with_the_marginal_density(name: str) -> None:
    log_density, score, posterior, theta, y = cases()[name]
    names = tuple("abc"[: len(theta)])
    latent = fk.sampled.Latent(score=score, posterior=posterior, parameters=names, draws=200, rng=1)
    s, observed, empirical = marginal(log_density, theta, y)
    L, D = fk.observed_information(latent, theta, data=y), fk.empirical_information(latent, theta, data=y)
    assert (L.kind, D.kind, L.n, D.n) == ("observed", "empirical", len(y), len(y))
    judge(L, observed)
    judge(D, empirical)
    np.testing.assert_allclose(fk.score(latent, theta, data=y).sum(axis=0), s.sum(axis=0), atol=0.2 * np.abs(s).sum(axis=0).max())


def test_few_draws_add_no_bias() -> None:
    """The plain outer product of estimated scores holds their noise; with eight draws it would be 50 % high in the chain."""
    log_density, score, posterior, theta, y = cases()["hidden chain"]
    empirical = marginal(log_density, theta, y)[2]
    found = [
        fk.empirical_information(
            fk.sampled.Latent(score=score, posterior=posterior, parameters=("a", "b", "c"), draws=8, rng=seed), theta, data=y
        ).dense()
        for seed in range(40)
    ]
    error = np.std(found, axis=0, ddof=1) / np.sqrt(40)
    assert np.abs((np.mean(found, axis=0) - empirical) / error).max() < 4
    assert (error / np.diagonal(empirical).max()).max() < 0.05


def test_what_is_refused() -> None:
    make = lambda **given: fk.sampled.Latent(
        **{"score": group_score, "posterior": group_posterior, "parameters": ("a", "b"), "draws": 10, "rng": 0, **given}
    )
    y = cases()["mixed model"][4]
    with pytest.raises(fk.errors.MethodError, match="draws must be an integer, 4 at least; got 3"):
        make(draws=3)
    with pytest.raises(fk.errors.DataError, match="give data="):
        fk.observed_information(make(), (0.5, 0.6))
    with pytest.raises(fk.errors.LayoutError, match=r"a draw for each of 60 observations; got shape \(2,\)"):
        fk.observed_information(make(posterior=lambda y, t, rng: np.zeros(2)), (0.5, 0.6), data=y)
    with pytest.raises(fk.errors.LayoutError, match=r"score\(y, z, theta\) must have shape \(60, 2\); got \(60, 1\)"):
        fk.observed_information(make(score=lambda y, z, t: np.zeros((60, 1))), (0.5, 0.6), data=y)
    with pytest.raises(fk.errors.DataError, match="the score of observation 0 in a is not finite"):
        fk.observed_information(make(score=lambda y, z, t: np.full((60, 2), np.nan)), (0.5, 0.6), data=y)
    with pytest.raises(fk.errors.MethodError, match="expected_information is not defined"):
        fk.expected_information(make(), (0.5, 0.6), method=fk.MonteCarlo(10))
