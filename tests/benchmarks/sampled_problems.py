"""Problems for Monte Carlo information: samplers with complex-safe log-densities, and an exact information by other means.

Each is one row of `PROBLEMS`. The exact matrix comes from quadrature of the density, from enumeration of its outcomes, or from a
closed form; never from draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from scipy.special import loggamma, ndtri
from scipy.stats import nbinom, poisson

import fisherkit as fk

STEP = 1e-20


@dataclass(frozen=True)
class Problem:
    """A sampler, a log-density that takes complex parameters, the point, and how to get the exact information."""

    log_density: Callable[[Any, Any], Any]
    sampler: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
    theta: tuple[float, ...]
    exact: Callable[[Problem], np.ndarray]
    by_algebra: bool = False
    support: tuple[float, float] = (-np.inf, np.inf)
    outcomes: Any = field(default=None, compare=False)

    def score(self, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """By a complex step, so exact to rounding."""
        steps = 1j * STEP * np.eye(len(theta))
        return np.stack([np.imag(self.log_density(x, theta + step)) / STEP for step in steps], axis=1)

    def model(self, *, uniforms: tuple[int, Callable[..., np.ndarray]] | None = None) -> fk.sampled.Model:
        """With its own sampler, or with one that takes so many uniform numbers."""
        many, sampler = uniforms or (None, self.sampler)
        names = tuple("abcdefgh"[: len(self.theta)])
        return fk.sampled.Model(score=self.score, sampler=sampler, uniforms=many, parameters=names)


def quadrature(problem: Problem) -> np.ndarray:
    names = tuple("abcdefgh"[: len(problem.theta)])
    model = fk.sampled.Model(
        lambda x, t: np.real(problem.log_density(x, t)), score=problem.score, parameters=names, support=problem.support
    )
    return np.asarray(fk.expected_information(model, np.array(problem.theta), method=fk.Quadrature(digits=6)))


def enumeration(problem: Problem) -> np.ndarray:
    x, theta = problem.outcomes, np.array(problem.theta)
    mass = np.exp(np.real(problem.log_density(x, theta)))
    assert abs(mass.sum() - 1) < 1e-10
    s = problem.score(x, theta)
    return (s * mass[:, None]).T @ s


# -- exact by algebra


def normal(x: Any, t: Any) -> Any:
    return -0.5 * ((x - t[0]) / t[1]) ** 2 - np.log(t[1]) - 0.5 * np.log(2 * np.pi)


def gamma_law(x: Any, t: Any) -> Any:
    return (t[0] - 1) * np.log(x) - x / t[1] - loggamma(t[0] + 0j) - t[0] * np.log(t[1])


DOSES = np.linspace(-1, 1, 8)


def poisson_regression(x: Any, t: Any) -> Any:
    """Eight counts at fixed doses."""
    eta = t[0] + t[1] * DOSES
    return (x * eta - np.exp(eta) - loggamma(x + 1.0)).sum(axis=1)


# -- one real


def student(x: Any, t: Any) -> Any:
    nu = 5.0
    z = (x - t[0]) / t[1]
    return (
        -(nu + 1) / 2 * np.log(1 + z**2 / nu)
        - np.log(t[1])
        + loggamma((nu + 1) / 2)
        - loggamma(nu / 2)
        - 0.5 * np.log(nu * np.pi)
    )


def cauchy(x: Any, t: Any) -> Any:
    return -np.log(np.pi * t[1] * (1 + ((x - t[0]) / t[1]) ** 2))


def logistic(x: Any, t: Any) -> Any:
    z = (x - t[0]) / t[1]
    return -z - np.log(t[1]) - 2 * np.log1p(np.exp(-z))


def gumbel(x: Any, t: Any) -> Any:
    z = (x - t[0]) / t[1]
    return -z - np.exp(-z) - np.log(t[1])


def weibull(x: Any, t: Any) -> Any:
    z = x / t[1]
    return np.log(t[0] / t[1]) + (t[0] - 1) * np.log(z) - z ** t[0]


def mixture(x: Any, t: Any) -> Any:
    """Two normals, two standard deviations apart."""
    a, b = np.exp(-0.5 * (x - t[0]) ** 2), np.exp(-0.5 * (x - t[1]) ** 2)
    return np.log((t[2] * a + (1 - t[2]) * b) / np.sqrt(2 * np.pi))


def mixture_of(t: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.where(u[:, 0] < t[2], t[0], t[1]) + ndtri(u[:, 1])


def draw_mixture(t: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(size) < t[2], rng.normal(t[0], 1, size), rng.normal(t[1], 1, size))


# -- counts


def negative_binomial(x: Any, t: Any) -> Any:
    mean, size = t[0], t[1]
    return (
        loggamma(x + size + 0j)
        - loggamma(size + 0j)
        - loggamma(x + 1.0)
        + size * np.log(size / (size + mean))
        + x * np.log(mean / (size + mean))
    )


def zero_inflated(x: Any, t: Any) -> Any:
    plain = x * np.log(t[0]) - t[0] - loggamma(x + 1.0)
    return np.log(t[1] * (x == 0) + (1 - t[1]) * np.exp(plain))


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


def poisson_lognormal(x: Any, t: Any) -> Any:
    """A latent count: the rate is lognormal, integrated by a Gauss rule."""
    eta = t[0] + t[1] * NODES
    logs = np.multiply.outer(x, eta) - np.exp(eta) - loggamma(x + 1.0)[..., None]
    return np.log(np.exp(logs) @ (WEIGHTS / np.sqrt(2 * np.pi)))


# -- several observations


def censored(x: Any, t: Any) -> Any:
    """Weibull lifetimes of which those above 1 are seen as 1."""
    z = (x / t[1]) ** t[0]
    return np.where(x < 1, np.log(t[0] / t[1]) + (t[0] - 1) * np.log(x / t[1]), 0.0) - z


def exact_censored(problem: Problem) -> np.ndarray:
    z, w = np.polynomial.legendre.leggauss(400)
    theta = np.array(problem.theta)
    u = 0.5 * (z + 1)  # x = u**4, so that the end at 0 is smooth
    x = u**4
    mass = np.concatenate(
        [0.5 * w * 4 * u**3 * np.exp(np.real(censored(x, theta))), np.exp(-((np.ones(1) / theta[1]) ** theta[0]))]
    )
    s = problem.score(np.append(x, 1.0), theta)
    assert abs(mass.sum() - 1) < 1e-10
    return (s * mass[:, None]).T @ s


CHAIN = np.array(list(product((0, 1), repeat=7)))


def hidden_chain(x: Any, t: Any) -> Any:
    """Seven symbols of a two-state chain: staying probability, and the two emissions."""
    stay, emission = t[0], np.array([t[1], t[2]])
    forward = 0.5 * np.where(x[:, :1] == 1, emission, 1 - emission)
    for k in range(1, 7):
        moved = stay * forward + (1 - stay) * forward[:, ::-1]
        forward = moved * np.where(x[:, k : k + 1] == 1, emission, 1 - emission)
    return np.log(forward.sum(axis=1))


def draw_chain(t: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return chain_of(t, rng.random((size, 14)))


def chain_of(t: np.ndarray, u: np.ndarray) -> np.ndarray:
    state, out = u[:, 0] < 0.5, np.empty((len(u), 7), dtype=int)
    for k in range(7):
        out[:, k] = u[:, 2 * k + 1] < np.where(state, t[2], t[1])
        if k < 6:
            state = np.where(u[:, 2 * k + 2] < t[0], state, ~state)
    return out


TIMES = np.linspace(0.2, 4, 10)


def growth(t: Any) -> Any:
    """The logistic growth curve, the solution of y' = r y (1 - y / K) from y(0) = y0."""
    return t[0] / (1 + (t[0] / t[2] - 1) * np.exp(-t[1] * TIMES))


