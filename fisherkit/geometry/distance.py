r"""The Fisher-Rao distance: the length of the shortest curve, :math:`\int \sqrt{\dot\theta^\top F \dot\theta}\,dt`."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import as_entries, as_float64, family
from ..errors import DataError, LayoutError, MethodError, PrecisionError
from .geodesics import between
from .metric import Field, Formula, Information, Metric, as_metric

if TYPE_CHECKING:
    from .shapes import Block


@dataclass(frozen=True)
class Distance:
    """A Fisher-Rao distance.

    Attributes
    ----------
    value : float or expression
        ``float(d)`` is its number.
    error : float or None
        Of a number that was integrated or searched for; None for a closed form.
    route : str
        What answered: ``"flat"``, ``"line"``, ``"half-plane"``, ``"simplex"``, or ``"geodesic"`` (the boundary-value
        problem); several, joined by ``+``, where the metric falls into independent blocks.
    """

    value: Any
    error: float | None
    route: str

    def __float__(self) -> float:
        return float(self.value)


def distance(information: Information, a: Any, b: Any) -> Distance:
    r"""Fisher-Rao distance between two points of a family.

    Parameters
    ----------
    information : FisherInformation with expressions in its p parameters, or callable theta -> FisherInformation
        Per observation; that of n observations gives sqrt(n) times the distance.
    a, b : array (p,), or mapping from name to number or expression
        Expressions are answered where a closed form is known.

    Returns
    -------
    Distance
        ``value``, ``error`` and the ``route`` that answered.

    Raises
    ------
    DataError
        When a point is outside the domain.
    MethodError
        When points are expressions and no closed form is known.
    PrecisionError
        When no geodesic was found, or an integral has no finite value.

    Notes
    -----
    The metric itself is recognised, not the name of its family: constant; a line (every one-parameter family); a half-plane of
    constant negative curvature (normal, and any location-scale or shape-scale family that is one); a simplex (categorical,
    multinomial); and products of these. Everything else, and every callable, is a boundary-value problem: see `geodesic`.

    References
    ----------
    Rao (1945), Bull. Calcutta Math. Soc. 37, 81-91; Atkinson & Mitchell (1981), Sankhya A 43, 345-365; Costa, Santos &
    Strapasson (2015), Discrete Applied Mathematics 197, 59-69.

    Examples
    --------
    >>> rate = sympy.Symbol("rate", positive=True)
    >>> poisson = fk.FisherInformation([[1 / rate]], parameters=(rate,))
    >>> fk.geometry.distance(poisson, [4], [9])
    Distance(value=2.0, error=None, route='line')
    """
    metric = as_metric(information, "distance", a)
    start, end = metric.read(a, "a"), metric.read(b, "b")
    if isinstance(metric, Field):
        return _searched(metric, start, end)
    from .shapes import blocks

    parts = [_of_block(metric.block(part.positions), part, start, end) for part in blocks(metric.matrix, metric.symbols)]
    return parts[0] if len(parts) == 1 else _product(parts)


def _of_block(metric: Formula, part: Block, start: np.ndarray, end: np.ndarray) -> Distance:
    a, b = start[part.positions], end[part.positions]
    if family(a) == family(b) == "numpy":
        return _of_numbers(metric, part, a, b)
    if part.distance is None:
        raise MethodError(
            f"fisherkit knows no closed form of the distance in {metric.parameters}: give numbers for both points, and a "
            "geodesic is searched."
        )
    return Distance(part.distance(_exact(a), _exact(b)), None, part.shape)


def _of_numbers(metric: Formula, part: Block, a: np.ndarray, b: np.ndarray) -> Distance:
    """The straight line in the parameters shows whether the domain is connected between, and bounds the distance."""
    line = _straight(metric, a, b)
    if part.distance is not None:
        import sympy

        value = complex(sympy.N(part.distance(_exact(a), _exact(b)), 17))
        of_line = part.shape != "line" or abs(value - line.value) <= 1e-6 * line.value + 1e-12
        if value.imag == 0 and of_line and value.real <= line.value * (1 + 1e-6) + 1e-12:
            return Distance(value.real, None, part.shape)
    return line if part.shape == "line" else _searched(metric, a, b)


def _straight(metric: Formula, a: np.ndarray, b: np.ndarray) -> Distance:
    """The length of the straight line, which for one parameter is the distance."""
    from scipy.integrate import IntegrationWarning, quad

    step = b - a

    def speed(t: float) -> float:
        return float(np.sqrt(step @ metric.values(a + t * step) @ step))

    with warnings.catch_warnings():
        warnings.simplefilter("error", IntegrationWarning)
        try:
            with np.errstate(invalid="ignore"):
                value, error = quad(speed, 0.0, 1.0, epsabs=0.0, epsrel=1e-11, limit=200)
        except IntegrationWarning:
            value, error = np.nan, np.nan
    if not np.isfinite(value):
        raise PrecisionError(
            f"the straight line from {_told(metric, a)} to {_told(metric, b)} has no finite length: the domain between them is "
            "not connected, or not convex in these parameters. Go by way of a point between, or reparametrize F."
        )
    return Distance(float(value), float(error), "line")


def _searched(metric: Metric, a: np.ndarray, b: np.ndarray) -> Distance:
    found = between(metric, a.astype(float), b.astype(float), 2)
    return Distance(found.length, found.error, "geodesic")


def _product(parts: list[Distance]) -> Distance:
    """Squared distances of independent blocks add."""
    route = "+".join(dict.fromkeys(part.route for part in parts))
    errors = [part.error for part in parts if part.error is not None]
    if any(hasattr(part.value, "free_symbols") for part in parts):
        import sympy

        value: Any = sympy.sqrt(sum(part.value**2 for part in parts))
    else:
        value = math.hypot(*(part.value for part in parts))
    return Distance(value, math.hypot(*errors) if errors else None, route)


def _exact(point: np.ndarray) -> list[Any]:
    """Floats with digits to spare, so that differences lose none."""
    import sympy

    return [value if hasattr(value, "free_symbols") else sympy.Float(float(value), 40) for value in point]


def _told(metric: Formula, x: np.ndarray) -> str:
    return ", ".join(f"{name}={value:.6g}" for name, value in zip(metric.parameters.names, x, strict=True))


def covariance_distance(first: Any, second: Any) -> float:
    r"""Fisher-Rao distance between multivariate normals of equal, known mean: :math:`\sqrt{\tfrac12 \sum_i \log^2 \lambda_i}`.

    Parameters
    ----------
    first, second : array or tensor (d, d)
        Covariances. :math:`\lambda_i` are the eigenvalues of ``first^-1 second``.

    Returns
    -------
    float
        Per observation; invariant under any invertible linear map of the data.

    Raises
    ------
    DataError
        When a matrix is not symmetric, or not positive definite.

    Notes
    -----
    For equal known covariance and unknown mean the metric is constant: give `distance` that F. No closed form is known when both
    the mean and the covariance of several variables vary. Cost O(d^3).

    References
    ----------
    Atkinson & Mitchell (1981), Sankhya A 43, 345-365; Skovgaard (1984), Scandinavian Journal of Statistics 11, 211-223.

    Examples
    --------
    >>> print(round(fk.geometry.covariance_distance([[1.0]], [[4.0]]), 8))  # standard deviations 1 and 2: sqrt(2) log 2
    0.98025814
    """
    from scipy.linalg import eigh

    matrices = [_covariance(value, name) for value, name in ((first, "first"), (second, "second"))]
    if matrices[0].shape != matrices[1].shape:
        raise LayoutError(f"both covariances must have one shape; got {matrices[0].shape} and {matrices[1].shape}.")
    values = eigh(matrices[1], matrices[0], eigvals_only=True)
    return float(np.sqrt(0.5 * (np.log(values) ** 2).sum()))


def _covariance(value: Any, name: str) -> np.ndarray:
    matrix = np.asarray(as_float64(as_entries(value, name=name), verb="covariance_distance").tolist(), dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise LayoutError(f"{name} must be a (d, d) covariance; got shape {matrix.shape}.")
    if np.abs(matrix - matrix.T).max() > 1e-8 * np.abs(matrix).max():
        raise DataError(f"{name} must be symmetric; the largest difference is {np.abs(matrix - matrix.T).max():.3g}.")
    if (lowest := np.linalg.eigvalsh(matrix)[0]) <= 0:
        raise DataError(f"{name} must be positive definite; its lowest eigenvalue is {lowest:.3g}.")
    return matrix
