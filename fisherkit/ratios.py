r"""E[r r'] by quadrature, for likelihood ratios r of a univariate density.

Each entry is an integral with its own weight: :math:`f r_a r_b` for derivatives :math:`r_a = \partial^a f / f`,
:math:`f_t r_a` for a derivative and a test point, and :math:`f_s f_t / f` for two test points, whose bulk may lie far out in a
tail of f. The rule never decides whether an integral exists: the order of the integrand at every end does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .errors import DataError, PrecisionError, RegularityError
from .quadrature import Density, Moments, find_center, grid, integrate, summation

Function = Callable[[np.ndarray], np.ndarray]
Ends = tuple[float, float]
Derivatives = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # with their errors
TOLERANCE = 1e-6  # relative error from which an expectation is refused
EXPONENT = 0.065  # what a logarithm beside the power may hide of an integrand's exponent at an end


@dataclass(frozen=True)
class View:
    """A univariate density as functions of an array of observations and a flat point."""

    log: Callable[[np.ndarray, np.ndarray], np.ndarray]
    support: Callable[[np.ndarray], Ends]
    cuts: Callable[[np.ndarray], Sequence[float]]  # kinks
    discrete: bool


def gram(
    view: View,
    theta: np.ndarray,
    derivatives: Derivatives | None,
    k: int,
    points: Sequence[np.ndarray],
) -> np.ndarray:
    """E[r r'], (k + m, k + m), for k derivatives and m test points; infinite where a ratio has no second moment.

    Raises
    ------
    DataError
        When a test point has mass where the density at theta has none.
    RegularityError
        When a derivative has infinite variance, or its mean is not zero.
    """
    size = k + len(points)
    out = np.zeros((size, size))
    if derivatives is not None:
        out[:k, :k] = _of_derivatives(view, theta, derivatives, k)
    for i, t in enumerate(points):
        _check_inside(view, theta, t, i)
        for j, s in enumerate(points[: i + 1]):
            out[k + i, k + j] = out[k + j, k + i] = _of_two_points(view, theta, t, s) - 1
        if derivatives is not None:
            out[k + i, :k] = out[:k, k + i] = _mean(view, [t, theta], lambda x, t=t: view.log(x, t), derivatives, k).mean  # type: ignore[misc]
    return out


def moments(view: View, theta: np.ndarray, function: Function) -> Moments:
    """E[g] and E[g g'] of a function (n,) -> (n, k)."""
    center = find_center(lambda x: view.log(x, theta), view.support(theta))
    k = np.asarray(function(np.array([round(center) if view.discrete else center], dtype=float))).size

    def values(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        g = np.asarray(function(x), dtype=float).reshape(len(x), k)
        return g, np.zeros_like(g)

    found = _mean(view, [theta], lambda x: view.log(x, theta), values, k)
    _check_mass(found.mass)
    return found


def gauss(view: View, theta: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss rule of a density: the recurrence of its orthogonal polynomials (Stieltjes)."""
    first = moments(view, theta, lambda x: x[:, None])
    center, size = float(first.mean[0]), math.sqrt(float(first.product[0, 0] - first.mean[0] ** 2))
    alphas, roots = np.zeros(count), np.zeros(count)

    def polynomials(x: np.ndarray, k: int) -> np.ndarray:
        z = (x - center) / size
        before, now = np.zeros_like(z), np.ones_like(z)
        for j in range(k):
            before, now = now, ((z - alphas[j]) * now - roots[j] * before) / (roots[j + 1] or 1.0)
        return np.stack([now, z * now], axis=1)

    for k in range(count):
        product = moments(view, theta, partial(polynomials, k=k)).product
        if k:
            roots[k] = math.sqrt(product[0, 0])
        alphas[k] = product[0, 1] / product[0, 0]
    nodes, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(roots[1:], 1) + np.diag(roots[1:], -1))
    return center + size * nodes, vectors[0] ** 2


def _of_derivatives(view: View, theta: np.ndarray, derivatives: Derivatives, k: int) -> np.ndarray:
    log = lambda x: view.log(x, theta)  # noqa: E731 a curried argument
    support = view.support(theta)
    center = find_center(log, support)
    floor = _rounding(log, derivatives, support)
    for j in range(0 if view.discrete else k):
        with np.errstate(all="ignore"):
            if not _converges(_times_square(log, derivatives, j, floor[j]), support, center):
                raise RegularityError(
                    f"derivative {j + 1} of the density over the density has infinite variance: its square is not integrable "
                    "beside an end. Lower the order.",
                    condition="not_differentiable",
                )
    found = _mean(view, [theta], log, derivatives, k)
    _check_mass(found.mass)
    size = np.sqrt(np.maximum(np.diagonal(found.product), 1e-300))
    if (worst := float((np.abs(found.mean) / size).max())) > 1e-5:
        raise RegularityError(
            f"a derivative of the density has mean {worst:.2g} standard deviations, not 0: it may not be taken under the "
            "integral, because the support moves or the density is not normalised. The Chapman-Robbins bound needs none.",
            condition="not_differentiable",
        )
    return np.asarray(found.product + found.product.T) / 2


def _times_square(log: Function, derivatives: Derivatives, j: int, floor: float) -> Function:
    """log f r_j^2, with what rounding leaves of it."""

    def product(x: np.ndarray) -> np.ndarray:
        return np.asarray(log(x) + np.asarray(np.log(np.nan_to_num(derivatives(x)[0][:, j] ** 2) + floor)))

    return product


def _rounding(log: Function, derivatives: Derivatives, support: Ends) -> np.ndarray:
    """What cancellation may leave of each squared derivative where it is small: its digits are those of the bulk."""
    x = grid(support, 241)
    with np.errstate(all="ignore"):
        height = log(x)
        bulk = derivatives(x[height > np.nanmax(height) - 3])[0]
    return np.asarray(1e-20 * np.nanmax(bulk**2, axis=0) + 1e-300)


def _of_two_points(view: View, theta: np.ndarray, t: np.ndarray, s: np.ndarray) -> float:
    """The integral of f_t f_s / f."""
    low, high = _common(view, [theta, t, s])
    if not low < high:
        return 0.0

    def log(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            parts = view.log(x, t) + view.log(x, s) - view.log(x, theta)
        return np.asarray(np.where(np.isnan(parts), -np.inf, parts))

    center = find_center(log, (low, high))
    if not (_sums if view.discrete else _converges)(log, (low, high), center):
        return math.inf
    with np.errstate(all="ignore"):
        shift = float(log(np.array([float(round(center)) if view.discrete else center]))[0])
    if not math.isfinite(shift):
        return math.inf
    value, error = _mass(view, lambda x: log(x) - shift, [theta, t, s], center)
    if not 0.1 < value < 10 and 0 < value < math.inf:  # its error is measured against 1
        shift += math.log(value)
        value, error = _mass(view, lambda x: log(x) - shift, [theta, t, s], center)
    if not error < TOLERANCE:
        raise PrecisionError(f"the expectation of a likelihood ratio is known to a relative error of {error:.1g} only.")
    return value * math.exp(min(shift, 700.0))


def _mass(view: View, log: Function, thetas: Sequence[np.ndarray], center: float) -> tuple[float, float]:
    ones = lambda x: (np.ones((len(x), 1)), np.zeros((len(x), 1)))  # noqa: E731 a score that weighs nothing
    found, error = (summation if view.discrete else integrate)(
        Density(log, ones, 1, _common(view, thetas), _inner(view, thetas, center))
    )
    return found.mass, error


def _mean(
    view: View,
    thetas: Sequence[np.ndarray],
    log: Function,
    functions: Derivatives,
    k: int,
) -> Moments:
    support = _common(view, thetas)
    density = Density(log, functions, k, support, _inner(view, thetas, find_center(log, support)))
    found, error = (summation if view.discrete else integrate)(density)
    if not error < TOLERANCE:
        raise PrecisionError(
            f"an expectation is known to a relative error of {error:.1g} only: its variance may be infinite, or the density "
            f"too rough."
        )
    return found


def _common(view: View, thetas: Sequence[np.ndarray]) -> Ends:
    lows, highs = zip(*(view.support(theta) for theta in thetas), strict=True)
    return max(lows), min(highs)


def _inner(view: View, thetas: Sequence[np.ndarray], center: float) -> tuple[float, ...]:
    low, high = _common(view, thetas)
    cuts = {cut for theta in thetas for cut in view.cuts(theta) if low < cut < high}
    return tuple(sorted(cuts | ({center} if low < center < high else set()))) or (center,)


def _check_inside(view: View, theta: np.ndarray, t: np.ndarray, index: int) -> None:
    """The test point's density must live where that at theta does."""
    own = view.support(t)
    low, high = _common(view, [theta, t])
    log = lambda x: view.log(x, t)  # noqa: E731 a curried argument
    mass = 0.0
    if low < high:
        mass, _ = _mass(view, log, [theta, t], find_center(log, (low, high)))
    if not abs(mass - 1) < 1e-6:
        raise DataError(
            f"test point {index} ({', '.join(f'{v:.6g}' for v in t)}) has only mass {mass:.6g} on the support of the density: "
            f"it lives on "
            f"({own[0]:.6g}, {own[1]:.6g}), the density on {view.support(theta)}. Choose test points whose support lies inside."
        )


def _check_mass(mass: float) -> None:
    if not abs(mass - 1) < 1e-6:
        raise RegularityError(f"the density has mass {mass:.8g} over its support, not 1.", condition="not_normalised")


# -- whether an integral exists


def _converges(log: Function, support: Ends, center: float) -> bool:
    """Whether exp(log) is integrable at both ends: of an order above -1 at a finite one, below -1 at infinity."""
    for end, sign in zip(support, (-1.0, 1.0), strict=True):
        if math.isinf(end):
            distance = max(abs(center), _width(log, center, sign)) * np.array([1e9, 1e11, 1e13])
            slope = _slope(log, center + sign * distance, distance)
            if not slope < -1 - EXPONENT:
                return False
        else:
            distance = abs(center - end) * np.array([1e-4, 1e-6, 1e-8])
            if not _slope(log, end - sign * distance, distance) > -1 + EXPONENT:
                return False
    return True


def _width(log: Function, center: float, sign: float) -> float:
    """The distance at which exp(log) has fallen by a factor e^2; 1 where it does not."""
    distances = 2.0 ** np.arange(-300, 300)
    with np.errstate(all="ignore"):
        fallen = np.asarray(log(center + sign * distances) < log(np.array([center])) - 2)
    return float(distances[np.argmax(fallen)]) if fallen.any() else 1.0


def _sums(log: Function, support: Ends, center: float) -> bool:
    """Whether the terms exp(log) of a sum fall off."""
    for end, sign in zip(support, (-1.0, 1.0), strict=True):
        if math.isinf(end):
            distance = np.round((abs(center) + 100.0) * np.array([10.0, 100.0, 1000.0]))
            if not _slope(log, round(center) + sign * distance, distance) < -1 - EXPONENT:
                return False
    return True


def _slope(log: Function, x: np.ndarray, distance: np.ndarray) -> float:
    """d log / d log distance at the outermost of three points; -inf at a zero that falls off faster than any power."""
    with np.errstate(all="ignore"):
        values = np.asarray(log(x), dtype=float)
        steps = np.diff(values) / np.diff(np.log(distance))
    outer = float(values[-1])
    if outer == -math.inf or not np.isfinite(steps).all():
        return -math.inf if outer == -math.inf and distance[-1] > distance[0] else math.inf
    return float(steps[1])
