r"""Expectations of score products of one real variable, by double-exponential quadrature or summation.

A continuous support is cut at the bulk's centre and at kinks; each piece is mapped to the line so that the integrand falls off
double-exponentially, whatever the tail or the singularity at an end, and the trapezoidal rule is halved until
:math:`E[s s^\top]` stands (Takahasi & Mori 1974). A discrete support is summed outwards from the centre in blocks
that double. Both report the last change, relative to the diagonal, as the error.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from .errors import RegularityError

Function = Callable[[np.ndarray], np.ndarray]
REACH = 6.0  # of the trapezoidal rule: abscissae from exp(-317) to exp(317) of the scale
LEVELS = range(3, 9)  # steps 2^-3 ... 2^-8
CHANGE = 1e-13  # stop here: what float64 log-densities allow
LARGEST_BLOCK = 2**16
ROUNDING = 1e-15
NEGLIGIBLE = 1e-60


@dataclass(frozen=True)
class Density:
    """A univariate density with its (n, p) score, on an interval cut where its bulk and its kinks are."""

    log: Function
    score: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # with error estimates
    p: int
    support: tuple[float, float]
    cuts: tuple[float, ...]


@dataclass(frozen=True)
class Moments:
    """Mass, mean score and E[s s']."""

    mass: float
    mean: np.ndarray
    product: np.ndarray
    spoiled: np.ndarray  # (p,) share of the diagonal that the errors of the scores may have spoiled

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, factor: float) -> Moments:
        return Moments(*(getattr(self, f.name) * factor for f in fields(self)))

    @classmethod
    def zero(cls, p: int) -> Moments:
        return cls(0.0, np.zeros(p), np.zeros((p, p)), np.zeros(p))

    @property
    def noise(self) -> float:
        """Relative error that comes from the scores."""
        return float((self.spoiled / np.maximum(np.diagonal(self.product), 1e-300)).max(initial=0.0))

    def distance(self, other: Moments) -> float:
        """Largest difference, relative to the diagonal."""
        root = np.sqrt(np.maximum(np.diagonal(self.product), 1e-300))
        entries = np.abs(self.product - other.product) / np.outer(root, root)
        means = np.abs(self.mean - other.mean) / root
        return float(max(abs(self.mass - other.mass), entries.max(initial=0.0), means.max(initial=0.0)))


def integrate(density: Density) -> tuple[Moments, float]:
    """Moments of a continuous density, whose cuts lie inside the support, and their relative error."""
    (low, high), cuts = density.support, sorted(density.cuts)
    pieces = [(cuts[0], low), *pairwise(cuts), (cuts[-1], high)]
    sides = [_side(density, start, end) for start, end in pieces if start != end]

    def rule(ts: np.ndarray, step: float) -> Moments:
        return reduce(operator.add, (side(ts, step) for side in sides))

    total = rule(np.arange(-REACH, REACH + 0.1, 0.25), 0.25)
    error = math.inf
    for level in LEVELS:
        step = 0.5**level
        finer = total * 0.5 + rule(np.arange(-REACH + step, REACH, 2 * step), step)
        error, total = finer.distance(total), finer
        if error < CHANGE:
            break
    return total, error + total.noise + ROUNDING


def summation(density: Density) -> tuple[Moments, float]:
    """Moments of a discrete density on the integers of an interval, and their relative error."""
    low, high = density.support
    start = int(min(max(density.cuts[0], low), high))
    total = _moments(density, np.array([float(start)]), np.ones(1))
    error = 0.0
    for sign, end in ((1, high), (-1, low)):
        at, block, change = start + sign, 64, math.inf
        while sign * (end - at) >= 0 and change > CHANGE and block <= LARGEST_BLOCK:
            k = at + sign * np.arange(float(min(block, sign * (end - at) + 1)))
            grown = total + _moments(density, k, np.ones(len(k)))
            before, change, total = change, grown.distance(total), grown
            at, block = at + sign * block, 2 * block
        if sign * (end - at) >= 0:  # what is left falls off at least as the last two blocks did
            ratio = min(change / before, 0.999) if before < math.inf else 0.5
            error += 2 * change * ratio / (1 - ratio)
    return total, error + total.noise + ROUNDING


def find_center(log_density: Function, support: tuple[float, float]) -> float:
    """Where the bulk is: the largest of density times width over a scan, refined."""
    x, width = _chart(support)

    def height(u: Any) -> Any:
        with np.errstate(all="ignore"):
            values = np.asarray(log_density(np.atleast_1d(x(u))), dtype=float) + np.log(width(np.atleast_1d(u)))
        return np.where(np.isfinite(values), values, -1e300)

    grid = np.linspace(-30, 30, 481)
    for _ in range(5):
        best = int(np.argmax(height(grid)))
        around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        grid = np.linspace(*around, 33)
    return float(x(grid[16]))


def grid(support: tuple[float, float], size: int) -> np.ndarray:
    """Points over a support, close together where it is near zero or near an end."""
    return np.asarray(_chart(support)[0](np.linspace(-30, 30, size)))


