"""Where the data live: an interval, the integers of a range, or finitely many values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from ..errors import LayoutError

WRITTEN_OUT = 200  # values of a range


@dataclass(frozen=True)
class Support:
    """One data symbol's: finitely many ``values``, or ends ``low`` and ``high`` of reals or of integers."""

    low: Any
    high: Any
    discrete: bool = False
    values: tuple[Any, ...] | None = None

    @property
    def free_symbols(self) -> set[Any]:
        parts = self.values or (self.low, self.high)
        return set().union(*(sp.sympify(part).free_symbols for part in parts))

    def subs(self, values: dict[Any, Any]) -> Support:
        """With values for symbols."""
        low, high = (end if end is None else sp.sympify(end).subs(values) for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    def outside(self, column: np.ndarray) -> np.ndarray:
        """Which numbers are impossible; none where the ends are not numbers."""
        if self.values is not None:
            inside = np.isin(column, [float(v) for v in self.values if v.is_number])
            return ~inside if all(v.is_number for v in self.values) else np.zeros(len(column), dtype=bool)
        impossible = (column != np.round(column)) if self.discrete else np.zeros(len(column), dtype=bool)
        if self.low.is_number and self.high.is_number:
            impossible |= (column < float(self.low)) | (column > float(self.high))
        return np.asarray(impossible)

    def at(self, point: dict[Any, Any]) -> tuple[float, float]:
        """The ends as machine numbers."""
        return float(sp.sympify(self.low).subs(point)), float(sp.sympify(self.high).subs(point))


def read(support: Any, symbol: Any) -> Support:
    """A pair of ends, a SymPy set, or a collection of values."""
    if isinstance(support, Support):
        return support
    if isinstance(support, sp.Set):
        return _read_set(support)
    if isinstance(support, tuple) and len(support) == 2:
        low, high = map(sp.sympify, support)
        if low.is_number and high.is_number and not low < high:
            raise LayoutError(f"the support of {symbol} must be a pair (low, high) with low < high; got {support}.")
        return Support(low, high, discrete=bool(symbol.is_integer))
    if isinstance(support, range):
        return _read_set(sp.Range(support.start, support.stop, support.step))
    if isinstance(support, Iterable) and not isinstance(support, (str, bytes)):
        values = tuple(sp.sympify(value) for value in support)
        if values:
            return Support(None, None, discrete=True, values=values)
    raise LayoutError(
        f"support of {symbol} must be a pair of ends, a SymPy set, a range, or a collection of values; got {support!r}."
    )


def _read_set(support: Any) -> Support:
    if isinstance(support, sp.Interval):
        return Support(support.start, support.end)
    if support == sp.S.Reals:
        return Support(-sp.oo, sp.oo)
    if isinstance(support, sp.Range) and support.size.is_Integer and support.size <= WRITTEN_OUT:
        return Support(None, None, discrete=True, values=tuple(support))
    if isinstance(support, (sp.Range, type(sp.S.Naturals), type(sp.S.Naturals0), type(sp.S.Integers))):
        return Support(support.inf, support.sup, discrete=True)
    if isinstance(support, sp.FiniteSet):
        return Support(None, None, discrete=True, values=tuple(support.args))
    raise LayoutError(f"this support is not understood yet: {support}. Give a pair of ends, a range or the values.")
