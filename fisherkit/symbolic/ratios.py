r"""Likelihood ratios in symbols: :math:`\partial^a f / f` by :math:`r_{a+i} = \partial_i r_a + s_i r_a`, and :math:`f_t / f`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import sympy as sp

from .. import ratios
from ..arrays import as_entries
from ..errors import MethodError, RegularityError
from ..expressions import checked
from ..model import multi_indices
from . import evaluate
from .expectations import closed, outcomes, overlap, view
from .numbers import estimate
from .pieces import Point

if TYPE_CHECKING:
    from .model import Model


def derivatives(model: Model, order: int) -> list[Any]:
    """The derivatives of the density over the density, in the order of `multi_indices`.

    Raises
    ------
    RegularityError
        When a kink moves with a parameter, so that one of them does not exist.
    """
    p = len(model.symbols)
    known: dict[tuple[int, ...], Any] = {(0,) * p: sp.S.One}
    for a in multi_indices(p, order):
        i = next(k for k, count in enumerate(a) if count)
        lower = known[(*a[:i], a[i] - 1, *a[i + 1 :])]
        known[a] = sp.expand(sp.diff(lower, model.symbols[i]) + lower * model.scores[i])
        if known[a].has(sp.DiracDelta):
            raise RegularityError(
                f"order {sum(a)} was asked for, but the density has no derivative of that order in {model.symbols[i]}: a kink "
                f"moves "
                f"with it. Take order={sum(a) - 1}, or fk.chapman_robbins_bound, which needs none.",
                condition="not_differentiable",
                parameter=str(model.symbols[i]),
            )
    return [known[a] for a in multi_indices(p, order)]


def formula(model: Model, order: int, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """E[r r'] in symbols."""
    r = derivatives(model, order)
    k, size = len(r), len(r) + len(points)
    named = [_point(model, point) for point in points]
    out = np.zeros((size, size), dtype=object)
    upper = list(combinations_with_replacement(range(k), 2))
    found = closed(model, [sp.expand(r[i] * r[j]) for i, j in upper]) if k else []
    if found is None:
        _refuse(model)
    for (i, j), value in zip(upper, found, strict=True):
        out[i, j] = out[j, i] = value
    for i, s in enumerate(named):
        for j, t in enumerate(named[: i + 1]):
            value = overlap(model, s, t)
            if value is None:
                _refuse(model)
            out[k + i, k + j] = out[k + j, k + i] = value - 1
        for j, value in enumerate(_mixed(model, r, s)):
            out[k + i, j] = out[j, k + i] = value
    return as_entries(out) if not any(sp.sympify(v).has(sp.oo) for v in out.flat) else out


def _mixed(model: Model, r: Sequence[Any], t: Point) -> list[Any]:
    """E_t[r_a]: the derivatives' means at a test point."""
    if not r:
        return []
    moved = {symbol: sp.Dummy(symbol.name, **symbol.assumptions0) for symbol in model.symbols}
    there = [g.subs(moved, simultaneous=True) for g in r]
    found = closed(model, there)
    if found is None:
        _refuse(model)
    back = {dummy: symbol for symbol, dummy in moved.items()}
    return [sp.simplify(value.subs({**t, **back}, simultaneous=True)) for value in found]


def numbers(model: Model, at: Point, order: int, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """E[r r'] at a point, by enumeration or quadrature."""
    if order:
        estimate(model, at, 5)  # refuses what has no Fisher information, by name
    r = [e.subs(at) for e in derivatives(model, order)]
    theta = np.array([float(at[symbol]) for symbol in model.symbols])
    there = [np.array([float(_point(model, point)[symbol]) for symbol in model.symbols]) for point in points]
    if model.is_finite:
        return _enumerated(model, at, r, points)
    functions = evaluate.arrays(r, model.data) if r else None

    def values(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert functions is not None
        g = functions(x).T
        return g, np.zeros_like(g)

    return ratios.gram(view(model, at), theta, values if r else None, len(r), there)


def _enumerated(model: Model, at: Point, r: list[Any], points: Sequence[Mapping[str, Any]]) -> np.ndarray:
    others = [model.log_density.subs({**at, **_point(model, point)}) for point in points]
    log, *rows = evaluate.arrays([model.log_density.subs(at), *r, *others], model.data)(*outcomes(model))
    mass = np.exp(log)
    with np.errstate(all="ignore"):
        shifted = [np.exp(row - log) - 1 for row in rows[len(r) :]]
    g = np.where(mass > 0, np.stack([*rows[: len(r)], *shifted]), 0.0)
    return np.asarray((g * mass) @ g.T)


def _point(model: Model, point: Mapping[str, Any]) -> Point:
    return {symbol: checked(symbol, point[str(symbol)]) for symbol in model.symbols}


def _refuse(model: Model) -> NoReturn:
    raise MethodError(
        f"no closed form of the expectations was found for {model.parameters}. Give theta for numbers: "
        "bound(model, {...}, ...)."
    )
