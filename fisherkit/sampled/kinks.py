"""Where a density of one real variable is not smooth, from its values alone.

On an even grid the sixth difference of a smooth function falls by 8^6 when the grid becomes 8 times finer, that of a function
whose m-th derivative jumps by 8^m. So every place where it is large is looked at through finer and finer grids, all places in one
call, until it is explained (smooth) or pinned down: by where the polynomials of both sides meet if the m-th derivative jumps,
else by the last grid (poles, cusps).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]
GRID = 500  # cells over the bulk
DEPTH = 30.0  # of the log-density below its maximum, which the bulk ends at
ZOOM = 8
HALF = 4  # cells to either side that the next grid covers
SMOOTH = ZOOM**-4.5  # of the sixth difference, from one grid to the next finer one
OUTSTANDING = 100.0  # times the median of its window: a place that is rough alone
ROUNDING = 3e-14
FAINT = 60.0  # of the log-density: where it has fallen so far, minus infinity may be rounding, and matters to nothing
DIGITS = 1e-15  # of a cell, beside the widest
_DIFFERENCE = np.array([1.0, -6.0, 15.0, -20.0, 15.0, -6.0, 1.0])


def find_kinks(log: Function, support: tuple[float, float], center: float, spread: float) -> tuple[float, ...]:
    """Interior points, in order, at which the log-density or one of its first four derivatives jumps or is infinite."""
    chart = _chart(support, center, spread)

    def height(u: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(log(chart(u).ravel()), dtype=float).reshape(u.shape)

    u = np.linspace(-12.0, 12.0, 241)
    values = height(u)
    bulk = np.flatnonzero(values > np.nanmax(values[np.isfinite(values)], initial=-np.inf) - DEPTH)
    if len(bulk) < 4:
        return ()
    u = np.linspace(u[bulk[0]], u[bulk[-1]], GRID + 1)[1:-1]
    found = [_locate(height, place, cell, order) for place, cell, order in _zoom(height, u)]
    places = sorted({0.0 if abs(x) < 1e-9 * spread else x for x in (float(chart(np.array(v))) for v in found)})
    return tuple(x for x, before in zip(places, [-np.inf, *places], strict=False) if x - before > 1e-7 * spread)


def find_ends(log: Function, support: tuple[float, float], center: float, spread: float) -> tuple[float, float]:
    """The support, with ends where it is said to be infinite and the density is 0 from some place on."""
    return tuple(  # type: ignore[return-value]
        end if np.isfinite(end) else _find_end(log, center, sign * spread) for sign, end in zip((-1.0, 1.0), support, strict=True)
    )


def _find_end(log: Function, center: float, spread: float) -> float:
    """Where the density becomes 0 for good, in the direction of the spread's sign, to the last digit."""
    far = float(np.copysign(np.inf, spread))
    inside, grid = center, center + spread * 2.0 ** np.arange(-10, 60)
    while True:
        with np.errstate(all="ignore"):
            none = np.asarray(log(grid), dtype=float) == -np.inf
        if not none[-1]:
            return far
        first = 0 if none.all() else len(grid) - int(np.argmin(none[::-1]))
        inside, outside = float(grid[first - 1]) if first else inside, float(grid[first])
        if np.nextafter(inside, outside) == outside:
            break
        grid = np.linspace(inside, outside, 66)[1:]
    with np.errstate(all="ignore"):
        middle, before = np.asarray(log(np.array([center, center + 0.99 * (outside - center)])), dtype=float)
    return outside if before > middle - FAINT else far


def _chart(support: tuple[float, float], center: float, spread: float) -> Callable[[np.ndarray], np.ndarray]:
    """A smooth map from the line onto the support that takes 0 to the centre; 0 is met by no shift, so that it stays exact."""
    low, high = support
    if np.isfinite(low) and np.isfinite(high):
        shift = np.log((center - low) / (high - center))
        return lambda u: low + (high - low) / (1 + np.exp(-u - shift))
    if np.isfinite(low):
        return lambda u: low + (center - low) * np.exp(u)
    if np.isfinite(high):
        return lambda u: high - (high - center) * np.exp(-u)
    return lambda u: center + spread * np.sinh(u)


def _differences(values: np.ndarray) -> np.ndarray:
    """Absolute sixth differences along the last axis; infinite where a value is."""
    windows = np.lib.stride_tricks.sliding_window_view(values, 7, axis=-1)
    with np.errstate(all="ignore"):
        out = np.abs(windows @ _DIFFERENCE)
    return np.where(np.isfinite(out), out, np.inf)


def _zoom(height: Function, u: np.ndarray) -> list[tuple[float, float, float]]:
    """(place, cell, order) of everything that stays rough."""
    values, cell = height(u), float(u[1] - u[0])
    rough, noise = _differences(values), ROUNDING * (1 + np.abs(values[3:-3]))
    highest = rough >= np.maximum.reduce([np.roll(rough, k) for k in range(-3, 4)])
    index = np.flatnonzero(highest & (rough > 100 * noise))
    places, size, noise = u[3:-3][index], rough[index], noise[index]
    settled: list[tuple[float, float, float]] = []
    falls: list[np.ndarray] = []  # of the sixth difference, one for each grid
    while len(places):
        cell /= ZOOM
        grids = places[:, None] + cell * np.arange(-HALF * ZOOM, HALF * ZOOM + 1)
        rough = _differences(height(grids))
        best, each = rough.argmax(axis=1), np.arange(len(places))
        finer, rest = rough[each, best], np.median(np.where(np.isfinite(rough), rough, 0.0), axis=1)
        with np.errstate(all="ignore"):
            fall = np.where(np.isinf(finer), 1.0, finer / size)
        over = (finer < 30 * noise) | (cell < DIGITS)  # nothing but rounding is left
        stay = ~over & (fall > SMOOTH) & (finer > OUTSTANDING * rest)
        if len(falls) > 1:
            orders = -np.log(falls[-1] * falls[-2]) / 2 / np.log(ZOOM)
            settled += [(places[i], cell * ZOOM, orders[i]) for i in np.flatnonzero(over)]
        places, size, noise = grids[each, best + 3][stay], finer[stay], noise[stay]
        falls = [step[stay] for step in (*falls, fall)]
    return settled


def _locate(height: Function, place: float, cell: float, order: float) -> float:
    """Where the polynomials of the two sides meet, of which a derivative jumps; the place itself where that is none."""
    jump = round(order)
    wide = 2e-3
    if not 1 <= jump <= 4 or abs(order - jump) > 0.15:
        return place
    at = wide * np.arange(1, 10)
    left, right = (np.polynomial.Polynomial.fit(sign * at, height(place + sign * at), 6).convert() for sign in (-1, 1))
    roots = (right - left).deriv(jump - 1).roots() if jump > 1 else (right - left).roots()
    real = roots.real[np.abs(roots.imag) < 1e-3 * wide]
    near = real[np.abs(real) < max(10 * cell, wide)]
    return place + float(near[np.abs(near).argmin()]) if len(near) else place
