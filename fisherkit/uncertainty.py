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

from .arrays import Array
from .structures.base import Structure
from .structures.promotion import add


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
    if isinstance(value, Mapping):
        return {key: _spread(value[key], [r[key] for r in replicates], weights) for key in value}
    squares = sum(weight * (replicate - value) ** 2 for weight, replicate in zip(weights, replicates, strict=True))
    return squares**0.5