def _chart(support: tuple[float, float]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A map from the line onto the support, and its width element."""
    low, high = support
    if math.isinf(low) and math.isinf(high):
        return np.sinh, lambda u: np.ones_like(u)
    if math.isinf(high):
        return lambda u: low + np.exp(u), np.exp
    if math.isinf(low):
        return lambda u: high - np.exp(-u), lambda u: np.exp(-u)
    size = high - low
    return lambda u: low + size / (1 + np.exp(-u)), lambda u: size * np.exp(-np.abs(u)) / (1 + np.exp(-np.abs(u))) ** 2


def _side(density: Density, center: float, end: float) -> Callable[[np.ndarray, float], Moments]:
    """The trapezoidal rule between a cut and an end (or the next cut), as a function of abscissae and step."""
    sign = 1.0 if end > center else -1.0
    if math.isinf(end):
        scale = _fall_off(density.log, center, sign)

        def infinite(t: np.ndarray, step: float) -> Moments:
            distance = scale * np.exp(np.pi / 2 * np.sinh(t))
            return _moments(density, center + sign * distance, step * distance * np.pi / 2 * np.cosh(t))

        return infinite
    size, blur = abs(end - center), min(1e-6 * abs(end), 1e-3 * abs(end - center))

    def finite(t: np.ndarray, step: float) -> Moments:
        near = size / (1 + np.exp(np.pi * np.abs(np.sinh(t))))  # distance from the nearer of centre and end
        weight = step * np.pi * np.cosh(t) * near * (1 - near / size)
        x = np.where(t < 0, center + sign * near, end - sign * near)
        blurred = (t > 0) & (near < blur)
        clear = _moments(density, x[~blurred], weight[~blurred])
        return clear + _beside(density, end, sign * blur, near[blurred], weight[blurred]) if blurred.any() else clear

    return finite


def _beside(density: Density, end: float, blur: float, distance: np.ndarray, weight: np.ndarray) -> Moments:
    """Moments so close to an end that ``end - distance`` has lost its digits.

    There the log-density is linear in the log of the distance, and the score too, or a power of it where the end
    moves: both are read from two points further in; what that may miss counts as error, and so does a bend that goes on.
    """
    anchors = end - blur * np.array([1.0, 10.0, 2.0, 4.0, 8.0, 16.0, 100.0])
    with np.errstate(all="ignore"):
        log, (s, _) = np.asarray(density.log(anchors), dtype=float), density.score(anchors)
    if not (np.all(np.isfinite(log)) and np.all(np.isfinite(s))):
        return Moments.zero(density.p)
    inward = np.log(distance / abs(blur)) / np.log(0.1)
    mass = np.exp(log[0] + (log[0] - log[1]) * inward) * weight
    carry = mass > NEGLIGIBLE * mass.max()
    mass, inward = mass[carry], inward[carry]
    with np.errstate(all="ignore"):
        ratio = s[0] / s[1]
        power = s[0] * ratio ** inward[:, None]
    scores = np.where(ratio > 2, power, s[0] + (s[0] - s[1]) * inward[:, None])
    near, far = log[0] - 2 * log[2] + log[3], log[3] - 2 * log[4] + log[5]  # a bend in the distance itself is 4 times less near
    bent = np.minimum(abs(4 * near - far) / 3 * (inward * np.log2(10)) ** 2 / 2 + 9 * abs(near) * (1 + inward), 1.0)
    curved = np.abs(s[0] - 2 * s[1] + s[6]) / 9 + 1e-9 * np.abs(s[0])  # a score is linear in log distance but for this
    slack = np.where(ratio > 2, 1e-4 * np.abs(scores), curved * (1 + inward[:, None]))
    return _weighted(mass, scores, slack + bent[:, None] * np.abs(scores))


def _fall_off(log_density: Function, center: float, sign: float) -> float:
    """The distance at which the density has fallen by a factor e^2."""
    distances = (abs(center) or 1.0) * 2.0 ** np.arange(-50, 200)
    with np.errstate(all="ignore"):
        fallen = log_density(center + sign * distances) < log_density(np.array([center])) - 2
    return float(distances[np.argmax(fallen)]) if fallen.any() else abs(center) or 1.0


def _moments(density: Density, x: np.ndarray, weight: np.ndarray) -> Moments:
    """Weighted sums over abscissae; those that carry no mass are not asked for a score."""
    with np.errstate(all="ignore"):
        mass = np.exp(np.asarray(density.log(x), dtype=float)) * weight
    mass = np.where(np.isfinite(mass), mass, 0.0)
    carry = mass > NEGLIGIBLE * mass.max(initial=0.0)
    if not carry.any():
        return Moments.zero(density.p)
    mass, (s, error) = mass[carry], density.score(x[carry])
    lost = ~np.isfinite(s)
    if len(bad := np.argwhere(lost & (mass > 1e-6)[:, None])):
        i, j = bad[0]
        raise RegularityError(
            f"the score in parameter {j} is not finite at x = {x[carry][i]:.6g}, inside the support.",
            condition="not_differentiable",
        )
    s = np.where(lost, 0.0, s)
    error = np.where(lost, np.abs(s).max(axis=0), 10 * error)  # a node beside an end: at most like its neighbours
    return _weighted(mass, s, error)


def _weighted(mass: np.ndarray, s: np.ndarray, error: np.ndarray) -> Moments:
    return Moments(float(mass.sum()), mass @ s, (s * mass[:, None]).T @ s, mass @ ((2 * np.abs(s) + error) * error))
