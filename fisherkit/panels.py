"""A function that costs much, at many points: Chebyshev polynomials between powers of two, made where enough points fall."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev

DEGREE = 22
FEW = DEGREE + 8  # points up to which a panel is not worth its nodes
ACCURACY = 1e-13  # relative, at points between the nodes
NARROW = 2.0**-7  # of a panel, relative, below which the function is too wild: point by point

_BETWEEN = np.cos(np.pi * (np.array([0.0, 1.0, 5.0, 11.0, 17.0, 21.0, 23.0])) / (DEGREE + 1))  # ends too


class Panels:
    """A smooth function of one real variable, nan where it is none. Panels are kept from call to call.

    Each polynomial is compared with the function at its panel's ends and between its nodes; where they differ by more than
    `ACCURACY` the panel is halved. No panel costs more than the points in it would.
    """

    def __init__(self, function: Callable[[float], float]) -> None:
        self.function = function
        self.known: dict[tuple[float, float], Chebyshev | None] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        out = np.full(x.shape, np.nan)
        usable = np.isfinite(x) & (x != 0)
        _, exponents = np.frexp(np.where(usable, x, 1.0))
        octaves = np.where(usable, np.sign(x) * (exponents.astype(float) + 2000), 0)
        for octave in np.unique(octaves[usable]):
            sign, size = np.sign(octave), 2.0 ** (abs(octave) - 2000)
            low, high = sorted((sign * size / 2, sign * size))
            self._fill(out, x, np.flatnonzero(octaves == octave), low, high)
        return out

    def _fill(self, out: np.ndarray, x: np.ndarray, index: np.ndarray, low: float, high: float) -> None:
        if len(index) == 0:
            return
        if (low, high) not in self.known and (len(index) <= FEW or high - low < NARROW * max(abs(low), abs(high))):
            values, place = np.unique(x[index], return_inverse=True)
            out[index] = np.array([self.function(float(value)) for value in values])[place]
        elif (fit := self._fit(low, high)) is not None:
            out[index] = fit(x[index])
        else:
            middle = (low + high) / 2
            self._fill(out, x, index[x[index] <= middle], low, middle)
            self._fill(out, x, index[x[index] > middle], middle, high)

    def _fit(self, low: float, high: float) -> Chebyshev | None:
        """The polynomial of a panel, or None where it is not accurate."""
        if (low, high) not in self.known:
            fit = Chebyshev.interpolate(self._values, DEGREE, domain=[low, high])
            there = (low + high) / 2 + (high - low) / 2 * _BETWEEN
            wanted = self._values(there)
            good = bool(np.all(np.abs(fit(there) - wanted) <= ACCURACY * np.abs(wanted)))
            self.known[low, high] = fit if good else None
        return self.known[low, high]

    def _values(self, x: np.ndarray) -> np.ndarray:
        return np.array([self.function(float(value)) for value in np.atleast_1d(x)])
