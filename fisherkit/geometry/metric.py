"""An information as a field of metrics: a formula in the parameters, or a function of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, reduce
from typing import Any

import numpy as np

from ..arrays import as_entries, as_float64, family, is_expression
from ..errors import DataError, EntriesError, LayoutError
from ..expressions import checked
from ..information import FisherInformation
from ..parameters import Parameters

Information = FisherInformation | Callable[[Any], FisherInformation]


class Formula:
    """Entries that are expressions in the parameters."""

    accuracy = 1e-11  # to which a geodesic is followed

    def __init__(self, information: FisherInformation, verb: str) -> None:
        import sympy

        matrix = as_entries(information.dense())
        names = information.parameters.names
        if taken := [name for name in names if name in (information.point or {})]:
            at = ", ".join(f"{name}={(information.point or {})[name]}" for name in taken)
            raise EntriesError(f"{verb} needs F as a function of its parameters; this one was taken at {at}. {_CURE}")
        if family(matrix) != "sympy":
            raise EntriesError(f"{verb} needs F as a function of its parameters; its entries are numbers at one point. {_CURE}")
        self.parameters = _flat(information.parameters)
        free = {str(s): s for entry in matrix.flat for s in entry.free_symbols}
        self.symbols = [free.get(name, sympy.Symbol(name, real=True)) for name in names]
        self.matrix = sympy.Matrix(matrix.tolist())
        self.verb = verb

    def block(self, positions: list[int]) -> Formula:
        """The metric of some of the parameters, which the entries of the others do not touch."""
        part = object.__new__(Formula)
        part.parameters = self.parameters.select([self.parameters.names[k] for k in positions])
        part.symbols, part.verb = [self.symbols[k] for k in positions], self.verb
        part.matrix = self.matrix.extract(positions, positions)
        return part

    @cached_property
    def first(self) -> np.ndarray:
        """Derivatives of the entries, [k, i, j] by parameter k."""
        return np.array([[[e.diff(s) for e in row] for row in self.matrix.tolist()] for s in self.symbols], dtype=object)

    @cached_property
    def second(self) -> np.ndarray:
        """[l, k, i, j]"""
        return np.array([[[[e.diff(s) for e in r] for r in d] for d in self.first] for s in self.symbols], dtype=object)

    def read(self, point: Any, name: str) -> np.ndarray:
        """Values (p,) of a point, expressions where some are, each inside its symbol's domain."""
        values = as_entries(_join(self.parameters, point, name), name=name)
        for symbol, value in zip(self.symbols, values, strict=True):
            checked(symbol, value)
        if family(values) == "numpy":
            _refuse_outside(self.values(values), self.parameters, values, name)
        return np.asarray(values)

    def values(self, x: np.ndarray) -> np.ndarray:
        """The metric at points (p, *S): shape (p, p, *S)."""
        return self._evaluate("_g", self.matrix, x)

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """[k, i, j, *S]"""
        return self._evaluate("_dg", self.first, x)

    def bends(self, x: np.ndarray) -> np.ndarray:
        """[l, k, i, j, *S]"""
        return self._evaluate("_ddg", self.second, x)

    def _evaluate(self, name: str, entries: Any, x: np.ndarray) -> np.ndarray:
        if name not in self.__dict__:
            self.__dict__[name] = function_of(self.symbols, np.array(entries.tolist(), dtype=object), self.verb)
        out: np.ndarray = self.__dict__[name](x)
        return out


class Field:
    """A function from a point to an information with numbers; derivatives by differences of fourth order."""

    accuracy = 1e-8  # noise of the differences below that makes the steps along a curve tiny
    STEP = 4e-3  # of the parameter's size: truncation and rounding both near 1e-10

    def __init__(self, function: Callable[[Any], FisherInformation], point: Any, verb: str) -> None:
        if point is None:
            raise LayoutError(f"{verb} of a function theta -> F needs a point at which to take it.")
        self.function, self.verb = function, verb
        self.by_name = isinstance(point, Mapping)
        found = function(point)
        if not isinstance(found, FisherInformation):
            raise EntriesError(f"{verb} needs a function that returns a FisherInformation; it returned {type(found).__name__}.")
        self.parameters = _flat(found.parameters)

    def read(self, point: Any, name: str) -> np.ndarray:
        values = as_float64(as_entries(_join(self.parameters, point, name), name=name), verb=self.verb)
        _refuse_outside(self._one(values), self.parameters, values, name)
        return np.asarray(values)

    def _one(self, x: np.ndarray) -> np.ndarray:
        theta: Any = dict(zip(self.parameters.names, x.tolist(), strict=True)) if self.by_name else x
        return np.asarray(self.function(theta))

    def values(self, x: np.ndarray) -> np.ndarray:
        return _over_points(self._one, x)

    def slopes(self, x: np.ndarray) -> np.ndarray:
        return _over_points(lambda y: _difference(self._one, y, self.STEP), x)

    def bends(self, x: np.ndarray) -> np.ndarray:
        return _over_points(lambda y: _difference(lambda z: _difference(self._one, z, self.STEP), y, self.STEP), x)


