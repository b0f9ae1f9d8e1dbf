"""Derivatives of maps between parameters: by SymPy, by ``torch.func``, or numerically with an error estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from .arrays import Array, alike, as_entries, as_float64, family
from .errors import DataError, LayoutError, PrecisionError
from .parameters import Parameters, as_names


@dataclass(frozen=True)
class Change:
    """New parameters, J = d old / d new, and how entries move along."""

    parameters: Parameters
    jacobian: Array
    point: dict[str, Any] | None = None
    old_point: dict[str, Any] | None = None
    substitute: Callable[[Array], Array] | None = None


def change_of_parameters(old: Parameters, new: Any, inverse_map: Any, *, like: Array) -> Change:
    """Read the arguments of `FisherInformation.reparametrize`; ``like`` is any entry of F."""
    if isinstance(inverse_map, Mapping):
        return _by_expressions(old, new, inverse_map, like=like)
    if not callable(inverse_map):
        raise LayoutError(f"inverse_map must be a mapping or a callable; got {type(inverse_map).__name__}.")
    if not isinstance(new, Mapping):
        raise LayoutError("a callable inverse_map needs values: give new_parameters as a mapping from name to number.")
    names, phi = as_names(new), as_entries(list(new.values()), name="new_parameters")
    phi = alike(phi, like)
    jacobian = differentiate(inverse_map, phi, name="inverse_map")
    if jacobian.shape[0] != old.size:
        raise LayoutError(f"inverse_map must return the {old.size} old parameters {old}; got {jacobian.shape[0]} values.")
    theta = as_entries(inverse_map(phi), name="inverse_map").reshape(-1)
    point = dict(zip(names, phi.tolist(), strict=True))
    return Change(Parameters.of(names), jacobian, point, dict(zip(old.labels, theta.tolist(), strict=True)))


def _by_expressions(old: Parameters, new: Any, inverse_map: Mapping[Any, Any], *, like: Array) -> Change:
    import sympy

    named = {str(key): sympy.sympify(value) for key, value in inverse_map.items() if not isinstance(value, str)}
    if len(named) != len(inverse_map):
        raise LayoutError("inverse_map must hold SymPy expressions; text is never evaluated.")
    fresh = {str(s): s for e in named.values() for s in e.free_symbols}
    fresh |= {str(s): s for s in (new if not isinstance(new, str) else ()) if isinstance(s, sympy.Symbol)}
    names = as_names(new)
    symbols = [fresh.get(name) or sympy.Symbol(name, real=True) for name in names]
    by_name = dict(zip(names, symbols, strict=True))
    if unknown := [name for name in named if name not in old.labels]:
        raise LayoutError(f"inverse_map gives {', '.join(unknown)}, which is no parameter of {old}.")
    if missing := [name for name in old.labels if name not in named and name not in by_name]:
        raise LayoutError(f"inverse_map must give each old parameter; missing: {', '.join(missing)}.")
    theta = [named.get(name, by_name.get(name)) for name in old.labels]
    jacobian = as_entries(sympy.Matrix(theta).jacobian(symbols))
    if not isinstance(new, Mapping):
        if family(like) != "sympy":
            raise LayoutError("F holds numbers at one point: give new_parameters as a mapping from name to value.")
        return Change(Parameters.of(names), jacobian, substitute=_substitution(dict(zip(old.labels, theta, strict=True))))
    from .expressions import substitution

    values = {str(key): value for key, value in new.items()}
    if family(like) != "sympy" and (free := sorted(set(fresh) - set(values))):
        raise LayoutError(f"inverse_map holds {', '.join(free)}, which is not among the new parameters {', '.join(values)}.")
    at = substitution([as_entries(theta), jacobian], values, allowed=names)
    old_point = dict(zip(old.labels, as_float64(at(as_entries(theta)), verb="reparametrize").tolist(), strict=True))
    if family(like) == "sympy":
        return Change(Parameters.of(names), at(jacobian), values, old_point, _substitution(old_point))
    numbers = as_float64(at(jacobian), verb="reparametrize")
    return Change(Parameters.of(names), alike(numbers, like), values, old_point)


def _substitution(by_name: Mapping[str, Any]) -> Callable[[Array], Array]:
    """Old symbols become expressions, all at once."""

    def substitute(array: Array) -> Array:
        moved = [v.subs({s: by_name[str(s)] for s in v.free_symbols if str(s) in by_name}, simultaneous=True) for v in array.flat]
        return np.array([*moved, None], dtype=object)[:-1].reshape(array.shape)

    return substitute


def check_point(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """The new values must lead back to the old ones."""
    for name, value in found.items():
        if name in expected and not np.isclose(float(expected[name]), float(value), rtol=1e-6, atol=1e-12):
            raise LayoutError(
                f"inverse_map leads to {name}={value:.6g}, but F was taken at {name}={float(expected[name]):.6g}. "
                "Give the new parameters' values at the same point."
            )


def differentiate(function: Callable[[Any], Any], point: Array, *, name: str) -> Array:
    """The (q, p) Jacobian of a function of a flat array (p,) at a point.

    Tensors go through ``torch.func.jacrev``; NumPy points through `scipy.differentiate.jacobian` (order 8), whose
    error estimate must stay below 1e-6 of the largest entry.
    """
    if is_torch_array(point):
        import torch

        jacobian = torch.func.jacrev(function)(point)
        return as_entries(jacobian.reshape(-1, point.shape[0]), name=f"the Jacobian of {name}")
    from scipy.differentiate import jacobian as numeric

    with np.errstate(all="ignore"):
        width = np.atleast_1d(np.asarray(function(point), dtype=float)).shape

    def columns(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(point), -1)
        values = [np.atleast_1d(np.asarray(function(column), dtype=float)) for column in flat.T]
        return np.stack(values, axis=-1).reshape(width + x.shape[1:])

    if len(width) != 1:
        raise LayoutError(f"{name} must return a number or a flat array; got shape {width}.")
    for floor, rtol in (
        (0.0, 1e-10),
        (0.0, 1e-7),
        (1e-2, 1e-7),
        (1.0, 1e-7),
    ):  # a noisy function; a point that is rounding of zero
        step = 0.1 * np.where(point == 0, 1.0, np.maximum(np.abs(point), floor))
        with np.errstate(all="ignore"):
            result = numeric(columns, point, initial_step=step, tolerances={"rtol": rtol, "atol": 1e-14})
        scale = max(np.abs(result.df).max(), 1e-300)
        if np.isfinite(result.df).all() and np.abs(result.error).max() <= 1e-6 * scale:
            return np.asarray(result.df)
    if not np.all(np.isfinite(result.df)):
        raise DataError(f"{name} has no finite derivative at {point.tolist()}.")
    error = np.abs(result.error).max()
    raise PrecisionError(f"the derivative of {name} at {point.tolist()} is known to {error:.1g} only; give SymPy expressions.")


def gradient_of(of: Any, parameters: Parameters, point: Array) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, values (q,) and gradient (q, p) of a function of the parameters at a flat point.

    ``of`` is a callable of a flat array, a SymPy expression or several, or a mapping from name to expression.
    """
    if callable(of):
        values = np.atleast_1d(np.asarray(of(point), dtype=float))
        gradient = np.asarray(differentiate(of, point, name="of"))
        stem = getattr(of, "__name__", "of").strip("<>")
        return tuple([stem] if len(values) == 1 else [f"{stem}_{k}" for k in range(len(values))]), values, gradient
    import sympy

    named = dict(of) if isinstance(of, Mapping) else {str(g): g for g in (of if isinstance(of, (list, tuple)) else [of])}
    if not named or not all(isinstance(g, sympy.Expr) for g in named.values()):
        raise LayoutError(f"of= must be a callable, a SymPy expression, several, or a mapping of them by name; got {of!r}.")
    symbols = {s for g in named.values() for s in g.free_symbols}
    if unknown := sorted(str(s) for s in symbols if str(s) not in parameters.labels):
        raise LayoutError(f"of= holds {', '.join(unknown)}, which is no parameter of {parameters}.")
    by_label = {str(s): s for s in symbols}
    at = {by_label[label]: value for label, value in zip(parameters.labels, point.tolist(), strict=True) if label in by_label}
    values = as_float64(as_entries([g.subs(at) for g in named.values()], name="of="), verb="of=")
    rows = [[g.diff(by_label[label]).subs(at) if label in by_label else 0 for label in parameters.labels] for g in named.values()]
    return tuple(map(str, named)), values, as_float64(as_entries(rows, name="the gradient of of="), verb="of=")
