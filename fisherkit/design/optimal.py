r"""Optimal approximate designs, with the certificate of the equivalence theorem.

A design puts weights on candidates; its information is the weighted mean of theirs, and every criterion here is a concave
function of it. So with :math:`\phi_i` the slope of the criterion towards candidate i, no design is better by more than
:math:`\max_i \phi_i - \sum_i w_i \phi_i`: the gap. At the optimum it is zero (Kiefer & Wolfowitz 1960).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConvergenceError
from ..information import FisherInformation
from ..tables import table
from .candidates import Candidates, checked_weights, read
from .criteria import Criterion, criterion_of
from .linear import elfving, maximin

COARSE = 1e-6  # what linear programs can certify


@dataclass(frozen=True, repr=False)
class Design:
    """Where to observe, and how often.

    Attributes
    ----------
    points : tuple
        The candidates with positive weight.
    weights : array
        Their shares of the observations, summing to one.
    counts : array of int, or None
        How many observations at each point, of an exact design.
    indices : array of int
        Where the points stand among the candidates.
    criterion : str
    value : float
        Of the criterion, for one observation (for ``counts`` too: n times the information has another value).
    gap : float
        No design over these candidates is better by more than this, in units of the criterion.
    efficiency : float
        What the gap says as a share: at least this part of what the best design gets from as many observations.
    information : FisherInformation, or None
        Of one observation; None where the criterion was averaged over a prior.
    """

    points: tuple[Any, ...]
    weights: np.ndarray
    indices: np.ndarray
    criterion: str
    value: float
    gap: float
    efficiency: float
    information: FisherInformation | None
    counts: np.ndarray | None = None

    def __repr__(self) -> str:
        shares = self.weights if self.counts is None else self.counts
        told = f"{self.criterion}-criterion={self.value:.6g}, gap{_small(self.gap)}, efficiency >= {_percent(self.efficiency)}"
        rows = [(_point(point), share) for point, share in zip(self.points, shares, strict=True)]
        return table(f"Design({told})", ("point", "weight" if self.counts is None else "count"), rows)


def optimal(
    information: Any,
    candidates: Any,
    *,
    criterion: str = "D",
    direction: Any = None,
    predictions: Any = None,
    prior: Any = None,
    prior_weights: Any = None,
    tolerance: float = 1e-8,
) -> Design:
    r"""The best approximate design over candidates.

    Parameters
    ----------
    information : callable, x -> information of one observation there; or N of them
        A `FisherInformation`, a (p, p) matrix, or a flat array (p,): the gradient of a mean, in units of the standard
        deviation. With a prior, a callable (x, theta). An array (N, p, p), as `FisherInformation.lambdify` gives, is one
        matrix for each candidate.
    candidates : sequence of N points
        Handed to ``information`` one by one.
    criterion : {"D", "A", "E", "c", "I", "T"}
        See `d_criterion` and the others.
    direction : array (p,)
        For ``"c"``.
    predictions : array (m, p)
        For ``"I"``: gradients of m predictions.
    prior : sequence of K values of theta, optional
        The criterion is averaged over them, so that the design does not rest on one guess. Draws of a distribution will do.
    prior_weights : array (K,), optional
        Equal by default.
    tolerance : float
        On the gap: absolute for D (it is a logarithm), relative for the others; at least 1e-6 for E.

    Returns
    -------
    Design
        Local where there is no prior: best at the theta at which the informations were taken.

    Raises
    ------
    SingularInformationError
        When all candidates together leave a direction without information; it is named.
    ConvergenceError
        When the gap stays above the tolerance.
    DataError, LayoutError
        When weights do not sum to one, or shapes do not fit.

    Notes
    -----
    D, A, I (and c of several responses or a prior): multiplicative steps (Silvey, Titterington & Torsney 1978), then
    Newton steps on the support, adding the candidate with the steepest slope until the gap closes. c: Elfving's theorem, a
    linear program; its best design may leave other directions without information. E: cutting planes. T: the candidate with
    the largest trace. Cost O(K N p^2) per step.

    References
    ----------
    Kiefer & Wolfowitz (1960), Canad. J. Math. 12, 363-366. doi:10.4153/CJM-1960-030-4
    Pukelsheim (2006), Optimal Design of Experiments, SIAM. doi:10.1137/1.9780898719109
    Chaloner & Verdinelli (1995), Bayesian experimental design: a review, Statist. Sci. 10, 273-304.

    Examples
    --------
    >>> fk.design.optimal(lambda x: [1, x, x**2], np.linspace(-1, 1, 201))  # a parabola on [-1, 1]
    Design(D-criterion=-1.90954, gap<1e-12, efficiency >= 99.9999 %)
      point    weight
      -1     0.333333
      0      0.333333
      1      0.333333
    """
    own = read(information, candidates, prior, prior_weights)
    target = criterion_of(criterion, own.p, direction, predictions)
    if criterion == "T":
        weights = np.eye(own.size)[int(np.argmax(np.einsum("k,knaa->n", own.prior, own.parts)))]
        return certified(own, target, weights)
    if criterion == "c" and (found := elfving(own, np.asarray(direction, dtype=float))) is not None:
        weights, variance, gap = found
        return described(own, target, weights, -variance, gap)
    _refuse_singular(own)
    if criterion == "E":
        tolerance = max(tolerance, COARSE)
        design = _widest(own, target, tolerance)
    else:
        design = certified(own, target, _ascend(own, target, tolerance))
    limit = tolerance * (1.0 if criterion == "D" else abs(design.value))
    if not design.gap <= limit:
        raise ConvergenceError(
            f"the gap to the best {criterion}-criterion stays at {design.gap:.2g} (tolerance {limit:.1g}): the best design may "
            "be singular, or candidates nearly equal. Raise tolerance=, or thin the candidates.",
            condition="gap",
        )
    return design


def evaluate(
    information: Any,
    candidates: Any,
    weights: Any,
    *,
    criterion: str = "D",
    direction: Any = None,
    predictions: Any = None,
    prior: Any = None,
    prior_weights: Any = None,
) -> Design:
    """How good a given design is: its criterion, and how much any design over the candidates could be better.

    Parameters
    ----------
    information, candidates, criterion, direction, predictions, prior, prior_weights
        As for `optimal`.
    weights : array (N,)
        Shares of the observations, one for each candidate.

    Raises
    ------
    DataError
        When the weights are negative or do not sum to one.
    SingularInformationError
        When the design leaves a direction without information, so that the criterion does not exist.

    Examples
    --------
    >>> fk.design.evaluate(lambda x: [1, x], [-1, 0, 1], [0.25, 0.5, 0.25])
    Design(D-criterion=-0.693147, gap=1, efficiency >= 60.6530 %)
      point  weight
      -1       0.25
      0         0.5
      1        0.25
    """
    own = read(information, candidates, prior, prior_weights)
    target = criterion_of(criterion, own.p, direction, predictions)
    return certified(own, target, checked_weights(weights, own.size, name="weights"))


def certified(own: Candidates, target: Criterion, weights: np.ndarray) -> Design:
    """The design of these weights, with the gap of the equivalence theorem."""
    weights = np.where(weights > 1e-9, weights, 0.0)
    weights = weights / weights.sum()
    if target.name != "T":
        _refuse_singular(own, weights)
    matrices = own.mixed(weights)
    value = float(own.prior @ target.values(matrices))
    gap = maximin(own, 0.3 * COARSE)[2] - value if target.name == "E" else float(_excess(own, target, weights).max())
    return described(own, target, weights, value, max(gap, 0.0))


def described(
    own: Candidates, target: Criterion, weights: np.ndarray, value: float, gap: float, counts: np.ndarray | None = None
) -> Design:
    chosen: np.ndarray = np.flatnonzero(weights)
    return Design(
        tuple(own.points[int(i)] for i in chosen),
        weights[chosen],
        chosen,
        target.name,
        target.outward(value),
        gap,
        target.efficiency(value, gap, own.p),
        own.information(weights),
        None if counts is None else counts[chosen],
    )


def slopes(own: Candidates, target: Criterion, weights: np.ndarray) -> np.ndarray:
    """The slope of the criterion towards each candidate, (N,)."""
    return np.asarray(np.einsum("k,kab,knab->n", own.prior, target.gradient(own.mixed(weights)), own.parts))


def _widest(own: Candidates, target: Criterion, tolerance: float) -> Design:
    """The E-optimal design, without the points that it hardly needs."""
    weights, value, bound = maximin(own, 0.3 * tolerance)
    for share in (1e-2, 1e-3, 1e-4, 1e-6):
        few = np.where(weights > share * weights.max(), weights, 0.0)
        few = few / few.sum()
        if bound - (reached := _value(own, target, few)) <= tolerance * bound:
            return described(own, target, few, reached, max(bound - reached, 0.0))
    return described(own, target, weights, value, max(bound - value, 0.0))


def _excess(own: Candidates, target: Criterion, weights: np.ndarray) -> np.ndarray:
    phi = slopes(own, target, weights)
    return np.asarray(phi - phi @ weights)


def _refuse_singular(own: Candidates, weights: np.ndarray | None = None) -> None:
    weights = np.full(own.size, 1 / own.size) if weights is None else weights
    for matrix in own.mixed(weights):
        FisherInformation((matrix + matrix.T) / 2, parameters=own.parameters).inverse()  # names the directions


# -- the ascent


def _ascend(own: Candidates, target: Criterion, tolerance: float) -> np.ndarray:
    """Multiplicative steps, then Newton steps on a support that grows where the slope is steepest."""
    weights = np.full(own.size, 1 / own.size)
    power = 1.0 if target.name == "D" else 0.5
    for _ in range(60):
        phi = np.maximum(slopes(own, target, weights), 0.0) ** power
        weights = weights * phi / (weights @ phi)
    weights = np.where(weights > 0.02 * weights.max(), weights, 0.0)
    weights = weights / weights.sum()
    for _ in range(400):
        weights = _newton(own, target, weights)
        excess = _excess(own, target, weights)
        value = float(own.prior @ target.values(own.mixed(weights)))
        if excess.max() <= 0.1 * tolerance * (1.0 if target.name == "D" else abs(value)):
            break
        weights = _towards(own, target, weights, int(excess.argmax()))
    return weights


def _value(own: Candidates, target: Criterion, weights: np.ndarray) -> float:
    return float(own.prior @ target.values(own.mixed(weights)))


def _towards(own: Candidates, target: Criterion, weights: np.ndarray, j: int) -> np.ndarray:
    """The best of the mixtures with one candidate, roughly."""
    vertex = np.eye(own.size)[j]
    shares = 0.5 ** np.arange(1, 30)
    values = [_value(own, target, (1 - a) * weights + a * vertex) for a in shares]
    a = shares[int(np.argmax(values))]
    return np.asarray((1 - a) * weights + a * vertex)


def _newton(own: Candidates, target: Criterion, weights: np.ndarray) -> np.ndarray:
    """Newton's method on the support, the weights summing to one; a weight that reaches zero leaves."""
    value = _value(own, target, weights)
    for _ in range(100):
        support = np.flatnonzero(weights)
        step, rise = _newton_step(own, target, weights, support)
        if not rise > 1e-24 * (1 + abs(value)):
            break
        floor = value if rise > 1e-9 * (1 + abs(value)) else value - 1e-13 * (1 + abs(value))  # below it the value tells no more
        falling = step < 0
        reach = float(np.min(-weights[support][falling] / step[falling], initial=np.inf))
        share, found = min(1.0, reach), -np.inf
        for _ in range(40):
            moved = weights.copy()
            moved[support] = np.maximum(moved[support] + share * step, 0.0)
            if share == reach:
                moved[support[np.argmin(np.where(falling, -weights[support] / np.where(falling, step, -1.0), np.inf))]] = 0.0
            moved = moved / moved.sum()
            if (found := _value(own, target, moved)) > floor:
                break
            share *= 0.5
        if not found > floor:
            break
        weights, value = moved, found
    return weights


