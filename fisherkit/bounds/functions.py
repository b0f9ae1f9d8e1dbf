"""The function of the parameters that a bound is on: SymPy expressions, or a callable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import jacobians
from ..arrays import Array, alike, as_entries, eye, family, is_expression, same_family
from ..errors import LayoutError
from ..expressions import replace
from ..information import FisherInformation
from ..model import multi_indices

# -- of an information


def gradient(information: FisherInformation, of: Any, bias_gradient: Any = None) -> Array | None:
    """G + B, shape (q, p), at the information's point; None where it is the identity."""
    entries = as_entries(information.diagonal()) if information.parameters.is_flat else None
    if of is None and bias_gradient is None:
        return None
    if entries is None:
        raise LayoutError(f"bounds of functions need scalar parameters; found {information.parameters}.")
    matrix = eye(len(entries), entries) if of is None else _derivative(information, of, entries)
    if bias_gradient is None:
        return matrix
    bias = as_entries(bias_gradient, name="bias_gradient")
    if tuple(bias.shape) != tuple(matrix.shape):
        raise LayoutError(f"bias_gradient must have shape (q, p) = {tuple(matrix.shape)}; got {tuple(bias.shape)}.")
    left, right = same_family(matrix, bias, verb="cramer_rao_bound")
    return left + right


def _derivative(information: FisherInformation, of: Any, entries: Array) -> Array:
    if not callable(of):
        return _derivative_of_expressions(information, of, entries)
    if information.point is None:
        raise LayoutError("of= is a callable, so the information must know its point: FisherInformation(..., point={...}).")
    values = as_entries([information.point[label] for label in information.parameters.labels], name="F.point")
    return jacobians.differentiate(of, alike(values, entries), name="of")


def _derivative_of_expressions(information: FisherInformation, of: Any, entries: Array) -> Array:
    """Symbols are matched by name; numbers are put where the information holds numbers."""
    functions = expressions(of)
    labels = information.parameters.labels
    jacobian = jacobian_of(functions, labels)
    if family(entries) == "sympy":
        return jacobian
    if not any(value.free_symbols for value in jacobian.flat):
        return alike(jacobian.astype(float), entries)
    if information.point is None:
        raise LayoutError(f"of={of} depends on the parameters, so the information must know its point.")
    at = {s: information.point[str(s)] for value in jacobian.flat for s in value.free_symbols if str(s) in labels}
    return alike(as_entries([[float(value.subs(at)) for value in row] for row in jacobian]), entries)


def expressions(of: Any) -> list[Any]:
    """One expression or several."""
    functions = list(of) if isinstance(of, Iterable) and not is_expression(of) else [of]
    if not all(is_expression(function) for function in functions):
        raise LayoutError(f"of= must be a callable, a SymPy expression or several; got {of!r}.")
    return functions


def jacobian_of(functions: Sequence[Any], labels: Sequence[str]) -> Array:
    """Derivatives by the symbols of these names, (q, p)."""
    import sympy

    used = {str(s): s for function in functions for s in function.free_symbols}
    symbols = [used.get(label, sympy.Symbol(label)) for label in labels]
    return as_entries(sympy.Matrix(functions).jacobian(symbols))


# -- of a model


@dataclass(frozen=True)
class Target:
    """A function g of the named parameters of a model, at a point of numbers or of the model's own symbols."""

    of: Any
    point: Mapping[str, Any]

    @property
    def symbolic(self) -> bool:
        return any(is_expression(value) and value.free_symbols for value in self.point.values())

    def values(self, at: Mapping[str, Any]) -> Array:
        """g at a point that names every parameter, (q,)."""
        values = [at[name] for name in self.point]
        if self.of is None:
            return as_entries(values, name="a test point")
        if callable(self.of):
            found = self.of(np.array(values, dtype=object if self._are_expressions(values) else float))
            return as_entries(found, name="of").reshape(-1)
        return self._evaluated([self._put(g, at) for g in expressions(self.of)])

    def derivatives(self, order: int) -> Array:
        """Partial derivatives at the point, (q, k), in the order of `multi_indices`."""
        indices = multi_indices(len(self.point), order)
        if self.of is None:
            ones = np.array([[int(sum(a) == 1 and a[i] == 1) for a in indices] for i in range(len(self.point))])
            return as_entries(ones.astype(object) if self.symbolic else ones)
        if callable(self.of) and order == 1 and not self.symbolic:
            flat = np.array([float(value) for value in self.point.values()])
            return jacobians.differentiate(self.of, flat, name="of")
        functions, symbols = self._functions()
        rows = [[self._partial(g, a, symbols) for a in indices] for g in functions]
        return self._evaluated([self._put(value, self.point) for row in rows for value in row]).reshape(len(rows), -1)

    def _functions(self) -> tuple[list[Any], dict[str, Any]]:
        """g as expressions, and the symbols of the parameters in them."""
        import sympy

        own = {name: v if is_expression(v) and v.is_Symbol else sympy.Symbol(name, real=True) for name, v in self.point.items()}
        if callable(self.of):
            try:
                functions = expressions(self.of(np.array(list(own.values()), dtype=object)))
            except (TypeError, AttributeError, LayoutError):
                raise LayoutError("derivatives above order 1, and formulas, need of= as SymPy expressions.") from None
        else:
            functions = expressions(self.of)
        return functions, own | {str(s): s for g in functions for s in g.free_symbols if str(s) in own}

    @staticmethod
    def _partial(g: Any, a: tuple[int, ...], symbols: Mapping[str, Any]) -> Any:
        for symbol, count in zip(symbols.values(), a, strict=True):
            g = g.diff(symbol, count) if count else g
        return g

    @staticmethod
    def _put(g: Any, at: Mapping[str, Any]) -> Any:
        import sympy

        return replace(g, {s: sympy.sympify(at[str(s)]) for s in g.free_symbols if str(s) in at})

    def _evaluated(self, values: Sequence[Any]) -> Array:
        if self.symbolic:
            return as_entries(np.array([*values, None], dtype=object)[:-1])
        if free := sorted({str(s) for value in values for s in value.free_symbols}):
            raise LayoutError(f"of= holds {', '.join(free)}, which is no parameter; those are {', '.join(self.point)}.")
        return as_entries([float(value) for value in values], name="of")

    @staticmethod
    def _are_expressions(values: Sequence[Any]) -> bool:
        return any(is_expression(value) for value in values)
