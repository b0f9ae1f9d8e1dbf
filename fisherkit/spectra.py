r"""Spectra, traces and determinants from products alone: for an information that is never formed.

Everything here asks ``F @ V`` and nothing more, so it serves every structure; it was made for ``structure="operator"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ConvergenceError, DataError, EntriesError
from .information import FisherInformation
from .methods import seed_sequence

__all__ = ["Density", "Estimate", "density", "eigenvalues", "linear_operator", "logdet", "trace"]

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo estimate and its standard error."""

    value: float
    mcse: float

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True)
class Density:
    """The distribution of the eigenvalues: nodes with weights that add to 1, ascending.

    Call it for a smooth density: a Gaussian of the given ``width`` around each node.
    """

    nodes: np.ndarray
    weights: np.ndarray

    def __call__(self, at: Any, *, width: float) -> np.ndarray:
        if not (math.isfinite(width) and width > 0):
            raise DataError(f"width must be positive and finite; got {width!r}.")
        z = (np.asarray(at, dtype=float)[..., None] - self.nodes) / width
        out: np.ndarray = np.exp(-0.5 * z**2) @ self.weights / (width * math.sqrt(2 * math.pi))
        return out


def trace(F: FisherInformation, *, probes: int = 30, rng: Any = None) -> Estimate:
    r"""The trace by random signs (Hutchinson 1990): the mean of :math:`v^\top F v`.

    Parameters
    ----------
    F : FisherInformation
        Of any structure. ``F.trace`` is exact wherever the diagonal can be had, as it can for a network.
    probes : int
        Products taken, two at least.
    rng : seed or Generator

    Returns
    -------
    Estimate

    References
    ----------
    Hutchinson (1990), Communications in Statistics 19:433.

    Examples
    --------
    >>> F = fk.FisherInformation(np.diag([1.0, 2.0, 3.0]))
    >>> fk.spectra.trace(F, rng=0)
    Estimate(value=6.0, mcse=0.0)
    """
    signs = _signs(F, probes, rng)
    return _mean((signs * _times(F, signs)).sum(axis=0))


