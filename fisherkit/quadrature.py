r"""Expectations of score products of one real variable, by double-exponential quadrature or summation.

A continuous support is cut at the bulk's centre and at kinks; each piece is mapped to the line so that the integrand falls off
double-exponentially, whatever the tail or the singularity at an end, and the trapezoidal rule is halved until
:math:`E[s s^\top]` stands (Takahasi & Mori 1974). A discrete support is summed outwards from the centre in blocks
that double. Both report the last change, relative to the diagonal, as the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from .errors import RegularityError

Function = Callable[[np.ndarray], np.ndarray]
REACH = 6.0  # of the trapezoidal rule: abscissae from exp(-317) to exp(317) of the scale
DEEP = 6.5  # the same towards a cut: to exp(-522)
LEVELS = range(3, 9)  # steps 2^-3 ... 2^-8
CHANGE = 1e-13  # stop here: what float64 log-densities allow
NOISE, STALLED = 3e-12, 0.05  # also where a change so small has not fallen by so much
DIRECT, LARGEST_BLOCK = 2**12, 2**16  # integers that are always summed one by one, and that may be
FURTHEST = 2**400
ROUNDING = 1e-15
NEGLIGIBLE = 1e-30  # root of the mass of a node, beside the largest
NEGLIGIBLE_BESIDE = 1e-300  # the same beside a place, where scores may be as large as the mass is small
BLURS = (1e-7, 3e-6, 1e-4, 3e-3)  # of a place, within which differences from it have lost their digits
SHARP = 1e-9  # a log-density that has its digits fits so well
ANCHORS = 2.0 ** np.arange(8)
CAUTION = 5.0  # times the error that a score tells of itself: rounding may leave more
UNSETTLED = 10.0  # times the last change where the rule has not converged


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

    def rescaled(self, factors: np.ndarray) -> Moments:
        """Of the scores times factors."""
        product = factors[:, None] * self.product * factors
        return Moments(self.mass, factors * self.mean, product, factors**2 * self.spoiled)

    @property
    def noise(self) -> float:
        """Relative error that comes from the scores."""
        return float((self.spoiled / np.maximum(np.diagonal(self.product), 1e-300)).max(initial=0.0))

    @property
    def amiss(self) -> float:
        """How far the mass is from 1 and the mean scores from 0, which they are where a density and its scores are right."""
        root = np.sqrt(np.maximum(np.diagonal(self.product), 1e-300))
        return float(max(abs(self.mass - 1), (np.abs(self.mean) / root).max(initial=0.0)))

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
    sides = [_Side(density, start, end) for start, end in pieces if start != end]

    def rule(ts: np.ndarray, step: float) -> Moments:
        nodes = [side.nodes(ts, step) for side in sides]
        x, weight, floor = (np.concatenate(parts) for parts in zip(*nodes, strict=True))
        return sum((side.beside(ts, step) for side in sides), _moments(density, x, weight, floor))

    total = rule(np.arange(-DEEP, REACH + 0.1, 0.25), 0.25)
    error = math.inf
    for level in LEVELS:
        step = 0.5**level
        finer = total * 0.5 + rule(np.arange(-DEEP + step, REACH, 2 * step), step)
        before, error, total = error, finer.distance(total), finer
        if error < CHANGE:
            break
        if STALLED * before < error < NOISE:  # the log-density has no more digits, or a derivative of high order jumps
            error *= UNSETTLED
            break
    else:
        error *= UNSETTLED
    return total, error + total.noise + ROUNDING


def summation(density: Density) -> tuple[Moments, float]:
    """Moments of a discrete density on the integers of an interval, and their relative error."""
    low, high = density.support
    start = int(min(max(density.cuts[0], low), high))
    total = _moments(density, np.array([float(start)]), np.ones(1))
    error = 0.0
    for sign, end in ((1, high), (-1, low)):
        at, block, change = start + sign, 64, math.inf
        while sign * (end - at) >= 0 and change > CHANGE and block < FURTHEST:
            part, missed = _block(density, float(at), sign, float(min(block, sign * (end - at) + 1)), total)
            before, change, total = change, (total + part).distance(total), total + part
            error += missed
            at, block = at + sign * block, 2 * block
        if sign * (end - at) >= 0:  # what is left falls off at least as the last two blocks did
            ratio = min(change / before, 0.999) if before < math.inf else 0.5
            error += 2 * change * ratio / (1 - ratio)
    return total, error + total.noise + ROUNDING


def _block(density: Density, start: float, sign: int, size: float, total: Moments) -> tuple[Moments, float]:
    """Moments of so many consecutive integers, and what they may miss: of a long block from few of them, as from a polynomial."""
    if size > DIRECT:
        fine, coarse = (_moments(density, start + sign * offsets, weight) for offsets, weight in (_few(24, size), _few(18, size)))
        missed = (total + fine).distance(total + coarse)
        if missed < NOISE or size > LARGEST_BLOCK:
            return fine, missed
    k = start + sign * np.arange(size)
    return _moments(density, k, np.ones(len(k))), 0.0


def _few(count: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Integers in 0 ... size - 1, and weights that sum a polynomial of a degree below count over all (Euler & Maclaurin)."""
    offsets = np.round((size - 1) * (1 + np.cos((np.arange(count) + 0.5) * np.pi / count)) / 2)
    j, h = np.arange(float(count)), 2 / (size - 1)
    first, third = j**2, j**2 * (j**2 - 1) * (j**2 - 4) / 15  # derivatives of Chebyshev polynomials at 1
    fifth = third * (j**2 - 9) * (j**2 - 16) / 63
    with np.errstate(divide="ignore"):
        integral = np.where(j % 2, 0.0, 2 / (1 - j**2))
    sums = np.where(j % 2, 0.0, integral / h + 1 + h / 6 * first - h**3 / 360 * third + h**5 / 15120 * fifth)
    return offsets, np.linalg.solve(np.polynomial.chebyshev.chebvander(offsets * h - 1, count - 1).T, sums)


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


