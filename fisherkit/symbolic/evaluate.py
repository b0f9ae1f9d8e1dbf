"""Expressions as functions: of arrays in machine precision, or of one number with as many digits as mpmath is set to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath
import numpy as np
import sympy as sp


def arrays(expressions: list[Any], arguments: tuple[Any, ...]) -> Callable[..., np.ndarray]:
    """Expressions as a function of arrays, (len(expressions), n); by mpmath where NumPy and SciPy lack a function."""
    prepared, values, modules = _prepared(expressions, arguments)
    names = [*arguments, *values]
    try:
        quick = sp.lambdify(names, prepared, modules=["scipy", "numpy"])
    except (NotImplementedError, ValueError, TypeError):  # a function that SciPy does not have
        quick = None
    slow = np.vectorize(sp.lambdify(names, prepared, modules=[modules, "mpmath"], cse=True), otypes=[object])
    machine = [complex(v).real for v in values.values()]

    def evaluate(*given: Any) -> np.ndarray:
        size = np.broadcast(*given).shape
        try:
            with np.errstate(all="ignore"):
                if quick is not None:
                    return np.stack([np.broadcast_to(_real(v), size) for v in quick(*given, *machine)])
        except (NameError, TypeError, AttributeError, ValueError):
            pass
        rows = slow(*given, *machine)
        return np.stack([_real(np.array([complex(v) for v in row])) for row in np.ravel(rows)]).T.reshape(-1, *size)

    return evaluate


def digits(expressions: list[Any], arguments: tuple[Any, ...]) -> Callable[..., list[Any]]:
    """Expressions as a function of mpmath numbers; parts that are numbers are computed once, with the present digits."""
    prepared, values, modules = _prepared(expressions, arguments)
    function = sp.lambdify((*arguments, *values), prepared, modules=[modules, "mpmath"], cse=True)
    numbers = list(values.values())

    def evaluate(*given: Any) -> list[Any]:
        out: list[Any] = function(*given, *numbers)
        return out

    return evaluate


def _prepared(expressions: list[Any], arguments: tuple[Any, ...]) -> tuple[list[Any], dict[Any, Any], dict[str, Any]]:
    """Expressions that lambdify prints, with values for the symbols of their constants, and functions for the rest."""
    modules: dict[str, Any] = {}
    constants: dict[Any, Any] = {}
    prepared = [_without_derivatives(_without_sums(stable(e), modules), modules) for e in expressions]
    prepared = [_without_constants(e, set(arguments), constants) for e in prepared]
    values = {name: sp.lambdify((), part, modules=[modules, "mpmath"])() for part, name in constants.items()}
    return prepared, values, modules


def _real(value: Any) -> np.ndarray:
    """Real numbers; one with an imaginary part is no log-density: nan."""
    array = np.asarray(value)
    if not np.iscomplexobj(array):
        return array.astype(float)
    return np.where(np.abs(array.imag) <= 1e-9 * (1 + np.abs(array.real)), array.real, np.nan)


def stable(expression: Any) -> Any:
    """With logarithms of factorials, binomials and beta functions as log-gammas, which do not overflow."""

    def log_gamma(f: Any) -> Any:
        (inner,) = f.args
        if isinstance(inner, sp.gamma):
            return sp.loggamma(inner.args[0])
        if inner.is_Add and len(inner.args) == 2 and sp.S.One in inner.args and isinstance(power := (inner - 1), sp.exp):
            return sp.Max(power.exp, 0) + sp.log(1 + sp.exp(-sp.Abs(power.exp)), evaluate=False)  # log(1 + e^u), without overflow
        if isinstance(inner, sp.factorial):
            return sp.loggamma(inner.args[0] + 1)
        if isinstance(inner, sp.beta):
            a, b = inner.args
            return sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b)
        if isinstance(inner, sp.binomial):
            n, k = inner.args
            return sp.loggamma(n + 1) - sp.loggamma(k + 1) - sp.loggamma(n - k + 1)
        return f

    return expression.replace(sp.log, lambda *args: log_gamma(sp.log(*args, evaluate=False)))


def _without_derivatives(expression: Any, modules: dict[str, Any]) -> Any:
    """With derivatives that SymPy leaves undone, such as zeta's, as functions that mpmath differentiates."""

    def named(derivative: Any, point: dict[Any, Any]) -> Any:
        inner, *orders = derivative.args
        if len(orders) != 1:
            raise NotImplementedError(f"mixed derivative {derivative}")
        (variable, order), name = orders[0], f"derivative_{len(modules)}"
        others = sorted(inner.free_symbols - {variable}, key=str)
        f = digits([inner], (variable, *others))
        modules[name] = lambda at, *rest: mpmath.diff(lambda z: f(z, *rest)[0], at, int(order))
        return sp.Function(name)(point.get(variable, variable), *others)

    def substituted(subs: Any) -> Any:
        if isinstance(subs.expr, sp.Derivative):
            return named(subs.expr, dict(zip(subs.variables, subs.point, strict=True)))
        return subs.doit()

    expression = expression.replace(lambda e: isinstance(e, sp.Subs), substituted)
    return expression.replace(lambda e: isinstance(e, sp.Derivative), partial(named, point={}))


def _without_sums(expression: Any, modules: dict[str, Any]) -> Any:
    """With sums as functions that add terms until they no longer matter."""

    def named(total: Any) -> Any:
        term, (index, low, high) = total.args
        others = sorted((term.free_symbols | low.free_symbols | high.free_symbols) - {index}, key=str)
        f, ends, name = digits([term], (index, *others)), digits([low, high], tuple(others)), f"sum_{len(modules)}"
        modules[name] = lambda *at: _added(lambda j: f(j, *at)[0], *ends(*at))
        return sp.Function(name)(*others)

    return expression.replace(lambda e: isinstance(e, sp.Sum) and len(e.args) == 2, named)


def _added(term: Callable[[Any], Any], low: Any, high: Any) -> Any:
    total, quiet, j = mpmath.mpf(0), 0, mpmath.mpf(low)
    while j <= high and quiet < 5:
        part = term(j)
        total += part
        quiet = quiet + 1 if abs(part) <= mpmath.eps * abs(total) and j > low + 10 else 0
        j += 1
    return total


def _without_constants(expression: Any, arguments: set[Any], constants: dict[Any, Any]) -> Any:
    """With a symbol for each part that is a number and costs time."""
    if not expression.free_symbols & arguments:
        if expression.is_Rational or expression.is_Symbol or isinstance(expression, sp.logic.boolalg.Boolean):
            return expression
        if not expression.free_symbols:
            return constants.setdefault(expression, sp.Dummy())
    if expression.is_Atom or not isinstance(expression, sp.Expr) or isinstance(expression, sp.Piecewise):
        return expression
    if expression.is_Add or expression.is_Mul:
        parts = [a for a in expression.args if not a.free_symbols]
        if len(parts) > 1 and not all(a.is_Rational for a in parts):
            rest = [_without_constants(a, arguments, constants) for a in expression.args if a.free_symbols]
            return expression.func(constants.setdefault(expression.func(*parts), sp.Dummy()), *rest)
    return expression.func(*(_without_constants(a, arguments, constants) for a in expression.args))