Metric = Formula | Field
_CURE = "Give the symbolic F, or a function theta -> F such as lambda theta: fk.expected_information(model, theta)."


def as_metric(information: Information, verb: str, point: Any = None) -> Metric:
    """The field that was meant, or a refusal in the verb's name."""
    if isinstance(information, FisherInformation):
        return Formula(information, verb)
    if callable(information):
        return Field(information, point, verb)
    raise LayoutError(f"{verb} takes a FisherInformation or a function theta -> F; got {type(information).__name__}.")


def function_of(symbols: list[Any], entries: np.ndarray, verb: str) -> Callable[[np.ndarray], np.ndarray]:
    """Expressions as a function of points (p, *S), shape (*entries.shape, *S). Names never become source."""
    import sympy

    free = {s for entry in entries.flat for s in entry.free_symbols} - set(symbols)
    if free:
        call = ", ".join(f"{name}=..." for name in sorted(map(str, free)))
        raise EntriesError(
            f"{verb} needs numbers; the entries hold {', '.join(sorted(map(str, free)))}. Call F.at({call}) first."
        )
    own = [sympy.Dummy(f"x{k}", **s.assumptions0) for k, s in enumerate(symbols)]
    prepared = [entry.xreplace(dict(zip(symbols, own, strict=True))) for entry in entries.flat]
    quick = sympy.lambdify(own, prepared, modules=["scipy", "numpy"], cse=True)
    slow = sympy.lambdify(own, prepared, modules="mpmath", cse=True)

    def evaluate(x: np.ndarray) -> np.ndarray:
        shape = x.shape[1:]
        with np.errstate(all="ignore"):
            try:
                flat = [np.broadcast_to(value, shape) for value in quick(*x)]
            except (NameError, TypeError, AttributeError):  # a function that SciPy does not have
                rows = [slow(*map(float, column)) for column in x.reshape(len(x), -1).T]
                flat = [np.array([float(v) for v in values]).reshape(shape) for values in zip(*rows, strict=True)]
        return np.stack(flat).astype(float).reshape(*entries.shape, *shape)

    return evaluate


def _flat(parameters: Parameters) -> Parameters:
    if not parameters.is_flat:
        raise LayoutError(f"geometry needs scalar parameters; found {parameters}.")
    return parameters


def _join(parameters: Parameters, point: Any, name: str) -> list[Any]:
    """The values of a point, whatever its form."""
    if isinstance(point, Mapping):
        point = {str(key): value for key, value in point.items()}
    elif is_expression(point) or np.ndim(point) == 0:
        point = [point]
    values = [leaf[0] for leaf in parameters.split(point, name=name)]
    if any(np.ndim(value) for value in values):
        raise LayoutError(f"{name} must be one point of {parameters}: shape ({parameters.size},) or a mapping by name.")
    return values


def _refuse_outside(matrix: np.ndarray, parameters: Parameters, x: np.ndarray, name: str) -> None:
    """A metric is positive definite; where the formula is not, the point is outside its domain."""
    at = ", ".join(f"{label}={value:.6g}" for label, value in zip(parameters.names, x, strict=True))
    if not np.isfinite(matrix).all():
        raise DataError(f"{name} ({at}) is outside the domain: the information is not finite there.")
    diagonal = np.diagonal(matrix)
    scaled = matrix / np.sqrt(np.outer(diagonal, diagonal)) if (diagonal > 0).all() else matrix
    if np.linalg.eigvalsh(scaled)[0] < -1e-12:
        raise DataError(f"{name} ({at}) is outside the domain: the information is not positive definite there.")
    FisherInformation(matrix, parameters=parameters).inverse()  # names the null directions of a singular one


def _over_points(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    if x.ndim == 1:
        return function(x)
    columns = [function(column) for column in x.reshape(len(x), -1).T]
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape[1:])


def _difference(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, relative: float) -> np.ndarray:
    """Central differences of fourth order in each parameter, stacked in front."""
    steps = relative * np.where(x == 0, 1.0, np.abs(x))
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    slopes = []
    for k, h in enumerate(steps):
        unit = h * np.eye(len(x))[k]
        slopes.append(reduce(np.add, [w * function(x + m * unit) for m, w in weights.items()]) / h)
    return np.stack(slopes)
