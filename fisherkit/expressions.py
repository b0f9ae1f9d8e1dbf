"""SymPy expressions as data: put values for symbols, and write and read expressions without evaluating text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from . import limits
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
SPARE = 25  # digits beyond those asked for
PLAIN = 100  # integers up to which numbers go into a formula as they are
NAME = 200  # characters of a symbol in a file


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
        if all(value.free_symbols <= set(numbers) for value in array.flat) and all(v.is_number for v in numbers.values()):
            moved = [value_at(value, numbers) for value in array.flat]
        else:
            moved = [replace(value, numbers) for value in array.flat]
        entries = as_entries(np.array([*moved, None], dtype=object)[:-1].reshape(array.shape), name="entries of F.at(...)")
        return entries.astype(np.float64) if all(_is_double(value) for value in entries.flat) else entries

    return substitute


def value_at(expression: Any, numbers: Mapping[Any, Any]) -> Any:
    """An expression as a number, to 17 digits or those of its parts and of the numbers.

    Worked out with digits to spare, so that differences of near terms keep theirs, and in floating point, because SymPy
    writes out a polygamma function of a large integer term by term.
    """
    import sympy

    floats = expression.atoms(sympy.Float).union(*(number.atoms(sympy.Float) for number in numbers.values()))
    digits = max([17, *(int(f._prec * 0.30103) + 1 for f in floats if f._prec > 64)])
    spare = digits + SPARE
    values = {
        symbol: number if number.is_Rational and max(abs(number.p), number.q) <= PLAIN else number.evalf(spare)
        for symbol, number in numbers.items()
    }
    undone = expression.atoms(sympy.Derivative, sympy.Subs)  # first: beside a pole they would be multiplied by zero
    known = {part: _differentiated(replace(part, values), spare) for part in undone}
    return replace(expression.xreplace(known), values).evalf(spare).evalf(digits)


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


def _differentiated(value: Any, digits: int) -> Any:
    """With numbers for derivatives that SymPy leaves undone at a point, such as zeta's."""
    import mpmath
    import sympy

    def number(subs: Any) -> Any:
        if not isinstance(subs.expr, sympy.Derivative) or len(subs.expr.args) != 2:
            return subs.doit()
        inner, (variable, order) = subs.expr.args
        with mpmath.workdps(digits + 5):
            point = mpmath.mpmathify(subs.point[0].evalf(digits + 5))
            if inner == sympy.zeta(variable):
                return sympy.Float(mpmath.zeta(point, 1, int(order)), digits + 5) if point != 1 else sympy.nan
            slot = sympy.Dummy()  # a symbol's name would become source
            f = sympy.lambdify(slot, inner.xreplace({variable: slot}), modules="mpmath")
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
    name = {"TupleArg": "Tuple"}.get(type(value).__name__, type(value).__name__)  # inside a meijerg
    if name in CONSTANTS:
        return ["constant", name]
    if name not in HEADS:
        raise StorageError(f"an expression with {name} cannot be saved: {value}. Put numbers with F.at(...) first.")
    return [name, *(encode(argument) for argument in value.args)]


def decode(data: Any) -> Any:
    """The inverse of `encode`. Only heads on the list are built, within `limits`; no text is evaluated.

    Raises
    ------
    StorageError
        When the data hold anything else, or more than SymPy can build in a short time.
    """
    try:
        expression = _decoded(data, limits.Count())
        limits.check_towers(expression)
    except limits.TooLarge as refusal:
        raise StorageError(f"the file holds an expression that is too large to be read: {refusal}.") from None
    return expression


def _decoded(data: Any, count: limits.Count) -> Any:
    import sympy

    head, *rest = data
    with count.deeper():
        if head == "symbol":
            return _symbol(*rest)
        if head == "rational":
            number = sympy.Rational(*map(int, rest))
        elif head == "float":
            number = _float(*rest)
        elif head == "constant" and rest[0] in CONSTANTS:
            return _head(f"sympy.{rest[0]}")
        elif head not in HEADS:
            raise StorageError(f"the file holds {head!r}, which is not an expression that fisherkit writes.")
        else:
            return limits.apply(head, _head(head), [_decoded(argument, count) for argument in rest])
        limits.check_number(number)
        return number


def _symbol(name: str, assumptions: dict[str, bool]) -> Any:
    import sympy
    from sympy.core.assumptions import _assume_defined

    if len(name) > NAME or not all(key in _assume_defined and isinstance(flag, bool) for key, flag in assumptions.items()):
        raise StorageError(f"the file holds a symbol with the assumptions {assumptions}, which fisherkit does not write.")
    return sympy.Symbol(name, **assumptions)


def _float(parts: list[str], bits: int) -> Any:
    import sympy

    sign, mantissa, exponent, size = map(int, parts)
    if sign not in (0, 1) or mantissa < 0 or size != mantissa.bit_length():
        raise StorageError(f"the file holds {parts}, which is no floating-point number.")
    return sympy.Float._new((sign, mantissa, exponent, size), bits)


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
