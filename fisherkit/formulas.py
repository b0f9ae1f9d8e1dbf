"""What a formula is for: numbers over many points, and a matrix in a paper.

A formula is walked with arrays, each part once, and carries a running bound on its rounding error. Points where the bound is
too large (near terms that cancel), where something overflows, or where SciPy lacks a function, are worked out again one by
one with more digits. No source is generated, so that no name of a symbol can end in one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from .arrays import family
from .errors import DataError, EntriesError, LayoutError

EPSILON = 2.0**-52
ACCURACY = 1e-9  # relative to the roots of the diagonal; points with a larger bound are done again
CHUNK = 1 << 14  # points at a time, so that intermediate arrays stay in the cache
LIBRARY = 8 * EPSILON  # what SciPy's special functions may be wrong by

Bounded = tuple[np.ndarray, np.ndarray]  # values, and bounds on their errors


def lambdify(matrix: Any, *, labels: tuple[str, ...], expected: bool, outside: str = "raise") -> Callable[..., np.ndarray]:
    """The matrix as a function of arrays of points; see `FisherInformation.lambdify`."""
    entries = _expressions(matrix, "lambdify")
    if outside not in ("raise", "nan"):
        raise LayoutError(f"outside must be 'raise' or 'nan'; got {outside!r}.")
    symbols = sorted({symbol for entry in entries.flat for symbol in entry.free_symbols}, key=str)
    names = [str(symbol) for symbol in symbols]

    def values(point: Mapping[Any, Any] | None = None, /, **given: Any) -> np.ndarray:
        shape, columns = _columns({**{str(k): v for k, v in (point or {}).items()}, **given}, names, labels)
        at = dict(zip(symbols, columns, strict=True))
        size = math.prod(shape)
        flat = np.empty((size, *entries.shape))
        for start in range(0, size, CHUNK):
            part = slice(start, min(start + CHUNK, size))
            flat[part] = _matrix(entries, {symbol: column[part] for symbol, column in at.items()}, part.stop - start)
        bad = np.asarray(~np.isfinite(flat).all(axis=(1, 2)))
        if expected:
            bad |= (np.diagonal(flat, axis1=1, axis2=2) < 0).any(axis=1)
        for symbol, column in at.items():
            bad |= ~_allowed(symbol, column)
        if outside == "raise" and bad.any():
            raise _refusal(int(np.argmax(bad)), bad, at, shape)
        flat[bad] = np.nan
        return flat.reshape(*shape, *entries.shape)

    return values


def latex(matrix: Any) -> str:
    """The matrix in LaTeX; see `FisherInformation.latex`."""
    import sympy

    text: str = sympy.latex(sympy.Matrix(_expressions(matrix, "latex").tolist()), mat_str="pmatrix", mat_delim="")
    return text


def _expressions(matrix: Any, verb: str) -> np.ndarray:
    if family(matrix) != "sympy":
        raise EntriesError(f"F.{verb}() needs expressions; the entries of F are numbers already. Take F before F.at(...).")
    return np.asarray(matrix)


def _columns(given: Mapping[str, Any], names: list[str], labels: tuple[str, ...]) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """The shape of the points, and one flat column for each symbol."""
    missing, unknown = [n for n in names if n not in given], sorted(set(given) - set(names) - set(labels))
    if missing or unknown:
        raise LayoutError(
            f"the entries hold {', '.join(names) or 'no symbol'}; missing: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(unknown) or 'none'}."
        )
    arrays = {}
    for name, value in given.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise DataError(f"{name} must be real numbers; got {array.dtype} {str(value)[:60]}.")
        arrays[name] = array.astype(float)
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    return shape, [np.broadcast_to(arrays[name], shape).ravel() for name in names]


def _allowed(symbol: Any, column: np.ndarray) -> np.ndarray:
    """Where a symbol's assumptions hold."""
    tests = {
        "positive": column > 0,
        "negative": column < 0,
        "nonnegative": column >= 0,
        "nonpositive": column <= 0,
        "nonzero": column != 0,
        "integer": column == np.round(column),
    }
    out: np.ndarray = np.isfinite(column)
    for key, test in tests.items():
        if symbol.assumptions0.get(key):
            out &= test
    return out


def _refusal(index: int, bad: np.ndarray, at: Mapping[Any, np.ndarray], shape: tuple[int, ...]) -> DataError:
    where = ", ".join(f"{symbol}={column[index]:.6g}" for symbol, column in at.items())
    place = f", of index {tuple(int(k) for k in np.unravel_index(index, shape))}" if shape else ""
    return DataError(
        f"{int(bad.sum())} of {bad.size} points are outside the domain of the formula, the first{place}: {where}. "
        "F.lambdify(outside='nan') gives nan there."
    )


