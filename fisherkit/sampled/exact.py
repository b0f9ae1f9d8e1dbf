"""Expectations of a model in code without draws: a quadrature over its support, or a sum over every possible observation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import quadrature
from ..errors import DataError, MethodError, PrecisionError, RegularityError
from ..methods import Quadrature
from . import derivatives

if TYPE_CHECKING:
    from .model import Model

NUMERIC_SCORE = 2e-11  # what differences may miss beside a kink, without noticing


def over_outcomes(model: Model, at: np.ndarray) -> np.ndarray:
    """E[s s'], (p, p)."""
    x, mass = outcomes(model, at)
    _check_mass(float(mass.sum()), 1e-8)
    s = model._scores(x, at, possible=mass > 0)
    return np.asarray((s * mass[:, None]).T @ s)


def outcomes(model: Model, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every possible observation, and its probability."""
    assert model._outcomes is not None
    assert model._log_density is not None
    x = np.asarray(model._outcomes(at))
    return x, np.exp(np.asarray(derivatives.evaluate(model._log_density, x, at, len(x))))


def over_support(model: Model, at: np.ndarray, method: Quadrature) -> tuple[np.ndarray, float]:
    """E[s s'], (p, p), and its relative error."""
    if method.digits > 15:
        raise MethodError(f"a log-density in code has 15 digits; got {method!r}. Use a symbolic model for more.")
    moments, error = model._moments(at)
    error += 0.0 if model._score else NUMERIC_SCORE
    _check_settled(error, method)
    _check_mass(moments.mass, max(1e-6, 10 * error))
    _check_mean_score(model, moments, error)
    return moments.product, error


def moments_of(model: Model, at: np.ndarray) -> tuple[quadrature.Moments, float]:
    """Mass, mean score and E[s s'] by quadrature or summation, and their relative error."""
    support, log = support_at(model, at), log_at(model, at)
    center = model._center(at) if model._center else quadrature.find_center(log, support)
    check_ends(model, at, center)
    density = quadrature.Density(log, lambda x: model._raw_scores(x, at), len(at), support, (center,))
    return quadrature.summation(density) if model._discrete else quadrature.integrate(density)


def log_at(model: Model, at: np.ndarray) -> quadrature.Function:
    """The log-density at one point, as a function of the observations."""
    log = model._log_density
    assert log is not None
    return lambda x: np.asarray(log(x, at))


# -- the support and its ends


def support_at(model: Model, at: np.ndarray) -> tuple[float, float]:
    given: Any = model._support
    low, high = given(at) if callable(given) else (given or (-np.inf, np.inf))
    if not low < high:
        raise DataError(f"the support at theta={at.tolist()} is ({low}, {high}); it must be an interval.")
    return float(low), float(high)


def check_ends(model: Model, at: np.ndarray, center: float) -> None:
    """An end that moves with a parameter must be met with an order above 1: sqrt(f) differentiable there."""
    here = support_at(model, at)
    for j, label in enumerate(model.parameters.labels):
        step = np.zeros(len(at))
        step[j] = 1e-4 * (abs(at[j]) or 1.0)
        moved = support_at(model, at + step)
        for end, other in zip(here, moved, strict=True):
            if end == other:
                continue
            order = -1.0 if model._discrete else _end_order(log_at(model, at), end, center)
            if order > 1.02:
                continue
            condition = "infinite_information" if order > 0.02 else "support_depends_on_parameter"
            raise RegularityError(
                f"the support ends at {end:.6g}, which moves with {label}, and the density meets it with order {order:.2f}: "
                f"above 1 is needed ({condition}). Give {label} as known, or use fk.bounds.chapman_robbins_bound.",
                condition=condition,
                parameter=label,
            )


def _end_order(log: quadrature.Function, end: float, center: float) -> float:
    """q in f ~ d^q at distance d from the end, read from the log-density."""
    d = abs(center - end) * np.array([1e-6, 1e-8])
    with np.errstate(all="ignore"):
        near, nearer = np.asarray(log(end + np.sign(center - end) * d), dtype=float)
    return float((near - nearer) / np.log(100)) if np.isfinite(near) else float("inf")


# -- what a density must be


def _check_settled(error: float, method: Quadrature) -> None:
    if not error <= 10.0**-method.digits:
        raise PrecisionError(
            f"{method!r} was asked for; the quadrature of E[s s'] reaches a relative error of {error:.1g} only. The "
            "information may be infinite, the density may have kinks or heavy tails; a symbolic model or "
            "method=MonteCarlo(n) may help."
        )


def _check_mass(mass: float, tolerance: float) -> None:
    if not abs(mass - 1) < tolerance:
        raise RegularityError(
            f"the density has mass {mass:.8g} over its support, not 1: a factor is missing, or the support is wrong.",
            condition="not_normalised",
        )


def _check_mean_score(model: Model, found: quadrature.Moments, error: float) -> None:
    z = np.abs(found.mean) / np.sqrt(np.maximum(np.diagonal(found.product), 1e-300))
    if (worst := float(z.max())) > max(1e-5, 100 * error):
        label = model.parameters.label(int(z.argmax()))
        raise RegularityError(
            f"the mean score in {label} is {worst:.2g} standard deviations, not 0: the mass of the density changes with "
            f"{label}. A normalising factor that depends on it is missing.",
            condition="not_normalised",
            parameter=label,
        )
