"""SymPy expressions as data: put values for symbols, and write and read expressions without evaluating text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .arrays import Array, as_entries, is_expression
from .errors import DataError, LayoutError, StorageError

#: The heads of an expression that a file may hold. Anything else is refused.
HEADS = frozenset(
    [
        "Add",
        "Mul",
        "Pow",
        "exp",
        "log",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "sech",
        "csch",
        "asin",
        "acos",
        "atan",
        "asinh",
        "acosh",
        "atanh",
        "sqrt",
        "Abs",
        "sign",
        "gamma",
        "loggamma",
        "digamma",
        "polygamma",
        "zeta",
        "beta",
        "erf",
        "erfc",
        "erfi",
        "Ei",
        "expint",
        "lowergamma",
        "uppergamma",
        "besselj",
        "bessely",
        "besseli",
        "besselk",
        "hyper",
        "meijerg",
        "factorial",
        "binomial",
        "Heaviside",
        "DiracDelta",
        "Max",
        "Min",
        "floor",
        "ceiling",
        "LambertW",
        "lerchphi",
        "polylog",
        "Piecewise",
        "ExprCondPair",
        "Tuple",
        "And",
        "Or",
        "Not",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "Derivative",
        "Subs",
    ]
)
CONSTANTS = ("Pi", "Exp1", "EulerGamma", "ImaginaryUnit", "Catalan", "GoldenRatio", "BooleanTrue", "BooleanFalse")
DOUBLE = 53


def substitution(
    arrays: Iterable[Array], values: Mapping[str, Any], *, allowed: Iterable[str] = (), n: Any = 1
) -> Callable[[Array], Array]:
    """A function that puts values for the symbols of these arrays, by name.

    Names that are parameters without a place in the entries are fine; unknown ones are refused.
    """
    symbols = {s for array in arrays for value in array.flat for s in value.free_symbols}
    known = {str(s) for s in symbols} | set(allowed) | {str(s) for s in getattr(n, "free_symbols", ())}
    if unknown := sorted(set(values) - known):
        raise LayoutError(f"F.at got {', '.join(unknown)}; the entries hold {', '.join(sorted(known))}.")
    numbers = {symbol: checked(symbol, values[str(symbol)]) for symbol in symbols if str(symbol) in values}

    def substitute(array: Array) -> Array:
        moved = [replace(value, numbers) for value in array.flat]
        if all(value.is_number or not value.free_symbols for value in moved):
            moved = [_evaluated(value) for value in moved]
        entries = as_entries(np.array([*moved, None], dtype=object)[:-1].reshape(array.shape), name="entries of F.at(...)")
        return entries.astype(np.float64) if all(_is_double(value) for value in entries.flat) else entries

    return substitute


def replace(expression: Any, values: Mapping[Any, Any]) -> Any:
    """All at once: quickly where every value is a number."""
    import sympy

    if all(value.is_number for value in values.values()) and not expression.has(sympy.Derivative, sympy.Subs):
        return expression.xreplace(values)
    return expression.subs(values, simultaneous=True)


def substitute_number(n: Any, values: Mapping[str, Any]) -> Any:
    """n with values for its symbols."""
    if not is_expression(n):
        return n
    moved = n.subs({symbol: checked(symbol, values[str(symbol)]) for symbol in n.free_symbols if str(symbol) in values})
    return int(moved) if moved.is_Integer else float(moved) if moved.is_number else moved


def checked(symbol: Any, value: Any) -> Any:
    """The value as an expression, refused where it contradicts the symbol's assumptions."""
    import sympy
    from sympy.core.assumptions import check_assumptions

    plain = value.item() if hasattr(value, "item") and value.ndim == 0 else value  # NumPy numbers and tensors
    if isinstance(plain, bool) or not (isinstance(plain, (int, float)) or is_expression(plain)):
        raise DataError(f"{symbol} must be a real number or an expression; got {value!r}.")
    number = sympy.sympify(plain)
    if number.is_number and not number.is_finite:
        raise DataError(f"{symbol} must be finite; got {number}.")
    needed = {key: flag for key, flag in symbol.assumptions0.items() if key in _DOMAIN}
    if number.is_number and check_assumptions(number, **needed) is False:
        stated = ", ".join(key for key, flag in symbol._assumptions_orig.items() if flag)
        raise DataError(f"{symbol} = {number} is outside its domain: the symbol is declared {stated}.")
    return number


