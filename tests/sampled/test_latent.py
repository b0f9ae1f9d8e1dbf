"""What is seen of a model with something unseen: beside the marginal likelihood, which these models have."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logsumexp

import fisherkit as fk
import fisherkit.sampled  # before doctests are collected: a module that is loaded twice cannot be sent to processes

RNG = np.random.default_rng(20)


class Mixture:
    """Two normals that overlap: share, means, one width."""

    parameters = ("logit", "a", "b", "log_sigma")
    at = np.array([0.3, -0.7, 1.1, 0.1])
    y = np.where(RNG.random(60) < expit(0.3), -0.7, 1.1) + np.exp(0.1) * RNG.standard_normal(60)

    @staticmethod
    def parts(y: Any, theta: Any) -> Any:
        logit, a, b, log_sigma = theta
        shares = -np.log1p(np.exp(-logit)), -np.log1p(np.exp(logit))
        terms = (s - 0.5 * ((y - m) / np.exp(log_sigma)) ** 2 - log_sigma for s, m in zip(shares, (a, b), strict=True))
        return np.stack(list(terms))

    @classmethod
    def complete(cls, y: Any, z: Any, theta: Any) -> Any:
        return np.where(z == 0, *cls.parts(y, theta))

    @classmethod
    def marginal(cls, y: Any, theta: Any) -> Any:
        return logsumexp(cls.parts(y, theta), axis=0)

    @classmethod
    def posterior(cls, y: Any, theta: Any, size: int, rng: np.random.Generator) -> Any:
        first, second = cls.parts(y, theta)
        return (rng.random((len(y), size)) > expit(first - second)[:, None]).astype(float)


class RandomIntercept:
    """Subjects of three measurements around a level of their own; both variances unknown."""

    parameters = ("mu", "log_tau", "log_sigma")
    at = np.array([0.4, -0.2, 0.3])
    y = 0.4 + np.exp(-0.2) * RNG.standard_normal((40, 1)) + np.exp(0.3) * RNG.standard_normal((40, 3))

    @staticmethod
    def complete(y: Any, z: Any, theta: Any) -> Any:
        mu, log_tau, log_sigma = theta
        within = -0.5 * ((y - z[:, None]) ** 2).sum(axis=1) * np.exp(-2 * log_sigma) - 3 * log_sigma
        return within - 0.5 * (z - mu) ** 2 * np.exp(-2 * log_tau) - log_tau

    @staticmethod
    def marginal(y: Any, theta: Any) -> Any:
        mu, log_tau, log_sigma = theta
        tau2, sigma2 = np.exp(2 * log_tau), np.exp(2 * log_sigma)
        r = y - mu
        squares = ((r**2).sum(axis=1) - tau2 / (sigma2 + 3 * tau2) * r.sum(axis=1) ** 2) / sigma2
        return -0.5 * squares - 0.5 * np.log(sigma2**2 * (sigma2 + 3 * tau2))

    @staticmethod
    def posterior(y: Any, theta: Any, size: int, rng: np.random.Generator) -> Any:
        mu, log_tau, log_sigma = theta
        precision = np.exp(-2 * log_tau) + 3 * np.exp(-2 * log_sigma)
        mean = (mu * np.exp(-2 * log_tau) + y.sum(axis=1) * np.exp(-2 * log_sigma)) / precision
        return rng.normal(mean[:, None], precision**-0.5, (len(y), size))


class HiddenChain:
    """A chain of two states that stays with some probability, seen through noise; an observation is a sequence."""

    parameters = ("stay", "gap")
    at = np.array([1.2, 1.5])
    y = None

    @staticmethod
    def log_steps(theta: Any) -> Any:
        stay = -np.log1p(np.exp(-theta[0]))
        leave = -np.log1p(np.exp(theta[0]))
        return np.array([[stay, leave], [leave, stay]])

    @classmethod
    def complete(cls, y: Any, z: Any, theta: Any) -> Any:
        z = z.astype(int)
        emitted = -0.5 * ((y - theta[1] * z) ** 2).sum(axis=1)
        return emitted + cls.log_steps(theta)[z[:, :-1], z[:, 1:]].sum(axis=1)

    @classmethod
    def forward(cls, y: Any, theta: Any) -> Any:
        emitted = -0.5 * (y[:, :, None] - theta[1] * np.arange(2)) ** 2
        steps, alpha = cls.log_steps(theta), [emitted[:, 0]]
        for t in range(1, y.shape[1]):
            alpha.append(logsumexp(alpha[-1][:, :, None] + steps, axis=1) + emitted[:, t])
        return alpha

    @classmethod
    def marginal(cls, y: Any, theta: Any) -> Any:
        return logsumexp(cls.forward(y, theta)[-1], axis=1)

    @classmethod
    def posterior(cls, y: Any, theta: Any, size: int, rng: np.random.Generator) -> Any:
        alpha, steps = cls.forward(y, theta), cls.log_steps(theta)
        z = np.zeros((len(y), size, y.shape[1]), dtype=int)
        draw = lambda log: (rng.random(log.shape[:-1]) < expit(log[..., 1] - log[..., 0])).astype(int)
        z[:, :, -1] = draw(np.repeat(alpha[-1][:, None], size, axis=1))
        for t in range(y.shape[1] - 2, -1, -1):
            z[:, :, t] = draw(alpha[t][:, None] + steps.T[z[:, :, t + 1]])
        return z


def _walk() -> np.ndarray:
    z = (RNG.random((15, 12)) > expit(1.2)).cumsum(axis=1) % 2
    return 1.5 * z + RNG.standard_normal(z.shape)


HiddenChain.y = _walk()

CASES = {case.__name__: case for case in (Mixture, RandomIntercept, HiddenChain)}


def both(case: Any, n: int, rng: int = 0, derivatives: str = "complex") -> tuple[Any, Any]:
    method = fk.MonteCarlo(n, rng=rng)
    given = {"posterior": case.posterior, "parameters": case.parameters, "method": method}
    latent = fk.sampled.LatentModel(case.complete, derivatives=derivatives, **given)
    return latent, fk.sampled.Model(case.marginal, parameters=case.parameters)


@pytest.mark.parametrize("verb", [fk.observed_information, fk.empirical_information])
@pytest.mark.parametrize("name", CASES)
def test_the_draws_lead_to_the_marginal_likelihood(name: str, verb: Any) -> None:
    """Louis's identity and the mean scores, each within the error that it states."""
    case = CASES[name]
    latent, marginal = both(case, 500, derivatives="complex" if case is Mixture else "numeric")
    found, exact = verb(latent, case.at, data=case.y), verb(marginal, case.at, data=case.y)
    z = (found.dense() - exact.dense()) / found.mcse
    assert abs(z).max() < 4.5
    assert (found.kind, found.n) == (exact.kind, len(case.y))
    relative = found.mcse / np.sqrt(np.outer(np.diagonal(exact.dense()), np.diagonal(exact.dense())))
    assert relative.max() < 0.12