def logdet(F: FisherInformation, *, damping: float, probes: int = 30, steps: int = 40, rng: Any = None) -> Estimate:
    r"""The log-determinant of :math:`F + \mathrm{damping}\, I`, by Lanczos quadrature (Ubaru, Chen & Saad 2017).

    Parameters
    ----------
    F : FisherInformation
    damping : float
        Positive, or 0 for an information that is regular.
    probes : int
        Random starts, two at least.
    steps : int
        Lanczos steps of each; more where the condition of ``F + damping I`` is high.
    rng : seed or Generator

    Returns
    -------
    Estimate
        The error is that of the probes; too few steps are refused, where two thirds of them tell otherwise.

    Raises
    ------
    ConvergenceError
        When the steps do not suffice.

    Notes
    -----
    ``probes * steps`` products, taken ``probes`` at a time, and ``probes * steps`` vectors of memory.

    References
    ----------
    Ubaru, Chen & Saad (2017), SIAM J. Matrix Anal. Appl. 38:1075.

    Examples
    --------
    >>> F = fk.FisherInformation(np.diag([1.0, 2.0, 3.0]))
    >>> bool(abs(float(fk.spectra.logdet(F, damping=0.0, rng=0)) - np.log(6.0)) < 1e-9)
    True
    """
    if not (math.isfinite(damping) and damping >= 0):
        raise DataError(f"damping must be finite and non-negative; got {damping!r}.")
    p = F.parameters.size
    tridiagonals = _lanczos(F, _signs(F, probes, rng) / math.sqrt(p), steps)

    def log(values: np.ndarray) -> np.ndarray:
        lifted = values + damping
        floor = 1e-13 * float(np.abs(lifted).max())
        if lifted.min() <= floor:
            raise ConvergenceError(
                f"an eigenvalue of F + {damping:g} I is {float(lifted.min()):.2g}: the determinant is zero to rounding. Give a "
                "larger damping=.",
                condition="iterations",
            )
        return np.log(lifted)

    found = _mean(np.array([p * _quadrature(t, log) for t in tridiagonals]))
    fewer = _mean(np.array([p * _quadrature(t[: 2 * len(t) // 3 + 1, : 2 * len(t) // 3 + 1], log) for t in tridiagonals]))
    if abs(found.value - fewer.value) > max(found.mcse, 1e-3 * p):
        raise ConvergenceError(
            f"{steps} Lanczos steps give {found.value:.6g} and two thirds of them {fewer.value:.6g}: give more steps=, or a "
            "larger damping=.",
            condition="iterations",
        )
    return found


def density(F: FisherInformation, *, probes: int = 10, steps: int = 60, rng: Any = None) -> Density:
    """The distribution of the eigenvalues by Lanczos from random starts (Lin, Saad & Yang 2016).

    Parameters
    ----------
    F : FisherInformation
    probes, steps : int
        As for `logdet`; moments up to twice the steps are right for each probe.
    rng : seed or Generator

    Returns
    -------
    Density

    References
    ----------
    Lin, Saad & Yang (2016), SIAM Review 58:34.

    Examples
    --------
    >>> found = fk.spectra.density(fk.FisherInformation(np.diag([1.0, 1.0, 5.0])), rng=0)
    >>> bool(abs(found.nodes @ found.weights - 7 / 3) < 1e-9)
    True
    """
    nodes, weights = [], []
    for tridiagonal in _lanczos(F, _signs(F, probes, rng) / math.sqrt(F.parameters.size), steps):
        values, vectors = np.linalg.eigh(tridiagonal)
        nodes.append(values)
        weights.append(vectors[0] ** 2 / probes)
    order = np.argsort(np.concatenate(nodes))
    return Density(np.concatenate(nodes)[order], np.concatenate(weights)[order])


def eigenvalues(F: FisherInformation, k: int = 6, *, rtol: float = 1e-6, rng: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues and their vectors, by Lanczos.

    Parameters
    ----------
    F : FisherInformation
    k : int
    rtol : float
        Relative to the largest eigenvalue.
    rng : seed or Generator
        Of the start.

    Returns
    -------
    values, vectors : ndarray (k,), descending, and (p, k)

    Notes
    -----
    ``scipy.sparse.linalg.eigsh`` on `linear_operator`; for a matrix of a few rows, the dense decomposition.

    Examples
    --------
    >>> values, vectors = fk.spectra.eigenvalues(fk.FisherInformation(np.diag([1.0, 2.0, 3.0])), 2)
    >>> values.round(9)
    array([3., 2.])
    """
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    p = F.parameters.size
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= p:
        raise DataError(f"k must be an integer from 1 to {p}; got {k!r}.")
    if k > p - 2 or p <= 64:
        values, vectors = np.linalg.eigh(_times(F, np.eye(p)))
        return values[::-1][:k], vectors[:, ::-1][:, :k]
    start = np.random.default_rng(seed_sequence(rng)).standard_normal(p)
    try:
        values, vectors = eigsh(linear_operator(F), k=k, which="LA", v0=start, tol=rtol)
    except ArpackNoConvergence as error:
        raise ConvergenceError(f"Lanczos did not find {k} eigenvalues to {rtol:g}: {error}.", condition="iterations") from error
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]


def linear_operator(F: FisherInformation) -> Any:
    """F for ``scipy.sparse.linalg``: a ``LinearOperator`` of flat float64 arrays.

    Examples
    --------
    >>> A = fk.spectra.linear_operator(fk.FisherInformation(np.diag([1.0, 2.0])))
    >>> A @ np.ones(2)
    array([1., 2.])
    """
    from scipy.sparse.linalg import LinearOperator

    p = F.parameters.size
    product = lambda v: _times(F, np.asarray(v, dtype=float).reshape(p, -1)).reshape(np.shape(v))  # noqa: E731
    return LinearOperator((p, p), matvec=product, rmatvec=product, matmat=product, rmatmat=product, dtype=np.float64)


def _times(F: FisherInformation, v: np.ndarray) -> np.ndarray:
    """F @ v for NumPy columns, whatever the family of F."""
    if F._family == "sympy":
        raise EntriesError("fisherkit.spectra needs numbers: call F.at(...) first.")
    if F._family == "torch":
        import torch

        found: np.ndarray = (F @ torch.from_numpy(np.ascontiguousarray(v)).to(F._entries.device)).cpu().numpy()
        return found
    return np.asarray(F @ v)


def _signs(F: FisherInformation, probes: int, rng: Any) -> np.ndarray:
    if isinstance(probes, bool) or not isinstance(probes, int) or probes < 2:
        raise DataError(f"probes must be an integer of two at least, for there to be an error; got {probes!r}.")
    return np.random.default_rng(seed_sequence(rng)).choice([-1.0, 1.0], size=(F.parameters.size, probes))


def _mean(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))


def _quadrature(tridiagonal: np.ndarray, function: Function) -> float:
    """The first entry of a function of the matrix: Gauss quadrature over the spectrum."""
    values, vectors = np.linalg.eigh(tridiagonal)
    return float(vectors[0] ** 2 @ function(values))


def _lanczos(F: FisherInformation, starts: np.ndarray, steps: int) -> list[np.ndarray]:
    """The tridiagonal matrix of each start, all of them advanced by one product at a time, fully reorthogonalised."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise DataError(f"steps must be an integer of two at least; got {steps!r}.")
    p, probes = starts.shape
    steps = min(steps, p)
    basis, diagonals, offs = [starts], [], []
    for _ in range(steps):
        w = _times(F, basis[-1])
        diagonals.append((basis[-1] * w).sum(axis=0))
        for _ in range(2):
            for q in basis:
                w = w - q * (q * w).sum(axis=0)
        norms = np.sqrt((w * w).sum(axis=0))
        offs.append(norms)
        basis.append(np.divide(w, norms, out=np.zeros_like(w), where=norms > 0))
    return [_tridiagonal(np.array([d[j] for d in diagonals]), np.array([o[j] for o in offs])) for j in range(probes)]


def _tridiagonal(diagonal: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Cut where the Krylov space is exhausted: what follows is rounding."""
    scale = float(np.abs(diagonal).max()) or 1.0
    ends = np.flatnonzero(off <= 1e-12 * scale)
    m = int(ends[0]) + 1 if len(ends) else len(diagonal)
    return np.diag(diagonal[:m]) + np.diag(off[: m - 1], 1) + np.diag(off[: m - 1], -1)
