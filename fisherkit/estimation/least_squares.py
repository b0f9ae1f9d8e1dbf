"""Nonlinear least squares: a normal response whose mean is a function of parameters, its information by scaled QR."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import is_expression
from ..errors import ConvergenceError, DataError, MethodError, SingularInformationError
from ..information import FisherInformation
from ..parameters import Parameters
from ..tables import table
from .covariance import Covariance
from .means import Function, of_callable, of_expression, read_pair, real_number

DERIVATIVES = ("complex", "numeric")


class RoundingWarning(UserWarning):
    """The residuals are hardly more than the rounding of the data."""


@dataclass(frozen=True, repr=False)
class LeastSquares:
    """A fit by least squares.

    Attributes
    ----------
    estimate : mapping from name to value
    covariance : Covariance
        Residual variance times (J'J)^-1, from the QR decomposition of the Jacobian.
    residual_variance : float
        Sum of squares over the degrees of freedom.
    sum_of_squares : float
    degrees_of_freedom : int
        n - p.
    log_likelihood : float
        Of normal errors, at their maximum-likelihood variance.
    iterations : int
        Gauss-Newton steps after the search.
    gradient : float
        Length of the step that was left, in standard errors.
    point : mapping
        The estimate, in whatever precision the data had.
    """

    estimate: Mapping[str, Any]
    covariance: Covariance
    residual_variance: Any
    sum_of_squares: Any
    degrees_of_freedom: int
    log_likelihood: float
    iterations: int
    gradient: float
    _jacobian: np.ndarray

    @property
    def standard_errors(self) -> dict[str, float]:
        """By name, with n - p degrees of freedom."""
        return dict(zip(self.estimate, self.covariance.standard_errors().tolist(), strict=True))

    @cached_property
    def information(self) -> FisherInformation:
        """J'J over the residual variance: expected information over the data, with the variance known.

        Its inverse has half the digits of `covariance`, which is taken from J itself.
        """
        matrix = self._jacobian.T @ self._jacobian / float(self.residual_variance)
        n, point = len(self._jacobian), {name: float(value) for name, value in self.estimate.items()}
        return FisherInformation(matrix, parameters=self.covariance.parameters, n=n, point=point)

    def __repr__(self) -> str:
        told = f"n={len(self._jacobian)}, residual standard deviation={float(self.residual_variance) ** 0.5:.6g}, "
        told += f"degrees_of_freedom={self.degrees_of_freedom}, gradient={self.gradient:.1g}"
        rows = [(name, value, self.standard_errors[name]) for name, value in self.estimate.items()]
        return table(f"LeastSquares({told})", ("", "estimate", "standard error"), rows)


def nonlinear_least_squares(
    mean: Any,
    start: Mapping[Any, Any],
    data: tuple[Any, Any],
    *,
    derivatives: str = "complex",
    max_evaluations: int = 5000,
) -> LeastSquares:
    r"""Fit :math:`y_i = f(x_i; \theta) + e_i` with normal errors of one unknown variance.

    Parameters
    ----------
    mean : SymPy expression, or callable (x, theta) -> (n,)
        The function f. A callable gets the flat parameters (p,).
    start : mapping from name or symbol to value
        In the order of theta.
    data : pair (x, y)
        y of shape (n,); x whatever the callable takes, or for an expression a mapping or data frame with a column for each
        symbol that is no parameter (a plain array where there is one such symbol). Numbers of dtype ``numpy.longdouble`` are
        kept, and the residuals are then computed in extended precision.
    derivatives : {"complex", "numeric"}
        Of a callable: by a complex step (exact to rounding, for code without ``abs`` and comparisons; checked against
        differences at the start), or by order-8 differences with an error control. Expressions are differentiated by SymPy.
    max_evaluations : int
        Of the search.

    Returns
    -------
    LeastSquares

    Raises
    ------
    ConvergenceError
        When the search does not end at a minimum.
    SingularInformationError
        When the data leave a direction without information at the end; it is named.
    DataError
        When shapes do not fit, values are missing, or there are no more observations than parameters.
    PrecisionError
        When the complex step contradicts differences.

    Warns
    -----
    RoundingWarning
        When the fit is so good that the residuals are rounding; the digits that are left are told.

    Notes
    -----
    A trust-region search (`scipy.optimize.least_squares`) is followed by Gauss-Newton steps to the last digit. Steps and
    covariance come from the QR decomposition of the Jacobian with columns scaled to length one; J'J, which has half the
    digits, is not formed. Cost O(n p^2) per step, and p complex evaluations of the mean.

    References
    ----------
    Golub & Van Loan (2013), Matrix Computations, 4th ed., section 5.3. Squire & Trapp (1998), SIAM Review 40, 110-112.
    doi:10.1137/S003614459631241X

    Examples
    --------
    >>> a, b, x = sympy.symbols("a b x")
    >>> days, oxygen = [1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224]  # Box, Hunter & Hunter (1978), p. 483
    >>> fit = fk.estimation.nonlinear_least_squares(a * (1 - sympy.exp(-b * x)), {a: 100, b: 0.75}, (days, oxygen))
    >>> {name: (float(fit.estimate[name].round(6)), round(error, 6)) for name, error in fit.standard_errors.items()}
    {'a': (213.809409, 12.354515), 'b': (0.547237, 0.10456)}
    """
    if derivatives not in DERIVATIVES:
        raise MethodError(f"derivatives must be one of {', '.join(DERIVATIVES)}; got {derivatives!r}.")
    names = Parameters.of(list(start))
    x, y = read_pair(data)
    at = np.array([real_number(name, value) for name, value in start.items()], dtype=y.dtype)
    if len(y) <= len(at):
        raise DataError(f"{len(y)} observations cannot tell {len(at)} parameters {names} and a variance: more are needed.")
    f, jacobian = of_expression(mean, list(start), x, y) if is_expression(mean) else of_callable(mean, x, y, names, derivatives)
    at = _search(f, jacobian, at, y, names, max_evaluations)
    at, iterations, length = _polish(f, jacobian, at, y, names)
    return _result(names, at, y - f(at), jacobian(at), iterations, length)


def _result(
    names: Parameters, at: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, iterations: int, length: float
) -> LeastSquares:
    n, p = jacobian.shape
    squares = residuals @ residuals
    variance = squares / (n - p)
    inverse, scale = _inverse_root(jacobian, names)
    half = inverse / scale[:, None] * float(np.sqrt(variance))
    with np.errstate(divide="ignore"):
        log_likelihood = float(-n / 2 * (np.log(2 * np.pi * squares / n) + 1))
    estimate = dict(zip(names.names, at, strict=True))
    covariance = Covariance(half @ half.T, names)
    return LeastSquares(estimate, covariance, variance, squares, n - p, log_likelihood, iterations, length, jacobian)


def _inverse_root(jacobian: np.ndarray, names: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """R^-1 of the scaled Jacobian's QR, and the scale: (J'J)^-1 = S^-1 R^-1 R^-T S^-1."""
    _, r, scale = _scaled_qr(jacobian, names)
    return np.asarray(np.linalg.inv(r)), scale


def _scaled_qr(jacobian: np.ndarray, names: Parameters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """QR of J with columns of length one; directions without information are named."""
    jacobian = np.asarray(jacobian, dtype=float)
    if not np.isfinite(jacobian).all():
        i, j = np.argwhere(~np.isfinite(jacobian))[0]
        raise DataError(f"the derivative of the mean of observation {i} in {names.label(int(j))} is {jacobian[i, j]}.")
    scale = np.linalg.norm(jacobian, axis=0)
    filled = np.where(scale > 0, scale, 1.0)
    q, r = np.linalg.qr(jacobian / filled)
    _, values, rows = np.linalg.svd(r)
    if (null := values <= len(jacobian) * np.finfo(float).eps * values[0]).any():
        directions = [dict(zip(names.labels, (row / filled).tolist(), strict=True)) for row in rows[null]]
        told = "; ".join(_direction(row / filled, names) for row in rows[null])
        raise SingularInformationError(
            f"the data carry no information along {told} there: the mean does not change. Fix one of these parameters, or start "
            "elsewhere.",
            null_directions=directions,
        )
    return q, r, filled


def _direction(row: np.ndarray, names: Parameters) -> str:
    row = row / row[np.argmax(abs(row) > 0.999 * abs(row).max())]
    return " ".join(f"{value:+.3g} {label}" for label, value in zip(names.labels, row, strict=True) if abs(value) > 1e-8)


def _search(f: Function, jacobian: Function, at: np.ndarray, y: np.ndarray, names: Parameters, limit: int) -> np.ndarray:
    """A trust-region search to about half of the digits."""
    from scipy.optimize import least_squares

    plain = y.astype(float)
    with np.errstate(all="ignore"):
        if not np.isfinite(f(at)).all():
            raise DataError(f"the mean of observation {int(np.argmin(np.isfinite(f(at))))} is not finite at the start.")
        found = least_squares(
            lambda t: np.nan_to_num(np.asarray(f(t), dtype=float) - plain, nan=1e150, posinf=1e150, neginf=-1e150),
            at.astype(float),
            jac=lambda t: np.nan_to_num(np.asarray(jacobian(t), dtype=float)),
            method="trf",
            x_scale="jac",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-15,
            max_nfev=limit,
        )
    if found.status == 0:
        told = ", ".join(f"{name}={value:.4g}" for name, value in zip(names.names, found.x, strict=True))
        raise ConvergenceError(
            f"no minimum of the sum of squares after {limit} evaluations, at {told}. Start nearer, or raise max_evaluations.",
            condition="iterations",
            point=dict(zip(names.names, found.x.tolist(), strict=True)),
        )
    return np.asarray(found.x.astype(y.dtype))


def _polish(f: Function, jacobian: Function, at: np.ndarray, y: np.ndarray, names: Parameters) -> tuple[np.ndarray, int, float]:
    """Gauss-Newton steps until they no longer shrink; the length of the last is in standard errors."""
    lengths: list[float] = []
    steps: list[np.ndarray] = []
    best = at
    for _ in range(200):
        residuals = y - f(at)
        q, r, scale = _scaled_qr(jacobian(at), names)
        size = np.sqrt(residuals @ residuals / max(len(y) - len(at), 1))
        inward = (q.T @ np.asarray(residuals / (size or 1), dtype=float)).astype(y.dtype)
        length = float(np.linalg.norm(inward.astype(float)))
        if lengths and length >= min(lengths) and (length < 1e-6 or len(lengths) > 20):
            break
        if not lengths or length < min(lengths):
            best = at
        lengths.append(length)
        steps.append(np.linalg.solve(r, inward.astype(float)) / scale)
        at = at + steps[-1] * size
        if size == 0 or length == 0:
            break
    noise = float(np.finfo(y.dtype).eps * np.sqrt(y @ y))
    rounding = noise / float(size) if size else np.inf  # in standard errors, too
    if rounding > 1e-5:
        warnings.warn(_rounding(rounding), RoundingWarning, stacklevel=4)
    if not min(lengths) < max(1e-4, 10 * rounding):
        told = ", ".join(f"{name}={value:.4g}" for name, value in zip(names.names, best.astype(float), strict=True))
        raise ConvergenceError(
            f"the search ended at {told}, which is no minimum: the next step would be {min(lengths):.2g} standard errors long. "
            "Start elsewhere.",
            condition="iterations",
            point=dict(zip(names.names, best.astype(float).tolist(), strict=True)),
        )
    return best, len(lengths), min(lengths)


def _rounding(share: float) -> str:
    """What a fit that is too good says; ``share`` is the rounding of y over the residuals."""
    if share > 1:
        return "the residuals are rounding, so the standard errors say nothing: y seems to have been computed from x."
    return (
        f"the residuals are only {1 / share:.1g} times the rounding of y, so the standard errors have about "
        f"{-np.log10(share):.0f} digits: give x and y as numpy.longdouble, or see if y was computed from x."
    )