# -- the walk


def _matrix(entries: np.ndarray, at: Mapping[Any, np.ndarray], size: int) -> np.ndarray:
    p = len(entries)
    walk = Walk(at, size)
    out, error = np.empty((size, p, p)), np.empty((size, p, p))
    with np.errstate(all="ignore"):
        for i in range(p):
            for j in range(i + 1):
                out[:, i, j], error[:, i, j] = out[:, j, i], error[:, j, i] = walk.bounded(entries[i, j])
        root = np.sqrt(np.abs(np.diagonal(out, axis1=1, axis2=2)))
        scale = root[:, :, None] * root[:, None, :]
        doubtful = ~np.isfinite(out) | ~(error <= ACCURACY * scale)
    for k, i, j in np.argwhere(doubtful & np.tri(p, dtype=bool)):
        if i == j or entries[i, j] != 0:
            out[k, i, j] = out[k, j, i] = _precisely(entries[i, j], {symbol: column[k] for symbol, column in at.items()})
    return out


def _precisely(expression: Any, point: Mapping[Any, float]) -> float:
    """One entry at one point, as `F.at` gives it; nan where it is no number."""
    import sympy

    from .expressions import value_at

    if not all(np.isfinite(value) for value in point.values()):
        return float("nan")
    numbers = {s: sympy.Integer(int(v)) if v == int(v) and abs(v) < 1e15 else sympy.Float(v) for s, v in point.items()}
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        value = complex(value_at(expression, numbers))
        if abs(value.imag) <= ACCURACY * abs(value.real):
            return value.real
    return float("nan")


class Walk:
    """An expression over arrays of points, each part once, with a bound on the rounding error of each."""

    def __init__(self, at: Mapping[Any, np.ndarray], size: int) -> None:
        self.size = size
        self.known: dict[Any, Bounded] = {symbol: (column, np.zeros(size)) for symbol, column in at.items()}

    def bounded(self, expression: Any) -> Bounded:
        if expression not in self.known:
            value, error = self._computed(expression)
            self.known[expression] = value, np.nan_to_num(error, nan=np.inf)
        return self.known[expression]

    def _computed(self, expression: Any) -> Bounded:
        name = expression.func.__name__
        if not expression.free_symbols:
            return self._constant(expression)
        if expression.is_Add:
            return self._sum([self.bounded(part) for part in expression.args])
        if expression.is_Mul:
            return self._product([self.bounded(part) for part in expression.args])
        if expression.is_Pow:
            return self._power(*expression.args)
        if name == "Piecewise":
            return self._piecewise(expression)
        function = _functions().get(name)
        if function is None or not all(_is_plain(argument) for argument in expression.args):
            return self._nothing()
        return self._function(function, [self.bounded(argument) for argument in expression.args])

    def _nothing(self) -> Bounded:
        """Not to be had this way."""
        return np.full(self.size, np.nan), np.full(self.size, np.inf)

    def _constant(self, expression: Any) -> Bounded:
        value = _precisely(expression, {})
        exact = expression.is_Integer or (expression.is_Rational and value.as_integer_ratio() == (expression.p, expression.q))
        return np.full(self.size, value), np.full(self.size, 0.0 if exact else EPSILON * abs(value))

    def _sum(self, parts: list[Bounded]) -> Bounded:
        total, error = np.zeros(self.size), np.zeros(self.size)
        for value, own in parts:
            total = total + value
            error += own + EPSILON * np.abs(total)
        return total, error

    def _product(self, parts: list[Bounded]) -> Bounded:
        total, error = parts[0]
        for value, own in parts[1:]:
            error = np.abs(total) * own + np.abs(value) * error + own * error
            total = total * value
            error = error + EPSILON * np.abs(total)
        return total, error

    def _power(self, base: Any, exponent: Any) -> Bounded:
        if exponent == -1:
            value, error = self.bounded(base)
            return 1 / value, np.abs(1 / value) * (error / np.maximum(np.abs(value) - error, 0) + EPSILON)
        return self._function(np.power, [self.bounded(base), self.bounded(exponent)])

    def _function(self, function: Callable[..., np.ndarray], arguments: list[Bounded]) -> Bounded:
        """f(x), and how far it moves when an argument moves by its error."""
        given = [value for value, _ in arguments]
        value = np.asarray(function(*given), dtype=float)
        error = LIBRARY * np.abs(value)
        for k, (argument, own) in enumerate(arguments):
            if own.any():
                beside = function(*given[:k], argument + own, *given[k + 1 :])
                other = function(*given[:k], argument - own, *given[k + 1 :])
                error = error + np.fmax(np.abs(beside - value), np.abs(other - value))
        return value, error

    def _piecewise(self, expression: Any) -> Bounded:
        value, error = self._nothing()
        open_ = np.ones(self.size, dtype=bool)
        for branch, condition in expression.args:
            holds = open_ & self._truth(condition)
            if holds.any():
                inner, own = self.bounded(branch)
                value, error = np.where(holds, inner, value), np.where(holds, own, error)
            open_ &= ~holds
        return value, error

    def _truth(self, condition: Any) -> np.ndarray:
        name = type(condition).__name__
        if name in ("BooleanTrue", "BooleanFalse"):
            return np.full(self.size, name == "BooleanTrue")
        if name in _CONNECTED:
            return np.asarray(_CONNECTED[name]([self._truth(argument) for argument in condition.args]))
        if name in _COMPARED:
            (left, _), (right, _) = (self.bounded(side) for side in condition.args)
            return np.asarray(_COMPARED[name](left, right))
        return np.zeros(self.size, dtype=bool)


