"""What may be observed: candidate points, and the information of one observation at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import as_entries, as_float64
from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..parameters import Parameters


@dataclass(frozen=True)
class Candidates:
    """N points and their informations, (K, N, p, p), under each of K values of theta with these weights."""

    points: Sequence[Any]
    parts: np.ndarray
    prior: np.ndarray
    parameters: Parameters

    @property
    def size(self) -> int:
        return len(self.points)

    @property
    def p(self) -> int:
        return int(self.parts.shape[-1])

    def mixed(self, weights: np.ndarray) -> np.ndarray:
        """(K, p, p) informations of one observation of a design."""
        return np.asarray(np.einsum("n,knab->kab", weights, self.parts))

    def information(self, weights: np.ndarray, n: float = 1) -> FisherInformation | None:
        """Of n observations; None where there are several values of theta."""
        if len(self.prior) > 1:
            return None
        matrix = n * self.mixed(weights)[0]
        return FisherInformation((matrix + matrix.T) / 2, parameters=self.parameters, n=n)


def read(information: Any, candidates: Any, prior: Any, prior_weights: Any) -> Candidates:
    """The arguments of a design, checked."""
    points = list(candidates)
    if not points:
        raise DataError("a design needs at least one candidate; found none.")
    if not callable(information):
        if prior is not None:
            raise LayoutError("a prior needs information= to be a callable (x, theta).")
        return _read_array(information, points)
    thetas = [None] if prior is None else list(prior)
    if not thetas:
        raise DataError("prior must hold at least one value of theta; found none.")
    parameters, rows = None, []
    for theta in thetas:
        found = [_part(information, point, theta) for point in points]
        parameters = parameters or found[0][1]
        rows.append([matrix for matrix, _ in found])
    if len(shapes := {matrix.shape for row in rows for matrix in row}) > 1:
        raise LayoutError(f"information must have one shape at every candidate; found {', '.join(map(str, sorted(shapes)))}.")
    parts = np.array(rows)
    return Candidates(points, parts, _weights(prior_weights, len(thetas)), Parameters.of(parameters, size=parts.shape[-1]))


def _read_array(information: Any, points: list[Any]) -> Candidates:
    """Matrices that are there already: (N, p, p), or N informations."""
    if isinstance(information, (list, tuple)) and information and isinstance(information[0], FisherInformation):
        parts, parameters = np.array([np.asarray(F) for F in information]), information[0].parameters
    else:
        parts, parameters = as_float64(as_entries(information, name="information"), verb="a design"), None
    if parts.ndim != 3 or parts.shape[1] != parts.shape[2] or len(parts) != len(points):
        raise LayoutError(f"information must hold a (p, p) matrix for each of {len(points)} candidates; got shape {parts.shape}.")
    for point, matrix in zip(points, parts, strict=True):
        _refuse_negative(matrix, point)
    return Candidates(points, parts[None], np.ones(1), Parameters.of(parameters, size=parts.shape[-1]))


def _part(information: Callable[..., Any], point: Any, theta: Any) -> tuple[np.ndarray, Parameters | None]:
    """The (p, p) information of one observation; a flat array is the gradient of a mean with unit variance."""
    found = information(point) if theta is None else information(point, theta)
    if isinstance(found, FisherInformation):
        return np.asarray(found, dtype=float), found.parameters
    array = as_float64(as_entries(found, name=f"information at {point!r}"), verb="a design")
    if array.ndim == 1:
        return np.outer(array, array), None
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise LayoutError(
            f"information at {point!r} must be a FisherInformation, a (p, p) matrix, or the gradient (p,) of a mean in units of "
            f"the standard deviation; got shape {tuple(array.shape)}."
        )
    _refuse_negative(array, point)
    return np.asarray(array), None


def _refuse_negative(matrix: np.ndarray, point: Any) -> None:
    size = abs(matrix).max()
    if abs(matrix - matrix.T).max() > 1e-8 * size or np.linalg.eigvalsh(matrix)[0] < -1e-8 * size:
        raise DataError(f"the information at {point!r} is not symmetric and positive semidefinite.")


def _weights(given: Any, size: int) -> np.ndarray:
    if given is None:
        return np.full(size, 1 / size)
    return checked_weights(given, size, name="prior_weights")


def checked_weights(given: Any, size: int, *, name: str) -> np.ndarray:
    """Non-negative numbers that sum to one."""
    weights = np.asarray(as_float64(as_entries(given, name=name), verb=name))
    if weights.shape != (size,):
        raise LayoutError(f"{name} must hold one number for each of {size}; got shape {weights.shape}.")
    if (weights < 0).any():
        raise DataError(f"{name} must not be negative; number {int(weights.argmin())} is {weights.min():.6g}.")
    if not abs(weights.sum() - 1) < 1e-8:
        raise DataError(f"{name} must sum to one; they sum to {weights.sum():.10g}. Divide by it if that is meant.")
    return weights
