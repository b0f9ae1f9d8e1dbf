"""Means over a prior, of an information and of a gradient: entry by entry in symbols, by Gauss rules in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import numpy as np

from .. import jacobians
from ..arrays import Array, as_entries, family, public
from ..errors import LayoutError, MethodError, PrecisionError
from ..information import FisherInformation
from ..methods import Exact, Method
from ..model import Model, Theta
from ..verbs import expected_information
from .functions import expressions, jacobian_of
from .priors import Laws, is_symbolic

NODES = (6, 10, 16, 24)  # of a Gauss rule for each of several random parameters
ALONE = (8, 16, 32, 48)  # for one
AGREE = 1e-4  # of two Gauss rules


def over_prior(
    source: Any, theta: Theta, laws: Laws, of: Any, names: Sequence[str], n: Any, method: Method | None
) -> tuple[FisherInformation, Array | None]:
    """E of the information, given or the model's, and of the gradient of g (None for the parameters themselves)."""
    F = _of_model(source, theta, laws, n, method) if isinstance(source, Model) else source
    return F.averaged(laws, of, names) if isinstance(F, _Numeric) else _averaged(F, laws, of, names)


def _of_model(model: Model, theta: Theta, laws: Laws, n: Any, method: Method | None) -> Any:
    """The model's information as a formula where it has one, else as a function of numbers."""
    with suppress(MethodError, LayoutError):
        if theta is None and method is None:
            return n * expected_information(model)
    if not laws:
        raise LayoutError(
            "a model is averaged over distributions: give prior= as such, or the averaged information in place of the model."
        )
    return _Numeric(model, {str(k): v for k, v in (theta or {}).items()}, n, method)


def _averaged(F: FisherInformation, laws: Laws, of: Any, names: Sequence[str]) -> tuple[FisherInformation, Array | None]:
    """E of the information and of the gradient of g, entry by entry."""
    entries = as_entries(F.dense())
    gradient = None if of is None else _gradient(of, F)
    if family(entries) != "sympy":
        if laws and F.point is not None and any(name in laws for name in F.point):
            at = ", ".join(f"{name}={value}" for name, value in F.point.items())
            raise LayoutError(
                f"the information was taken at one point ({at}), and its mean over the prior is needed: give the model. Where "
                "it does not depend on the parameters: FisherInformation(F.dense(), parameters=F.parameters)."
            )
        return F, _mean_numbers(gradient, laws)
    try:
        moved = _mean(entries, laws)
        gradient = gradient if gradient is None else _mean(gradient, laws)
    except MethodError:
        if not all(str(s) in laws for value in entries.flat for s in value.free_symbols):
            raise
        return _Formula(F).averaged(laws, of, names)
    return FisherInformation(public(_plain(moved)), parameters=F.parameters, n=F.n), gradient if gradient is None else _plain(
        gradient
    )


def _plain(entries: Array) -> Array:
    """Machine numbers where a mean was taken in them."""
    numbers = all(value.is_number for value in entries.flat) and any(value.is_Float for value in entries.flat)
    return entries.astype(float) if numbers else entries


def _mean_numbers(gradient: Array | None, laws: Laws) -> Array | None:
    if gradient is None or gradient.dtype != object:
        return gradient
    moved = _mean(gradient, laws)
    return moved.astype(float) if all(value.is_number for value in moved.flat) else moved


def _gradient(of: Any, F: FisherInformation) -> Array:
    if callable(of):
        raise LayoutError("the mean gradient over a prior needs of= as SymPy expressions here.")
    jacobian = jacobian_of(expressions(of), F.parameters.labels)
    return (
        jacobian
        if any(v.free_symbols for v in jacobian.flat) or family(as_entries(F.dense())) == "sympy"
        else jacobian.astype(float)
    )


def _mean(entries: Array, laws: Laws) -> Array:
    """E over each law in turn: in closed form, or in numbers where an entry holds nothing else."""
    for law in dict.fromkeys(laws.values()):
        names = [name for name in laws if laws[name] is law]
        flat = [_mean_of_entry(value, law, names) for value in entries.flat]
        entries = as_entries(np.array([*flat, None], dtype=object)[:-1].reshape(entries.shape))
    return entries


