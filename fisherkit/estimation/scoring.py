"""Fisher scoring: the information itself is the metric in which the score points to the estimate."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConvergenceError, DataError, IndefiniteInformationError
from ..information import FisherInformation
from ..methods import Method
from ..model import as_model, counted
from ..tables import table
from .covariance import Covariance
from .likelihood import Likelihood, likelihood

FLAT = 1e-3  # of a fall in the log-likelihood that should be one half


class ConvergenceWarning(UserWarning):
    """The estimate is known only as well as the derivatives of the model."""


@dataclass(frozen=True, repr=False)
class Estimate:
    """A maximum of the likelihood.

    Attributes
    ----------
    estimate : mapping from name to value
    information : FisherInformation
        Over all of the data, at the estimate.
    log_likelihood : float
    iterations : int
    gradient : float
        Length of the step that was left, in standard errors: the root of s' F^-1 s, with s the score.
    """

    estimate: Mapping[str, Any]
    information: FisherInformation
    log_likelihood: float
    iterations: int
    gradient: float

    @property
    def standard_errors(self) -> dict[str, Any]:
        """By name: the root of the diagonal of the inverse information."""
        parameters = self.information.parameters
        return parameters.as_mapping(parameters.split(self.information.standard_errors()))

    @property
    def covariance(self) -> Covariance:
        """The inverse information."""
        return Covariance(np.asarray(self.information.inverse()), self.information.parameters)

    def __repr__(self) -> str:
        F = self.information
        told = f"n={F.n}, {F.kind} information, log_likelihood={self.log_likelihood:.6g}, iterations={self.iterations}, "
        flat = np.concatenate([np.ravel(value) for value in self.estimate.values()])
        errors = np.concatenate([np.ravel(value) for value in self.standard_errors.values()])
        rows = list(zip(F.parameters.labels, flat, errors, strict=True))
        return table(f"Estimate({told}gradient={self.gradient:.1g})", ("", "estimate", "standard error"), rows)


def fisher_scoring(
    model: Any,
    start: Any,
    data: Any = None,
    *,
    weights: Any = None,
    nan_policy: str = "raise",
    information: str = "expected",
    method: Method | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
) -> Estimate:
    r"""Maximum-likelihood estimate by Fisher scoring, with step halving.

    Repeats :math:`\theta \leftarrow \theta + \alpha F^{-1} s`, with s the score over all data, F the information over all
    data, and :math:`\alpha = 1, \tfrac12, \tfrac14, \dots` the first that raises the log-likelihood enough.

    Parameters
    ----------
    model : Model with a log-density, or an object that is one
        A regression is a symbolic model whose covariates are constants, with ``data`` a mapping or data frame that has a
        column for each; or a sampled model of rows.
    start : mapping from name to value
        Inside the domain.
    data : array of n observations, or mapping from name to column, or data frame
    weights : array (n,), optional
        How often each observation counts, as for `observed_information`.
    nan_policy : {"raise", "omit"}
        What an observation with a missing or infinite value does.
    information : {"expected", "observed", "empirical"}
        Which information is the metric, and is returned: ``"expected"`` is Fisher scoring, ``"observed"`` Newton's method,
        ``"empirical"`` that of Berndt, Hall, Hall and Hausman. All end at the same estimate; the standard errors differ.
    method : Method, optional
        How the expectation of an expected information is taken.
    tolerance : float
        On the length of the next step, in standard errors.

    Returns
    -------
    Estimate

    Raises
    ------
    ConvergenceError
        When the iteration does not settle (the length of the gradient is told), or when the likelihood has no maximum at a
        finite point: moving by one standard error does not lower it, as in a logit whose response is separated.
    SingularInformationError
        When the start, or the data, leave a direction without information; it is named.

    Warns
    -----
    ConvergenceWarning
        When rounding in the model's derivatives stops the iteration above ``tolerance``.

    Notes
    -----
    Away from a maximum the observed information may be indefinite; the empirical one then stands in. That the end is a
    maximum is tried, not assumed: the log-likelihood is compared one standard error away, both ways in each parameter.
    Cost per iteration: one score, one information, and O(p^3).

    References
    ----------
    Fisher (1925), Theory of statistical estimation, Proc. Camb. Phil. Soc. 22, 700-725.
    Osborne (1992), Fisher's method of scoring, Int. Stat. Rev. 60, 99-117. doi:10.2307/1403504

    Examples
    --------
    >>> x, rate = sympy.symbols("x rate", positive=True)
    >>> waiting = fk.symbolic.Model(rate * sympy.exp(-rate * x), data=x, parameters=rate, support=(0, sympy.oo))
    >>> fk.estimation.fisher_scoring(waiting, {"rate": 1.0}, [0.3, 0.9, 0.1, 0.7, 0.5]).estimate["rate"].round(12)
    np.float64(2.0)
    """
    source = as_model(model)
    rows = counted(source, data, weights=weights, nan_policy=nan_policy)
    own, at = likelihood(source, start, rows, kind=information, method=method)
    return climb(own, at, tolerance=tolerance, max_iterations=max_iterations)


def climb(own: Likelihood, at: np.ndarray, *, tolerance: float = 1e-8, max_iterations: int = 100) -> Estimate:
    """From a flat start to the maximum of a likelihood."""
    value, lengths = own.exact_value(own.theta(at)), []
    began, low = at, value
    if not np.isfinite(value):
        raise ConvergenceError(
            f"the log-likelihood is {value} at the start {_told(own, at)}: give one at which the data are possible.",
            condition="not_ascending",
            point=own.theta(at),
        )
    for iteration in range(max_iterations):
        try:
            F, step, length = _step(own, at)
        except (ArithmeticError, DataError) as error:
            if iteration == 0:
                raise
            raise _lost(own, at, error) from error
        lengths.append(length)
        if length <= tolerance or _stalled(lengths):
            at, value = _moved(own, at, step, value)
            if value - low > 1e-2 and F.quadratic(at - began) < 1e-4:
                raise _endless(own, at, f"it is no standard error away from the start, and yet {value - low:.2g} higher")
            if (higher := _refuse_flat(own, F, at, value)) is None:
                return _end(own, at, value, iteration, length, tolerance)
            at, value = higher
            continue
        if (higher := _uphill(own, at, step, length, value)) is None:
            if length < 1e-6:  # less than the log-likelihood can tell: it may be flat
                _refuse_flat(own, F, at, value)
            raise _descending(own, at, length)
        at, value = higher
    raise ConvergenceError(
        f"no maximum after {max_iterations} iterations: the next step would be {lengths[-1]:.2g} standard errors long (tolerance "
        f"{tolerance:.1g}), at {_told(own, at)}. Start nearer, give more iterations, or take information='observed'.",
        condition="iterations",
        point=own.theta(at),
    )


def _step(own: Likelihood, at: np.ndarray) -> tuple[FisherInformation, np.ndarray, float]:
    """The information, the scoring step, and its length in standard errors."""
    theta = own.theta(at)
    positions = own.parameters.positions(own.free.names)
    score = own.score_sum(theta)[positions]
    F = own.information(theta)
    try:
        step = np.asarray(F.solve(score))
    except IndefiniteInformationError:
        F = own.information(theta, kind="empirical")
        step = np.asarray(F.solve(score))
    return F, step, float(np.sqrt(max(score @ step, 0.0)))


def _lost(own: Likelihood, at: np.ndarray, error: Exception) -> ConvergenceError:
    """The search climbed to where there is no information, or no number."""
    return ConvergenceError(
        f"climbing, the search came to {_told(own, at)}, where {error} The likelihood has no maximum at a finite point if it "
        "rises for ever in that direction, as in a logit whose response is separated by the covariates; else start nearer.",
        condition="no_maximum",
        point=own.theta(at),
    )


def _uphill(own: Likelihood, at: np.ndarray, step: np.ndarray, length: float, value: float) -> tuple[np.ndarray, float] | None:
    """The first of the halved steps that raises the log-likelihood by a share of what its slope promises, if there is one."""
    noise = 1e-13 * abs(value)
    for halvings in range(40):
        share = 0.5**halvings
        trial = at + share * step
        if (found := own.value(trial)) >= value + 1e-4 * share * length**2 - noise and found < np.inf:
            return trial, found
    return None


def _descending(own: Likelihood, at: np.ndarray, length: float) -> ConvergenceError:
    return ConvergenceError(
        f"the log-likelihood does not rise along the score at {_told(own, at)}, where the step is {length:.2g} standard errors "
        "long: the score is not that of the log-density, there is a kink, or the likelihood is unbounded.",
        condition="not_ascending",
        point=own.theta(at),
    )


def _moved(own: Likelihood, at: np.ndarray, step: np.ndarray, value: float) -> tuple[np.ndarray, float]:
    """The last, small step too, unless it leads out of the domain."""
    found = own.value(at + step)
    return (at + step, found) if found >= value - 1e-9 * (1 + abs(value)) else (at, value)


def _stalled(lengths: list[float]) -> bool:
    """The step is below what the log-likelihood can tell, and no longer shrinks: rounding in the derivatives."""
    return len(lengths) > 6 and lengths[-1] < 1e-4 and min(lengths[-5:]) >= min(lengths[:-5])


def _refuse_flat(own: Likelihood, F: FisherInformation, at: np.ndarray, value: float) -> tuple[np.ndarray, float] | None:
    """One standard error away, along each parameter's regression line, the log-likelihood must be about 1/2 lower.

    Returns a higher point where there is one.
    """
    covariance = np.asarray(F.inverse())
    for column in covariance / np.sqrt(np.diagonal(covariance))[:, None]:
        for side in (at + column, at - column):
            fall = value - own.value(side)
            if fall < -1e-6 * (1 + 1e-6 * abs(value)):
                return side, value - fall
            if fall < FLAT:
                worst = own.free.labels[int(np.argmax(abs(column)))]
                raise _endless(own, at, f"it is still as high {abs(column).max():.2g} further in {worst}")
    return None


def _endless(own: Likelihood, at: np.ndarray, why: str) -> ConvergenceError:
    return ConvergenceError(
        f"the likelihood has no maximum at a finite point: at {_told(own, at)} {why}. A response that the covariates separate "
        "has no estimate: leave out a covariate, or add a prior.",
        condition="no_maximum",
        point=own.theta(at),
    )


def _end(own: Likelihood, at: np.ndarray, value: float, iterations: int, length: float, tolerance: float) -> Estimate:
    F = own.information(own.theta(at))
    F.standard_errors()  # an observed information must be positive definite here
    if length > tolerance:
        warnings.warn(
            f"the last step was {length:.1g} standard errors long, above the tolerance {tolerance:.1g}: the derivatives of the "
            "model have no more digits. Give score=, derivatives='complex' or 'torch', or a larger tolerance.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return Estimate(own.theta(at), F, value, iterations, length)


def _told(own: Likelihood, at: np.ndarray) -> str:
    return ", ".join(f"{label}={value:.4g}" for label, value in zip(own.free.labels, at, strict=True))
