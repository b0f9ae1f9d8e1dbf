"""Sums over draws, from which every estimator of an information is made: one pass, memory of a few matrices."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, MethodError
from ..information import FisherInformation
from ..methods import SAMPLER, MonteCarlo
from ..parameters import Parameters
from ..provenance import Provenance
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from ..uncertainty import LeaveOneOut, average
from .controls import FOLDS, POWER, Choice, choose

JOINT = 32  # parameters up to which every score is a control of every entry
FULL = 8  # parameters up to which s s' + H are controls too
EXACT = 1e-12  # what derivatives miss that are exact to rounding, relative to the roots of the diagonal
TAIL = 50  # largest squares that are kept of each score, to see whether their mean settles
GROUPED = ("n", "s", "seen", "y", "h")  # sums that are kept for each group

Part = dict[str, np.ndarray]


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
        return information(self.parameters, found, Provenance(method=method, draws=self.n))

    # -- for the engine

    def add(self, s: np.ndarray, h: np.ndarray | None, *, start: int, blocks: int | None = None) -> None:
        """Rows that were checked, in consecutive blocks, each of them into a group of its own from ``start`` on."""
        part = self.part(s, h, start=start, blocks=blocks)
        self._next = (start + len(part["into"])) % self.groups
        self.include(part)

    def part(self, s: np.ndarray, h: np.ndarray | None, *, start: int, blocks: int | None = None) -> Part:
        """Sums over rows: of each block, and of all. What workers send."""
        rows, p = s.shape
        blocks = default_blocks(rows, p, self.groups) if blocks is None else min(blocks, rows)
        edges = np.linspace(0, rows, blocks + 1).astype(int)
        into = (start + np.arange(blocks)) % self.groups
        sums = (self._joint if p <= JOINT and self.structure == "dense" else self._large)(s, h, edges, into)
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
                own[name] = _largest(np.concatenate([own[name], value]), TAIL)
            elif name in GROUPED:
                own[name][into] += value
            else:
                own[name] += value

    def copy(self) -> Accumulator:
        """One that may change without this one."""
        out = Accumulator(self.parameters, structure=self.structure, groups=self.groups, estimator=self.estimator)
        out.restore({name: value.copy() for name, value in self.arrays().items()})
        return out

    def _joint(self, s: np.ndarray, h: np.ndarray | None, edges: np.ndarray, into: np.ndarray) -> Part:
        """Entries above the diagonal as columns, with all scores as controls, in folds of groups."""
        i, j = np.triu_indices(s.shape[1])
        products = s[:, i] * s[:, j]
        second = None if h is None else -h[:, i, j]
        y = products if second is None else np.concatenate([products, second], axis=1)
        fold = np.repeat(into % FOLDS, np.diff(edges))
        z = np.concatenate([np.ones((len(s), 1)), s], axis=1)
        sums = {"s": np.add.reduceat(s, edges[:-1]), "y": np.add.reduceat(y, edges[:-1]), "tail": _largest(s**2, TAIL)}
        sums["zz"], sums["zy"] = _folded(z, z, fold), _folded(z, y, fold)
        if second is not None and s.shape[1] <= FULL:
            z = np.concatenate([z, products - second], axis=1)
            weight = self._leverage(z[:, 1:])[:, None] ** POWER
            sums["wzz"], sums["wzy"] = _folded(z * weight, z, fold), _folded(z * weight, second, fold)
        return sums

    def _large(self, s: np.ndarray, h: np.ndarray | None, edges: np.ndarray, into: np.ndarray) -> Part:
        """Matrices (the lower triangles), or diagonals; sums of scores from an eighth of them where they are no controls."""
        p, diagonal = s.shape[1], self.structure == "diagonal"
        shape = (p,) if diagonal else (p, p)
        own = self.estimator == "score_control" or (self.estimator is None and p <= JOINT)
        sums = {"s": np.empty((len(into), p)), "seen": np.empty(len(into)), "y": np.zeros((len(into), *shape))}
        if own:
            sums["third"] = np.zeros((FOLDS, *shape))
        if h is not None:
            sums["h"] = -np.add.reduceat(np.diagonal(h, axis1=1, axis2=2) if diagonal else h, edges[:-1])
        for k, (a, b) in enumerate(pairwise(edges)):
            block, seen = s[a:b], s[a:b] if own or diagonal else s[a : a + max(1, (b - a) // 8)]
            sums["s"][k], sums["seen"][k] = np.ones(len(seen)) @ seen, len(seen)
            if diagonal:
                sums["y"][k] = np.einsum("ij,ij->j", block, block)
            else:
                _add_product(sums["y"][k], block)
            if own:
                square = block**2
                sums["third"][into[k] % FOLDS] += np.einsum("ij,ij->j", square, block) if diagonal else square.T @ block
        return sums

    def _leverage(self, z: np.ndarray) -> np.ndarray:
        """How far out a draw lies among the controls, 1 on average; the first rows that it sees are the measure."""
        if self.metric is None:
            scale = np.sqrt((z**2).mean(axis=0))
            scale[scale == 0] = 1.0
            _, size, directions = np.linalg.svd(z / scale, full_matrices=False)
            kept = size > 1e-6 * max(size[0], 1e-300)
            self.metric = directions[kept].T / size[kept] * np.sqrt(len(z) / max(kept.sum(), 1)) / scale[:, None]
        return np.asarray(((z @ self.metric) ** 2).sum(axis=1))

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

    def choice(self, *, strict: bool = True) -> Choice:
        """The estimate by the estimator that was asked for, or by the best one."""
        return choose(self._sums, self.parameters.size, self.estimator, self.structure == "diagonal", strict=strict)


def information(
    parameters: Parameters, found: Choice, provenance: Provenance, *, errors: bool = True, rounding: float = EXACT
) -> FisherInformation:
    """Group sums as an information with leave-one-out replicates, and one more for the rounding of derivatives."""
    filled = np.flatnonzero(found.sizes)
    mean, replicates, weights = average([[found.sums[g] for g in filled]], [[int(found.sizes[g]) for g in filled]])
    if replicates and found.estimator != "outer_product":
        rounding = EXACT if found.estimator == "score_control" else rounding
        d = np.sqrt(np.abs(mean if mean.ndim == 1 else np.diagonal(mean)))
        replicates.append(mean + rounding * (d**2 if mean.ndim == 1 else np.outer(d, d)))
        weights = (*weights, 1.0)
    loo = LeaveOneOut(tuple(stored(parameters, r) for r in replicates), weights) if replicates and errors else None
    return FisherInformation.of(stored(parameters, mean), provenance, loo)


def stored(parameters: Parameters, values: Any) -> Dense | Diagonal:
    """An array as a structure."""
    return Diagonal(parameters.split(values), parameters) if values.ndim == 1 else Dense(values, parameters)


def default_groups(p: int) -> int:
    """More of them for few parameters, where they cost nothing and the tails of the draws are better seen."""
    return 100 if p <= FULL else 50 if p <= JOINT else 20


def default_blocks(rows: int, p: int, groups: int) -> int:
    """Into how many groups rows go: a block of a large matrix has so many that its product is quick."""
    return min(groups, rows if p <= JOINT else max(1, rows // (2 * p)))


def _add_product(total: np.ndarray, block: np.ndarray) -> None:
    """The lower triangle of block' block, in half the time of the whole."""
    from scipy.linalg.blas import dsyrk

    dsyrk(1.0, block.T, beta=1.0, c=total.T, overwrite_c=1)


def _folded(a: np.ndarray, b: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """a' b for the rows of each fold."""
    return np.stack([a[fold == k].T @ b[fold == k] for k in range(FOLDS)])


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The largest of each column, in ascending order."""
    return np.sort(np.partition(values, len(values) - count, axis=0)[-count:] if len(values) > count else values, axis=0)