def test_the_stated_error_is_the_error() -> None:
    """Over seeds, and for a function of the matrix too."""
    case = RandomIntercept
    exact = fk.observed_information(both(case, 100)[1], case.at, data=case.y)
    z = []
    for rng in range(60):
        found = fk.observed_information(both(case, 60, rng)[0], case.at, data=case.y)
        z.append(
            [
                (found.dense() - exact.dense())[0, 0] / found.mcse[0, 0],
                (found.trace - exact.trace) / found.mcse_of(lambda F: F.trace),
            ]
        )
    assert (abs(np.mean(z, axis=0)) < 0.5).all()
    spread = np.std(z, axis=0)
    assert ((spread > 0.7) & (spread < 1.4)).all()


def test_the_noise_of_the_mean_scores_is_taken_off() -> None:
    """From few draws, squares of mean scores are too large; ours are right on average."""
    case = Mixture
    exact = fk.empirical_information(both(case, 40)[1], case.at, data=case.y).trace
    found = [fk.empirical_information(both(case, 40, rng)[0], case.at, data=case.y).trace for rng in range(30)]
    naive = []
    for rng in range(30):
        s = fk.score(both(case, 40, rng)[0], case.at, data=case.y)
        naive.append((s**2).sum())
    error = np.std(found) / np.sqrt(30)
    assert abs(np.mean(found) - exact) < 4 * error
    assert np.mean(naive) - exact > 4 * error


