"""The table of models that the identities run over. A new model is one row.

Every reference matrix is a published closed form, written out here, never computed by fisherkit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from scipy import special, stats

import fisherkit as fk


@dataclass(frozen=True)
class Case:
    """One model, in as many tracks as it has, with its closed form at one point."""

    name: str
    theta: dict[str, float]
    exact: np.ndarray
    draw: Callable[[int, np.random.Generator], np.ndarray]
    divergence: Callable[[np.ndarray, np.ndarray], float]
    models: dict[str, Callable[[], Any]] = field(default_factory=dict)

    @property
    def at(self) -> np.ndarray:
        return np.array(list(self.theta.values()))

    def __str__(self) -> str:
        return self.name


def _normal_symbolic() -> Any:
    x, mu = sp.symbols("x mu", real=True)
    sigma = sp.Symbol("sigma", positive=True)
    density = sp.exp(-(((x - mu) / sigma) ** 2) / 2) / (sigma * sp.sqrt(2 * sp.pi))
    return fk.symbolic.Model(density, data=x, parameters=(mu, sigma), support=(-sp.oo, sp.oo))


def _normal_code() -> Any:
    return fk.sampled.Model(
        lambda x, t: -0.5 * ((x - t[0]) / t[1]) ** 2 - np.log(t[1]) - 0.5 * np.log(2 * np.pi),
        sampler=lambda t, size, rng: rng.normal(t[0], t[1], size),
        parameters=("mu", "sigma"),
        support=(-np.inf, np.inf),
    )


def _gamma_symbolic() -> Any:
    x, a, scale = sp.symbols("x a scale", positive=True)
    density = x ** (a - 1) * sp.exp(-x / scale) / (sp.gamma(a) * scale**a)
    return fk.symbolic.Model(density, data=x, parameters=(a, scale), support=(0, sp.oo))


def _poisson_symbolic() -> Any:
    k, mu = sp.Symbol("k", integer=True, nonnegative=True), sp.Symbol("mu", positive=True)
    return fk.symbolic.Model(mu**k * sp.exp(-mu) / sp.factorial(k), data=k, parameters=(mu,), support=sp.S.Naturals0)


def _weibull_symbolic() -> Any:
    x, c, scale = sp.symbols("x c scale", positive=True)
    density = c / scale * (x / scale) ** (c - 1) * sp.exp(-((x / scale) ** c))
    return fk.symbolic.Model(density, data=x, parameters=(c, scale), support=(0, sp.oo))


def _gamma_divergence(p: np.ndarray, q: np.ndarray) -> float:
    (a, s), (b, t) = p, q
    terms = (a - b) * special.digamma(a) - special.gammaln(a) + special.gammaln(b) + b * np.log(t / s) + a * (s - t) / t
    return float(terms)


def _normal_divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2 * q[1] ** 2) - 0.5)


def _weibull_divergence(p: np.ndarray, q: np.ndarray) -> float:
    (k, a), (m, b) = p, q
    terms = np.log(k / a**k) - np.log(m / b**m) + (k - m) * (np.log(a) - np.euler_gamma / k)
    return float(terms + (a / b) ** m * special.gamma(m / k + 1) - 1)


_EULER = 1 - np.euler_gamma

CASES = (
    Case(
        "normal",
        {"mu": 1.0, "sigma": 2.0},
        np.diag([1 / 4, 2 / 4]),
        lambda size, rng: rng.normal(1.0, 2.0, size),
        _normal_divergence,
        {"symbolic": _normal_symbolic, "code": _normal_code, "scipy": lambda: stats.Normal},
    ),
    Case(
        "gamma",
        {"a": 2.5, "scale": 0.5},
        np.array([[special.polygamma(1, 2.5), 1 / 0.5], [1 / 0.5, 2.5 / 0.25]]),
        lambda size, rng: rng.gamma(2.5, 0.5, size),
        _gamma_divergence,
        {"symbolic": _gamma_symbolic, "scipy": lambda: stats.gamma},
    ),
    Case(
        "poisson",
        {"mu": 3.0},
        np.array([[1 / 3]]),
        lambda size, rng: rng.poisson(3.0, size),
        lambda p, q: float(p[0] * np.log(p[0] / q[0]) + q[0] - p[0]),
        {"symbolic": _poisson_symbolic, "scipy": lambda: stats.poisson},
    ),
    Case(
        "weibull",
        {"c": 1.5, "scale": 2.0},
        np.array([[(_EULER**2 + np.pi**2 / 6) / 1.5**2, -_EULER / 2], [-_EULER / 2, (1.5 / 2) ** 2]]),
        lambda size, rng: 2.0 * rng.weibull(1.5, size),
        _weibull_divergence,
        {"symbolic": _weibull_symbolic, "scipy": lambda: stats.weibull_min},
    ),
)

ROWS = [(case, track) for case in CASES for track in case.models]
IDS = [f"{case}-{track}" for case, track in ROWS]
