"""Profile intervals: the values of a parameter that the likelihood-ratio test does not reject."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConvergenceError, LayoutError
from .intervals import Intervals, _check_level
from .likelihood import Likelihood, likelihood
from .scoring import Estimate, climb

DOUBLINGS = 24


def profile_intervals(
    model: Any,
    fit: Estimate,
    data: Any = None,
    *,
    parameters: str | Iterable[str] | None = None,
    level: float = 0.95,
    information: str = "expected",
) -> Intervals:
    r"""Confidence intervals from the profile likelihood.

    An end is where :math:`2 (\ell(\hat\theta) - \max_{\nu} \ell(\theta_j, \nu))` reaches the quantile of the chi-squared
    distribution, the other parameters :math:`\nu` estimated again at each value tried. Unlike those of
    `confidence_intervals`, they do not change with the parametrization and do not leave the domain.

    Parameters
    ----------
    model, data, information
        As for `fisher_scoring`; the information is the metric of the searches only.
    fit : Estimate
        From `fisher_scoring` with the same model and data.
    parameters : names, optional
        All by default.
    level : float

    Returns
    -------
    Intervals
        An end is infinite where the profile stays below the quantile as far as :math:`2^{24}` standard errors away.

    Raises
    ------
    ConvergenceError
        When a higher likelihood is met on the way, so that ``fit`` is not the maximum, or a search for the others fails.

    Notes
    -----
    Costs about ten short searches per end.

    References
    ----------
    Venzon & Moolgavkar (1988), Applied Statistics 37, 87-94. doi:10.2307/2347496

    Examples
    --------
    >>> x, rate = sympy.symbols("x rate", positive=True)
    >>> waiting = fk.symbolic.Model(rate * sympy.exp(-rate * x), data=x, parameters=rate, support=(0, sympy.oo))
    >>> data = [0.3, 0.9, 0.1, 0.7, 0.5]
    >>> fit = fk.estimation.fisher_scoring(waiting, {"rate": 1.0}, data)
    >>> fk.estimation.profile_intervals(waiting, fit, data)
    Intervals(profile, level=0.95)
            estimate  standard error       low     high
      rate         2        0.894427  0.717202  4.29856
    """
    _check_level(level)
    if not isinstance(fit, Estimate):
        raise LayoutError(f"fit must be an Estimate, from fisher_scoring; got {type(fit).__name__}.")
    own, at = likelihood(model, fit.estimate, data, kind=information)
    if own.parameters.labels != own.parameters.names:
        raise LayoutError(f"profiles need scalar parameters; found {own.parameters}.")
    names = (
        own.parameters.names
        if parameters is None
        else own.parameters.known((parameters,) if isinstance(parameters, str) else parameters)
    )
    rows = [own.parameters.names.index(name) for name in names]
    errors = np.asarray(fit.information.standard_errors())
    limit = _quantile(level)
    ends = np.array([[_end(own, fit, at, k, side * errors[k], limit) for side in (-1, 1)] for k in rows])
    return Intervals(tuple(names), at[rows], errors[rows], ends[:, 0], ends[:, 1], level, kind="profile")


def _quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2) ** 2)


@dataclass
class _Profile:
    """Twice the fall of the log-likelihood when one parameter is held, the others warm-started from the last search."""

    own: Likelihood
    name: str
    others: np.ndarray
    top: float
    tries: dict[float, float] = field(default_factory=dict)

    def __call__(self, value: float) -> float:
        if value not in self.tries:
            self.tries[value] = 2 * (self.top - self._highest(value))
        if self.tries[value] < -1e-6 * (1 + abs(self.top)):
            raise ConvergenceError(
                f"the likelihood is higher at {self.name}={value:.6g} than at the estimate: the fit is not the maximum. Start "
                "fisher_scoring there.",
                condition="not_ascending",
                point={self.name: value},
            )
        return self.tries[value]

    def _highest(self, value: float) -> float:
        if len(self.own.parameters.names) == 1:
            return self.own.value(np.array([value]))
        held = self.own.given({self.name: value})
        if not np.isfinite(held.value(self.others)):
            return -np.inf
        found = climb(held, self.others, tolerance=1e-6)
        self.others = held.flat(found.estimate)[held.parameters.positions(held.free.names)]
        return found.log_likelihood


def _end(own: Likelihood, fit: Estimate, at: np.ndarray, k: int, step: float, limit: float) -> float:
    """Where the profile meets the limit on one side."""
    from scipy.optimize import brentq

    profile = _Profile(own, own.parameters.names[k], np.delete(at, k), fit.log_likelihood)
    inside, outside = at[k], at[k] + step * limit**0.5
    for _ in range(DOUBLINGS):
        if profile(outside) > limit:
            return float(brentq(lambda v: min(profile(v), 4 * limit) - limit, inside, outside, xtol=1e-9 * abs(step), rtol=1e-14))
        inside, outside = outside, at[k] + 2 * (outside - at[k])
    return float(np.sign(step) * np.inf)