_DOMAIN = ("positive", "negative", "nonnegative", "nonpositive", "real", "nonzero")


def _evaluated(value: Any) -> Any:
    """A number to the precision of its parts."""
    needed = max([17, *(f._prec * 0.30103 for f in value.atoms() if f.is_Float)])
    digits = int(needed) + 1 if needed > 17 else 17
    return _differentiated(value, digits).evalf(digits)


def _differentiated(value: Any, digits: int) -> Any:
    """With numbers for derivatives that SymPy leaves undone at a point, such as zeta's."""
    import mpmath
    import sympy

    def number(subs: Any) -> Any:
        if not isinstance(subs.expr, sympy.Derivative) or len(subs.expr.args) != 2:
            return subs.doit()
        inner, (variable, order) = subs.expr.args
        with mpmath.workdps(digits + 5):
            f = sympy.lambdify(variable, inner, modules="mpmath")
            point = mpmath.mpmathify(subs.point[0].evalf(digits + 5))
            return sympy.Float(mpmath.diff(f, point, int(order)), digits + 5)

    return value.replace(lambda part: isinstance(part, sympy.Subs), number)


def _is_double(value: Any) -> bool:
    return value.is_number and not any(f._prec > 64 for f in value.atoms() if f.is_Float)


# -- data


def encode(value: Any) -> Any:
    """An expression as nested lists of plain values."""
    if value.is_Symbol:
        return ["symbol", value.name, dict(value._assumptions_orig)]
    if value.is_Rational:
        return ["rational", str(value.p), str(value.q)]
    if value.is_Float:
        return ["float", list(map(str, value._mpf_)), value._prec]
    name = type(value).__name__
    if name in CONSTANTS:
        return ["constant", name]
    if name not in HEADS:
        raise StorageError(f"an expression with {name} cannot be saved: {value}. Put numbers with F.at(...) first.")
    return [name, *(encode(argument) for argument in value.args)]


def decode(data: Any) -> Any:
    """The inverse of `encode`. Only heads on the list are built; no text is evaluated."""
    import sympy

    head, *rest = data
    if head == "symbol":
        return sympy.Symbol(rest[0], **rest[1])
    if head == "rational":
        return sympy.Rational(int(rest[0]), int(rest[1]))
    if head == "float":
        sign, mantissa, exponent, bits = map(int, rest[0])
        return sympy.Float._new((sign, mantissa, exponent, bits), rest[1])
    if head == "constant" and rest[0] in CONSTANTS:
        return _head(f"sympy.{rest[0]}")
    if head not in HEADS:
        raise StorageError(f"the file holds {head!r}, which is not an expression that fisherkit writes.")
    return _head(head)(*(decode(argument) for argument in rest))


def _head(name: str) -> Any:
    import sympy
    from sympy.core.numbers import Catalan, EulerGamma, Exp1, GoldenRatio, ImaginaryUnit, Pi
    from sympy.functions.elementary.piecewise import ExprCondPair
    from sympy.logic.boolalg import BooleanFalse, BooleanTrue

    constants = (Catalan, EulerGamma, Exp1, GoldenRatio, ImaginaryUnit, Pi, BooleanTrue, BooleanFalse)
    for constant in constants:
        if name == f"sympy.{constant.__name__}":
            return constant()
    return ExprCondPair if name == "ExprCondPair" else getattr(sympy, name)
