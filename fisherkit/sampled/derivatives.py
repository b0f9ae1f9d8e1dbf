"""Scores and Hessians of a log-density in code: user's score, ``torch.func``, complex step, or differences.

Every function takes ``log_density(x, theta) -> (n,)`` and returns machine numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import LayoutError
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
    return values


def values(log_density: LogDensity, x: Any, theta: np.ndarray, kind: str) -> np.ndarray:
    """(n,) machine numbers."""
    n = len(x)
    with np.errstate(all="ignore"):
        found = evaluate(log_density, _tensor(x), _tensor(theta), n) if kind == "torch" else evaluate(log_density, x, theta, n)
    return np.asarray(found, dtype=float)


def scores(log_density: LogDensity, x: Any, theta: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, p) derivatives of each observation's log-density, and their error estimates."""
    if kind == "numeric":
        columns = [_partial(log_density, x, theta, j) for j in range(len(theta))]
        values, errors = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
        return values, errors
    values = (_torch if kind == "torch" else _complex)(log_density, x, theta)
    return values, np.zeros_like(values)


def hessian(
    log_density: LogDensity | None, score: Callable[[Any, Any], Any] | None, x: Any, theta: np.ndarray, kind: str
) -> np.ndarray:
    """(p, p) second derivatives of the summed log-density: the Jacobian of its score."""
    if score is None and log_density is not None:
        if kind == "torch":
            return _torch_hessian(log_density, x, theta)
        if kind == "numeric" and (direct := _summed_hessian(log_density, x, theta)) is not None:
            return direct
        own = log_density
        score = lambda data, t: scores(own, data, t, kind)[0]  # noqa: E731 the score that was not given
    assert score is not None
    given = score
    half = differentiate(lambda t: np.asarray(given(x, t), dtype=float).sum(axis=0), theta, name="the summed score")
    return np.asarray(half + half.T) / 2


def hessians(
    log_density: LogDensity | None, score: Callable[[Any, Any], Any] | None, x: Any, theta: np.ndarray, kind: str
) -> np.ndarray:
    """(n, p, p) second derivatives of each observation's log-density: the Jacobian of the scores."""
    n, p = len(x), len(theta)
    if kind == "torch" and score is None and log_density is not None:
        import torch

        own, data = log_density, _tensor(x)
        rows = lambda t: evaluate(own, data, t, n)  # noqa: E731 a curried argument
        return np.asarray(torch.func.jacfwd(torch.func.jacfwd(rows))(_tensor(theta)))
    given = score or (lambda data, t: scores(log_density, data, t, kind)[0])  # type: ignore[arg-type]
    flat = differentiate(lambda t: np.asarray(given(x, t), dtype=float).ravel(), theta, name="the scores")
    out = flat.reshape(n, p, p)
    return np.asarray(out + out.transpose(0, 2, 1)) / 2


def score_jacobians(score: Callable[[Any, Any], Any], x: Any, theta: np.ndarray, *, complex_safe: bool) -> np.ndarray:
    """(n, p, p) second derivatives: a complex step of the score, exact to rounding, or central differences, to about 1e-10."""
    p, columns = len(theta), []
    for j, e in enumerate(np.eye(p)):
        if complex_safe:
            columns.append(np.imag(score(x, theta + 1e-20j * e)) / 1e-20)
            continue
        step = 6e-6 * (abs(theta[j]) or 1.0)
        up, down = theta[j] + step, theta[j] - step
        above, below = (np.asarray(score(x, theta + (t - theta[j]) * e), dtype=float) for t in (up, down))
        columns.append((above - below) / (up - down))
    out = np.stack(columns, axis=2)
    return np.asarray(out + out.transpose(0, 2, 1)) / 2


