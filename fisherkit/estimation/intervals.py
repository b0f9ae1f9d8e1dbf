"""Confidence intervals from an information: normal, on the scale of a domain, and for functions by the delta method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..jacobians import gradient_of
from ..parameters import concatenate
from ..tables import table
from .covariance import Covariance

Transform = tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]


@dataclass(frozen=True, repr=False)
class Intervals(Mapping[str, tuple[float, float]]):
    """Confidence intervals by name: ``intervals["mu"]`` is the pair (low, high).

    Attributes
    ----------
    names : tuple of str
    estimate, standard_errors, low, high : (q,) arrays
    level : float
        The probability with which each interval holds its own parameter.
    kind : str
    mcse : (q, 2) array, or None
        Monte Carlo error of the ends, where the information was estimated.
    """

    names: tuple[str, ...]
    estimate: np.ndarray
    standard_errors: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    kind: str = "Wald"
    mcse: Any = None

    def __getitem__(self, name: str) -> tuple[float, float]:
        if str(name) not in self.names:
            raise KeyError(f"{name}: the intervals are of {', '.join(self.names)}")
        k = self.names.index(str(name))
        return float(self.low[k]), float(self.high[k])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        rows = list(zip(self.names, self.estimate, self.standard_errors, self.low, self.high, strict=True))
        header = ("", "estimate", "standard error", "low", "high")
        return table(f"Intervals({self.kind}, level={self.level:g})", header, rows)


def confidence_intervals(
    information: FisherInformation | Covariance,
    theta_hat: Any,
    *,
    of: Any = None,
    level: float = 0.95,
    domain: Mapping[str, tuple[float, float]] | None = None,
    degrees_of_freedom: float | None = None,
) -> Intervals:
    r"""Wald intervals: estimate plus or minus a quantile of the normal distribution times the standard error.

    For functions, the delta method: the variance of :math:`g(\hat\theta)` is :math:`G F^{-1} G^\top`, with G the gradient.

    Parameters
    ----------
    information : FisherInformation or Covariance, p parameters
        Over all of the data, with numbers as entries.
    theta_hat : mapping from name to value, or array (p,)
        The estimate.
    of : callable (p,) -> (q,), SymPy expression, several, or mapping from name to expression, optional
        Functions of the parameters; the parameters themselves by default.
    level : float
        The probability that each interval holds.
    domain : mapping from name to (low, high), optional
        Where a parameter, or function, lives: its interval is then taken on the scale of log (one finite end) or logit (two),
        and cannot leave the domain.
    degrees_of_freedom : float, optional
        Quantiles of Student's t instead of the normal: n - p where a residual variance was estimated.

    Returns
    -------
    Intervals
        A mapping from name to (low, high).

    Raises
    ------
    SingularInformationError
        When some direction has no information; it is named.
    DataError
        When an estimate is outside its domain.

    References
    ----------
    Lehmann & Casella (1998), Theory of Point Estimation, 2nd ed., theorem 1.8.12 and section 6.5.

    Examples
    --------
    >>> F = 25 * fk.FisherInformation([[4.0, 0.0], [0.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.estimation.confidence_intervals(F, {"mu": 1.0, "sigma": 0.2}, domain={"sigma": (0, np.inf)})
    Intervals(Wald, level=0.95)
             estimate  standard error       low      high
      mu            1             0.1  0.804004     1.196
      sigma       0.2       0.0707107   0.10002  0.399922
    >>> mu, sigma = sympy.symbols("mu sigma")
    >>> fk.estimation.confidence_intervals(F, {"mu": 1.0, "sigma": 0.2}, of={"cv": sigma / mu})
    Intervals(Wald, level=0.95)
          estimate  standard error        low      high
      cv       0.2       0.0734847  0.0559726  0.344027
    """
    _check_level(level)
    names, values, gradient = functions(information, theta_hat, of)
    scales = _scales(names, values, domain or {})
    factor = _quantile(level, degrees_of_freedom)

    def ends(F: FisherInformation | Covariance) -> np.ndarray:
        errors = np.sqrt(np.diagonal(delta_covariance(F, gradient)))
        return np.array([_interval(*one, factor) for one in zip(values, errors, scales, strict=True)])

    out, errors = ends(information), np.sqrt(np.diagonal(delta_covariance(information, gradient)))
    mcse = information.mcse_of(ends) if isinstance(information, FisherInformation) else None
    return Intervals(names, values, errors, out[:, 0], out[:, 1], level, mcse=mcse)


def functions(information: Any, theta_hat: Any, of: Any) -> tuple[tuple[str, ...], np.ndarray, np.ndarray | None]:
    """Names, values and gradient (None: the identity) of what is estimated."""
    parameters = information.parameters
    leaves = [np.asarray(leaf, dtype=float) for leaf in parameters.split(theta_hat, name="theta_hat")]
    at = np.asarray(concatenate(leaves), dtype=float)
    if at.ndim != 1:
        raise LayoutError(f"theta_hat must be one point, shape ({parameters.size},); got {at.shape}.")
    return (parameters.labels, at, None) if of is None else gradient_of(of, parameters, at)


def delta_covariance(information: Any, gradient: np.ndarray | None) -> np.ndarray:
    """G F^-1 G', (q, q)."""
    if gradient is None:
        return np.asarray(information.inverse(), dtype=float)
    if isinstance(information, Covariance):
        return np.asarray(gradient @ information.matrix @ gradient.T)
    return np.asarray(gradient @ np.asarray(information.solve(gradient.T), dtype=float))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise DataError(f"level must be a probability between 0 and 1; got {level}.")


def _quantile(level: float, degrees_of_freedom: float | None) -> float:
    from scipy import special

    if degrees_of_freedom is None:
        return float(special.ndtri((1 + level) / 2))
    if not degrees_of_freedom > 0:
        raise DataError(f"degrees_of_freedom must be positive; got {degrees_of_freedom}.")
    return float(special.stdtrit(degrees_of_freedom, (1 + level) / 2))


def _interval(value: float, error: float, scale: Transform | None, factor: float) -> tuple[float, float]:
    if scale is None:
        return value - factor * error, value + factor * error
    there, slope, back = scale
    middle, half = there(value), factor * error * slope(value)
    return float(back(middle - half)), float(back(middle + half))


def _scales(names: tuple[str, ...], values: np.ndarray, domain: Mapping[str, tuple[float, float]]) -> list[Transform | None]:
    """For each name the increasing map of its domain onto the real line, its slope, and the way back."""
    domain = {str(name): ends for name, ends in domain.items()}
    if unknown := sorted(set(domain) - set(names)):
        raise LayoutError(f"domain names {', '.join(unknown)}; the intervals are of {', '.join(names)}.")
    return [_scale(name, value, *domain.get(name, (-np.inf, np.inf))) for name, value in zip(names, values, strict=True)]


def _scale(name: str, value: float, low: float, high: float) -> Transform | None:
    if not low < high:
        raise LayoutError(f"the domain of {name} must be a pair (low, high) with low < high; got {(low, high)}.")
    if not low < value < high:
        raise DataError(f"the estimate {name} = {value:.6g} is outside its domain ({low}, {high}), or on its boundary.")
    if np.isfinite(low) and np.isfinite(high):
        from scipy.special import expit

        return (
            lambda v: np.log((v - low) / (high - v)),
            lambda v: (high - low) / ((v - low) * (high - v)),
            lambda u: low + (high - low) * expit(u),
        )
    if np.isfinite(low):
        return lambda v: np.log(v - low), lambda v: 1 / (v - low), lambda u: low + np.exp(u)
    if np.isfinite(high):
        return lambda v: -np.log(high - v), lambda v: 1 / (high - v), lambda u: high - np.exp(-u)
    return None
