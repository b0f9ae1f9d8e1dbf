r"""The information of a continuous family of ``scipy.stats`` from its standard form, loc = 0 and scale = 1.

With :math:`z = (x - \mathrm{loc}) / \mathrm{scale}` and g the standard density, the scores of loc and scale are :math:`-g'/g`
and :math:`-(1 + z g'/g)` over the scale: one derivative in z for both, with a step that knows how far the next singularity is.
Distances from a singularity at z = 0, where most are, keep all their digits however small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RegularityError
from ..quadrature import Density, Function, Moments, fall_off, find_center, integrate
from .derivatives import NODES, ORDER_10, ORDER_12, ROUNDING
from .kinks import find_ends, find_kinks

STEPS = (4e-2, 1e-2, 2e-3, 2e-4, 2e-5, 1e-6)  # relative to the room that there is
CLOSE = 1e-11  # relative error at which a derivative stands
NEAR, ROUGH = 1e-8, 1e-4  # of the spread, and relative error of a slope, where it is read from further away
LARGE = 10.0  # a score that grows beyond it towards a singularity is looked at

Scores = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class StandardForm:
    """A density of z, and the scores of the parameters named, among which loc and scale are derivatives in z."""

    log: Function
    shapes: Scores  # of the parameters other than loc and scale, in order
    names: tuple[str, ...]
    support: tuple[float, float]
    center: float
    spread: float
    period: bool = False

    @classmethod
    def of(
        cls, log: Function, shapes: Scores, names: tuple[str, ...], said: tuple[float, float], center: float | None = None
    ) -> StandardForm:
        """From the support that the family declares, which may be too large; the centre is looked for where it is not known."""
        center = find_center(log, said) if center is None else center
        spread = min(fall_off(log, center, sign, end) for sign, end in zip((-1.0, 1.0), said, strict=True))
        support = find_ends(log, said, center, spread)
        period = find_period(log, center, spread) if np.isinf(support).all() else None
        return cls(log, shapes, names, period or support, center, spread, period is not None)

    def moments(self) -> tuple[Moments, float]:
        """Of the scores at loc = 0, scale = 1, and their relative error.

        Raises
        ------
        RegularityError
            When a score has infinite variance beside a singularity inside the support; when a period moves.
        """
        log, support, center, spread = self.log, self.support, self.center, self.spread
        if self.period and "scale" in self.names:
            raise RegularityError(
                f"the density has period {support[1] - support[0]:.6g}, which moves with scale. Give scale as known.",
                condition="support_depends_on_parameter",
                parameter="scale",
            )
        kinks = find_kinks(log, support, center, spread)
        places = (*kinks, *(end for end in support if np.isfinite(end)))

        def score(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self._scores(z, places, spread)

        self._check_kinks(kinks, score, spread)
        return integrate(Density(log, score, len(self.names), support, cuts(center, kinks, spread)))

    def _scores(self, z: np.ndarray, places: Sequence[float], spread: float) -> tuple[np.ndarray, np.ndarray]:
        out, error = np.empty((len(z), len(self.names))), np.empty((len(z), len(self.names)))
        others = [j for j, name in enumerate(self.names) if name not in ("loc", "scale")]
        if others:
            out[:, others], error[:, others] = self.shapes(z)
        if len(others) < len(self.names):
            slope, miss = slopes(self.log, z, places, self.center, spread)
            for j, name in enumerate(self.names):
                if name == "loc":
                    out[:, j], error[:, j] = -slope, miss
                elif name == "scale":
                    out[:, j], error[:, j] = -1 - z * slope, np.abs(z) * miss
        return out, error

    def _check_kinks(self, kinks: Sequence[float], score: Scores, spread: float) -> None:
        """A density with s^2 f of an order at most -1 beside a singularity has no information."""
        for kink in kinks:
            for sign in (-1.0, 1.0):
                z = kink + sign * spread * np.array([1e-5, 1e-7])
                s, error = score(z)
                with np.errstate(all="ignore"):
                    order = np.log(s[1] / s[0]) * 2 + (self.log(z[1:]) - self.log(z[:1]))
                infinite = (order / np.log(1e-2) < -0.98) & (np.abs(s[1]) > LARGE) & (error[1] < 1e-3 * np.abs(s[1]))
                if infinite.any():
                    name = self.names[int(np.argmax(infinite))]
                    raise RegularityError(
                        f"the density has a singularity at {kink:.6g} in standard form, beside which the square of the score in "
                        f"{name} is not integrable: the information is infinite (infinite_information). Give {name} as known.",
                        condition="infinite_information",
                        parameter=name,
                    )


def find_period(log: Function, center: float, spread: float) -> tuple[float, float] | None:
    """One period around the centre, from one lowest place to the next, of a density that does not fall off at all."""
    if np.max(log(center + spread * np.linspace(50, 5000, 400))) < log(np.array([center]))[0] - 0.5:
        return None
    ahead = spread * np.linspace(0, 60, 6001)
    low, high = (center + sign * _first_lowest(log(center + sign * ahead), ahead) for sign in (-1.0, 1.0))
    start, length = center - spread, high - low
    for _ in range(5):  # where the density is steep, its return is sharp
        gap = log(np.array([start + length])) - log(np.array([start]))
        rise = (log(np.array([start + 1e-5 * spread])) - log(np.array([start - 1e-5 * spread]))) / (2e-5 * spread)
        length -= float((gap / rise)[0])
    x = np.linspace(low, high, 50)
    return (low, low + length) if np.abs(log(x + length) - log(x)).max() < 1e-9 else None


def _first_lowest(values: np.ndarray, at: np.ndarray) -> float:
    return float(at[1:-1][(values[1:-1] <= values[:-2]) & (values[1:-1] < values[2:])][:1].sum())


def cuts(center: float, kinks: Sequence[float], spread: float) -> tuple[float, ...]:
    """The kinks, and the centre where none is near."""
    near = any(abs(kink - center) < 0.5 * spread for kink in kinks)
    return tuple(sorted(kinks if near else (center, *kinks)))


def slopes(log: Function, x: np.ndarray, places: Sequence[float], center: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the log-density in x, and their errors: differences of order 12 that never reach a place."""
    size = np.maximum(spread, np.abs(x - center))
    for place in places:
        size = np.minimum(size, np.abs(x - place))
    out, error = np.full(len(x), np.nan), np.full(len(x), np.inf)
    todo = np.arange(len(x))
    for step in STEPS:
        with np.errstate(all="ignore"):
            h = 2.0 ** np.floor(np.log2(step * size[todo]))  # a power of two: x + k h is then exact
            points = x[todo, None] + h[:, None] * NODES
            table = np.asarray(log(points.ravel()), dtype=float).reshape(points.shape)
            better, coarse = table @ ORDER_12 / h, table @ ORDER_10 / h
            rough = np.abs(better - coarse) + ROUNDING * np.abs(table).max(axis=1) / h
        wins = np.isfinite(better) & (rough < error[todo])
        out[todo[wins]], error[todo[wins]] = better[wins], rough[wins]
        todo = np.flatnonzero(~(error <= CLOSE * np.maximum(np.abs(out), 1e-2 / size)))
        if not len(todo):
            break
    flat = np.flatnonzero((size < NEAR * spread) & (error > ROUGH * np.maximum(np.abs(out), 1 / spread)))
    if len(flat):  # no singularity of the log-density itself, which is flat so close to the place: a little further away
        nearest = np.asarray(places)[np.abs(x[flat, None] - np.asarray(places)).argmin(axis=1)]
        away = np.where(x[flat] >= nearest, 1.0, -1.0) * NEAR * spread
        (one, miss), (two, _) = (slopes(log, nearest + k * away, places, center, spread) for k in (1.0, 2.0))
        out[flat], error[flat] = one, np.abs(one - two) + miss
    return out, np.where(np.isfinite(out), error, 0.0)
