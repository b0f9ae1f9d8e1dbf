"""The mean of a regression, and its Jacobian: from an expression by SymPy, from code by a complex step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import DataError, LayoutError, PrecisionError
from ..jacobians import differentiate
from ..parameters import Parameters

STEP = 1e-30  # of a complex step: far below rounding, far above underflow
Function = Callable[[np.ndarray], np.ndarray]


def read_pair(data: Any) -> tuple[Any, np.ndarray]:
    if not isinstance(data, tuple) or len(data) != 2:
        raise DataError(f"data must be a pair (x, y); got {type(data).__name__}.")
    x, y = data
    y = numbers(y, "y")
    if y.ndim != 1 or not len(y):
        raise DataError(f"y must be a flat array of observations; got shape {y.shape}.")
    if not (isinstance(x, Mapping) or hasattr(x, "columns")):
        x = numbers(x, "x")
        if x.ndim == 0 or len(x) != len(y):
            raise DataError(f"x must have one row for each of the {len(y)} observations; got shape {x.shape}.")
    return x, y


def numbers(values: Any, name: str) -> np.ndarray:
    """Floats, in extended precision where they come so; nothing missing."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} must be real numbers; got dtype {array.dtype}.")
    array = array if array.dtype == np.longdouble else array.astype(float)
    if not np.isfinite(array).all():
        index = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise DataError(f"{name} must be finite; entry {index} is {array[index]}.")
    return array


def real_number(name: Any, value: Any) -> Any:
    number = numbers(value, f"start of {name}")
    if number.ndim:
        raise LayoutError(f"start of {name} must be a number; got shape {number.shape}.")
    return number


def of_expression(mean: Any, symbols: list[Any], x: Any, y: np.ndarray) -> tuple[Function, Function]:
    """An expression in parameters and columns, and its derivatives by SymPy."""
    import sympy

    by_name = {str(s): s for s in mean.free_symbols}
    if absent := [str(s) for s in symbols if str(s) not in by_name]:
        raise LayoutError(f"the mean does not mention {', '.join(absent)}; it has {', '.join(sorted(by_name))}.")
    parameters = [by_name[str(s)] for s in symbols]
    columns = sorted(mean.free_symbols - set(parameters), key=str)
    if not (isinstance(x, Mapping) or hasattr(x, "columns")):
        if len(columns) != 1 or x.ndim != 1:
            raise DataError(f"x must be a mapping with the columns {', '.join(map(str, columns))}; got shape {x.shape}.")
        x = {str(columns[0]): x}
    named = {str(key): key for key in x}
    if missing := [str(c) for c in columns if str(c) not in named]:
        raise DataError(f"x must have a column for {', '.join(missing)}; it has {', '.join(named)}.")
    values = [numbers(x[named[str(c)]], str(c)) for c in columns]
    if wrong := [str(c) for c, v in zip(columns, values, strict=True) if v.shape != y.shape]:
        raise DataError(f"column {wrong[0]} must have the shape of y, {y.shape}.")
    plain = sympy.lambdify([*parameters, *columns], mean, modules=["scipy", "numpy"])
    gradient = sympy.lambdify([*parameters, *columns], [mean.diff(s) for s in parameters], modules=["scipy", "numpy"], cse=True)

    def f(t: np.ndarray) -> np.ndarray:
        return np.asarray(np.broadcast_to(plain(*t, *values), y.shape))

    def jacobian(t: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.stack([np.broadcast_to(column, y.shape) for column in gradient(*t, *values)], axis=1)

    return f, jacobian


def of_callable(mean: Any, x: Any, y: np.ndarray, names: Parameters, derivatives: str) -> tuple[Function, Function]:
    if not callable(mean):
        raise LayoutError(f"mean must be a SymPy expression or a callable (x, theta) -> (n,); got {mean!r}.")

    def f(t: np.ndarray) -> np.ndarray:
        values = np.asarray(mean(x, t))
        if values.shape != y.shape:
            raise LayoutError(f"mean(x, theta) must return one number per observation, shape {y.shape}; got {values.shape}.")
        return values

    if derivatives == "numeric":
        return f, lambda t: differentiate(f, t.astype(float), name="the mean")
    checked: list[bool] = []

    def jacobian(t: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            out = _complex_step(f, t)
        if not checked:
            _compare(out, f, t, names)
            checked.append(True)
        return out

    return f, jacobian


def _complex_step(f: Function, t: np.ndarray) -> np.ndarray:
    """Im f(t + i h e_j) / h."""
    columns = []
    for j in range(len(t)):
        h = STEP * float(abs(t[j]) or 1.0)
        moved = t.astype(np.result_type(t.dtype, np.complex128))
        moved[j] += 1j * h
        columns.append(np.imag(f(moved)) / h)
    return np.stack(columns, axis=1)


def _compare(jacobian: np.ndarray, f: Function, t: np.ndarray, names: Parameters) -> None:
    """Code that drops or mangles the imaginary part gives wrong derivatives without a word: differences tell."""
    for j, label in enumerate(names.labels):
        h = np.zeros_like(t)
        h[j] = 1e-5 * (abs(t[j]) or 1.0)
        with np.errstate(all="ignore"):
            difference = np.asarray((f(t + h) - f(t - h)) / (2 * h[j]), dtype=float)
            noise = 1e-15 * np.abs(np.asarray(f(t), dtype=float)).max() / float(h[j])
        size = np.abs(jacobian[:, j]).max()
        if np.isfinite(difference).all() and not np.abs(difference - jacobian[:, j]).max() <= 1e-3 * size + 1e3 * noise:
            raise PrecisionError(
                f"the complex step in {label} contradicts differences of the mean: the code drops imaginary parts (abs, max, "
                "comparisons, float()). Use derivatives='numeric', or a SymPy expression."
            )
