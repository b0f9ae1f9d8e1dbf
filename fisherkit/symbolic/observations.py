"""Data for a density in symbols: a column for each data symbol, and for covariates where they come by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from ..arrays import as_entries
from ..errors import DataError
from ..rows import Rows
from .density import Density


@dataclass(frozen=True)
class Observations:
    """Columns of one length, each under its symbol."""

    symbols: tuple[Any, ...]
    columns: list[np.ndarray]
    rows: Rows

    @classmethod
    def read(cls, density: Density, data: Any, *, observed: tuple[Any, ...] | None = None) -> Observations:
        """An array with a column for each data symbol; or a mapping, or data frame, that may hold covariates too."""
        rows = Rows.of(data)
        data = rows.data
        if not by_name(data):
            return cls(density.data, _columns(density, data), rows)
        observed, constants = density.data if observed is None else observed, covariates(density)
        names = {str(key): key for key in data}
        symbols = (*observed, *(s for s in constants if str(s) in names))
        if missing := [str(s) for s in observed if str(s) not in names]:
            raise DataError(f"data must have a column for {', '.join(missing)}; it has {', '.join(names)}.")
        if not symbols:
            raise DataError(f"the columns {', '.join(names)} name none of {', '.join(map(str, constants))}.")
        columns = [as_entries(np.asarray(data[names[str(s)]]), name=str(s)) for s in symbols]
        shapes = {str(s): column.shape for s, column in zip(symbols, columns, strict=True)}
        if len(set(shapes.values())) > 1 or columns[0].ndim != 1 or not len(columns[0]):
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise DataError(f"the columns of data must be flat, of one length and not empty; got {told}.")
        return cls(symbols, columns, rows)

    def refuse_impossible(self, density: Density, at: dict[Any, Any]) -> None:
        """Refuse an observation outside its support."""
        columns = dict(zip(self.symbols, self.columns, strict=True))
        for symbol, support in zip(density.data, density.supports, strict=True):
            outside = support.subs(at).outside(columns[symbol])
            if outside.any():
                i = int(np.argmax(outside))
                raise DataError(f"observation {self.rows.place(i)} of {symbol} is {columns[symbol][i]:.6g}: outside its support.")


def by_name(data: Any) -> bool:
    """Whether data are columns with names: a mapping, or a data frame."""
    return isinstance(data, Mapping) or hasattr(data, "columns")


def used(density: Density, data: Any) -> Any:
    """The columns that the density mentions, where they have names."""
    if not by_name(data):
        return data
    own = {str(s) for s in (*density.data, *covariates(density))}
    return {str(key): data[key] for key in data if str(key) in own}


def covariates(density: Density) -> list[Any]:
    """The known constants of a density, by name."""
    return sorted(density.free - set(density.symbols), key=str)


def as_symbols(density: Density, data: Any) -> dict[Any, Any] | None:
    """Data given as expressions, or left as they are; None where they are numbers."""
    given = density.data if data is None else data if isinstance(data, tuple) else (data,)
    if len(given) != len(density.data) or not all(isinstance(one, sp.Expr) for one in given):
        return None
    return dict(zip(density.data, given, strict=True))


def _columns(density: Density, data: Any) -> list[np.ndarray]:
    array = as_entries(np.asarray([] if data is None else data), name="data")
    if array.size == 0:
        raise DataError("data must hold at least one observation: give data=.")
    array = array[:, None] if array.ndim == 1 and len(density.data) == 1 else array
    if array.ndim != 2 or array.shape[1] != len(density.data):
        raise DataError(f"data must have one column for each of {density.data}; got shape {array.shape}.")
    return list(array.T)
