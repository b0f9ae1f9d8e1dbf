"""Rows of data: which are used, how often each counts, which belong together, and what their scores add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError, MethodError

POLICIES = ("raise", "omit")
NOTICED = 0.01  # standard errors that a score sum may be off without a word
ROUNDING = 1e-11  # relative, of numeric scores
NEGLIGIBLE = 1e-10  # share of a direction in the scores, below which it is rounding


@dataclass(frozen=True)
class Sample:
    """What the data of an observed or empirical information were, and whether they have their maximum there.

    Attributes
    ----------
    rows : int
        Observations used, each counted once.
    omitted : int
        Observations that ``nan_policy="omit"`` left out.
    clusters : int or None
        How many groups of observations were told to belong together.
    score_sum : mapping from label to float
        The sum of the scores, weights included, in the parameters of the model: 0 at a maximum of the likelihood.
    gradient : float
        The length of that sum in its own standard errors.
    chance : float
        Probability of one as long or longer at the parameters that drew the data, by Hotelling's test: for Gaussian scores, and
        in large samples. It and the gradient are nan where there are too few observations to tell.
    """

    rows: int
    omitted: int
    clusters: int | None
    score_sum: Mapping[str, float]
    gradient: float
    chance: float

    @property
    def told(self) -> str:
        """What is out of the ordinary, for a repr."""
        parts = [f"clusters={self.clusters}"] if self.clusters is not None else []
        parts += [f"omitted={self.omitted}"] if self.omitted else []
        parts += [f"gradient={self.gradient:.2g} standard errors"] if self.gradient > NOTICED else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Rows:
    """Data in the form in which a model takes them, and how their rows count. Plain data are rows that count once."""

    data: Any
    weights: np.ndarray | None = None  # (n,), how often each row counts
    clusters: np.ndarray | None = None  # (n,), the number of each row's cluster
    index: np.ndarray | None = None  # (n,), where each row stood before others were left out
    omitted: int = 0

    @classmethod
    def of(cls, data: Any) -> Rows:
        return data if isinstance(data, Rows) else cls(data)

    def place(self, i: int) -> int:
        """Where row i stood in the data as they were given."""
        return int(i if self.index is None else self.index[i])

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the rows of (n, ...)."""
        return np.asarray(values.sum(axis=0) if self.weights is None else np.tensordot(self.weights, values, axes=1))

    def count(self, n: int) -> int | float:
        """How many observations n rows stand for."""
        whole = n if self.weights is None else float(self.weights.sum())
        return int(whole) if whole == int(whole) else whole

    def root(self, s: np.ndarray) -> np.ndarray:
        """(m, p) with root' root the empirical information: of rows as often as they count, or of the sums of clusters."""
        if self.clusters is None:
            return s if self.weights is None else np.sqrt(self.weights)[:, None] * s
        out = np.zeros((int(self.clusters.max()) + 1, s.shape[1]))
        np.add.at(out, self.clusters, s if self.weights is None else self.weights[:, None] * s)
        return out

    def keep(self, kept: np.ndarray) -> Rows:
        """Without some of the rows."""
        if kept.all():
            return self
        if not kept.any():
            raise DataError(f"every one of the {len(kept)} observations has a missing or infinite value: nothing is left to use.")
        weights, clusters, index = (one if one is None else one[kept] for one in (self.weights, self.clusters, self.index))
        if clusters is not None:
            clusters = np.unique(clusters, return_inverse=True)[1]
        return Rows(_taken(self.data, kept), weights, clusters, index, self.omitted + int((~kept).sum()))

    def sample(self, s: np.ndarray, point: Mapping[str, Any]) -> Sample:
        """What is to be told of the data, from their scores (n, p) in the parameters at a point."""
        total, root = self.total(s), self.root(s)
        units = self.count(len(s)) if self.clusters is None else len(root)
        values = np.abs(np.array([float(value) for value in point.values()]))
        gradient, chance = _length(total, root, float(units), np.where(values > 0, values, 1.0))
        sums = dict(zip(point, total.tolist(), strict=True))
        return Sample(len(s), self.omitted, None if self.clusters is None else len(root), sums, gradient, chance)


def _length(total: np.ndarray, root: np.ndarray, m: float, sizes: np.ndarray) -> tuple[float, float]:
    """A sum of m scores in its own standard errors (Hotelling), and the chance of a longer one where their mean is 0.

    Taken from the squares about 0, whose share q / m <= 1 of the sum has a beta law for Gaussian scores, and not about the mean,
    which discrete data may all meet; m + 1 in place of m keeps both finite. Scores that are rounding, of a parameter of that size
    that does nothing, are left out.
    """
    squares = root.T @ root
    scale = np.sqrt(np.diagonal(squares))
    used = scale * sizes > ROUNDING * (scale * sizes).max()
    values, vectors = np.linalg.eigh(squares[np.ix_(used, used)] / np.outer(scale[used], scale[used]))
    kept = values > NEGLIGIBLE * max(values.max(initial=0.0), 1e-300)
    q = float((((total[used] / scale[used]) @ vectors[:, kept]) ** 2 / values[kept]).sum())
    gradient, rank = float(np.sqrt(q * m / max(m + 1 - q, 1.0))), int(kept.sum())
    if m <= rank:
        return float("nan"), float("nan")
    if rank == 0:
        return 0.0, 1.0
    from scipy.special import betainc

    return gradient, float(betainc((m - rank) / 2, rank / 2, 1 - min(q / (m + 1), 1.0)))


