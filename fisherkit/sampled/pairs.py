r"""Information from simulated derivatives: the bias that their noise makes, measured and taken off.

With m independent derivatives :math:`w_k` (p, d) of whitened data, the square of their mean is too large by the noise of that
mean, :math:`B = \mathrm{cov}/m`. Leaving out the products of a derivative with itself, :math:`F = \sum_{k \ne l} w_k w_l^\top /
(m(m-1))`, is unbiased, whatever the noise and whether or not pairs share random numbers between parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, LayoutError
from ..parameters import Parameters

CORRECTIONS = ("subtracted", "shrunk", "none")
GROUPS = 40
FEWEST = 4  # derivatives
FLOOR = 1e-14  # of the noise, relative: simulations without any


def read(derivatives: Any, parameters: Parameters) -> np.ndarray:
    """(m, p, d) machine numbers."""
    array = np.asarray(derivatives)
    if array.dtype.kind not in "fiu" or array.ndim != 3 or array.shape[1] != parameters.size:
        raise LayoutError(
            f"simulated derivatives must be real, of shape (m, {parameters.size}, d) for {parameters}: m pairs of simulations, d "
            f"data; got {array.dtype} of shape {array.shape}."
        )
    if len(array) < FEWEST:
        raise DataError(f"{len(array)} simulated derivatives do not tell their noise: {FEWEST} are needed at least.")
    if len(bad := np.argwhere(~np.isfinite(array))):
        k, j, i = bad[0]
        raise DataError(f"simulated derivative {k} in {parameters.label(j)} is {array[k, j, i]} in datum {i}.")
    return array.astype(float)


def information(w: np.ndarray, correction: str) -> tuple[np.ndarray, list[np.ndarray], list[float]]:
    """(p, p) from whitened derivatives (m, p, d), its leave-one-out replicates, and their weights."""
    m = len(w)
    rows = effective_rows(w) if correction == "shrunk" else 0.0

    def of(total: np.ndarray, squares: np.ndarray, count: int) -> np.ndarray:
        found = total @ total.T / count**2
        noise = (squares / count - found) / (count - 1)
        return corrected(found, (noise + noise.T) / 2, correction, rows)

    total, squares = w.sum(axis=0), np.einsum("kad,kbd->ab", w, w)
    replicates, weights = [], []
    for group in np.array_split(w, min(GROUPS, m)):
        rest = total - group.sum(axis=0), squares - np.einsum("kad,kbd->ab", group, group)
        replicates.append(of(*rest, m - len(group)))
        weights.append((m / len(group) - 1) / min(GROUPS, m))
    return of(total, squares, m), replicates, weights


def corrected(found: np.ndarray, noise: np.ndarray, correction: str, rows: float) -> np.ndarray:
    """The square of mean derivatives, (p, p), with its noise taken off or not."""
    if correction == "none":
        return found
    return shrunk(found - noise, noise, rows) if correction == "shrunk" else found - noise


def effective_rows(w: np.ndarray) -> float:
    r"""How many data of equal noise there are: :math:`\mathrm{tr}(V)^2 / \mathrm{tr}(V^2)`, V its covariance among data.

    From the spread of m whitened derivatives (m, p, d), their noise made equal among parameters.
    """
    m, _, d = w.shape
    e = w - w.mean(axis=0)
    between = np.einsum("kad,kbd->ab", e, e)
    values, vectors = np.linalg.eigh(between)
    kept = values > FLOOR * max(values[-1], 1e-300)
    if not kept.any():
        return float(d)
    e = np.einsum("ba,kbd->kad", vectors[:, kept] / np.sqrt(values[kept]), e).reshape(-1, d)
    gram = e @ e.T if len(e) < d else e.T @ e
    return rows_of(float(np.trace(gram)), float((gram**2).sum()), (m - 1) * int(kept.sum()), d)


def rows_from_covariance(noise: np.ndarray, free: int) -> float:
    """The same from the covariance (p, k, p, k) of the noise."""
    k = noise.shape[1]
    values, vectors = np.linalg.eigh(np.einsum("jxlx->jl", noise))
    kept = values > FLOOR * max(values[-1], 1e-300)
    if not kept.any():
        return float(k)
    equal = vectors[:, kept] / np.sqrt(values[kept])
    among = np.einsum("ja,jxly,la->xy", equal, noise, equal, optimize=True)
    return rows_of(float(np.trace(among)), float((among**2).sum()), free * int(kept.sum()), k)


def rows_of(trace: float, square: float, free: int, d: int) -> float:
    """tr(V)^2 / tr(V^2) from an estimate with so many degrees of freedom, of which the noise is taken off."""
    unbiased = (square - trace**2 / free) * free**2 / ((free - 1) * (free + 2))
    return float(np.clip(trace**2 / max(unbiased, 1e-300), 1.0, d))


def shrunk(unbiased: np.ndarray, noise: np.ndarray, rows: float) -> np.ndarray:
    r"""An information whose standard errors are right on average, to second order in its noise; positive definite.

    The inverse of an unbiased :math:`\hat F = F + E` is too large by :math:`F^{-1} E[E F^{-1} E] F^{-1}`. So G solves
    :math:`G = \hat F + c\,E[E G^{-1} E]`, with the expectation of the noncentral Wishart matrix that noise of d equal rows makes,

    .. math:: E[E G^{-1} E] = \tfrac1d \left[(p + 2) B + \mathrm{tr}(G^{-1} B)(G + B) + B G^{-1} B\right].

    In units of B everything is diagonal, and each eigenvalue solves a quadratic, of which the positive root is taken. c = 1 makes
    variances right; for their roots, which are concave, :math:`c = 1 - 1 / (2p + 2)`, as for a Wishart matrix.
    """
    p = len(unbiased)
    scale = np.sqrt(np.maximum(np.diagonal(unbiased + noise), 1e-300))
    values, vectors = np.linalg.eigh(noise / np.outer(scale, scale) + FLOOR * np.eye(p))
    values = np.maximum(values, FLOOR)
    root, back = vectors * np.sqrt(values), vectors / np.sqrt(values)
    f, turn = np.linalg.eigh(back.T @ (unbiased / np.outer(scale, scale)) @ back)
    turned = scale[:, None] * (root @ turn)
    out = (turned * _eigenvalues(f, rows, 1 - 1 / (2 * p + 2))) @ turned.T
    return np.asarray(out + out.T) / 2


def _eigenvalues(f: np.ndarray, rows: float, c: float) -> np.ndarray:
    """The fixed point g of g = f + c [(p + 2) + s (g + 1) + 1 / g] / d, with s the sum of 1 / g, of at most half of d."""
    g = np.maximum(f, 0.3)
    for _ in range(1000):
        s = min(float((1 / g).sum()), 0.5 * rows / c)
        a, b = 1 - c * s / rows, f + c * (len(f) + 2 + s) / rows
        # the root without cancellation where b is far below 0
        discriminant = np.sqrt(b**2 + 4 * a * c / rows)
        root = np.where(b > 0, (b + discriminant) / (2 * a), 2 * c / rows / np.where(b > 0, 1.0, discriminant - b))
        step, g = np.abs(root / g - 1).max(), np.sqrt(g * root)
        if step < 1e-12:
            break
    return np.asarray(g)