class _Side:
    """The trapezoidal rule between a cut and an end (or the next cut), as a function of abscissae and step.

    Very close to a place, ``place - distance`` has lost its digits: what lies there is read from further in.
    """

    def __init__(self, density: Density, start: float, end: float) -> None:
        self.density, self.start, self.end = density, start, end
        self.sign = 1.0 if end > start else -1.0
        self.size = abs(end - start) if math.isfinite(end) else fall_off(density.log, start, self.sign)
        inwards = {start: self.sign} | ({end: -self.sign} if math.isfinite(end) else {})
        self.edges = {place: _Edge(density, place, inward, 1e-3 * self.size) for place, inward in inwards.items() if place}
        self.blurs = {place: self.edges[place].unit if place else 0.0 for place in inwards}

    def _distances(self, t: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
        """From the nearer place, and weights."""
        if math.isinf(self.end):
            distance = self.size * np.exp(np.pi / 2 * np.sinh(t))
            return distance, step * distance * np.pi / 2 * np.cosh(t)
        near = self.size / (1 + np.exp(np.minimum(np.pi * np.abs(np.sinh(t)), 700.0)))
        return near, step * np.pi * np.cosh(t) * near * (1 - near / self.size)

    def nodes(self, t: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Abscissae with their digits, their weights, and the mass from which a node counts, relative to the largest."""
        distance, weight = self._distances(t, step)
        from_start = (t < 0) | math.isinf(self.end)
        x = np.where(from_start, self.start + self.sign * distance, self.end - self.sign * distance)
        clear = distance >= np.where(from_start, self.blurs[self.start], self.blurs.get(self.end, 0.0))
        floor = np.where((t < 0) | math.isfinite(self.end), NEGLIGIBLE_BESIDE, NEGLIGIBLE)
        return x[clear], weight[clear], floor[clear]

    def beside(self, t: np.ndarray, step: float) -> Moments:
        """What lies closer to the two places."""
        distance, weight = self._distances(t, step)
        total = Moments.zero(self.density.p)
        for place, blur in self.blurs.items():
            close = (distance < blur) & ((t < 0) | math.isinf(self.end) if place == self.start else t >= 0)
            if close.any():
                total = total + self.edges[place].moments(distance[close], weight[close])
        return total


class _Edge:
    """A density so close to a place that ``place - distance`` has lost its digits.

    There log-density and scores are sums of a constant, the log of the distance, and its powers; a score in a parameter that
    moves the place has one over the distance too. The fit to the nearer six of eight anchors beyond is used, and its difference
    from the fit to all is the error. Their distances are exact; they are larger where the log-density itself has lost digits.
    """

    def __init__(self, density: Density, place: float, sign: float, largest: float) -> None:
        self.p = density.p
        for blur in BLURS:
            self.unit = min(blur * abs(place), largest)
            x = place + sign * self.unit * ANCHORS
            d = np.abs(place - x) / self.unit
            with np.errstate(all="ignore"):
                log = np.asarray(density.log(x), dtype=float)
            self.empty = not np.isfinite(log).all()
            self.log = _fits(d, np.where(np.isfinite(log), log, 0.0)[:, None], moving=False)
            if self.unit == largest or (not self.empty and self.log[2][0] < SHARP):
                break
        with np.errstate(all="ignore"):
            s, error = density.score(x)
        self.empty = self.empty or not np.isfinite(s).all()
        if not self.empty:
            self.still, self.moving = (_fits(d, s, moving=m) for m in (False, True))
            self.moves = (self.moving[2] < 1e-3 * self.still[2]) & (self.still[2] > 1e-8 * np.abs(s).max(axis=0))
            self.slack = CAUTION * error.max(axis=0)

    def moments(self, distance: np.ndarray, weight: np.ndarray) -> Moments:
        if self.empty:
            return Moments.zero(self.p)
        d = distance / self.unit
        log, bend = _at(d, self.log, moving=False)
        with np.errstate(all="ignore"):
            half = np.exp((log[:, 0] + np.log(weight)) / 2)
        carry = half > NEGLIGIBLE_BESIDE * half.max()
        (still, off), (moving, moved) = _at(d[carry], self.still, moving=False), _at(d[carry], self.moving, moving=True)
        scores, error = np.where(self.moves, moving, still), np.where(self.moves, moved, off)
        reach = 1 - np.log(d[carry])[:, None]
        return _weighted(half[carry], scores, error + self.slack * reach + np.minimum(bend[carry], 1.0) * np.abs(scores))


Fits = tuple[np.ndarray, np.ndarray, np.ndarray]


def _terms(d: np.ndarray, *, moving: bool) -> np.ndarray:
    return np.stack([np.ones_like(d), np.log(d), d, d**2, *([1 / d] if moving else [])], axis=1)


def _fits(d: np.ndarray, values: np.ndarray, *, moving: bool) -> Fits:
    """Coefficients from all anchors and from the nearer six, and the largest miss of the first."""
    every, nearer = (np.linalg.lstsq(_terms(d[:k], moving=moving), values[:k], rcond=None)[0] for k in (8, 6))
    return every, nearer, np.abs(_terms(d, moving=moving) @ every - values).max(axis=0)


def _at(d: np.ndarray, fits: Fits, *, moving: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values at distances, and their errors."""
    terms = _terms(d, moving=moving)
    best = terms @ fits[1]
    return best, np.abs(best - terms @ fits[0]) + fits[2] * (1 - np.log(d)[:, None])


def fall_off(log_density: Function, center: float, sign: float, end: float = math.inf) -> float:
    """The distance at which the density has fallen by a factor e^2; that of the end where it comes first."""
    distances = (abs(center) or 1.0) * 2.0 ** np.arange(-50, 200)
    with np.errstate(all="ignore"):
        fallen = log_density(center + sign * distances) < log_density(np.array([center])) - 2
    distance = float(distances[np.argmax(fallen)]) if fallen.any() else abs(center) or 1.0
    return min(distance, abs(end - center))


def _moments(density: Density, x: np.ndarray, weight: np.ndarray, floor: np.ndarray | float = NEGLIGIBLE) -> Moments:
    """Weighted sums over abscissae; those that carry no mass are not asked for a score."""
    with np.errstate(all="ignore"):
        half = np.exp((np.asarray(density.log(x), dtype=float) + np.log(weight)) / 2)
    half = np.where(np.isfinite(half), half, 0.0)
    carry = half > floor * half.max(initial=0.0)
    if not carry.any():
        return Moments.zero(density.p)
    half, (s, error) = half[carry], density.score(x[carry])
    lost = ~np.isfinite(s)
    if len(bad := np.argwhere(lost & (half > 1e-3)[:, None])):
        i, j = bad[0]
        raise RegularityError(
            f"the score in parameter {j} is not finite at x = {x[carry][i]:.6g}, inside the support.",
            condition="not_differentiable",
        )
    s = np.where(lost, 0.0, s)
    error = np.where(lost, np.abs(s).max(axis=0), CAUTION * error)  # a node beside an end: at most like its neighbours
    return _weighted(half, s, error)


def _weighted(half: np.ndarray, s: np.ndarray, error: np.ndarray) -> Moments:
    """From roots of masses: where the mass is small, a score may be too large for its square."""
    root, r = half[:, None], s * half[:, None]
    return Moments(float(half @ half), half @ r, r.T @ r, ((2 * np.abs(r) + error * root) * (error * root)).sum(axis=0))