def test_the_score_is_the_mean_of_the_complete_one() -> None:
    latent, marginal = both(RandomIntercept, 4000)
    found = fk.score(latent, RandomIntercept.at, data=RandomIntercept.y)
    np.testing.assert_allclose(found, fk.score(marginal, RandomIntercept.at, data=RandomIntercept.y), atol=0.12)


def test_tensors_are_differentiated_by_torch() -> None:
    torch = pytest.importorskip("torch")

    def complete(y: Any, z: Any, theta: Any) -> Any:
        mu, log_tau, log_sigma = theta
        within = -0.5 * ((y - z[:, None]) ** 2).sum(1) * torch.exp(-2 * log_sigma) - 3 * log_sigma
        return within - 0.5 * (z - mu) ** 2 * torch.exp(-2 * log_tau) - log_tau

    case = RandomIntercept
    method = fk.MonteCarlo(100, rng=3)
    given = {"posterior": case.posterior, "parameters": case.parameters, "method": method}
    by_torch = fk.sampled.LatentModel(complete, derivatives="torch", **given)
    by_differences = fk.sampled.LatentModel(case.complete, **given)
    found = [fk.observed_information(model, case.at, data=case.y).dense() for model in (by_torch, by_differences)]
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-6)


def test_bad_input() -> None:
    case = Mixture
    with pytest.raises(fk.errors.MethodError, match=r"MonteCarlo\(n\) with 40 draws at least"):
        fk.sampled.LatentModel(case.complete, posterior=case.posterior, parameters=case.parameters, method=fk.MonteCarlo(10))
    method = fk.MonteCarlo(100)
    with pytest.raises(fk.errors.LayoutError, match="derivatives must be one of"):
        fk.sampled.LatentModel(
            case.complete, posterior=case.posterior, parameters=case.parameters, method=method, derivatives="guess"
        )
    latent, _ = both(case, 100)
    with pytest.raises(fk.errors.LayoutError, match="theta is needed"):
        fk.observed_information(latent, data=case.y)
    with pytest.raises(fk.errors.DataError, match=r"data must be finite; entry \(1,\) is nan"):
        fk.observed_information(latent, case.at, data=[1.0, np.nan])
    with pytest.raises(fk.errors.DataError, match="observations are needed"):
        fk.observed_information(latent, case.at)
    parameters = case.parameters
    flat = fk.sampled.LatentModel(case.complete, posterior=lambda y, t, n, r: np.zeros(n), parameters=parameters, method=method)
    with pytest.raises(fk.errors.LayoutError, match=r"must return draws of shape \(60, 5, ...\).*got \(5,\)"):
        fk.observed_information(flat, case.at, data=case.y)
    nan = fk.sampled.LatentModel(
        case.complete, posterior=lambda y, t, n, r: np.full((len(y), n), np.nan), parameters=parameters, method=method
    )
    with pytest.raises(fk.errors.DataError, match="must return finite real numbers"):
        fk.observed_information(nan, case.at, data=case.y)

    def impossible(y: Any, z: Any, theta: Any) -> Any:
        return np.where(y > 1, -np.inf, 0.0) * theta[0]

    nothing = lambda y, t, n, r: np.zeros((len(y), n))
    broken = fk.sampled.LatentModel(impossible, posterior=nothing, parameters=("a",), method=method)
    with pytest.raises(fk.errors.DataError, match=r"complete score of observation 1 in a is .* for draw 0"):
        fk.score(broken, [1.0], data=[0.0, 2.0])


def test_the_same_bits_for_any_workers() -> None:
    ask = lambda workers: fk.observed_information(
        fk.sampled.LatentModel(
            RandomIntercept.complete,
            posterior=RandomIntercept.posterior,
            parameters=RandomIntercept.parameters,
            method=fk.MonteCarlo(200, rng=1, workers=workers),
        ),
        RandomIntercept.at,
        data=RandomIntercept.y,
    )
    one = ask(1)
    with ProcessPoolExecutor(2) as processes:
        for other in (ask(3), ask(processes)):
            np.testing.assert_array_equal(one.dense(), other.dense())
            np.testing.assert_array_equal(one.mcse, other.mcse)