def growth_curve(x: Any, t: Any) -> Any:
    return (-0.5 * ((x - growth(t)) / 0.1) ** 2 - np.log(0.1 * np.sqrt(2 * np.pi))).sum(axis=1)


def exact_growth(problem: Problem) -> np.ndarray:
    theta = np.array(problem.theta)
    J = np.stack([np.imag(growth(theta + step)) / STEP for step in 1j * STEP * np.eye(3)], axis=1)
    return J.T @ J / 0.01


def autoregression(x: Any, t: Any) -> Any:
    """Eight values of a stationary AR(1) with mean, coefficient and innovation deviation."""
    z = x - t[0]
    first = -0.5 * z[:, 0] ** 2 * (1 - t[1] ** 2) / t[2] ** 2 + 0.5 * np.log(1 - t[1] ** 2)
    rest = -0.5 * ((z[:, 1:] - t[1] * z[:, :-1]) / t[2]) ** 2
    return first + rest.sum(axis=1) - 8 * np.log(t[2]) - 4 * np.log(2 * np.pi)


def draw_autoregression(t: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return autoregression_of(t, rng.normal(size=(size, 8)))


def autoregression_of(t: np.ndarray, innovations: np.ndarray) -> np.ndarray:
    z = t[2] * innovations
    z[:, 0] /= np.sqrt(1 - t[1] ** 2)
    for k in range(1, 8):
        z[:, k] += t[1] * z[:, k - 1]
    return z + t[0]


def exact_autoregression(problem: Problem) -> np.ndarray:
    """The forecaster's formula, with the covariance of the stationary chain."""
    theta, lags = np.array(problem.theta), np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    covariance = lambda t: t[2] ** 2 / (1 - t[1] ** 2) * t[1] ** lags
    steps = 1j * STEP * np.eye(3)
    dC = [np.imag(covariance(theta + step)) / STEP for step in steps]
    inverse = np.linalg.inv(np.real(covariance(theta)))
    F = np.array([[0.5 * np.trace(inverse @ a @ inverse @ b) for a in dC] for b in dC])
    F[0, 0] += inverse.sum()
    return F


def quantile(z: Any, t: Any) -> Any:
    """The g-and-k quantile function, without its constant."""
    return t[0] + t[1] * (1 + 0.8 * np.tanh(t[2] * z / 2)) * (1 + z**2) ** t[3] * z


def quantile_slope(z: Any, t: Any) -> Any:
    h = np.tanh(t[2] * z / 2)
    base = (1 + 0.8 * h) * (1 + z**2) ** t[3]
    return t[1] * base * (1 + 0.8 * t[2] / 2 * (1 - h**2) * z / (1 + 0.8 * h) + 2 * t[3] * z**2 / (1 + z**2))


G_AND_K = (3.0, 1.0, 2.0, 0.5)


@cache
def table() -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(-12, 12, 4001)
    return quantile(z, G_AND_K), z


def g_and_k(x: Any, t: Any) -> Any:
    """Defined by its quantiles: Newton's steps from the root at the real point carry the complex step and small moves along."""
    z = np.interp(x, *table())
    for _ in range(6):
        z = z - (quantile(z, t) - x) / quantile_slope(z, t)
    return -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - np.log(quantile_slope(z, t))


def exact_g_and_k(problem: Problem) -> np.ndarray:
    z, w = np.polynomial.legendre.leggauss(2000)
    z, w = 9 * z, 9 * w
    theta = np.array(problem.theta)
    mass = w * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    s = problem.score(quantile(z, theta), theta)
    return (s * mass[:, None]).T @ s


COUNTS = np.arange(600)
EULER = float(np.euler_gamma)

PROBLEMS = {
    "normal": Problem(
        normal, lambda t, n, rng: rng.normal(t[0], t[1], n), (1.0, 2.0), lambda p: np.diag([0.25, 0.5]), by_algebra=True
    ),
    "gamma": Problem(
        gamma_law,
        lambda t, n, rng: rng.gamma(t[0], t[1], n),
        (2.0, 3.0),
        lambda p: np.array([[np.pi**2 / 6 - 1, 1 / 3], [1 / 3, 2 / 9]]),
        by_algebra=True,
    ),
    "poisson regression": Problem(
        poisson_regression,
        lambda t, n, rng: rng.poisson(np.exp(t[0] + t[1] * DOSES), (n, 8)),
        (0.5, 1.0),
        lambda p: (np.stack([np.ones(8), DOSES]) * np.exp(0.5 + DOSES)) @ np.stack([np.ones(8), DOSES]).T,
        by_algebra=True,
    ),
    "autoregression": Problem(autoregression, draw_autoregression, (1.0, 0.6, 1.0), exact_autoregression, by_algebra=True),
    "student": Problem(student, lambda t, n, rng: t[0] + t[1] * rng.standard_t(5, n), (0.0, 1.0), quadrature),
    "cauchy": Problem(cauchy, lambda t, n, rng: t[0] + t[1] * rng.standard_cauchy(n), (0.0, 1.0), lambda p: 0.5 * np.eye(2)),
    "logistic": Problem(
        logistic, lambda t, n, rng: rng.logistic(t[0], t[1], n), (0.0, 1.0), lambda p: np.diag([1 / 3, (3 + np.pi**2) / 9])
    ),
    "gumbel": Problem(
        gumbel,
        lambda t, n, rng: rng.gumbel(t[0], t[1], n),
        (0.0, 1.0),
        lambda p: np.array([[1, -(1 - EULER)], [-(1 - EULER), np.pi**2 / 6 + (1 - EULER) ** 2]]),
    ),
    "weibull": Problem(weibull, lambda t, n, rng: t[1] * rng.weibull(t[0], n), (1.5, 2.0), quadrature, support=(0.0, np.inf)),
    "mixture": Problem(mixture, draw_mixture, (-1.0, 1.0, 0.4), quadrature),
    "negative binomial": Problem(
        negative_binomial,
        lambda t, n, rng: rng.negative_binomial(t[1], t[1] / (t[0] + t[1]), n),
        (4.0, 2.0),
        enumeration,
        outcomes=COUNTS,
    ),
    "zero-inflated": Problem(
        zero_inflated,
        lambda t, n, rng: np.where(rng.random(n) < t[1], 0, rng.poisson(t[0], n)),
        (2.0, 0.3),
        enumeration,
        outcomes=COUNTS[:100],
    ),
    "latent count": Problem(
        poisson_lognormal,
        lambda t, n, rng: rng.poisson(np.exp(t[0] + t[1] * rng.normal(size=n))),
        (1.0, 0.5),
        enumeration,
        outcomes=COUNTS,
    ),
    "censored": Problem(censored, lambda t, n, rng: np.minimum(t[1] * rng.weibull(t[0], n), 1.0), (1.5, 0.8), exact_censored),
    "hidden chain": Problem(hidden_chain, draw_chain, (0.8, 0.2, 0.7), enumeration, outcomes=CHAIN),
    "growth curve": Problem(
        growth_curve, lambda t, n, rng: growth(t) + 0.1 * rng.normal(size=(n, 10)), (2.0, 1.5, 0.3), exact_growth
    ),
    "g-and-k": Problem(g_and_k, lambda t, n, rng: quantile(rng.normal(size=n), t), G_AND_K, exact_g_and_k),
}

#: how many uniform numbers make an observation of those that are not exact by algebra, and how
FROM_UNIFORMS: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "autoregression": (8, lambda t, u: autoregression_of(t, ndtri(u))),
    "logistic": (1, lambda t, u: t[0] + t[1] * np.log(u[:, 0] / (1 - u[:, 0]))),
    "gumbel": (1, lambda t, u: t[0] - t[1] * np.log(-np.log(u[:, 0]))),
    "weibull": (1, lambda t, u: t[1] * (-np.log1p(-u[:, 0])) ** (1 / t[0])),
    "mixture": (2, mixture_of),
    "negative binomial": (1, lambda t, u: nbinom.ppf(u[:, 0], t[1], t[1] / (t[0] + t[1]))),
    "latent count": (2, lambda t, u: poisson.ppf(u[:, 1], np.exp(t[0] + t[1] * ndtri(u[:, 0])))),
    "censored": (1, lambda t, u: np.minimum(t[1] * (-np.log1p(-u[:, 0])) ** (1 / t[0]), 1.0)),
    "hidden chain": (14, chain_of),
    "growth curve": (10, lambda t, u: growth(t) + 0.1 * ndtri(u)),
    "g-and-k": (1, lambda t, u: quantile(ndtri(u[:, 0]), t)),
}
