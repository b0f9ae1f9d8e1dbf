"""Designs of whole observations: n of them by exchange, or the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, SingularInformationError
from ..information import FisherInformation
from .candidates import Candidates, read
from .criteria import Criterion, criterion_of
from .optimal import Design, _value, described, optimal


def exact(
    information: Any,
    candidates: Any,
    n: int,
    *,
    criterion: str = "D",
    direction: Any = None,
    predictions: Any = None,
    prior: Any = None,
    prior_weights: Any = None,
    starts: int = 10,
    rng: Any = None,
) -> Design:
    """A good design of n whole observations, by exchanging one candidate for another while that helps.

    Parameters
    ----------
    information, candidates, criterion, direction, predictions, prior, prior_weights
        As for `optimal`.
    n : int
        How many observations.
    starts : int
        Random designs to start from, besides the rounded optimal one.
    rng : None, int, SeedSequence or Generator
        For these.

    Returns
    -------
    Design
        With ``counts``. ``gap`` is the distance to the best approximate design, which no exact one can pass: part of it may be
        the price of whole numbers.

    Raises
    ------
    SingularInformationError
        When no design of n observations tells every direction.

    Notes
    -----
    A local optimum under exchanges (Fedorov 1972), the best of several; not proved to be the best. Each round costs as many
    criteria as there are points in the design times candidates.

    References
    ----------
    Fedorov (1972), Theory of Optimal Experiments. Atkinson, Donev & Tobias (2007), Optimum Experimental Designs, with SAS,
    chapter 12.

    Examples
    --------
    >>> design = fk.design.exact(lambda x: [1, x, x**2], np.linspace(-1, 1, 21), 6, rng=0)
    >>> [(float(x), int(count)) for x, count in zip(design.points, design.counts)]
    [(-1.0, 2), (0.0, 2), (1.0, 2)]
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise DataError(f"n must be a positive number of observations; got {n!r}.")
    own = read(information, candidates, prior, prior_weights)
    target = criterion_of(criterion, own.p, direction, predictions)
    told = {"criterion": criterion, "direction": direction, "predictions": predictions}
    bound = optimal(information, candidates, prior=prior, prior_weights=prior_weights, **told)
    generator = np.random.default_rng(rng)
    ideal = np.zeros(own.size)
    ideal[bound.indices] = bound.weights
    begun = [
        _rounded(ideal, int(n)),
        *(np.bincount(generator.integers(own.size, size=n), minlength=own.size) for _ in range(starts)),
    ]
    best, value = max((_exchange(own, target, counts) for counts in begun), key=lambda found: found[1])
    if not np.isfinite(value):
        raise SingularInformationError(
            f"no design of {n} observations was found that tells all of {own.parameters}: give at least {own.p} of them.",
            null_directions=[],
        )
    highest = target.outward(bound.value) + bound.gap
    return described(own, target, best / n, value, max(highest - value, 0.0), counts=best)


def _rounded(weights: np.ndarray, n: int) -> np.ndarray:
    """Counts near n times the weights: the largest remainders are rounded up."""
    counts: np.ndarray = np.floor(n * weights).astype(int)
    order = np.argsort(-(n * weights - counts), kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts


def _exchange(own: Candidates, target: Criterion, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """The best single exchange, until none helps."""
    n, value = counts.sum(), _value(own, target, counts / counts.sum())
    while True:
        matrices = own.mixed(counts / n)
        best, move = value + 1e-12 * (1 + abs(value)) if np.isfinite(value) else -np.inf, None
        for i in np.flatnonzero(counts):
            moved = matrices[:, None] + (own.parts - own.parts[:, i : i + 1]) / n
            values = own.prior @ target.values(moved)
            if values.max() > best:
                best, move = float(values.max()), (i, int(values.argmax()))
        if move is None:
            return counts, value
        counts = counts.copy()
        counts[move[0]] -= 1
        counts[move[1]] += 1
        value = _value(own, target, counts / n)


@dataclass(frozen=True)
class NextObservation:
    """Where to observe next.

    Attributes
    ----------
    point : object
    index : int
        Among the candidates.
    value : float
        Of the criterion, with this observation added.
    gain : float
        By how much it improves; infinite where the criterion did not exist before.
    information : FisherInformation
        With this observation added.
    """

    point: Any
    index: int
    value: float
    gain: float
    information: FisherInformation


def next_observation(
    current: FisherInformation,
    information: Any,
    candidates: Any,
    *,
    criterion: str = "D",
    direction: Any = None,
    predictions: Any = None,
) -> NextObservation:
    """The candidate whose observation improves a criterion most: one step of a sequential design.

    Parameters
    ----------
    current : FisherInformation
        Of all the observations so far (and a prior's precision, where there is one).
    information, candidates, criterion, direction, predictions
        As for `optimal`, at the present estimate.

    Raises
    ------
    SingularInformationError
        When no single observation makes the criterion exist.

    Examples
    --------
    >>> F = fk.FisherInformation([[2.0, 0.0], [0.0, 1.0]], parameters=("a", "b"))
    >>> fk.design.next_observation(F, lambda x: [1, x], [-1.0, 0.0, 0.5]).point
    -1.0
    """
    own = read(information, candidates, None, None)
    if own.p != current.parameters.size:
        raise LayoutError(f"the candidates inform about {own.p} parameters; the present information has {current.parameters}.")
    if all(name.startswith("theta_") for name in own.parameters.names):
        own = Candidates(own.points, own.parts, own.prior, current.parameters)
    if own.parameters != current.parameters:
        raise LayoutError(f"the candidates inform about {own.parameters}; the present information is of {current.parameters}.")
    target = criterion_of(criterion, own.p, direction, predictions)
    matrix = np.asarray(current, dtype=float)
    values = target.values(matrix + own.parts[0])
    index = int(values.argmax())
    if not np.isfinite(values[index]):
        raise SingularInformationError(
            f"the {criterion}-criterion does not exist after any one more observation: {own.parameters} need more than one. "
            "Begin with fk.design.exact.",
            null_directions=[],
        )
    before = float(target.values(matrix))
    added = current + FisherInformation((own.parts[0][index] + own.parts[0][index].T) / 2, parameters=current.parameters)
    return NextObservation(own.points[index], index, target.outward(float(values[index])), float(values[index]) - before, added)
