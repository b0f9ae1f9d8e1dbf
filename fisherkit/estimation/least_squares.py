"""Nonlinear least squares: a normal response whose mean is a function of parameters, its information by scaled QR."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import is_expression
from ..errors import ConvergenceError, DataError, LayoutError, MethodError, PrecisionError, SingularInformationError
from ..information import FisherInformation
from ..parameters import Parameters
from ..tables import table
from .covariance import Covariance

DERIVATIVES = ("complex", "numeric")
STEP = 1e-30  # of a complex step: far below rounding, far above underflow
Function = Callable[[np.ndarray], np.ndarray]


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
    x, y = _pair(data)
    at = np.array([_real(name, value) for name, value in start.items()], dtype=y.dtype)
    if len(y) <= len(at):
        raise DataError(f"{len(y)} observations cannot tell {len(at)} parameters {names} and a variance: more are needed.")
    f, jacobian = _expression(mean, list(start), x, y) if is_expression(mean) else _callable(mean, x, y, names, derivatives)
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
    rounding = float(np.finfo(y.dtype).eps * np.sqrt(y @ y) / max(size, np.finfo(float).tiny))  # in standard errors, too
    if rounding > 1e-5:
        warnings.warn(
            f"the residuals are only {1 / rounding:.1g} times the rounding of y, so the standard errors have about "
            f"{max(np.log10(1 / rounding), 0):.0f} digits: give x and y as numpy.longdouble, or see if y was computed from x.",
            RoundingWarning,
            stacklevel=4,
        )
    if not min(lengths) < max(1e-4, 10 * rounding):
        told = ", ".join(f"{name}={value:.4g}" for name, value in zip(names.names, best.astype(float), strict=True))
        raise ConvergenceError(
            f"the search ended at {told}, which is no minimum: the next step would be {min(lengths):.2g} standard errors long. "
            "Start elsewhere.",
            condition="iterations",
            point=dict(zip(names.names, best.astype(float).tolist(), strict=True)),
        )
    return best, len(lengths), min(lengths)


# -- the mean and its derivatives


def _pair(data: Any) -> tuple[Any, np.ndarray]:
    if not isinstance(data, tuple) or len(data) != 2:
        raise DataError(f"data must be a pair (x, y); got {type(data).__name__}.")
    x, y = data
    y = _numbers(y, "y")
    if y.ndim != 1 or not len(y):
        raise DataError(f"y must be a flat array of observations; got shape {y.shape}.")
    if not (isinstance(x, Mapping) or hasattr(x, "columns")):
        x = _numbers(x, "x")
        if x.ndim == 0 or len(x) != len(y):
            raise DataError(f"x must have one row for each of the {len(y)} observations; got shape {x.shape}.")
    return x, y


def _numbers(values: Any, name: str) -> np.ndarray:
    """Floats, in extended precision where they come so; nothing missing."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must be real numbers; got dtype {array.dtype}.")
    array = array if array.dtype == np.longdouble else array.astype(float)
    if not np.isfinite(array).all():
        index = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise DataError(f"{name} must be finite; entry {index} is {array[index]}.")
    return array


def _real(name: Any, value: Any) -> Any:
    number = _numbers(value, f"start of {name}")
    if number.ndim:
        raise LayoutError(f"start of {name} must be a number; got shape {number.shape}.")
    return number


def _expression(mean: Any, symbols: list[Any], x: Any, y: np.ndarray) -> tuple[Function, Function]:
    """An expression in parameters and columns, and its derivatives by SymPy."""
    import sympy

    by_name = {str(s): s for s in mean.free_symbols}
    if absent := [str(s) for s in symbols if str(s) not in by_name]:
        raise LayoutError(f"the mean does not mention {', '.join(absent)}; it has {', '.join(sorted(by_name))}.")
    parameters = [by_name[str(s)] for s in symbols]
    columns = sorted(mean.free_symbols - set(parameters), key=str)
    if not (isinstance(x, Mapping) or hasattr(x, "columns")):
        if len(columns) != 1 or x.ndim != 1:
            raise DataError(f"x must be a mapping with the columns {', '.join(map(str, columns))}; got shape {x.shape}.")
        x = {str(columns[0]): x}
    named = {str(key): key for key in x}
    if missing := [str(c) for c in columns if str(c) not in named]:
        raise DataError(f"x must have a column for {', '.join(missing)}; it has {', '.join(named)}.")
    values = [_numbers(x[named[str(c)]], str(c)) for c in columns]
    if wrong := [str(c) for c, v in zip(columns, values, strict=True) if v.shape != y.shape]:
        raise DataError(f"column {wrong[0]} must have the shape of y, {y.shape}.")
    plain = sympy.lambdify([*parameters, *columns], mean, modules=["scipy", "numpy"])
    gradient = sympy.lambdify([*parameters, *columns], [mean.diff(s) for s in parameters], modules=["scipy", "numpy"], cse=True)

    def f(t: np.ndarray) -> np.ndarray:
        return np.asarray(np.broadcast_to(plain(*t, *values), y.shape))

    def jacobian(t: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.stack([np.broadcast_to(column, y.shape) for column in gradient(*t, *values)], axis=1)

    return f, jacobian


def _callable(mean: Any, x: Any, y: np.ndarray, names: Parameters, derivatives: str) -> tuple[Function, Function]:
    if not callable(mean):
        raise LayoutError(f"mean must be a SymPy expression or a callable (x, theta) -> (n,); got {mean!r}.")

    def f(t: np.ndarray) -> np.ndarray:
        values = np.asarray(mean(x, t))
        if values.shape != y.shape:
            raise LayoutError(f"mean(x, theta) must return one number per observation, shape {y.shape}; got {values.shape}.")
        return values

    if derivatives == "numeric":
        from ..jacobians import differentiate

        return f, lambda t: differentiate(f, t.astype(float), name="the mean")
    checked: list[bool] = []

    def jacobian(t: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            out = _complex_step(f, t)
        if not checked:
            _compare(out, f, t, names)
            checked.append(True)
        return out

    return f, jacobian


def _complex_step(f: Function, t: np.ndarray) -> np.ndarray:
    """Im f(t + i h e_j) / h."""
    columns = []
    for j in range(len(t)):
        h = STEP * float(abs(t[j]) or 1.0)
        moved = t.astype(np.result_type(t.dtype, np.complex128))
        moved[j] += 1j * h
        columns.append(np.imag(f(moved)) / h)
    return np.stack(columns, axis=1)


def _compare(jacobian: np.ndarray, f: Function, t: np.ndarray, names: Parameters) -> None:
    """Code that drops or mangles the imaginary part gives wrong derivatives without a word: differences tell."""
    for j, label in enumerate(names.labels):
        h = np.zeros_like(t)
        h[j] = 1e-5 * (abs(t[j]) or 1.0)
        with np.errstate(all="ignore"):
            difference = np.asarray((f(t + h) - f(t - h)) / (2 * h[j]), dtype=float)
            noise = 1e-15 * np.abs(np.asarray(f(t), dtype=float)).max() / float(h[j])
        size = np.abs(jacobian[:, j]).max()
        if np.isfinite(difference).all() and not np.abs(difference - jacobian[:, j]).max() <= 1e-3 * size + 1e3 * noise:
            raise PrecisionError(
                f"the complex step in {label} contradicts differences of the mean: the code drops imaginary parts (abs, max, "
                "comparisons, float()). Use derivatives='numeric', or a SymPy expression."
            )
