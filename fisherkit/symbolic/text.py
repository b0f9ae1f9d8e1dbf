"""Formulas from text, for the command line and for services: read through an allow-list, never evaluated.

The text is cut into numbers, names and signs, parsed by Python's ``ast``, and translated node by node; what is not named
here does not exist. Every SymPy object is built within `fisherkit.limits`.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, NoReturn

import sympy as sp

from .. import limits
from ..errors import FisherkitError, TextError

LENGTH, NESTING, NODES = 2000, 50, 500  # characters, brackets, parts
DIGITS, EXPONENT = 60, 300  # of a literal number
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*_?")

CONSTANTS = {"pi": sp.pi, "E": sp.E, "oo": sp.oo, "inf": sp.oo, "EulerGamma": sp.EulerGamma, "Catalan": sp.Catalan}
FUNCTIONS: dict[str, Any] = {
    **{f.__name__: f for f in (sp.exp, sp.log, sp.sign, sp.Abs, sp.floor, sp.ceiling, sp.Max, sp.Min, sp.Heaviside)},
    **{f.__name__: f for f in (sp.sin, sp.cos, sp.tan, sp.asin, sp.acos, sp.atan, sp.sinh, sp.cosh, sp.tanh, sp.sech, sp.csch)},
    **{f.__name__: f for f in (sp.coth, sp.asinh, sp.acosh, sp.atanh, sp.gamma, sp.loggamma, sp.digamma, sp.polygamma, sp.zeta)},
    **{f.__name__: f for f in (sp.trigamma, sp.beta, sp.factorial, sp.binomial, sp.erf, sp.erfc, sp.erfi, sp.Ei, sp.expint)},
    **{f.__name__: f for f in (sp.lowergamma, sp.uppergamma, sp.besselj, sp.bessely, sp.besseli, sp.besselk, sp.LambertW)},
    "sqrt": sp.sqrt,
    "ln": sp.log,
    "abs": sp.Abs,
    "max": sp.Max,
    "min": sp.Min,
    "Piecewise": sp.Piecewise,
}
SIGNS = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Div: "Div", ast.Pow: "Pow"}
RELATIONS = {ast.Lt: sp.Lt, ast.LtE: sp.Le, ast.Gt: sp.Gt, ast.GtE: sp.Ge, ast.Eq: sp.Eq, ast.NotEq: sp.Ne}
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(?P<name>\w+)|(?P<sign>\*\*|[<>=!]=|[-+*/^()<>,=]))"
)


def parse_expression(text: str, symbols: Mapping[str, Any] | Iterable[Any] = ()) -> Any:
    """A formula from text, over these symbols and no other name.

    Parameters
    ----------
    text : str
        Numbers, ``+ - * / ** ^``, brackets, ``pi``, ``E``, ``oo``, ``EulerGamma``, the functions of `FUNCTIONS` under the names
        that SymPy gives them, and ``Piecewise((value, condition), ..., (value, True))``. Decimals are exact: 0.1 is 1/10.
    symbols : symbols, or mapping from name to symbol

    Returns
    -------
    SymPy expression

    Raises
    ------
    TextError
        When the text holds anything else, or would cost too much: what was found, where, and what is allowed.

    Notes
    -----
    No text is evaluated. Length, nesting, literals, exponents, arguments of functions and every intermediate number are
    bounded (`fisherkit.limits`), so that reading takes well under a second, whatever the text.

    Examples
    --------
    >>> x, s = sympy.Symbol("x", real=True), sympy.Symbol("s", positive=True)
    >>> fk.symbolic.parse_expression("exp(-x^2/(2*s^2)) / (s*sqrt(2*pi))", (x, s))
    sqrt(2)*exp(-x**2/(2*s**2))/(2*sqrt(pi)*s)
    >>> fk.symbolic.parse_expression("2x", (x,))
    Traceback (most recent call last):
    fisherkit.errors.TextError: a multiplication is written with *; found '2x' at column 2. Write 2*x.
    """
    if not isinstance(symbols, Mapping):
        symbols = {str(symbol): symbol for symbol in symbols}
    return Reader(text, symbols).expression()


class Reader:
    """One text on its way to an expression."""

    def __init__(self, text: str, symbols: Mapping[str, Any]) -> None:
        self.text = _checked(text)
        self.symbols = symbols
        self.count = limits.Count(NODES, NESTING)
        self.source, self.columns = _signs(self.text)
        try:
            self.tree = ast.parse(self.source, mode="eval").body
        except SyntaxError as error:
            self.refuse(f"the formula is not complete or not well formed ({error.msg})", (error.offset or 1) - 1)
        except (ValueError, MemoryError, RecursionError):
            self.refuse("the formula is nested too deeply", None)

    def expression(self, node: ast.expr | None = None) -> Any:
        """The whole, or a part of it, as an expression."""
        out = self.translate(node or self.tree)
        if not isinstance(out, sp.Expr):
            self.refuse(f"a formula is needed; found the condition or list {self.part(node or self.tree)}", node or self.tree)
        try:
            limits.check_towers(out)
        except limits.TooLarge as refusal:
            self.refuse(str(refusal), node or self.tree)
        if out.has(sp.nan, sp.zoo):
            self.refuse("the formula divides by zero, or is no number", node or self.tree)
        return out

    def translate(self, node: ast.AST) -> Any:
        handler = getattr(self, f"_{type(node).__name__.lower()}", None)
        if handler is None:
            self.refuse(f"{_word(node)} has no place in a formula: {self.part(node)}", node)
        try:
            with self.count.deeper():
                return handler(node)
        except limits.TooLarge as refusal:
            self.refuse(f"the formula costs too much: {refusal}", node)
        except FisherkitError:
            raise
        except (TypeError, ValueError, ZeroDivisionError, AttributeError) as error:  # SymPy's own words about wrong arguments
            self.refuse(f"{self.part(node)} is no formula: {error}", node)

    # -- one method for each node that is allowed

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is True or node.value is False:
            return sp.true if node.value else sp.false
        literal = self.part(node)
        if type(node.value) not in (int, float) or not re.fullmatch(r"[\d.]+(?:[eE][+-]?\d{1,3})?", literal):
            self.refuse(
                f"only plain numbers of up to {DIGITS} digits and exponents up to {EXPONENT}; found {_cut(literal)}", node
            )
        mantissa, _, exponent = literal.lower().partition("e")
        if len(mantissa) > DIGITS + 1 or abs(int(exponent or 0)) > EXPONENT:
            self.refuse(f"a number may have {DIGITS} digits and an exponent up to {EXPONENT}; found {_cut(literal)}", node)
        number = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
        return sp.Rational(number.numerator, number.denominator)

    def _name(self, node: ast.Name) -> Any:
        if node.id in self.symbols:
            return self.symbols[node.id]
        if node.id not in CONSTANTS:
            self._refuse_name(node)
        return CONSTANTS[node.id]

    def _refuse_name(self, node: ast.Name) -> NoReturn:
        if node.id in FUNCTIONS:
            self.refuse(f"{node.id} is a function: write {node.id}(...)", node)
        known = ", ".join(self.symbols) or "none"
        near = get_close_matches(node.id, [*self.symbols, *CONSTANTS], n=1)
        hint = f" Did you mean {near[0]}?" if near else f" Declare it first ({node.id}:real or {node.id}:positive)."
        self.refuse(f"unknown name {node.id}; the names are {known}, and {', '.join(CONSTANTS)}.{hint}", node)

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.UAdd):
            return self.operand(node.operand)
        if not isinstance(node.op, ast.USub):
            self.refuse(f"{_word(node.op)} has no place in a formula: {self.part(node)}", node)
        return limits.apply("Mul", sp.Mul, [sp.S.NegativeOne, self.operand(node.operand)])

    def _binop(self, node: ast.BinOp) -> Any:
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):  # a long sum is long, not deep
            chain.append(chain[-1].left)
        out = self.operand(chain[-1].left)
        for part in reversed(chain):
            with self.count.deeper():
                out = self._joined(part, out, self.operand(part.right))
        return out

    def _joined(self, node: ast.BinOp, left: Any, right: Any) -> Any:
        sign = SIGNS.get(type(node.op))
        if sign is None:
            self.refuse(f"only + - * / ** and ^ are operators; found {_word(node.op)} in {self.part(node)}", node)
        if sign == "Sub":
            sign, right = "Add", limits.apply("Mul", sp.Mul, [sp.S.NegativeOne, right])
        elif sign == "Div":
            if right.is_zero:
                self.refuse(f"division by zero: {self.part(node)}", node)
            sign, right = "Mul", limits.apply("Pow", sp.Pow, [right, sp.S.NegativeOne])
        return limits.apply(sign, getattr(sp, sign), [left, right])

    def _call(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name):
            self.refuse(f"only named functions are called; a multiplication is written with *: {self.part(node)}", node)
        name = node.func.id
        if name not in FUNCTIONS:
            self._refuse_function(node, name)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self.refuse(f"{name} takes plain arguments; found {self.part(node)}", node)
        if name == "Piecewise":
            return self._piecewise(node)
        arguments = [self.operand(argument) for argument in node.args]
        if name == "sqrt" and len(arguments) == 1:
            return limits.apply("Pow", sp.Pow, [arguments[0], sp.Rational(1, 2)])
        return limits.apply(FUNCTIONS[name].__name__, FUNCTIONS[name], arguments)

    def _piecewise(self, node: ast.Call) -> Any:
        branches = []
        for branch in node.args:
            if not isinstance(branch, ast.Tuple) or len(branch.elts) != 2:
                self.refuse(f"Piecewise takes pairs (value, condition); found {self.part(branch)}", branch)
            value, condition = self.operand(branch.elts[0]), self.translate(branch.elts[1])
            if not isinstance(condition, sp.logic.boolalg.Boolean) or isinstance(condition, sp.Symbol):
                self.refuse(f"a condition is needed, such as x > 0 or True; found {self.part(branch.elts[1])}", branch)
            branches.append((value, condition))
        return limits.apply("Piecewise", sp.Piecewise, branches)

    def _compare(self, node: ast.Compare) -> Any:
        sides = [self.operand(side) for side in (node.left, *node.comparators)]
        relations = [RELATIONS.get(type(op)) for op in node.ops]
        if None in relations:
            self.refuse(f"conditions are written with < <= > >= == !=; found {self.part(node)}", node)
        parts = [relation(a, b) for relation, a, b in zip(relations, sides[:-1], sides[1:], strict=True) if relation]
        return sp.And(*parts)

    def _boolop(self, node: ast.BoolOp) -> Any:
        return (sp.And if isinstance(node.op, ast.And) else sp.Or)(*(self.translate(value) for value in node.values))

    def operand(self, node: ast.AST) -> Any:
        out = self.translate(node)
        if not isinstance(out, sp.Expr):
            self.refuse(f"a value is needed; found {self.part(node)}", node)
        return out

    # -- words

    def part(self, node: ast.AST) -> str:
        """The words of a node, short."""
        return _cut(ast.get_source_segment(self.source, node) or self.text, 40)

    def refuse(self, message: str, where: ast.AST | int | None) -> NoReturn:
        column = getattr(where, "col_offset", where if isinstance(where, int) else None)
        if column is not None:
            column = self.columns[min(column, len(self.columns) - 1)]
        raise TextError(_sentence(message), text=self.text, column=column)

    def _refuse_function(self, node: ast.Call, name: str) -> NoReturn:
        if name in self.symbols or name in CONSTANTS:
            inner = ", ".join(self.part(argument) for argument in node.args)
            self.refuse(f"{name} is no function; a multiplication is written with *: {name}*({inner})", node)
        near = get_close_matches(name, FUNCTIONS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"The functions are {', '.join(sorted(FUNCTIONS, key=str.lower))}."
        self.refuse(f"unknown function {name}. {hint}", node)


def _signs(text: str) -> tuple[str, list[int]]:
    """The text with ``**`` for ``^``, and for each of its characters the column in the text as given."""
    out, columns, before, position = "", [], None, 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            _refuse_character(text, position)
        kind, token, start = str(match.lastgroup), match[match.lastgroup or 0], match.start(match.lastgroup or 0)
        _check_token(text, kind, token, start, before)
        before = (kind, token, start)
        written = "**" if token == "^" else token
        out += " " * (start - position) + written
        columns += [*range(position, start), *(start + min(k, len(token) - 1) for k in range(len(written)))]
        position = match.end()
    return out, [*columns, len(text)]


def _check_token(text: str, kind: str, token: str, start: int, before: tuple[str, str, int] | None) -> None:
    """Names that are none, and multiplications that are only meant."""
    if kind == "name" and not NAME.fullmatch(token):
        raise TextError(
            f"names are made of ASCII letters, digits and single underscores and start with a letter; found {_cut(token)!r} at "
            f"column {start + 1}.",
            text=text,
            column=start,
        )
    if kind == "name" and keyword.iskeyword(token) and token not in ("and", "or", "True", "False"):
        cure = " Write lamda, or lam." if token == "lambda" else " Choose another name."
        raise TextError(f"{token} is a word of Python's own at column {start + 1}.{cure}", text=text, column=start)
    opens = kind == "number" or (kind == "name" and token not in ("and", "or")) or token == "("
    closes = before is not None and (before[0] == "number" or before[1] == ")" or (before[0] == "name" and token != "("))
    if opens and closes and before is not None and before[1] not in ("and", "or"):
        found = text[before[2] : start + len(token)]
        left, right = "(...)" if before[1] == ")" else before[1], "(...)" if token == "(" else token
        raise TextError(
            f"a multiplication is written with *; found {_cut(found)!r} at column {start + 1}. Write {left}*{right}.",
            text=text,
            column=start,
        )


def _refuse_character(text: str, position: int) -> NoReturn:
    column = position + len(text[position:]) - len(text[position:].lstrip())
    character = text[column]
    cures = {"!": "factorial(k)", "|": "Abs(x)", "[": "round brackets", "{": "round brackets", ".": "plain names, without a dot"}
    cure = f" Write {cures[character]}." if character in cures else ""
    raise TextError(f"{character!r} at column {column + 1} has no place in a formula.{cure}", text=text, column=column)


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise TextError(f"a formula is read from text; got {type(text).__name__}.")
    if len(text) > LENGTH:
        raise TextError(f"a formula may have {LENGTH} characters; this one has {len(text)}.", text=text[:LENGTH])
    if not text.strip():
        raise TextError("the formula is empty.", text=text)
    if not text.isascii():
        column = next(i for i, character in enumerate(text) if not character.isascii())
        raise TextError(
            f"only ASCII characters are read; found {text[column]!r} at column {column + 1}. Write the name in letters.",
            text=text,
            column=column,
        )
    text = re.sub(r"\s", " ", text).strip()
    level = 0
    for column, character in enumerate(text):
        level += (character == "(") - (character == ")")
        if level > NESTING:
            raise TextError(f"brackets are nested more than {NESTING} deep.", text=text, column=column)
    return text


def _word(node: ast.AST) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).lower()


def _cut(text: str, size: int = 40) -> str:
    return text if len(text) <= size else f"{text[: size - 4]} ..."


def _sentence(message: str) -> str:
    return message if message.endswith((".", "?")) else f"{message}."
