r"""Likelihood ratios of n independent observations, from those of one.

The ratio of n observations is the product of theirs. With :math:`K(a, b) = E[f_a f_b / f^2]` of one, it is
:math:`K^n` of n, and derivatives at theta are read from the Taylor coefficients of that power.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import factorial, prod
from typing import Any

import numpy as np

from ..arrays import Array, is_expression
from ..errors import DataError

Index = tuple[int, ...]
Series = dict[Any, Any]


def repeated(gram: Array, indices: Sequence[Index], n: Any) -> Array:
    """E[r r'] of n observations: derivatives first, then test points."""
    check_n(n)
    if not is_expression(n) and n == 1:
        return gram
    if gram.dtype == object and not is_expression(n):
        from sympy import Integer

        n = Integer(n)  # fractions stay fractions
    k, size, order = len(indices), len(gram), max(map(sum, indices), default=0)
    out = np.array(gram, dtype=object if is_expression(n) else gram.dtype)
    scale = {a: prod(map(factorial, a)) for a in indices}
    both = {(a, b): gram[i, j] / (scale[a] * scale[b]) for i, a in enumerate(indices) for j, b in enumerate(indices)}
    power = _power(_pairs(both), n, order)
    for i, a in enumerate(indices):
        for j, b in enumerate(indices):
            out[i, j] = power.get((*a, *b), 0) * scale[a] * scale[b]
    for t in range(k, size):
        power = _power({a: gram[t, i] / scale[a] for i, a in enumerate(indices)}, n, order)
        for i, a in enumerate(indices):
            out[t, i] = out[i, t] = power.get(a, 0) * scale[a]
        for s in range(k, size):
            out[t, s] = grown(gram[t, s], n)
    return out


def grown(excess: Any, n: Any) -> Any:
    """(1 + c)^n - 1, without cancellation."""
    if is_expression(excess) or is_expression(n):
        return (1 + excess) ** n - 1
    with np.errstate(over="ignore"):
        return np.expm1(n * np.log1p(excess))


def check_n(n: Any) -> None:
    if not is_expression(n) and not (isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1):
        raise DataError(f"n must be a positive number of observations, or an expression; got {n!r}.")


def _pairs(both: Mapping[tuple[Index, Index], Any]) -> Series:
    return {(*a, *b): value for (a, b), value in both.items()}


def _power(z: Series, n: Any, order: int) -> Series:
    """(1 + z)^n - 1 to the given order in each half of the variables: z has no constant, so that few powers are needed."""
    z = {index: value for index, value in z.items() if value != 0}
    top = dict.fromkeys(z, 0)
    out: Series = dict(top)
    term: Series = {}
    binomial: Any = 1
    for k in range(1, order + 1):
        term = _product(term, z, order) if term else dict(z)
        binomial = binomial * (n - k + 1) / k
        for index, value in term.items():
            out[index] = out.get(index, 0) + binomial * value
    return out


def _product(a: Series, b: Series, order: int) -> Series:
    out: Series = {}
    for i, x in a.items():
        for j, y in b.items():
            index = tuple(p + q for p, q in zip(i, j, strict=True))
            if sum(index) <= 2 * order:
                out[index] = out.get(index, 0) + x * y
    return out
