r"""Monte Carlo error that travels: leave-one-out replicates of an estimate.

A quantity estimated from G groups of draws is computed again G times, each time without one group. The spread of
those replicates is the error of the estimate, and of any smooth function of it, because the function can be
applied to each replicate: :math:`\mathrm{mcse}^2(f) = \sum_r w_r (f(F_r) - f(F))^2` (delete-group jackknife; Shao
& Tu 1995, The Jackknife and Bootstrap, section 2.3). With draws stratified, say labels within inputs, a group is
left out of its own stratum only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import Array
from .structures.base import Structure
from .structures.promotion import add

ROUNDING = 1e-13  # of a value
FLAT = 6.3  # times the variance: squares of one and of two normal deviates are then held in 91 and 97.6 %


@dataclass(frozen=True)
class LeaveOneOut:
    """Replicates of an information, each without one group of draws, and their weights."""

    replicates: tuple[Structure, ...]
    weights: tuple[float, ...]

    def map(self, verb: Callable[[Structure], Structure]) -> LeaveOneOut:
        """The replicates after a verb."""
        return LeaveOneOut(tuple(map(verb, self.replicates)), self.weights)

    def standard_error(self, value: Any, replicates: Sequence[Any]) -> Any:
        """The error of a function whose value, and whose value at each replicate, are given."""
        return _spread(value, replicates, self.weights)

    def bias(self, value: Any, replicates: Sequence[Any]) -> Any:
        """The jackknife's estimate of the bias of a function: about how far it is too large."""
        return _each(lambda v, *r: sum(w * (x - v) for w, x in zip(self.weights, r, strict=True)), value, replicates)

    def interval(self, value: Any, replicates: Sequence[Any], level: float) -> tuple[Any, Any]:
        """Ends of a Monte Carlo interval of a function; see `interval`."""
        ends = _each(lambda v, *r: interval(v, r, self.weights, level), value, replicates)
        if isinstance(value, Mapping):
            return {k: low for k, (low, _) in ends.items()}, {k: high for k, (_, high) in ends.items()}
        return ends[0], ends[1]


@dataclass(frozen=True)
class Expectation:
    """A mean over a model, and its replicates, each without one group of draws; none where it is exact."""

    value: Array
    replicates: tuple[Array, ...] = ()
    weights: tuple[float, ...] = ()

    def mcse_of(self, function: Callable[[Array], Any]) -> Any:
        """Monte Carlo standard error of ``function(value)``; None when exact."""
        if not self.replicates:
            return None
        return _spread(function(self.value), [function(replicate) for replicate in self.replicates], self.weights)


def interval(value: Any, replicates: Sequence[Any], weights: Sequence[float], level: float) -> tuple[Any, Any]:
    r"""A two-sided interval from leave-one-out replicates that allows for skewed and heavy-tailed draws.

    Four corrections of :math:`v \pm 2\,\mathrm{mcse}`, all from the groups' influences :math:`a_r`. The jackknife's bias is
    subtracted. Twice its square is added to the variance, but less where the slope is so near 0 that the value is a quadratic
    form, whose mean is the bias. Hall's monotone cubic transformation takes out the skewness of the mean. And the quantile is
    Student's, with the degrees of freedom that a variance estimated from draws of this kurtosis has,
    :math:`2 / (\kappa / G + 2 / (G - 1))`.

    References
    ----------
    Hall (1992), On the removal of skewness by transformation, Journal of the Royal Statistical Society B 54, 221-228.
    O'Neill (2014), Some useful moment results in sampling problems, The American Statistician 68, 282-296 (the variance of s^2).
    """
    from scipy.stats import t

    values = [np.asarray(getattr(x, "detach", lambda x=x: x)(), dtype=float) for x in (value, *replicates)]
    center, stacked, w = values[0], np.stack(values[1:]), np.asarray(weights).reshape(-1, *([1] * values[0].ndim))
    a = w * (center - stacked)
    bias, groups = -a.sum(axis=0), len(a)
    a = a - a.mean(axis=0)
    square = (a**2).sum(axis=0)
    safe = np.where(square > 0, square, 1.0)
    skewness = (a**3).sum(axis=0) / safe**1.5
    kurtosis = np.maximum(groups * (a**4).sum(axis=0) / safe**2 - 3, 0.0)
    freedom = np.maximum(2 / (kurtosis / groups + 2 / (groups - 1)), 2.0)
    quantile = t.ppf(0.5 + level / 2, freedom)
    curved = 2 * bias**2 / (1 + np.where(square > 0, bias**2 / safe / FLAT, 0.0) ** 2)
    error = np.sqrt(square * groups / (groups - 1) + curved)
    rounding = ROUNDING * np.abs(center)
    low = center - bias - error * _hall(quantile, skewness) - rounding
    high = center - bias - error * _hall(-quantile, skewness) + rounding
    return (low, high) if center.ndim else (float(low), float(high))