def is_complex_safe(score: Callable[[Any, Any], Any], x: Any, theta: np.ndarray) -> bool:
    """Whether a score carries a complex step through: it stays complex, and agrees with differences."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            moved = [score(x, theta + 1e-20j * e) for e in np.eye(len(theta))]
            if not all(np.iscomplexobj(value) and np.isfinite(value).all() for value in moved):
                return False
            exact = score_jacobians(score, x, theta, complex_safe=True)
        rough = score_jacobians(score, x, theta, complex_safe=False)
    except Exception:  # the user's code, which is free to refuse complex numbers in any way
        return False
    return bool(np.abs(exact - rough).max() <= 1e-5 * np.abs(rough).max())


def _summed_hessian(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray | None:
    """Differences of the sum, which is smooth where each term is; None where they do not settle."""
    from scipy.differentiate import hessian as numeric

    n, scale = len(x), np.where(theta == 0, 1.0, np.abs(theta))

    def total(u: np.ndarray) -> np.ndarray:
        points = theta + scale * u.reshape(len(theta), -1).T
        sums = [np.sum(np.asarray(evaluate(log_density, x, point, n), dtype=float)) for point in points]
        return np.reshape(sums, u.shape[1:])

    with np.errstate(all="ignore"):
        found = numeric(total, np.zeros(len(theta)), initial_step=0.1, order=8, tolerances={"rtol": 1e-9, "atol": 1e-10})
        size = np.sqrt(np.outer(np.abs(np.diagonal(found.ddf)), np.abs(np.diagonal(found.ddf))))
        settled = np.isfinite(found.ddf).all() and bool((found.error <= 1e-8 * size).all())
    return (found.ddf + found.ddf.T) / 2 / np.outer(scale, scale) if settled else None


def _torch_hessian(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray:
    import torch

    data, n = _tensor(x), len(x)
    return np.asarray(torch.func.hessian(lambda t: evaluate(log_density, data, t, n).sum())(_tensor(theta)))


def _torch(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray:
    import torch

    data, n = _tensor(x), len(x)
    return np.asarray(torch.func.jacfwd(lambda t: evaluate(log_density, data, t, n))(_tensor(theta)))


def _complex(log_density: LogDensity, x: Any, theta: np.ndarray) -> np.ndarray:
    """Im f(theta + i h e_j) / h: exact to rounding where the code is complex-safe (no abs, no comparisons)."""
    step = 1e-20
    columns = [evaluate(log_density, x, theta + 1j * step * e, len(x)) for e in np.eye(len(theta))]
    if not all(np.iscomplexobj(column) for column in columns):
        raise LayoutError("log_density drops the imaginary part, so derivatives='complex' cannot work; use 'numeric'.")
    return np.stack([np.imag(column) / step for column in columns], axis=1)


def _partial(log_density: LogDensity, x: Any, theta: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
    """One column by `scipy.differentiate.derivative` (order 8, adaptive); smaller steps where it meets an end or a kink."""
    from scipy.differentiate import derivative

    direction, size = np.eye(len(theta))[j], abs(theta[j]) or 1.0

    def along(t: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Every observation takes the same steps, so each column of ``t`` is one call."""
        steps, index = (t[0], rows[:, 0]) if t.ndim == 2 else (t[:1], rows)
        columns = [evaluate(log_density, x[index], theta + step * direction, len(index)) for step in steps]
        stacked: np.ndarray = np.stack(columns, axis=1).astype(float)
        return stacked.reshape(t.shape)

    out, error = np.full(len(x), np.nan), np.full(len(x), np.inf)
    todo = np.arange(len(x))
    for step in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8):
        with np.errstate(all="ignore"):
            tolerances = {"rtol": 1e-10, "atol": 1e-13 / size}
            found = derivative(along, np.zeros(len(todo)), args=(todo,), order=8, initial_step=step * size, tolerances=tolerances)
        better = np.isfinite(found.df) & (found.error < error[todo])
        out[todo[better]], error[todo[better]] = found.df[better], found.error[better]
        todo = np.flatnonzero(~(error <= 1e-9 * np.maximum(np.abs(out), 1e-3 / size)))
        if not len(todo):
            break
    return out, np.where(np.isfinite(out), error, 0.0)


def _tensor(value: Any) -> Any:
    import torch

    return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value), dtype=torch.float64)
