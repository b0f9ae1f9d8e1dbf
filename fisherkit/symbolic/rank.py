"""Densities that do not change along a direction of their parameters, wherever the parameters and the constants are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np

from ..deadline import within
from ..errors import SingularInformationError
from ..parameters import Parameters
from ..structures.inversion import invert
from . import evaluate
from .domain import trial_points

ZERO = 1e-9  # of the scaled eigenvalues
PATIENCE = 5.0  # seconds for directions in symbols; numbers at a point stand in


def refuse_null(matrix: Any, parameters: Parameters, symbols: Sequence[Any]) -> None:
    """Refuse a symbolic (p, p) matrix without full rank, summed over values of the constants.

    Raises
    ------
    SingularInformationError
        With the directions in which the density does not change.
    """
    constants = sorted({s for entry in matrix.flat for s in entry.free_symbols} - set(symbols), key=str)
    names = [*symbols, *constants]
    with mpmath.workdps(30):
        function = evaluate.digits(list(matrix.flat), tuple(names))
        directions = []
        for rows in _points(list(symbols), constants):
            seen = [value for at in rows if (value := _values(function, at, len(matrix))) is not None]
            if seen and not (directions := null_directions(sum(seen[1:], seen[0]), parameters)):
                return
    if not directions:
        return
    if not constants:
        directions = within(PATIENCE, lambda: _in_symbols(matrix, parameters)) or directions
    raise over_parametrized(directions)


def null_directions(product: np.ndarray, parameters: Parameters) -> list[dict[str, Any]]:
    """Directions of a numeric information that carry nothing; outside the domain some may be negative, which is not nothing."""
    root = np.sqrt(np.abs(np.diagonal(product)))
    root = np.where(root > 0, root, 1.0)
    values, vectors = np.linalg.eigh(product / np.outer(root, root))
    found = []
    for vector in vectors[:, np.abs(values) <= ZERO * np.abs(values).max()].T:
        column = np.where(abs(vector) > 1e-6, vector, 0.0) / root
        column = column / column[abs(column).argmax()]
        found.append({parameters.label(i): float(value) for i, value in enumerate(column) if value != 0})
    return found


def over_parametrized(directions: Sequence[Mapping[str, Any]]) -> SingularInformationError:
    told = "; ".join(" ".join(f"{_signed(c)} {name}" for name, c in direction.items()) for direction in directions[:3])
    return SingularInformationError(
        f"the density is over-parametrised: it does not change along {told}. Leave one of these parameters out of "
        "parameters=, or give it a value with model.given(...).",
        null_directions=directions,
    )


def _signed(value: Any) -> str:
    return f"{value:+.4g}" if isinstance(value, float) else f"+({value})"


def _points(symbols: list[Any], constants: list[Any]) -> list[list[dict[Any, Any]]]:
    """Values of the parameters, each with more values of the constants than parameters: one row of a design has null directions.

    Rank is the same almost everywhere, also outside the domain, but a point may be special: several must agree.
    """
    rows = list(trial_points(constants, scattered=len(symbols) + 8))[8:] if constants else [{}]
    return [[theta | row for row in rows] for theta in list(trial_points(symbols, scattered=5))[6:]]


def _values(function: Callable[..., list[Any]], at: dict[Any, Any], size: int) -> np.ndarray | None:
    try:
        values = np.array([complex(v) for v in function(*(mpmath.mpf(float(v)) for v in at.values()))])
    except (ArithmeticError, ValueError, TypeError):
        return None
    if not np.isfinite(values).all() or np.abs(values.imag).max() > 1e-9 * np.abs(values).max():
        return None
    return np.asarray(values.real.reshape(size, size))


def _in_symbols(matrix: Any, parameters: Parameters) -> list[dict[str, Any]]:
    try:
        invert(matrix, parameters)
    except SingularInformationError as error:
        return [dict(direction) for direction in error.null_directions]
    return []
