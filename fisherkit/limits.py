"""What an expression from outside may cost: sizes are looked at before SymPy computes with them.

SymPy evaluates while it builds: ``9**9**9``, ``factorial(10**9)`` or ``floor(exp(exp(exp(9))))`` never end. Whatever is
built from a file or from text is therefore built here, from the leaves upwards, and every number stays small on the way:
by induction, no step has a large number to work with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NODES, DEPTH = 100_000, 100  # of one expression
BITS = 4096  # of an integer, numerator or denominator
PRECISION = 4096  # bits of a floating-point number
POWER = 1000  # of an exponent that is a number
ARGUMENT = 300  # of a function that counts, such as the factorial
SIZE = 1e6  # of a number in any other function
ORDER = 10  # of a derivative
TOWER = 3  # exponentials of exponentials of exponentials
SPAN = 40_000  # bits of the exponent of a floating-point number


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: functions that SymPy writes out, or that take as long as their argument is large
COUNTING = _words(
    "gamma loggamma factorial binomial beta digamma trigamma polygamma zeta lerchphi polylog lowergamma uppergamma expint "
    "besselj bessely besseli besselk hyper meijerg LambertW"
)
#: functions whose value at a number may be long in coming
SLOW = frozenset(["hyper", "meijerg", "polylog", "lerchphi", "Derivative", "Subs", "Integral", "Sum"])
STRUCTURAL = _words(
    "Add Mul Piecewise ExprCondPair Tuple And Or Not Subs Derivative Max Min "
    "Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan"
)
GROWING = frozenset(["exp", "sinh", "cosh", "gamma", "factorial", "erfi", "besseli"])


class TooLarge(ValueError):
    """More than an expression from outside may cost."""


class Count:
    """Nodes and depth of one reading: ``with count.deeper(): ...`` around each."""

    def __init__(self, nodes: int = NODES, depth: int = DEPTH) -> None:
        self.nodes, self.depth, self.seen, self.level = nodes, depth, 0, 0

    @contextmanager
    def deeper(self) -> Iterator[None]:
        self.seen, self.level = self.seen + 1, self.level + 1
        if self.seen > self.nodes:
            raise TooLarge(f"it has more than {self.nodes} parts")
        if self.level > self.depth:
            raise TooLarge(f"it is nested more than {self.depth} deep")
        try:
            yield
        finally:
            self.level -= 1


def apply(head: str, function: Callable[..., Any], arguments: list[Any]) -> Any:
    """``function(*arguments)``, refused where SymPy might compute for long.

    Raises
    ------
    TooLarge
    """
    if head == "Pow":
        _check_power(*arguments)
    elif head in ("Derivative", "Tuple"):
        _check_order(head, arguments)
    elif head not in STRUCTURAL:
        for argument in arguments:
            _check_argument(head, argument)
    built = function(*arguments)
    for number in (built, *built.args):
        check_number(number)
    return built


def check_number(value: Any) -> None:
    """Refuse an integer, a fraction or a floating-point number that is too long."""
    if getattr(value, "is_Rational", False) and max(abs(value.p), value.q).bit_length() > BITS:
        raise TooLarge(f"a number in it has more than {BITS} bits")
    if getattr(value, "is_Float", False):
        _, mantissa, exponent, bits = value._mpf_
        if max(value._prec, int(mantissa).bit_length()) > PRECISION or abs(exponent + bits) > SPAN:
            raise TooLarge(f"a number in it has more than {PRECISION} bits, or an exponent beyond {SPAN}")


def check_towers(expression: Any) -> None:
    """Refuse ``exp(exp(exp(exp(x))))``: its value at an ordinary point is too large for any number."""
    if _tower(expression, {}) > TOWER:
        raise TooLarge(f"more than {TOWER} exponentials stand inside each other")


def _tower(expression: Any, known: dict[Any, int]) -> int:
    if expression not in known:
        inner = max((_tower(argument, known) for argument in expression.args), default=0)
        grows = expression.func.__name__ in GROWING or (expression.is_Pow and not expression.exp.is_number)
        known[expression] = inner + bool(grows and expression.free_symbols)
    return known[expression]


def _check_power(base: Any, exponent: Any) -> None:
    if exponent.free_symbols:
        return
    size = magnitude(exponent)
    if size > POWER:
        raise TooLarge(f"the exponent of {_short(base)} is larger than {POWER}")
    if base.is_Rational and size * max(abs(base.p), base.q).bit_length() > BITS:
        raise TooLarge(f"a power of {_short(base)} has more than {BITS} bits")


def _check_order(head: str, arguments: list[Any]) -> None:
    orders = arguments if head == "Tuple" else []
    if any(value.is_Integer and abs(value) > ARGUMENT for value in orders):
        raise TooLarge(f"a number in a list is larger than {ARGUMENT}")
    for variable in arguments[1:] if head == "Derivative" else []:
        if any(value.is_number and not (value.is_Integer and value <= ORDER) for value in variable.args):
            raise TooLarge(f"a derivative has an order above {ORDER}")


def _check_argument(head: str, argument: Any) -> None:
    if not hasattr(argument, "evalf"):
        return  # a truth value, or a list that has been looked at
    shift = argument if not argument.free_symbols else argument.as_coeff_Add()[0]
    limit = ARGUMENT if head in COUNTING else SIZE
    if argument.is_infinite is not True and magnitude(shift) > limit:
        raise TooLarge(f"{head} of a number larger than {limit:g}")


def magnitude(number: Any) -> float:
    """The size of an expression without symbols; its parts have passed, so that this is quick."""
    if number.is_Rational:
        return float(abs(number)) if abs(number.p).bit_length() - number.q.bit_length() < 1000 else float("inf")
    if number.is_Float:
        check_number(number)
    if any(part.func.__name__ in SLOW for part in _parts(number)):
        raise TooLarge("a number that is itself a special function's value stands inside another function")
    try:
        return abs(complex(number.evalf(15)))
    except OverflowError:
        return float("inf")
    except (TypeError, ValueError):
        raise TooLarge(f"{_short(number)} is no number") from None


def _parts(expression: Any) -> Iterator[Any]:
    yield expression
    for argument in expression.args:
        yield from _parts(argument)


def _short(expression: Any) -> str:
    text = str(expression)
    return text if len(text) <= 40 else f"{text[:30]} ..."
