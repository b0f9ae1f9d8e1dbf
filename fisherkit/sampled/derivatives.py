"""Scores and Hessians of a log-density in code: user's score, ``torch.func``, complex step, or differences.

Every function takes ``log_density(x, theta) -> (n,)`` and returns machine numbers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError, FisherkitError, LayoutError
from ..jacobians import differentiate

LogDensity = Callable[[Any, Any], Any]
KINDS = ("numeric", "torch", "complex")


def evaluate(log_density: LogDensity, x: Any, theta: Any, n: int) -> Any:
    """The log-density of each observation, its shape checked."""
    values = log_density(x, theta)
    if getattr(values, "shape", None) != (n,):
        raise LayoutError(
            f"log_density(x, theta) must return one number per observation, shape ({n},); "
            f"got {tuple(getattr(values, 'shape', ()))}."
        )
    if isinstance(values, np.ndarray) and values.dtype.kind not in ("fiubc" if np.iscomplexobj(theta) else "fiub"):
        raise DataError(f"log_density(x, theta) must return real numbers; got dtype {values.dtype}.")
    return values


def values(log_density: LogDensity, x: Any, theta: np.ndarray, kind: str) -> np.ndarray:
    """(n,) machine numbers."""
    n = len(x)
    with np.errstate(all="ignore"):
        found = evaluate(log_density, tensor(x), tensor(theta), n) if kind == "torch" else evaluate(log_density, x, theta, n)
    return np.asarray(found, dtype=float)


def scores(log_density: LogDensity, x: Any, theta: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, p) derivatives of each observation's log-density, and their error estimates."""
    if kind == "numeric":
        with np.errstate(all="ignore"):
            evaluate(log_density, x, theta, len(x))  # what is wrong at theta itself is told as it is
        columns = [_partial(log_density, x, theta, j) for j in range(len(theta))]
        values, errors = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
        return values, errors
    values = (_torch if kind == "torch" else _complex)(log_density, x, theta)
    return values, np.zeros_like(values)


def hessians(
    log_density: LogDensity | None, score: Callable[[Any, Any], Any] | None, x: Any, theta: np.ndarray, kind: str
) -> np.ndarray:
    """(n, p, p) second derivatives of each observation's log-density: the Jacobian of the scores."""
    n, p = len(x), len(theta)
    if kind == "torch" and score is None and log_density is not None:
        import torch

        own, data = log_density, tensor(x)
        rows = lambda t: evaluate(own, data, t, n)  # noqa: E731 a curried argument
        return np.asarray(torch.func.jacfwd(torch.func.jacfwd(rows))(tensor(theta)))
    given = score or (lambda data, t: scores(log_density, data, t, kind)[0])  # type: ignore[arg-type]
    flat = differentiate(lambda t: np.asarray(given(x, t), dtype=float).ravel(), theta, name="the scores")
    out = flat.reshape(n, p, p)
    return np.asarray(out + out.transpose(0, 2, 1)) / 2


def score_jacobians(score: Callable[[Any, Any], Any], x: Any, theta: np.ndarray, here: np.ndarray, *, how: str) -> np.ndarray:
    """(n, p, p) second derivatives from the scores ``here``: a complex step of the score, exact to rounding; central differences,
    to about 1e-10; or forward ones, at half their cost, to about 1e-8.
    """
    out = np.empty((len(x), len(theta), len(theta)))
    for j, (e, size, magnitude) in enumerate(zip(np.eye(len(theta)), *step_sizes(theta, here), strict=True)):
        if how == "complex":
            out[:, :, j] = np.imag(score(x, theta + 1e-20j * e)) / 1e-20
            continue
        step = 6e-6 * np.cbrt(magnitude) * size if how == "central" else 1.5e-8 * np.sqrt(magnitude) * size
        up, down = theta[j] + step, theta[j] - step if how == "central" else theta[j]
        below = np.asarray(score(x, theta + (down - theta[j]) * e), dtype=float) if how == "central" else here
        out[:, :, j] = (np.asarray(score(x, theta + (up - theta[j]) * e), dtype=float) - below) / (up - down)
    return np.asarray(out + out.transpose(0, 2, 1)) / 2