def _hall(z: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """The inverse of t + g t^2 / 3 + g^2 t^3 / 27 + g / 6."""
    g = np.where(np.abs(skewness) < 1e-6, 1e-6, skewness)
    return np.asarray((np.cbrt(1 + g * (z - g / 6)) - 1) * 3 / g)


def sum_errors(a: Structure, a_loo: LeaveOneOut | None, b: Structure, b_loo: LeaveOneOut | None) -> LeaveOneOut | None:
    """The error of a + b. Equal groups are left out together, so that common random numbers are seen."""
    if a_loo is not None and b_loo is not None and a_loo.weights == b_loo.weights:
        return LeaveOneOut(tuple(map(add, a_loo.replicates, b_loo.replicates)), a_loo.weights)
    replicates: tuple[Structure, ...] = ()
    weights: tuple[float, ...] = ()
    if a_loo is not None:
        replicates += tuple(add(r, b) for r in a_loo.replicates)
        weights += a_loo.weights
    if b_loo is not None:
        replicates += tuple(add(a, r) for r in b_loo.replicates)
        weights += b_loo.weights
    return LeaveOneOut(replicates, weights) if weights else None


def average(
    sums: Sequence[Sequence[Array]], counts: Sequence[Sequence[int]]
) -> tuple[Array, list[Array] | None, tuple[float, ...]]:
    """Mean over all draws, its leave-one-out replicates, and their weights.

    Parameters
    ----------
    sums, counts : per stratum, per group
        Sums over the draws of each group, and how many there were. Plain independent draws are one stratum; a
        stratum with a single group has no error of its own.

    Returns
    -------
    mean, replicates, weights
        ``replicates`` is None where no stratum has two groups.
    """
    total = sum(counts_of for stratum in counts for counts_of in stratum)
    grand = _sum([s for stratum in sums for s in stratum])
    replicates: list[Array] = []
    weights: list[float] = []
    for stratum, sizes in zip(sums, counts, strict=True):
        size, groups = sum(sizes), len(sizes)
        if groups < 2:
            continue
        stratum_sum = _sum(stratum)
        for group, left_out in zip(stratum, sizes, strict=True):
            without = (stratum_sum - group) * (size / (size - left_out))
            replicates.append((grand - stratum_sum + without) / total)
            weights.append((size / left_out - 1) / groups)
    return grand / total, replicates or None, tuple(weights)


def _sum(arrays: Sequence[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def _spread(value: Any, replicates: Sequence[Any], weights: Sequence[float]) -> Any:
    """sqrt of the weighted squared deviations, for numbers, arrays, tensors, and mappings of them."""
    return _each(lambda v, *r: sum(w * (x - v) ** 2 for w, x in zip(weights, r, strict=True)) ** 0.5, value, replicates)


def _each(function: Callable[..., Any], value: Any, replicates: Sequence[Any]) -> Any:
    """A function of a value and its replicates, for numbers, arrays, tensors, and mappings of them."""
    if isinstance(value, Mapping):
        return {key: _each(function, value[key], [r[key] for r in replicates]) for key in value}
    return function(value, *replicates)
