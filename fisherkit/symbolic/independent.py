"""Independent observations of several models, or several of one: informations add, with shared parameters in their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from .. import model
from ..arrays import as_entries
from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..methods import Method
from ..model import Theta
from ..parameters import Parameters
from ..provenance import Provenance
from ..rows import Rows
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from .rank import refuse_null

if TYPE_CHECKING:
    from .model import Model


class Independent(model.Model):
    """``factors``: models with their numbers of observations, seen together. Made by ``model.iid(n)`` and ``one * other``.

    Data have one row per joint observation and the factors' columns side by side.
    """

    counts_rows = True

    def __init__(self, factors: tuple[tuple[Model, Any], ...]) -> None:
        self.factors = factors
        self.symbols = tuple(dict.fromkeys(symbol for factor, _ in factors for symbol in factor.symbols))
        names = [str(symbol) for symbol in self.symbols]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise LayoutError(f"{twice[0]} is a symbol with different assumptions in two factors: use one symbol.")
        self.parameters = Parameters.of(self.symbols)

    @classmethod
    def of(cls, *factors: tuple[Any, Any]) -> Independent:
        return cls(tuple((factor, _checked(n)) for factor, n in factors))

    def __mul__(self, other: Any) -> Independent:
        more = other.factors if isinstance(other, Independent) else ((other, sp.S.One),)
        return Independent((*self.factors, *more))

    def iid(self, n: Any) -> Independent:
        """n independent observations of all factors."""
        return Independent(tuple((factor, count * _checked(n)) for factor, count in self.factors))

    def given(self, **known: Any) -> Independent:
        """With these parameters known, in every factor that has them."""
        names = {str(symbol) for factor, _ in self.factors for symbol in factor.free}
        if unknown := sorted(set(known) - names):
            raise LayoutError(f"given() got {', '.join(unknown)}; the densities hold {', '.join(sorted(names))}.")

        def settled(factor: Model) -> Model:
            return factor.given(**{name: value for name, value in known.items() if name in set(map(str, factor.free))})

        return Independent(tuple((settled(factor), count) for factor, count in self.factors))

    # -- the verbs

    def expected_information(
        self, theta: Theta = None, *, inputs: Any = None, method: Method | None = None, structure: str = "dense"
    ) -> FisherInformation:
        own = [None if theta is None else self._of(factor, theta) for factor, _ in self.factors]
        if inputs is not None:
            raise LayoutError("a product of models takes no inputs=: its known constants are named in theta.")
        found = [factor.information_of_any_rank(at, method=method) for (factor, _), at in zip(self.factors, own, strict=True)]
        numeric = theta is not None and all(count.is_number for _, count in self.factors)
        counts = [(int(count) if numeric else count) for _, count in self.factors]
        matrices = [count * as_entries(F.dense()) for count, F in zip(counts, found, strict=True)]
        bounds = [F.error_bound for F in found if F.error_bound is not None]
        provenance = Provenance(
            kind="expected",
            method=found[0].method,
            n=counts[0] if len(counts) == 1 else 1,
            point=None if theta is None else {name: value for F in found for name, value in (F.point or {}).items()},
            error_bound=max(bounds, default=None),
        )
        total = self._embedded(matrices)
        if theta is None:
            refuse_null(total, self.parameters, self.symbols)
        return self._stored(total, structure, provenance)

    def score(self, theta: Theta, *, data: Any) -> Any:
        columns = self._blocks(Rows.of(data).data)
        total = np.zeros((len(columns[0]), len(self.symbols)))
        for (factor, _), blocks in zip(self.factors, columns, strict=True):
            place = self._place(factor)
            total[:, place] += sum(
                np.asarray(factor.score(self._of(factor, theta), data=block)) for block in np.swapaxes(blocks, 0, 1)
            )
        return total

    def observed_information(self, theta: Theta, *, data: Any, structure: str = "dense") -> FisherInformation:
        rows = Rows.of(data)
        matrices = [
            factor.observed_information(self._of(factor, theta), data=_apart(blocks, rows.weights)).dense()
            for (factor, _), blocks in zip(self.factors, self._blocks(rows.data), strict=True)
        ]
        s = self.score(theta, data=data)
        return self._stored(self._embedded(matrices), structure, self._told("observed", rows, s, theta))

    def empirical_information(self, theta: Theta, *, data: Any, structure: str = "dense") -> FisherInformation:
        rows, s = Rows.of(data), self.score(theta, data=data)
        root = rows.root(s)
        return self._stored(root.T @ root, structure, self._told("empirical", rows, s, theta))

    def _told(self, kind: str, rows: Rows, s: np.ndarray, theta: Theta) -> Provenance:
        values = {name: value for factor, _ in self.factors for name, value in self._of(factor, theta).items()}
        point = {name: values[name] for name in self.parameters.names}
        return Provenance(kind=kind, n=rows.count(len(s)), point=point, sample=rows.sample(s, point))

    # -- places

    def _place(self, factor: Model) -> list[int]:
        return [self.symbols.index(symbol) for symbol in factor.symbols]

    def _embedded(self, matrices: list[Any]) -> np.ndarray:
        out = np.zeros(2 * (len(self.symbols),), dtype=np.result_type(*(np.asarray(m).dtype for m in matrices)))
        for (factor, _), matrix in zip(self.factors, matrices, strict=True):
            place = self._place(factor)
            out[np.ix_(place, place)] += np.asarray(matrix)
        return np.vectorize(sp.sympify, otypes=[object])(out) if out.dtype == object else out

    def _stored(self, matrix: np.ndarray, structure: str, provenance: Provenance) -> FisherInformation:
        if structure == "diagonal":
            return FisherInformation.of(Diagonal(self.parameters.split(np.diagonal(matrix)), self.parameters), provenance)
        return FisherInformation.of(Dense(matrix, self.parameters), provenance)

    def _of(self, factor: Model, theta: Theta) -> dict[str, Any]:
        """The values that one factor needs."""
        if not hasattr(theta, "items"):
            leaves = self.parameters.split(theta, name="theta")
            theta = {name: leaf[0] for name, leaf in zip(self.parameters.names, leaves, strict=True)}
        values = {str(key): value for key, value in theta.items()}
        known = {str(symbol) for one, _ in self.factors for symbol in one.free}
        if unknown := sorted(set(values) - known):
            raise LayoutError(f"theta names {', '.join(unknown)}; the densities hold {', '.join(sorted(known))}.")
        own = {str(symbol) for symbol in factor.free}
        return {name: value for name, value in values.items() if name in own}

    def _blocks(self, data: Any) -> list[np.ndarray]:
        """For each factor its observations, (rows, count, columns)."""
        if not all(count.is_Integer for _, count in self.factors):
            raise DataError("the number of observations is a symbol: data need a number, model.iid(10).")
        widths = [int(count) * len(factor.data) for factor, count in self.factors]
        array = as_entries(np.asarray([] if data is None else data), name="data")
        array = array[:, None] if array.ndim == 1 and sum(widths) == 1 else array
        if array.ndim != 2 or array.shape[1] != sum(widths) or not len(array):
            raise DataError(f"data must have one row per joint observation and {sum(widths)} columns; got shape {array.shape}.")
        parts = np.split(array, np.cumsum(widths)[:-1], axis=1)
        return [part.reshape(len(array), int(n), len(f.data)) for part, (f, n) in zip(parts, self.factors, strict=True)]


def _apart(blocks: np.ndarray, weights: np.ndarray | None) -> Rows:
    """The observations (rows, count, columns) of one factor one by one, each counting as often as its row."""
    rows, count, columns = blocks.shape
    return Rows(blocks.reshape(rows * count, columns), None if weights is None else np.repeat(weights, count))


def _checked(n: Any) -> Any:
    n = sp.sympify(n)
    if not (n.is_integer and n.is_positive):
        raise LayoutError(f"a sample has a positive integer number of observations, or a symbol declared so; got {n!r}.")
    return n
