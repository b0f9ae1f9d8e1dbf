"""Sums over draws, from which every estimator of an information is made: one pass, memory of a few matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import SAMPLER, MonteCarlo
from ..parameters import Parameters
from ..provenance import Provenance
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from ..uncertainty import Expectation, LeaveOneOut, average
from .controls import Choice, choose
from .sums import FULL, GROUPED, JOINT, Part, default_blocks, default_groups, joint, large, largest, measure

EXACT = 1e-12  # what derivatives miss that are exact to rounding, relative to the roots of the diagonal


class Accumulator:
    """Sums of scores, and perhaps Hessians, of draws from a model: for those who have a loop of their own.

    Parameters
    ----------
    parameters : names, or mapping from name to shape
        In the order of the columns of the scores.
    structure : {"dense", "diagonal"}
        What is kept.
    groups : int, optional
        Leave-one-out groups that carry the error: 100 for up to 8 parameters, 50 up to 32, else 20.
    estimator : {"outer_product", "score_control", "hessian", "bartlett"}, optional
        By default the one with the least variance among those that the sums allow.

    Notes
    -----
    Memory is O(groups p^2), whatever the number of draws. Accumulators may be merged in any order, up to rounding.
    Beyond 32 parameters an entry has its own two scores as controls, and only where ``estimator="score_control"``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sums = fk.sampled.Accumulator(("mu", "sigma"))
    >>> for _ in range(10):
    ...     z = rng.normal(size=1000)
    ...     sums.update(np.stack([z, z**2 - 1], axis=1))
    >>> F = sums.result()
    >>> bool(np.all(abs(F.dense() - np.diag([1.0, 2.0])) < 4 * F.mcse))
    True
    """

    def __init__(
        self, parameters: Any, *, structure: str = "dense", groups: int | None = None, estimator: str | None = None
    ) -> None:
        if structure not in ("dense", "diagonal"):
            raise MethodError(f"structure must be 'dense' or 'diagonal'; got {structure!r}.")
        if estimator is not None and estimator not in SAMPLER:
            raise MethodError(f"estimator must be one of {', '.join(SAMPLER)}; got {estimator!r}.")
        self.parameters = Parameters.of(parameters)
        self.structure, self.estimator = structure, estimator
        self.groups = groups or default_groups(self.parameters.size)
        self.metric: np.ndarray | None = None
        self._next = 0
        self._sums: dict[str, np.ndarray] = {}

    @property
    def n(self) -> int:
        """How many draws it has seen."""
        return int(self._sums["n"].sum()) if self._sums else 0

    def update(self, scores: Any, hessians: Any = None) -> None:
        """Add draws.

        Parameters
        ----------
        scores : array (n, p)
        hessians : array (n, p, p), optional
            Second derivatives of each draw's log-density: with every update, or with none.

        Raises
        ------
        DataError
            When a score or a second derivative is not finite.
        """
        p = self.parameters.size
        s = np.asarray(scores, dtype=float)
        if s.ndim != 2 or s.shape[1] != p:
            raise LayoutError(f"scores must have shape (n, {p}); got {s.shape}.")
        h = None if hessians is None else np.asarray(hessians, dtype=float)
        if h is not None and h.shape != (len(s), p, p):
            raise LayoutError(f"hessians must have shape ({len(s)}, {p}, {p}); got {h.shape}.")
        if not len(s):
            return
        if h is not None and not (np.isfinite(s).all() and np.isfinite(h).all()):
            self._refuse(s, h)
        part = self.part(s, h, start=self._next)
        if not all(np.isfinite(value).all() for value in part.values()):
            self._refuse(s, h)
        self._next = (self._next + len(part["into"])) % self.groups
        self.include(part)

    def _refuse(self, s: np.ndarray, h: np.ndarray | None) -> None:
        """Name the first draw that is not finite."""
        for name, values in (("score", s), ("hessian", h)):
            if values is not None and len(bad := np.argwhere(~np.isfinite(values))):
                raise DataError(f"the {name} of draw {self.n + bad[0][0]} is not finite.")
        raise DataError(f"the squares of the scores overflow within draws {self.n} to {self.n + len(s) - 1}.")

    def merge(self, other: Accumulator) -> None:
        """Add the draws of another one."""
        if (other.parameters, other.structure, other.groups) != (self.parameters, self.structure, self.groups):
            raise LayoutError(
                f"merge needs equal parameters, structure and groups; here {self.parameters}, {self.structure}, {self.groups}, "
                f"there {other.parameters}, {other.structure}, {other.groups}."
            )
        self._next = (self._next + other._next) % self.groups
        self.metric = other.metric if self.metric is None else self.metric
        if other._sums:
            self.include(other._sums | {"into": np.arange(self.groups)})

    def result(self) -> FisherInformation:
        """The information of one observation, with its Monte Carlo error."""
        if self.n < 2:
            raise DataError(f"an information from {self.n} draws has no error; update with two at least.")
        found = self.choice()
        method = MonteCarlo(self.n, estimator=found.estimator)
        return information(found, self.parameters, Provenance(method=method, draws=self.n))

    # -- for the engine

    def part(
        self, s: np.ndarray, h: np.ndarray | None, error: np.ndarray | None = None, *, start: int, blocks: int | None = None
    ) -> Part:
        """Sums over rows: of each block, and of all. What workers send. ``error`` is that of numeric scores."""
        (rows, p), dense = s.shape, self.structure == "dense"
        blocks = default_blocks(rows, p, self.groups) if blocks is None else min(blocks, rows)
        edges, into = np.linspace(0, rows, blocks + 1).astype(int), (start + np.arange(blocks)) % self.groups
        if dense and p <= JOINT:
            if self.metric is None and h is not None and p <= FULL:
                self.metric = measure(s, h)  # the first rows that it sees are the measure of all
            sums = joint(s, h, edges, into, self.metric)
        else:
            own = self.estimator == "score_control" or (self.estimator is None and p <= JOINT)
            sums = large(s, h, edges, into, diagonal=not dense, own=own)
        if error is not None:
            sums["error"] = (error**2).sum(axis=0)
        return sums | {"into": into, "n": np.diff(edges).astype(float)}

    def include(self, part: Part) -> None:
        """Add what `part` gave, of this or of another accumulator."""
        into, own = part["into"], self._sums
        if own and set(part) != {*own, "into"}:
            raise LayoutError("draws with and without hessians cannot be added to one accumulator; give them always or never.")
        for name, value in part.items():
            if name == "into":
                continue
            if name not in own:
                own[name] = np.zeros((self.groups, *value.shape[1:])) if name in GROUPED else np.zeros_like(value)
            if name == "tail":
                own[name] = largest(np.concatenate([own[name], value]))
            elif name in GROUPED:
                own[name][into] += value
            else:
                own[name] += value

    def copy(self) -> Accumulator:
        """One that may change without this one."""
        out = Accumulator(self.parameters, structure=self.structure, groups=self.groups, estimator=self.estimator)
        out.restore({name: value.copy() for name, value in self.arrays().items()})
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that it knows, for a file."""
        return self._sums | ({} if self.metric is None else {"metric": self.metric})

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The inverse of `arrays`."""
        self._sums = {name: value for name, value in arrays.items() if name != "metric"}
        self.metric = arrays.get("metric")

    def moments(self) -> tuple[int, np.ndarray, np.ndarray, np.ndarray | None]:
        """How many scores were summed, their sums, those of their squares, and the largest squares in ascending order."""
        p, squares = self.parameters.size, self._sums["y"].sum(axis=0)
        seen = self._sums.get("seen", self._sums["n"]).sum()
        if squares.ndim == 2:
            squares = np.diagonal(squares)
        elif self.structure == "dense":
            i, j = np.triu_indices(p)
            squares = squares[: len(i)][i == j]
        return int(seen), self._sums["s"].sum(axis=0), squares * (seen / self.n), self._sums.get("tail")

    def identity_z(self) -> float:
        """The largest z of E[s s' + H] over entries; 0 where there were no Hessians."""
        y, p = self._sums["y"], self.parameters.size
        m = p * (p + 1) // 2
        if y.ndim == 3 or self.structure == "diagonal" or y.shape[1] != 2 * m:
            return 0.0
        sizes = self._sums["n"]
        filled = sizes > 0
        d, n = (y[:, :m] - y[:, m:])[filled], sizes[filled][:, None]
        i, j = np.triu_indices(p)
        root = np.sqrt(y[:, :m].sum(axis=0)[i == j] / sizes.sum())
        mean, scale = d.sum(axis=0) / n.sum(), root[i] * root[j]
        error = np.sqrt(((d - n * mean) ** 2 / n).sum(axis=0) / max(len(d) - 1, 1) / n.sum())
        return float((np.abs(mean) / np.maximum(error, 1e-6 * scale + 1e-300)).max())

    def roughness(self) -> np.ndarray:
        """The error of numeric scores, relative to their size."""
        _, _, squares, _ = self.moments()
        return np.asarray(np.sqrt(self._sums.get("error", np.zeros(len(squares))) / np.maximum(squares, 1e-300)))

    def choice(self, *, strict: bool = True) -> Choice:
        """The estimate by the estimator that was asked for, or by the best one."""
        return choose(self._sums, self.parameters.size, self.estimator, self.structure == "diagonal", strict=strict)

    def relative_error(self) -> float:
        """The largest mcse of an entry in units of the roots of its diagonal entries."""
        found = _mean(self.choice(), 0.0)
        return float((found.mcse_of(np.asarray) / np.maximum(_pairs(np.multiply, roots(found.value), found.value), 1e-300)).max())


def information(
    found: Choice, parameters: Parameters, provenance: Provenance, *, errors: bool = True, rounding: Any = 0.0
) -> FisherInformation:
    """The information that group sums tell, with leave-one-out replicates."""
    mean = _mean(found, rounding)
    loo = LeaveOneOut(tuple(stored(parameters, r) for r in mean.replicates), mean.weights) if mean.replicates and errors else None
    return FisherInformation.of(stored(parameters, mean.value), provenance, loo)


def _mean(found: Choice, rounding: Any) -> Expectation:
    """The mean over groups, each left out once; more replicates for the rounding, relative to each parameter's root."""
    filled = np.flatnonzero(found.sizes)
    mean, replicates, weights = average([[found.sums[g] for g in filled]], [[int(found.sizes[g]) for g in filled]])
    rounding = rounding + np.full(mean.shape[0], 0.0 if found.estimator == "outer_product" else EXACT / 2)
    if replicates and rounding.any():
        apart = np.diag(rounding) if len(rounding) <= FULL else rounding[None]
        replicates += [mean + _pairs(np.multiply, roots(mean), mean) * _pairs(np.add, part, mean) for part in apart]
        weights = (*weights, *[1.0] * len(apart))
    return Expectation(mean, tuple(replicates or ()), weights)


def roots(values: np.ndarray) -> np.ndarray:
    """Of the diagonal of a matrix, or of what is one."""
    return np.asarray(np.sqrt(np.abs(values if values.ndim == 1 else np.diagonal(values))))


def _pairs(combine: np.ufunc, v: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Of the two parameters of each entry, in the form of ``like``."""
    return np.asarray(combine(v, v) if like.ndim == 1 else combine.outer(v, v))


def stored(parameters: Parameters, values: Any) -> Dense | Diagonal:
    """An array as a structure."""
    return Diagonal(parameters.split(values), parameters) if values.ndim == 1 else Dense(values, parameters)
