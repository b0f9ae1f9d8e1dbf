"""Derivatives of a vector function of the parameters, each with an estimate of its error."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import LayoutError
from .derivatives import NODES, ORDER_10, ORDER_12, ROUNDING, STEPS

ENOUGH = 1e-11  # error of a column, relative to its length
PATIENCE = 2  # steps without a gain, after which shorter ones are not tried
REACHES = (0.5, 0.1, 0.02, 0.004)  # standard errors; no further: a solver may never come back from where its rates explode
SETTLED = 1e-9  # relative error of a second derivative at which shorter differences are not tried
LEAST = 1e-2  # information of a direction, below which it is taken for that much
BEYOND = np.linalg.qr(np.vander(NODES / 6, 9), mode="complete").Q[:, 9:]  # what no polynomial of degree 8 has

Vectors = Callable[[Any], Any]


def slopes(function: Vectors, at: np.ndarray, kind: str, whiten: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """(q, p) derivatives of ``whiten(function(theta))``, and their error estimates.

    Parameters
    ----------
    function : callable, theta -> (q,)
        Of a tensor with ``kind="torch"``, of a complex array with ``kind="complex"``.
    whiten : callable, (q, k) -> (q, k)
        Linear, and constant: what makes the outputs comparable.
    """
    if kind == "numeric":
        columns = [_differences(function, at, j, whiten) for j in range(len(at))]
        values, errors = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
        return values, errors
    values = np.asarray(whiten((_torch if kind == "torch" else _complex)(function, at)))
    return values, np.zeros_like(values)


def _torch(function: Vectors, at: np.ndarray) -> np.ndarray:
    import torch

    return np.asarray(torch.func.jacfwd(function)(torch.as_tensor(at)).detach())


def _complex(function: Vectors, at: np.ndarray) -> np.ndarray:
    """Im f(theta + i h e) / h, exact to rounding."""
    step = 1e-20
    columns = [np.asarray(function(at + 1j * step * e)) for e in np.eye(len(at))]
    if not any(map(np.iscomplexobj, columns)) and not np.array_equal(columns[0], function(at + 1e-3 * np.where(at == 0, 1, at))):
        raise LayoutError("the model drops the imaginary part, so derivatives='complex' cannot work; use 'numeric'.")
    return np.stack([np.imag(column) / step for column in columns], axis=1)


def _differences(function: Vectors, at: np.ndarray, j: int, whiten: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """One column by differences of order 12; each output keeps its best step.

    The error: those of order 10 tell of curvature, what a polynomial of degree 8 leaves of the values tells of noise.
    """
    size, e = abs(at[j]) or 1.0, np.eye(len(at))[j]
    out, error, best, waited = np.array(np.nan), np.array(np.inf), np.inf, 0
    for step in STEPS:
        h = 2.0 ** np.floor(np.log2(step * size))  # a power of two: theta + k h is then exact
        with np.errstate(all="ignore"):
            table = np.stack([np.asarray(function(at + k * h * e), dtype=float) for k in NODES], axis=1)
            moved = (table != table[:, :1]).any(axis=1)
            if step == STEPS[0] and not moved.any():
                return np.zeros(len(table)), np.zeros(len(table))
            table = whiten(table) if np.isfinite(table).all() else np.full_like(table, np.nan)
            better, coarse = table @ ORDER_12 / h, table @ ORDER_10 / h
            noise = np.linalg.norm(table @ BEYOND, axis=1) / np.sqrt(BEYOND.shape[1]) + ROUNDING * np.abs(table).max(axis=1)
            rough = np.abs(better - coarse) + 2 * noise * np.linalg.norm(ORDER_12) / h
        wins = np.isfinite(better) & (rough < error) & (moved | (step == STEPS[0]))  # what moves by jumps stands still nearby
        out, error = np.where(wins, better, out), np.where(wins, rough, error)
        length = float(np.linalg.norm(error))
        waited = 0 if length < best or not np.isfinite(length) else waited + 1
        best = min(best, length)
        if best <= ENOUGH * np.linalg.norm(out) or waited == PATIENCE:
            break
    return out, error


def curvature(function: Callable[[np.ndarray], float], at: np.ndarray, information: np.ndarray) -> tuple[np.ndarray, float]:
    """(p, p) second derivatives of a log-density, and their error relative to the largest.

    Differences of order 12 along directions that whiten the information expected, where it is nearly one parabola: one direction
    at a time, then two at once.
    """
    units, p = _whitening(information, at), len(at)
    own = function(at)
    out, error = np.zeros((p, p)), np.zeros((p, p))
    for i in range(p):
        out[i, i], error[i, i] = _second(function, own, at, units[i])
    for i, j in combinations(range(p), 2):
        both, rough = _second(function, own, at, units[i] + units[j])
        out[i, j] = out[j, i] = (both - out[i, i] - out[j, j]) / 2
        error[i, j] = rough + error[i, i] + error[j, j]
    back = np.linalg.inv(units)
    return np.asarray(back @ out @ back.T), float(error.max() / max(np.abs(np.diagonal(out)).max(), 1e-300))


def _second(function: Callable[[np.ndarray], float], own: float, at: np.ndarray, direction: np.ndarray) -> tuple[float, float]:
    """The second derivative along a direction, at the reach that knows it best, and its error."""
    best, least = np.nan, np.inf
    for reach in REACHES:
        h = reach / 6
        with np.errstate(all="ignore"):
            rise = np.array([function(at + k * h * direction) for k in NODES]) - own
        better, coarse = (float(2 / NODES * order @ rise) / h**2 for order in (ORDER_12, ORDER_10))
        rough = abs(better - coarse) + 4 * ROUNDING * abs(own) / h**2
        if rough < least:
            best, least = better, rough
        if least <= SETTLED * abs(best):
            break
    return best, least


def _whitening(information: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(p, p) directions as rows, each with an information of about 1; sizes where there is none."""
    scale = np.sqrt(np.diagonal(information))
    scale = np.where(scale > 0, scale, 1 / np.where(at == 0, 1.0, np.abs(at)))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    return np.asarray((vectors / np.sqrt(np.maximum(values, LEAST))).T / scale)
