"""What a design is good for: one number from an information, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import as_entries, as_float64, eye, public, same_family
from ..errors import LayoutError, MethodError, SingularInformationError
from ..information import FisherInformation
from ..parameters import concatenate

NAMES = ("D", "A", "E", "c", "I", "T")


def d_criterion(information: FisherInformation) -> Any:
    """log det F, to be maximized: twice the log of the inverse volume of a confidence ellipsoid.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 0.0], [0.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.design.d_criterion(F).round(9) == np.log(32).round(9)
    np.True_
    """
    return _told(lambda: information.logdet, "D")


def a_criterion(information: FisherInformation) -> Any:
    """trace F^-1, to be minimized: the sum of the variances. In units of the parameters squared: scale them first.

    Examples
    --------
    >>> F = fk.FisherInformation([[4.0, 0.0], [0.0, 8.0]], parameters=("mu", "sigma"))
    >>> fk.design.a_criterion(F).round(12)
    np.float64(0.375)
    """
    return _told(lambda: as_entries(information.inverse()).trace(), "A")


def e_criterion(information: FisherInformation) -> Any:
    """The smallest eigenvalue of F, to be maximized: the inverse variance of the worst-known combination. Numbers only."""
    _told(lambda: information.logdet, "E")
    return information.eigenvalues()[0]


def c_criterion(information: FisherInformation, direction: Any) -> Any:
    """c' F^-1 c, to be minimized: the variance of the estimate of c'theta.

    Parameters
    ----------
    information : FisherInformation
    direction : array (p,), or mapping from name to coefficient
        The vector c.
    """
    c = _direction(information, direction)
    return _told(lambda: c @ as_entries(information.solve(c)).reshape(-1), "c")


def i_criterion(information: FisherInformation, predictions: Any) -> Any:
    """trace(F^-1 W), to be minimized: the mean variance of predictions.

    Parameters
    ----------
    information : FisherInformation
    predictions : array (m, p), or FisherInformation
        The gradients of m predictions, of which W is the mean outer product; or W itself, as an information.
    """
    W = _moments(information, predictions)
    return _told(lambda: (as_entries(information.solve(W))).trace(), "I")


def t_criterion(information: FisherInformation) -> Any:
    """trace F, to be maximized: what all parameters' informations sum to. Blind to what parameters share; F may be singular."""
    return information.trace


def d_gradient(information: FisherInformation) -> Any:
    """F^-1: the (p, p) derivative of `d_criterion`, so that d log det F = trace(gradient dF)."""
    return _told(information.inverse, "D")


def a_gradient(information: FisherInformation) -> Any:
    """-F^-2: the (p, p) derivative of `a_criterion`."""
    inverse = as_entries(_told(information.inverse, "A"))
    return public(-(inverse @ inverse))


def e_gradient(information: FisherInformation) -> Any:
    """v v' with v the eigenvector of the smallest eigenvalue: the (p, p) derivative of `e_criterion`, where that is simple."""
    _told(lambda: information.logdet, "E")
    matrix = as_float64(as_entries(information.dense()), verb="the E-criterion")
    from array_api_compat import array_namespace

    v = array_namespace(matrix).linalg.eigh(matrix)[1][:, 0]
    return v[:, None] * v[None, :]


def c_gradient(information: FisherInformation, direction: Any) -> Any:
    """-F^-1 c c' F^-1: the (p, p) derivative of `c_criterion`."""
    c = _direction(information, direction)
    solved = as_entries(_told(lambda: information.solve(c), "c")).reshape(-1)
    return public(-(solved[:, None] * solved[None, :]))


def i_gradient(information: FisherInformation, predictions: Any) -> Any:
    """-F^-1 W F^-1: the (p, p) derivative of `i_criterion`."""
    W = _moments(information, predictions)
    half = as_entries(_told(lambda: information.solve(W), "I"))
    return public(-as_entries(information.solve(half.T)))


def t_gradient(information: FisherInformation) -> Any:
    """The identity: the (p, p) derivative of `t_criterion`."""
    entries = as_entries(information.dense())
    return public(eye(len(entries), entries))


def _told(ask: Callable[[], Any], name: str) -> Any:
    try:
        return ask()
    except SingularInformationError as error:
        raise SingularInformationError(
            f"the {name}-criterion of a singular information does not exist: {error}", null_directions=error.null_directions
        ) from error


def _direction(information: FisherInformation, direction: Any) -> Any:
    leaves = information.parameters.split(direction, name="direction")
    c = concatenate(leaves)
    if c.ndim != 1:
        raise LayoutError(f"direction must be one vector, shape ({information.parameters.size},); got {tuple(c.shape)}.")
    return same_family(as_entries(information.dense()), c, verb="the c-criterion")[1]


def _moments(information: FisherInformation, predictions: Any) -> Any:
    p = information.parameters.size
    if isinstance(predictions, FisherInformation):
        W = as_entries(predictions.dense())
    else:
        rows = as_entries(predictions, name="predictions")
        if rows.ndim != 2 or rows.shape[1] != p:
            raise LayoutError(f"predictions must hold one gradient of length {p} per row; got shape {tuple(rows.shape)}.")
        W = rows.T @ rows / len(rows)
    if tuple(W.shape) != (p, p):
        raise LayoutError(f"predictions are of {W.shape[0]} parameters; the information has {p}.")
    return same_family(as_entries(information.dense()), W, verb="the I-criterion")[1]


# -- the same, of many matrices at once, always to be maximized


@dataclass(frozen=True)
class Criterion:
    """A concave function of a matrix, with -trace(F^-1 W) for A, c and I, and where its value comes from."""

    name: str
    moments: np.ndarray | None = None

    def values(self, matrices: np.ndarray) -> np.ndarray:
        """Of (..., p, p) matrices; minus infinity where singular."""
        if self.name == "T":
            return np.asarray(np.trace(matrices, axis1=-2, axis2=-1))
        root = np.sqrt(np.maximum(np.diagonal(matrices, axis1=-2, axis2=-1), 1e-300))
        scaled = matrices / root[..., :, None] / root[..., None, :]
        eigenvalues = np.linalg.eigvalsh(scaled)
        p = matrices.shape[-1]
        singular = eigenvalues[..., 0] <= 10 * p * np.finfo(float).eps * eigenvalues[..., -1]
        if self.name == "E":
            return np.asarray(np.where(singular, -np.inf, np.linalg.eigvalsh(matrices)[..., 0]))
        if self.name == "D":
            with np.errstate(divide="ignore", invalid="ignore"):
                found = np.sum(np.log(eigenvalues), axis=-1) + 2 * np.sum(np.log(root), axis=-1)
            return np.asarray(np.where(singular, -np.inf, found))
        filled = np.where(singular[..., None, None], np.eye(p), matrices)
        return np.asarray(np.where(singular, -np.inf, -np.trace(np.linalg.solve(filled, self._w(p)), axis1=-2, axis2=-1)))

    def gradient(self, matrix: np.ndarray) -> np.ndarray:
        """Of one nonsingular (p, p) matrix, or of each of (..., p, p)."""
        if self.name == "T":
            return np.broadcast_to(np.eye(matrix.shape[-1]), matrix.shape)
        if self.name == "E":
            v = np.linalg.eigh(matrix)[1][..., :, 0]
            return np.asarray(v[..., :, None] * v[..., None, :])
        inverse = np.linalg.inv(matrix)
        return inverse if self.name == "D" else np.asarray(inverse @ self._w(matrix.shape[-1]) @ inverse)

    def curvature(self, matrix: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """The Hessian in the weights of parts (s, p, p): of D, A, c and I."""
        inverse = np.linalg.inv(matrix)
        moved = np.einsum("ab,sbc->sac", inverse, parts)
        if self.name == "D":
            return np.asarray(-np.einsum("sab,tba->st", moved, moved))
        weighted = np.einsum("sab,bc,cd->sad", moved, inverse, self._w(len(matrix)))
        half = np.einsum("sab,tba->st", moved, weighted)
        return np.asarray(-(half + half.T))

    def outward(self, value: float) -> float:
        """The number that users know: c'F^-1 c rather than minus it."""
        return -value if self.name in ("A", "c", "I") else value

    def efficiency(self, value: float, gap: float, p: int) -> float:
        """How good at least, as a share of the observations that the best design would need."""
        if self.name == "D":
            return float(np.exp(-gap / p))
        best = value + gap
        return max(0.0, float(best / value if self.name in ("A", "c", "I") else value / best))

    def _w(self, p: int) -> np.ndarray:
        return np.eye(p) if self.moments is None else self.moments


def criterion_of(name: str, p: int, direction: Any, predictions: Any) -> Criterion:
    """The criterion of this name; c needs a direction and I needs predictions."""
    if name not in NAMES:
        raise MethodError(f"criterion must be one of {', '.join(NAMES)}; got {name!r}.")
    if (direction is not None) != (name == "c"):
        raise MethodError(f"direction= belongs to criterion='c', which needs it; got criterion={name!r}.")
    if (predictions is not None) != (name == "I"):
        raise MethodError(f"predictions= belongs to criterion='I', which needs it; got criterion={name!r}.")
    if name == "c":
        c = as_float64(as_entries(direction, name="direction"), verb="direction=")
        if c.shape != (p,) or not c.any():
            raise LayoutError(f"direction must be a vector of length {p}, not zero; got shape {tuple(c.shape)}.")
        return Criterion("c", np.outer(c, c))
    if name == "I":
        rows = as_float64(as_entries(predictions, name="predictions"), verb="predictions=")
        if rows.ndim != 2 or rows.shape[1] != p or not rows.any():
            raise LayoutError(f"predictions must hold one gradient of length {p} per row; got shape {tuple(rows.shape)}.")
        return Criterion("I", rows.T @ rows / len(rows))
    return Criterion(name)