def _newton_step(own: Candidates, target: Criterion, weights: np.ndarray, support: np.ndarray) -> tuple[np.ndarray, float]:
    matrices, s = own.mixed(weights), len(support)
    system = np.zeros((s + 1, s + 1))
    for share, matrix, parts in zip(own.prior, matrices, own.parts, strict=True):
        system[:s, :s] += share * target.curvature(matrix, parts[support])
    scale = abs(system[:s, :s]).max()
    system[s, :s] = system[:s, s] = scale
    phi = slopes(own, target, weights)[support]
    solution = np.linalg.lstsq(system, np.append(-(phi - phi @ weights[support]), 0.0), rcond=1e-12)[0]
    step = solution[:s] - solution[:s].sum() * weights[support]
    return step, float(phi @ step)


def _small(gap: float) -> str:
    return f"={gap:.1g}" if gap >= 1e-12 else "<1e-12"


def _percent(share: float) -> str:
    """Rounded down, so that it stays a bound."""
    return f"{np.floor(1e6 * share) / 1e4:.4f} %"


def _point(point: Any) -> str:
    values = np.asarray(point)
    if values.dtype.kind not in "fiu":
        return str(point)
    told = [f"{value:.6g}" for value in np.atleast_1d(values).ravel()]
    return told[0] if values.ndim == 0 else f"({', '.join(told)})"