# -- reading


def read(data: Any, *, weights: Any = None, clusters: Any = None, nan_policy: str = "raise") -> Rows:
    """Rows that count as told.

    Raises
    ------
    DataError
        When weights or clusters do not fit the data, or nothing is left.
    """
    if nan_policy not in POLICIES:
        raise MethodError(f"nan_policy must be 'raise' or 'omit'; got {nan_policy!r}.")
    n = _number(data)
    found = Rows(
        data,
        None if weights is None else _weights(weights, n),
        None if clusters is None else _clusters(clusters, n),
        np.arange(n) if nan_policy == "omit" else None,
    )
    return found.keep(_complete(data)) if nan_policy == "omit" else found


def unmasked(data: Any) -> Any:
    """Masked entries are missing: as nan, which nothing mistakes for a number."""
    return np.ma.filled(data.astype(float), np.nan) if isinstance(data, np.ma.MaskedArray) else data


def _number(data: Any) -> int:
    """How many rows there are."""
    column = next(iter(data.values()), None) if isinstance(data, Mapping) else data
    if column is None or np.ndim(column) == 0 or not len(column):
        raise DataError("data must hold at least one observation along the first axis: give data=.")
    return len(column)


def _weights(weights: Any, n: int) -> np.ndarray:
    array = np.asarray(unmasked(weights))
    if array.dtype.kind not in "fiub":
        raise DataError(f"weights must be real numbers; got dtype {array.dtype}.")
    if array.shape != (n,):
        raise DataError(f"weights must hold one number for each of the {n} observations; got shape {array.shape}.")
    if len(bad := np.flatnonzero(~(np.isfinite(array) & (array >= 0)))):
        raise DataError(f"weights must be finite and not negative; entry {bad[0]} is {array[bad[0]]}.")
    if not array.any():
        raise DataError("weights are all 0: no observation counts.")
    return array.astype(float)


def _clusters(labels: Any, n: int) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise DataError(f"clusters must hold one label for each of the {n} observations; got shape {array.shape}.")
    if (missing := _unlabelled(labels, array)).any():
        raise DataError(f"clusters must have no missing label; entry {int(np.argmax(missing))} is missing.")
    try:
        groups, index = np.unique(array, return_inverse=True)
    except TypeError:
        raise DataError("clusters must be labels of one kind: all numbers, or all texts.") from None
    if len(groups) < 2:
        raise DataError("clusters holds one label only: a covariance needs two clusters at least.")
    return np.asarray(index)


def _unlabelled(labels: Any, array: np.ndarray) -> np.ndarray:
    """(n,) whether a label is missing."""
    if hasattr(labels, "isna"):
        return np.asarray(labels.isna())
    if array.dtype.kind == "O":
        return np.array([one is None or one != one for one in array])
    return np.asarray(np.ma.getmaskarray(labels) | (array != array))


def _complete(data: Any) -> np.ndarray:
    """(n,) whether every value of a row is there and finite."""
    if isinstance(data, Mapping):
        return np.asarray(np.logical_and.reduce([_complete(column) for column in data.values()]))
    finite = np.isfinite(_floats(data))
    return np.asarray(finite.reshape(len(finite), -1).all(axis=1))


def _floats(values: Any) -> np.ndarray:
    """Numbers, with nan where something is missing."""
    if np.iscomplexobj(values):
        raise DataError(f"data must be real numbers; got dtype {np.asarray(values).dtype}.")
    try:
        if hasattr(values, "to_numpy"):  # pandas and polars know what is missing
            return np.asarray(
                values.to_numpy(dtype=float, na_value=np.nan) if hasattr(values, "iloc") else values.to_numpy(), float
            )
        return np.asarray(unmasked(values), dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"data must be real numbers: {error}.") from None


def _taken(data: Any, kept: np.ndarray) -> Any:
    """Those rows, in the same form."""
    if isinstance(data, Mapping):
        return {name: _taken(np.asarray(column), kept) for name, column in data.items()}
    if hasattr(data, "iloc"):
        return data.iloc[kept]
    if hasattr(data, "detach"):
        return data[kept]
    array = np.asarray(unmasked(data))
    return (_floats(array) if array.dtype == object else array)[kept]
