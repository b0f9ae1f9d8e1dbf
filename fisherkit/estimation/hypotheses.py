"""Is this value possible? Wald's, Rao's and the likelihood-ratio test of a hypothesis about some parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, SingularInformationError
from ..information import FisherInformation
from ..parameters import Parameters
from .covariance import Covariance
from .intervals import delta_covariance, functions
from .likelihood import Likelihood, likelihood
from .scoring import Estimate, climb


@dataclass(frozen=True)
class HypothesisTest:
    """What a test found.

    Attributes
    ----------
    kind : str
    statistic : float
        Chi-squared under the hypothesis, in large samples.
    degrees_of_freedom : int
        How many values the hypothesis fixes.
    p_value : float
        The probability of so large a statistic under the hypothesis.
    """

    kind: str
    statistic: float
    degrees_of_freedom: int
    p_value: float

    def __repr__(self) -> str:
        told = f"statistic={self.statistic:.6g}, degrees_of_freedom={self.degrees_of_freedom}, p_value={self.p_value:.4g}"
        return f"HypothesisTest({self.kind}, {told})"


def wald_test(information: FisherInformation | Covariance, theta_hat: Any, null: Any, *, of: Any = None) -> HypothesisTest:
    r"""Test a hypothesis by the distance of the estimate from it, in standard errors.

    :math:`W = (g - g_0)^\top (G F^{-1} G^\top)^{-1} (g - g_0)`.

    Parameters
    ----------
    information : FisherInformation or Covariance
        Over all of the data, at the estimate.
    theta_hat : mapping from name to value, or array (p,)
        The estimate.
    null : mapping from name to value; with ``of``, a number, an array (q,), or a mapping by its names
        The hypothesis. Parameters that it does not name are estimated too.
    of : as in `confidence_intervals`, optional

    Raises
    ------
    SingularInformationError
        When the information is singular, or the functions depend on each other at the estimate.

    References
    ----------
    Wald (1943), Trans. Amer. Math. Soc. 54, 426-482. doi:10.1090/S0002-9947-1943-0012401-3

    Examples
    --------
    >>> F = 25 * fk.FisherInformation([[4.0, 0.0], [0.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.estimation.wald_test(F, {"mu": 0.3, "sigma": 0.2}, {"mu": 0})
    HypothesisTest(Wald, statistic=9, degrees_of_freedom=1, p_value=0.0027)
    """
    names, values, gradient = functions(information, theta_hat, of)
    rows, target = _null(names, null)
    covariance = delta_covariance(information, gradient)[np.ix_(rows, rows)]
    return _chi_squared("Wald", _quadratic(covariance, values[rows] - target, [names[k] for k in rows]), len(rows))


def score_test(
    model: Any, null: Mapping[str, Any], data: Any = None, *, start: Any, information: str = "expected"
) -> HypothesisTest:
    r"""Test a hypothesis by the slope of the log-likelihood under it: Rao's test, :math:`s^\top F^{-1} s`.

    Needs no estimate without the hypothesis. Parameters that ``null`` does not name are estimated under it.

    Parameters
    ----------
    model, data, information
        As for `fisher_scoring`.
    null : mapping from name to value
        The hypothesis.
    start : mapping from name to value, all parameters
        Where the search for the others begins.

    References
    ----------
    Rao (1948), Proc. Camb. Phil. Soc. 44, 50-57. doi:10.1017/S0305004100023987
    """
    own, at = likelihood(model, start, data, kind=information)
    theta, _ = _under(own, at, null)
    score = own.score_sum(theta)
    statistic = float(score @ np.asarray(own.information(theta).solve(score)))
    return _chi_squared("score", statistic, _size(own.parameters, null))


def likelihood_ratio_test(
    model: Any, null: Mapping[str, Any], data: Any = None, *, start: Any, information: str = "expected"
) -> HypothesisTest:
    r"""Test a hypothesis by what it costs: twice the fall of the highest log-likelihood.

    Parameters
    ----------
    model, data, information
        As for `fisher_scoring`; the information is the metric of the two searches only.
    null : mapping from name to value
        The hypothesis. Parameters that it does not name are estimated, with it and without.
    start : mapping from name to value, all parameters; or Estimate
        Where both searches begin. An `Estimate` from `fisher_scoring` saves one of them.

    References
    ----------
    Wilks (1938), Ann. Math. Statist. 9, 60-62. doi:10.1214/aoms/1177732360

    Examples
    --------
    >>> x, rate = sympy.symbols("x rate", positive=True)
    >>> waiting = fk.symbolic.Model(rate * sympy.exp(-rate * x), data=x, parameters=rate, support=(0, sympy.oo))
    >>> data = [0.3, 0.9, 0.1, 0.7, 0.5]
    >>> fk.estimation.likelihood_ratio_test(waiting, {"rate": 1}, data, start={"rate": 1.0})
    HypothesisTest(likelihood ratio, statistic=1.93147, degrees_of_freedom=1, p_value=0.1646)
    """
    known = start if isinstance(start, Estimate) else None
    own, at = likelihood(model, known.estimate if known else start, data, kind=information)
    free = known or climb(own, at)
    _, value = _under(own, own.flat(free.estimate), null)
    return _chi_squared("likelihood ratio", max(2 * (free.log_likelihood - value), 0.0), _size(own.parameters, null))


def _under(own: Likelihood, at: np.ndarray, null: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """The best point under the hypothesis, and its log-likelihood."""
    if not isinstance(null, Mapping) or not null:
        raise LayoutError(f"null must be a mapping from parameter name to value; got {null!r}.")
    known = {str(name): value for name, value in null.items()}
    own.parameters.known(known)
    if set(known) == set(own.parameters.names):
        return {name: known[name] for name in own.parameters.names}, own.exact_value(known)
    restricted = own.given(known)
    found = climb(restricted, at[own.parameters.positions(restricted.free.names)])
    return dict(found.estimate), found.log_likelihood


def _size(parameters: Parameters, null: Mapping[str, Any]) -> int:
    return len(parameters.positions([str(name) for name in null]))


def _null(names: tuple[str, ...], null: Any) -> tuple[list[int], np.ndarray]:
    """The rows that are tested, and the values that they are tested for."""
    if isinstance(null, Mapping):
        given = {str(name): value for name, value in null.items()}
        if unknown := sorted(set(given) - set(names)):
            raise LayoutError(f"null names {', '.join(unknown)}; what is estimated is {', '.join(names)}.")
        rows, target = [names.index(name) for name in given], np.array(list(given.values()), dtype=float)
    else:
        target = np.atleast_1d(np.asarray(null, dtype=float))
        rows = list(range(len(names)))
    if not rows or target.shape != (len(rows),):
        raise LayoutError(f"null must give a value for each of {', '.join(names)}, or name some; got shape {target.shape}.")
    if not np.isfinite(target).all():
        raise DataError(f"null must be finite; got {target.tolist()}.")
    return rows, target


def _quadratic(covariance: np.ndarray, distance: np.ndarray, names: list[str]) -> float:
    root = np.sqrt(np.diagonal(covariance))
    if not (root > 0).all():
        name = names[int(np.argmin(root))]
        why = f"{name} has no variance at the estimate: its gradient is zero."
        raise SingularInformationError(why, null_directions=[{name: 1.0}])
    values, vectors = np.linalg.eigh(covariance / np.outer(root, root))
    if values[0] <= 10 * len(root) * np.finfo(float).eps * values[-1]:
        direction = dict(zip(names, (vectors[:, 0] / root).tolist(), strict=True))
        why = f"the functions {', '.join(names)} depend on each other at the estimate: test fewer."
        raise SingularInformationError(why, null_directions=[direction])
    return float(np.sum((vectors.T @ (distance / root)) ** 2 / values))


def _chi_squared(kind: str, statistic: float, degrees: int) -> HypothesisTest:
    from scipy.special import chdtrc

    return HypothesisTest(kind, statistic, degrees, float(chdtrc(degrees, statistic)))
