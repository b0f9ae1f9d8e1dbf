"""A log-density as a sum of products of a function of the parameters and one of the data."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import sympy as sp

from ..errors import MethodError

if TYPE_CHECKING:
    from .model import Model

Terms = dict[Any, Any]  # weights by statistic; the statistic 1 carries minus the log-partition


def terms(model: Model, parameters: tuple[Any, ...]) -> Terms:
    """Weights by statistic, or a refusal that names what mixes the two."""
    if len(model.data) == 1 and (values := model.supports[0].values) is not None and model.log_density.has(sp.Piecewise):
        return _finite_terms(model, values, parameters)
    out: Terms = {}
    mixed: list[Any] = []
    for term in sp.Add.make_args(_expanded(model.log_density, model.data, parameters)):
        weight, statistic = term.as_independent(*model.data, as_Add=False)
        if statistic.has(*parameters):
            mixed.append(statistic)
        out[statistic] = out.get(statistic, 0) + weight
    if mixed:
        _refuse_mixed(mixed, model, parameters)
    return out


def _expanded(expression: Any, data: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any:
    """With logarithms of products as sums, powers of products as products, and cos(x - m) pulled apart."""

    def apart(f: Any) -> Any:
        return f.func(sp.factor(f.args[0])) if f.has(*data) and f.has(*parameters) else f

    factored = expression.replace(lambda e: isinstance(e, sp.log), apart)
    logs = sp.expand_log(sp.expand_trig(factored), force=True)
    return sp.expand(sp.expand_power_base(sp.expand_power_exp(logs), force=True))


def _finite_terms(model: Model, values: tuple[Any, ...], parameters: tuple[Any, ...]) -> Terms:
    """From the log-probability of each outcome: statistics are functions on the outcomes."""
    (y,) = model.data
    rows: dict[Any, list[Any]] = {}
    for k, value in enumerate(values):
        outcome = sp.expand(sp.expand_log(model.log_density.subs(y, value), force=True))
        for term in sp.Add.make_args(outcome):
            constant, weight = term.as_independent(*parameters, as_Add=False)
            rows.setdefault(weight, [sp.S.Zero] * len(values))[k] += constant
    out: Terms = {}
    for weight, row in rows.items():
        shift = sp.S.Zero if weight == 1 else row[0]  # so that the first outcome is the origin
        statistic = _function([value - shift for value in row], values, y)
        out[sp.S.One] = out.get(sp.S.One, 0) + shift * weight
        if statistic != 0:
            out[statistic] = out.get(statistic, 0) + weight
    return out


def _function(row: list[Any], values: tuple[Any, ...], y: Any) -> Any:
    """A function on the outcomes: a line or a parabola where it is one, else outcome by outcome."""
    if any(row):
        polynomial = sp.interpolate(list(zip(values[:4], row[:4], strict=True)), y)
        if all(sp.expand(polynomial.subs(y, value) - wanted) == 0 for value, wanted in zip(values, row, strict=True)):
            return sp.expand(polynomial)
    else:
        return sp.S.Zero
    return sp.Piecewise(
        *((wanted, sp.Eq(y, value)) for value, wanted in zip(values[:-1], row[:-1], strict=True)), (row[-1], True)
    )


def _refuse_mixed(mixed: list[Any], model: Model, parameters: tuple[Any, ...]) -> NoReturn:
    culprits = [p for p in parameters if any(statistic.has(p) for statistic in mixed)]
    told = mixed[0].xreplace({d: sp.Symbol(d.name) for d in model.data})
    raise MethodError(
        f"{told} mixes the data with {', '.join(map(str, culprits))}: the density is of no exponential family in "
        f"({', '.join(map(str, parameters))}).{_hint(culprits, model) if parameters == model.symbols else ''}"
    )


def _hint(culprits: list[Any], model: Model) -> str:
    """Which parameters would have to be known."""
    for known in [*([c] for c in culprits), culprits]:
        rest = tuple(p for p in model.symbols if p not in known)
        with suppress(MethodError):
            if rest and terms(model, rest):
                given = ", ".join(f"{k}=..." for k in known)
                return f" It is one where {', '.join(map(str, known))} is known: model.given({given})."
    return " Nor is it one with fewer parameters." if len(model.symbols) > 1 else ""