def step_sizes(theta: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is far for each parameter, to what a draw tells it but at most itself; and how many times as large it is."""
    own, root = np.where(theta == 0, 1.0, np.abs(theta)), np.sqrt((scores**2).mean(axis=0))
    size = 1 / np.maximum(root, 1 / own)
    return size, own / size


def is_complex_safe(score: Callable[[Any, Any], Any], x: Any, theta: np.ndarray) -> bool:
    """Whether a score carries a complex step through: it stays complex, and agrees with differences."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            moved = [score(x, theta + 1e-20j * e) for e in np.eye(len(theta))]
            if not all(np.iscomplexobj(value) and np.isfinite(value).all() for value in moved):
                return False
            here = np.asarray(score(x, theta), dtype=float)
            exact = score_jacobians(score, x, theta, here, how="complex")
        rough = score_jacobians(score, x, theta, here, how="central")
    except Exception:  # the user's code, which is free to refuse complex numbers in any way
        return False
    noise = np.outer(np.abs(here).max(axis=0), 1 / np.where(theta == 0, 1.0, np.abs(theta)))
    return bool((np.abs(exact - rough).max(axis=0) <= 1e-5 * np.abs(rough).max(axis=0) + 1e-9 * (noise + noise.T)).all())


def _torch(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray:
    import torch

    data, n = tensor(x), len(x)
    return np.asarray(torch.func.jacfwd(lambda t: evaluate(log_density, data, t, n))(tensor(theta)))


def _complex(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray:
    """Im f(theta + i h e_j) / h: exact to rounding where the code is complex-safe (no abs, no comparisons)."""
    step = 1e-20
    columns = [evaluate(log_density, x, theta + 1j * step * e, len(x)) for e in np.eye(len(theta))]
    if not all(np.iscomplexobj(column) for column in columns):
        raise LayoutError("log_density drops the imaginary part, so derivatives='complex' cannot work; use 'numeric'.")
    return np.stack([np.imag(column) / step for column in columns], axis=1)


def _partial(log_density: LogDensity, x: Any, theta: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
    """One column by central differences of order 12, of which those of order 10 tell the error.

    Steps shrink where an observation meets an end or a kink; every observation keeps the step that it knows best.
    """
    own_sizes = getattr(log_density, "sizes", None)  # a family knows that its loc is measured in scales
    size = float(own_sizes(theta)[j]) if own_sizes else abs(theta[j]) or 1.0
    direction = np.eye(len(theta))[j]
    out, error = np.full(len(x), np.nan), np.full(len(x), np.inf)
    todo, before = np.arange(len(x)), np.full(len(x), np.nan)
    for step in STEPS:
        h = 2.0 ** np.floor(np.log2(step * size))  # a power of two: theta + k h is then exact
        points = theta + np.outer(NODES * h, direction)
        with np.errstate(all="ignore"):
            table, rounding = at_points(log_density, x[todo], points)
            better, coarse = table @ ORDER_12 / h, table @ ORDER_10 / h
            rough = np.abs(better - coarse) + rounding * np.abs(table).max(axis=1) / h
            # where a wider stencil moved and this one does not, the log-density has too few digits for it
            rough[(table == table[:, :1]).all(axis=1) & (np.abs(out[todo]) > 0)] = np.inf
            # beside a kink a wide stencil looks exact and is not: two narrower ones that contradict it beyond rounding are right
            noise = np.linalg.norm(table @ RESIDUAL, axis=1) / h
            agrees = np.abs(better - before[todo]) < 1e-3 * np.abs(better)
            contradicts = agrees & (np.abs(better - out[todo]) > 30 * (rough + error[todo] + noise))
        before[todo] = better
        wins = np.isfinite(better) & ((rough < error[todo]) | contradicts)
        out[todo[wins]], error[todo[wins]] = better[wins], rough[wins]
        todo = np.flatnonzero(~(error <= 1e-11 * np.maximum(np.abs(out), 1e-2 / size)))
        if not len(todo):
            break
    return out, np.where(np.isfinite(out), error, 0.0)


def at_points(log_density: LogDensity, x: Any, points: np.ndarray) -> tuple[np.ndarray, float]:
    """(n, m) log-densities of each observation at each of m points, in one call where the model can; their relative rounding."""
    if many := getattr(log_density, "many", None):
        return np.asarray(many(x, points), dtype=float), ROUNDING
    table = np.stack([_or_nan(log_density, x, point) for point in points], axis=1)
    return table.astype(float), ROUNDING * max(1.0, np.finfo(np.result_type(table, np.float16)).eps / np.finfo(float).eps)


def _or_nan(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray:
    """nan where the code refuses a point: a step has left its domain."""
    try:
        return np.asarray(evaluate(log_density, x, theta, len(x)))
    except FisherkitError:
        raise
    except (ArithmeticError, ValueError):
        return np.full(len(x), np.nan)


def stencil(reach: int) -> np.ndarray:
    """Weights of the central first difference on -6 ... 6 without 0, of order 2 reach (Fornberg 1988)."""
    k = np.arange(1, reach + 1)
    half = [
        2 * (-1.0) ** (i + 1) * math.factorial(reach) ** 2 / math.factorial(reach - i) / math.factorial(reach + i) / i for i in k
    ]
    out = np.zeros(12)
    out[6 : 6 + reach] = np.array(half) / 2
    out[:6] = -out[6:][::-1]
    return out


STEPS = (6e-2, 1.5e-2, 3e-3, 3e-4, 3e-5, 1e-6, 1e-8, 1e-10, 1e-12)  # relative to the parameter
NODES = np.array([*range(-6, 0), *range(1, 7)], dtype=float)
ORDER_12, ORDER_10 = stencil(6), stencil(5)
RESIDUAL = np.linalg.qr(np.vander(NODES / 6, 7), mode="complete")[0][:, 7:]  # what no polynomial of degree 6 has: rounding
ROUNDING = 1e-16  # of the log-density, in the mean over the stencil


def tensor(value: Any) -> Any:
    import torch

    return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value), dtype=torch.float64)