def _mean_of_entry(value: Any, law: Model, names: Sequence[str]) -> Any:
    import sympy

    held = {str(s): s for s in value.free_symbols if str(s) in names}
    if not held:
        return value
    start = dict.fromkeys(law.parameters.names, 0)
    alone = set(held.values()) == value.free_symbols
    if is_symbolic(law):
        data: tuple[Any, ...] = law.data  # type: ignore[attr-defined]
        there = value.subs({held[name]: x for name, x in zip(names, data, strict=True) if name in held})
        try:
            return law.expectation([there], start, method=Exact()).value[0]
        except MethodError:
            if not alone:
                raise
            return sympy.Float(float(law.expectation([there], start, method=None).value[0]))
    if not alone:
        raise MethodError("a prior in numbers has no closed forms.")
    (symbol,) = held.values()
    function = sympy.lambdify(symbol, value, modules=["scipy", "numpy"])
    found = law.expectation(lambda x: np.broadcast_to(function(x), x.shape)[:, None], start, method=None).value
    return sympy.Float(float(found[0]))


class _Numeric:
    """The information of a model as a function of the random parameters."""

    def __init__(self, model: Model, fixed: Mapping[str, Any], n: Any, method: Method | None) -> None:
        self.model, self.fixed, self.n, self.method = model, fixed, n, method

    def at(self, values: Mapping[str, float], names: Sequence[str]) -> FisherInformation:
        point = {name: values.get(name, self.fixed.get(name)) for name in names}
        if missing := [name for name, value in point.items() if value is None]:
            raise LayoutError(f"numbers need every parameter: give theta={{{missing[0]!r}: ...}}, or a prior for it.")
        F: FisherInformation = self.n * expected_information(self.model, point, method=self.method)
        return F

    def averaged(self, laws: Laws, of: Any, names: Sequence[str]) -> tuple[FisherInformation, Array | None]:
        before: tuple[Array, Array | None] | None = None
        for count in ALONE if len(laws) == 1 else NODES:
            mean, gradient = self._rule(laws, of, names, count)
            now = as_entries(mean.dense()), gradient
            if before is not None and _agree(before[0], now[0]) and (gradient is None or _agree(before[1], gradient)):
                return mean, gradient
            before = now
        raise PrecisionError("the mean of the information over the prior does not settle: it may be infinite there.")

    def _rule(self, laws: Laws, of: Any, names: Sequence[str], count: int) -> tuple[FisherInformation, Array | None]:
        rules = {name: law.nodes(dict.fromkeys(law.parameters.names, 0), count) for name, law in laws.items()}
        parts: list[FisherInformation] = []
        slopes: list[Array] = []
        for picked in product(*(range(count) for _ in rules)):
            at = {name: float(rules[name][0][k]) for name, k in zip(rules, picked, strict=True)}
            weight = float(np.prod([rules[name][1][k] for name, k in zip(rules, picked, strict=True)]))
            if weight > 1e-12:
                parts.append(weight * self.at(at, names))
                if of is not None:
                    slopes.append(weight * _slope(of, {**self.fixed, **at}, names))
        return reduce(add, parts), sum(slopes) if slopes else None


class _Formula(_Numeric):
    """The same for an information in symbols."""

    def __init__(self, formula: FisherInformation) -> None:
        self.formula, self.fixed = formula, {}

    def at(self, values: Mapping[str, float], names: Sequence[str]) -> FisherInformation:
        return self.formula.at(values)


def _slope(of: Any, at: Mapping[str, Any], names: Sequence[str]) -> Array:
    flat = np.array([float(at[name]) for name in names])
    if callable(of):
        return jacobians.differentiate(of, flat, name="of")
    jacobian = jacobian_of(expressions(of), names)
    return np.array([[float(v.subs({s: at[str(s)] for s in v.free_symbols})) for v in row] for row in jacobian])


def _agree(before: Array, now: Array) -> bool:
    size = float(np.abs(np.asarray(now.tolist(), dtype=float)).max())
    return bool(np.all(np.abs(np.asarray((now - before).tolist(), dtype=float)) <= AGREE * size))