_COMPARED: dict[str, Callable[..., np.ndarray]] = {
    "StrictLessThan": np.less,
    "LessThan": np.less_equal,
    "StrictGreaterThan": np.greater,
    "GreaterThan": np.greater_equal,
    "Equality": np.equal,
    "Unequality": np.not_equal,
}
_CONNECTED: dict[str, Callable[..., np.ndarray]] = {
    "And": np.logical_and.reduce,
    "Or": np.logical_or.reduce,
    "Not": lambda parts: ~parts[0],
}


def _is_plain(argument: Any) -> bool:
    import sympy

    return isinstance(argument, sympy.Expr)


@cache
def _functions() -> dict[str, Callable[..., np.ndarray]]:
    """What NumPy and SciPy compute, on the real line; nan where a value would be complex or another branch's."""
    from scipy import special as sc

    plain = {name: getattr(np, name) for name in ["exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign", "floor"]}
    inverse = {f"a{name}": getattr(np, f"arc{name}") for name in ["sin", "cos", "tan", "sinh", "cosh", "tanh"]}
    cylinder = {f"bessel{kind}": getattr(sc, f"{kind}v") for kind in "jyik"}

    def where(condition: Any, value: Any) -> np.ndarray:
        return np.where(condition, value, np.nan)

    def polygamma(n: np.ndarray, x: np.ndarray) -> np.ndarray:
        first = n[0]
        return sc.digamma(x) if first == 0 else where((x > 0) & (n == first), sc.polygamma(int(first), x))

    def zeta(s: np.ndarray, a: Any = 1.0) -> np.ndarray:
        return where((s > 1) & (np.asarray(a) > 0), sc.zeta(s, a))

    def expint(n: np.ndarray, x: np.ndarray) -> np.ndarray:
        return where((n == n[0]) & (n[0] == round(n[0])) & (n[0] >= 0) & (x > 0), sc.expn(int(np.nan_to_num(n[0])), x))

    return {
        **plain,
        **inverse,
        **cylinder,
        "Abs": np.abs,
        "ceiling": np.ceil,
        "coth": lambda x: 1 / np.tanh(x),
        "sech": lambda x: 1 / np.cosh(x),
        "csch": lambda x: 1 / np.sinh(x),
        "Max": lambda *x: np.maximum.reduce(x),
        "Min": lambda *x: np.minimum.reduce(x),
        "gamma": lambda x: where((x > 0) | (x != np.round(x)), sc.gamma(x)),
        "loggamma": lambda x: where(x > 0, sc.gammaln(x)),
        "factorial": lambda x: where(x >= 0, sc.gamma(x + 1)),
        "beta": lambda x, y: where((x > 0) & (y > 0), sc.beta(x, y)),
        "polygamma": polygamma,
        "zeta": zeta,
        "erf": sc.erf,
        "erfc": sc.erfc,
        "erfi": sc.erfi,
        "Ei": sc.expi,
        "expint": expint,
        "lowergamma": lambda a, x: where((a > 0) & (x >= 0), sc.gammainc(a, x) * sc.gamma(a)),
        "uppergamma": lambda a, x: where((a > 0) & (x >= 0), sc.gammaincc(a, x) * sc.gamma(a)),
    }
