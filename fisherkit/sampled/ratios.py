r"""Likelihood ratios of a log-density in code: :math:`\partial^a f / f`, and :math:`f_t / f` at test points.

A derivative of order m in code is that of :math:`\rho(t) = f_t / f_\theta` at theta: by ``torch.func``, or from Chebyshev nodes
around theta, twice with different spreads, so that the difference tells the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import PrecisionError
from ..methods import MonteCarlo, refuse_options
from ..model import multi_indices
from ..uncertainty import Expectation, average
from .chunks import CHUNK, mapper
from .derivatives import LogDensity, evaluate

GROUPS = 20
SPREADS = (0.1, 0.05, 0.02, 0.01, 4e-3, 1e-3, 3e-4)  # of the nodes, relative to the parameters
SETTLED = 1e-9
ZERO = 1e-5  # a parameter below it, such as a location that a search has brought to 0, lends no scale


def derivatives(log_density: LogDensity, x: Any, theta: np.ndarray, order: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) derivatives of the density over the density, in the order of `multi_indices`, and their errors."""
    if kind == "torch":
        values = _torch(log_density, x, theta, order)
        return values, np.zeros_like(values)
    return _nodes(log_density, x, theta, order)


def from_ratios(log_density: LogDensity, x: Any, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Derivatives of log-densities, s and :math:`\partial_i\partial_j f / f - s_i s_j`; nan where too rough."""
    p = len(theta)
    values, error = derivatives(log_density, x, theta, 2, "numeric")
    first, second = values[:, :p], np.empty((len(x), p, p))
    for a, column in zip(multi_indices(p, 2)[p:], values[:, p:].T, strict=True):
        i, j = (k for k, count in enumerate(a) for _ in range(count))
        second[:, i, j] = second[:, j, i] = column - first[:, i] * first[:, j]
    rough = (error > 1e-4 * (np.abs(values).max(axis=1, keepdims=True) + 1e-6)).any(axis=1)
    return np.where(rough[:, None], np.nan, first), np.where(rough[:, None, None], np.nan, second)


def at_points(log_density: LogDensity, x: Any, theta: np.ndarray, points: Sequence[np.ndarray]) -> np.ndarray:
    """(n, m) ratios f_t / f - 1."""
    own = np.asarray(evaluate(log_density, x, theta, len(x)))
    with np.errstate(all="ignore"):
        columns = [np.expm1(np.asarray(evaluate(log_density, x, t, len(x))) - own) for t in points]
    return np.stack(columns, axis=1) if columns else np.zeros((len(x), 0))


def _torch(log_density: LogDensity, x: Any, theta: np.ndarray, order: int) -> np.ndarray:
    import torch

    data = x if isinstance(x, torch.Tensor) else torch.as_tensor(np.asarray(x), dtype=torch.float64)
    start = torch.as_tensor(theta, dtype=torch.float64)
    own = evaluate(log_density, data, start, len(data)).detach()
    nested: Callable[[Any], Any] = lambda t: torch.exp(evaluate(log_density, data, t, len(data)) - own)  # noqa: E731 grows below
    columns = []
    for m in range(1, order + 1):
        nested = torch.func.jacfwd(nested)
        tensor = nested(start)
        for a in multi_indices(len(theta), order):
            if sum(a) == m:
                index = tuple(i for i, count in enumerate(a) for _ in range(count))
                columns.append(np.asarray(tensor[(slice(None), *index)]))
    return np.stack(columns, axis=1)


def _nodes(log_density: LogDensity, x: Any, theta: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Each observation takes the spread at which its derivatives change least; those that stand need no further one."""
    k = len(multi_indices(len(theta), order))
    values, error, before = np.full((len(x), k), np.nan), np.full((len(x), k), np.inf), np.full((len(x), k), np.nan)
    todo = np.arange(len(x))
    for spread in SPREADS:
        found = _along_lines(log_density, x[todo], theta, order, spread)
        change = np.abs(found - before[todo])
        better = np.isfinite(change) & (change < error[todo])
        values[todo] = np.where(better, found, values[todo])
        error[todo] = np.where(better, change, error[todo])
        before[todo] = found
        todo = np.flatnonzero(~(error <= SETTLED * (np.abs(values).max(axis=1, keepdims=True) + 1e-3)).all(axis=1))
        if not len(todo):
            break
    return values, np.where(np.isfinite(values), error, 0.0)


def _along_lines(log_density: LogDensity, x: Any, theta: np.ndarray, order: int, spread: float) -> np.ndarray:
    r"""Partial derivatives from those along lines, :math:`D_v^k = \sum_{|a| = k} (k! / a!) v^a \partial^a`."""
    p, size = len(theta), spread * np.where(np.abs(theta) < ZERO, 1.0, np.abs(theta))
    lines = np.array([a for a in multi_indices(p, order) if sum(a) == order]) / order
    along = np.stack([_on_a_line(log_density, x, theta, size * v, order) for v in lines])  # (lines, order, n)
    columns = []
    for k in range(1, order + 1):
        indices = np.array([a for a in multi_indices(p, order) if sum(a) == k])
        weights = [math.factorial(k) / math.prod(map(math.factorial, a)) for a in indices.tolist()]
        system = np.prod(lines[:, None, :] ** indices[None], axis=2) * weights
        with np.errstate(all="ignore"):  # what overflows is no derivative, and told as nan
            partial = np.tensordot(np.linalg.pinv(system), along[:, k - 1], axes=1)
            columns.append(partial / np.prod(size**indices, axis=1)[:, None])
    return np.concatenate(columns).T


def _on_a_line(log_density: LogDensity, x: Any, theta: np.ndarray, step: np.ndarray, order: int) -> np.ndarray:
    """Derivatives 1 ... order of f(theta + s step) / f(theta) at s = 0, (order, n), from Chebyshev nodes in s."""
    count = order + 9 - order % 2
    nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    taylor = np.linalg.inv(np.vander(nodes, increasing=True))  # values at the nodes -> coefficients
    with np.errstate(all="ignore"):
        logs = [np.asarray(evaluate(log_density, x, theta + s * step, len(x)), dtype=float) for s in nodes]
        ratios = np.exp(np.stack(logs) - logs[count // 2])  # the middle node is theta
        return np.stack([math.factorial(k) * (taylor[k] @ ratios) for k in range(1, order + 1)])


def average_of(function: Callable[[int, np.random.Generator], np.ndarray], method: MonteCarlo) -> Expectation:
    """Mean over draws of a function of (size, rng) -> (size, ...), with leave-one-out replicates."""
    refuse_options(method, what="an average over draws")
    groups = min(method.n, GROUPS if method.groups is None else max(method.groups, 1))
    sizes = [method.n // groups + (g < method.n % groups) for g in range(groups)]
    chunks = [(g, min(CHUNK, size - start)) for g, size in enumerate(sizes) for start in range(0, size, CHUNK)]
    sums: list[Any] = [0.0] * groups

    def work(job: tuple[int, Any]) -> np.ndarray:
        return np.asarray(function(job[0], np.random.default_rng(job[1])).sum(axis=0))

    jobs = [(size, seed) for (_, size), seed in zip(chunks, method.seeds(len(chunks)), strict=True)]
    with mapper(method.workers) as each:
        for (g, _), part in zip(chunks, each(work, jobs), strict=True):
            sums[g] = sums[g] + part
    mean, replicates, weights = average([sums], [sizes])
    return Expectation(mean, tuple(replicates or ()) if method.groups != 0 else (), weights)


def refuse_rough(values: np.ndarray, error: np.ndarray, order: int) -> None:
    """Numeric derivatives of drawn observations must be known to four digits of their typical size."""
    typical = np.sqrt(np.nanmean(values**2, axis=0))
    if not np.all(error <= 1e-4 * np.maximum(typical, np.abs(values)) + 1e-9) or not np.isfinite(values).all():
        raise PrecisionError(
            f"derivatives of order {order} of this log-density are too rough: it may have none there. Lower the order, or give "
            "derivatives='torch' or a symbolic model."
        )
