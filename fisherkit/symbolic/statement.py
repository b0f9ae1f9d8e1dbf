"""A model stated in text: a family with its arguments, or a density with its data, support and parameters."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

import sympy as sp

from .. import limits
from ..errors import TextError
from . import named
from .model import Model
from .random_variables import as_model
from .text import CONSTANTS, NAME, Reader, parse_expression

Declaration = str | Mapping[str, str] | None
MOST = 20  # symbols that one declaration may name


def parse_model(
    family: str | None = None,
    *,
    density: str | None = None,
    log_density: str | None = None,
    data: Declaration = None,
    support: str | None = None,
    parameters: Declaration = None,
    constants: Declaration = None,
) -> Model:
    """A model from text: a family of ``sympy.stats``, or a density. No text is evaluated; see `parse_expression`.

    Parameters
    ----------
    family : str, optional
        Such as ``"normal(mu, sigma)"`` or ``"gamma(k, theta=2)"``: a name in any case, snake or camel, with symbols, numbers or
        formulas. What the family's own checks ask of each place is declared of the symbol that stands there.
    density, log_density : str, optional
        A formula over the symbols declared; with ``data`` and ``support``.
    data : str or mapping
        Such as ``"x"``, ``"k:integer"``, ``"x, y"`` or ``{"x": "real"}``. Real by default; integer data make a discrete model.
    support : str
        Two ends, ``"0, oo"``, or values, ``"{0, 1}"``; for several data symbols one each, ``"0, oo; 0, 1"``. Ends may move with
        parameters.
    parameters : str or mapping, optional
        Such as ``"m:real, s:positive"``: what is estimated, in this order. Words are real (the default), positive, negative,
        nonnegative, probability, integer, count. A family needs none.
    constants : str or mapping, optional
        The same for what is known; it stays a symbol.

    Raises
    ------
    TextError
        What was found, where, and what is allowed; an unknown family is answered with the nearest names.

    Examples
    --------
    >>> model = fk.symbolic.parse_model("normal(mu, sigma)")
    >>> fk.expected_information(model).dense()
    Matrix([
    [sigma**(-2),           0],
    [          0, 2/sigma**2]])
    >>> log_density = "-log(s) - x/s"
    >>> model = fk.symbolic.parse_model(log_density=log_density, data="x", support="0, oo", parameters="s:positive")
    >>> fk.expected_information(model).dense()
    Matrix([[s**(-2)]])
    """
    if (family is not None) + (density is not None) + (log_density is not None) != 1:
        raise TextError("one of a family, a density and a log-density is needed, and only one.")
    estimated, known = _declared(parameters, "parameters"), _declared(constants, "constants")
    if family is not None:
        if data is not None or support is not None:
            raise TextError(f"a family brings its data and support; give them with a density only, not with {family!r}.")
        return _of_family(family, estimated, known)
    observed = _declared(data, "data")
    if not observed or support is None or not estimated:
        raise TextError("a density needs data (x), support (0,oo) and parameters (m:real,s:positive).")
    _refuse_twice(observed, estimated, known)
    symbols = {**observed, **estimated, **known}
    formula = parse_expression(density if density is not None else log_density or "", symbols)
    return Model(
        formula if density is not None else None,
        log_density=formula if density is None else None,
        data=tuple(observed.values()),
        parameters=tuple(estimated.values()),
        support=_supports(support, len(observed), {**estimated, **known}),
    )


# -- declarations


def _declared(given: Declaration, what: str) -> dict[str, Any]:
    """Symbols by name from ``"m:real, s:positive"``."""
    if isinstance(given, str):
        pairs = [tuple(part.split(":", 1)) if ":" in part else (part, "real") for part in given.split(",")]
    else:
        pairs = list((given or {}).items())
    if len(pairs) > MOST:
        raise TextError(f"at most {MOST} symbols are declared as {what}; found {len(pairs)}.")
    out: dict[str, Any] = {}
    for name, word in ((str(name).strip(), str(word).strip().lower()) for name, word in pairs):
        if not NAME.fullmatch(name) or len(name) > 30 or name in CONSTANTS:
            taken = f"{name} is a constant" if name in CONSTANTS else f"found {name[:40]!r}"
            raise TextError(f"{what} are names of ASCII letters and digits, such as m:real, s:positive; {taken}.")
        if word not in named.ASSUMPTIONS:
            raise TextError(f"{name} may be {', '.join(named.ASSUMPTIONS)}; found {word[:40]!r}.")
        _refuse_twice(out, {name: None})
        out[name] = sp.Symbol(name, **named.ASSUMPTIONS[word])
    return out


def _refuse_twice(*declarations: Mapping[str, Any]) -> None:
    names = [name for declaration in declarations for name in declaration]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TextError(f"{', '.join(twice)} is declared twice.")


# -- supports


def _supports(text: str, count: int, symbols: Mapping[str, Any]) -> Any:
    parts = text.split(";")
    if len(parts) != count:
        raise TextError(f"{count} data symbols need as many supports, separated by ';'; found {text[:60]!r}.", text=text)
    read = [_support(part.strip(), symbols) for part in parts]
    return tuple(read) if count > 1 else read[0]


def _support(text: str, symbols: Mapping[str, Any]) -> Any:
    """Two ends, or the values between braces."""
    values = text.startswith("{") and text.endswith("}")
    reader = Reader(text[1:-1] if values else text, symbols)
    nodes = reader.tree.elts if isinstance(reader.tree, ast.Tuple) else [reader.tree]
    found = [reader.expression(node) for node in nodes]
    if not values and len(found) != 2:
        reader.refuse(f"a support is two ends, 0,oo, or values between braces, {{0,1}}; found {text[:60]}", None)
    return found if values else tuple(found)


# -- families


def _of_family(text: str, estimated: dict[str, Any], known: dict[str, Any]) -> Model:
    _refuse_twice(estimated, known)
    reader = Reader(text, {})
    call = reader.tree
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        reader.refuse("a family is written with its arguments, such as normal(mu, sigma)", None)
    family = named.find(call.func.id)
    if family is None:
        near = named.similar(call.func.id)
        cure = f"Did you mean {' or '.join(near)}?" if near else "The families are those of sympy.stats."
        reader.refuse(f"unknown family {call.func.id}. {cure} Any other density is given by its formula", call)
    nodes = _bound(reader, call, family)
    declared = {**estimated, **known}
    used = {node.id for value in nodes.values() for node in ast.walk(value) if isinstance(node, ast.Name)}
    if unused := sorted(set(declared) - used):
        reader.refuse(f"{', '.join(unused)} is declared, and {text} does not mention it", None)
    reader.symbols = {**_symbols(reader, family, nodes, declared), **declared}
    values = {argument: _value(reader, family, argument, node) for argument, node in nodes.items()}
    for argument, value in values.items():
        _check_place(reader, family, argument, value, nodes[argument])
        if not isinstance(value, bool) and value.is_number and value.is_finite and limits.magnitude(value) > limits.ARGUMENT:
            _check_large(reader, family, argument, nodes[argument])
    try:
        variable = family.make("X", **values)
    except (ValueError, TypeError) as error:
        reader.refuse(f"{text}: {error}. It is used as {family.usage}", call)
    if known and not estimated:
        free = dict.fromkeys(s for value in values.values() for s in sorted(getattr(value, "free_symbols", ()), key=str))
        estimated = {str(symbol): symbol for symbol in free if str(symbol) not in known}
    return as_model(variable, parameters=tuple(estimated.values()) or None)


def _bound(reader: Reader, call: ast.Call, family: named.Named) -> dict[str, ast.expr]:
    """The nodes of the arguments by name."""
    positional = dict(zip(family.arguments, call.args, strict=False))
    by_name = {keyword.arg or "": keyword.value for keyword in call.keywords}
    nodes = {**positional, **by_name}
    missing = [name for name, default in family.arguments.items() if default is Parameter.empty and name not in nodes]
    if (
        missing
        or len(call.args) > len(family.arguments)
        or set(positional) & set(by_name)
        or set(by_name) - set(family.arguments)
    ):
        reader.refuse(f"{family.name} is used as {family.usage}; found {reader.part(call)}", call)
    return nodes


def _value(reader: Reader, family: named.Named, argument: str, node: ast.expr) -> Any:
    if isinstance(family.arguments[argument], bool) and isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    return reader.expression(node)


def _symbols(reader: Reader, family: named.Named, nodes: Mapping[str, ast.expr], declared: Mapping[str, Any]) -> dict[str, Any]:
    """A symbol for each name, with what its places ask for; inside a formula, with the least that will do."""
    assumptions: dict[str, dict[str, bool]] = {}
    inside: dict[str, list[str]] = {}
    for argument, node in nodes.items():
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - set(CONSTANTS) - set(declared)
        names -= {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        for name in sorted(names):
            if isinstance(node, ast.Name):
                assumptions.setdefault(name, {}).update(named.ASSUMPTIONS[family.place(argument)])
            else:
                inside.setdefault(argument, []).append(name)
    symbols = {name: sp.Symbol(name, **_joined(known)) for name, known in assumptions.items()}
    for argument, within in inside.items():
        for word in ("real", "positive", "negative", "probability"):
            fresh = {name: sp.Symbol(name, **named.ASSUMPTIONS[word]) for name in within if name not in symbols}
            reader.symbols = {**symbols, **fresh, **declared}
            if _fits(family.place(argument), reader.expression(nodes[argument])) or word == "probability":
                symbols |= fresh
                break
    return symbols


def _joined(known: Mapping[str, bool]) -> dict[str, bool]:
    """Without what follows from the rest."""
    return {key: flag for key, flag in known.items() if key != "real" or len(known) == 1}


def _fits(place: str, value: Any) -> bool:
    if place == "real":
        return value.is_real is not False
    return bool(value.is_nonnegative if place == "nonnegative" else value.is_positive)


def _check_large(reader: Reader, family: named.Named, argument: str, node: ast.expr) -> None:
    """Refuse a large number where the density counts up to it, or takes it for an exponent."""
    size = sp.Dummy("n", integer=True, positive=True)
    others = {name: sp.Dummy(name, positive=True) for name in family.arguments}
    counted = family.place(argument) == "count"
    if not counted:
        density = family.make("X", **{**others, argument: size}).pspace.distribution.pdf(sp.Dummy("x", positive=True))
        functions = (f for f in density.atoms(sp.Function) if f.func.__name__ in limits.COUNTING)
        counted = any(f.has(size) for f in functions) or any(
            f.exp.has(size) for f in density.atoms(sp.Pow) if not f.base.is_number
        )
    if counted:
        reader.refuse(f"{argument} of {family.usage} may be a number up to {limits.ARGUMENT}; found {reader.part(node)}", node)


def _check_place(reader: Reader, family: named.Named, argument: str, value: Any, node: ast.expr) -> None:
    """Refuse a symbol that may be what its place forbids, such as a negative scale."""
    if isinstance(value, bool) or not value.free_symbols:
        return
    place = family.place(argument)
    if not _fits(place, value):
        names = ", ".join(f"{symbol}:positive" for symbol in sorted(value.free_symbols, key=str) if not symbol.is_positive)
        reader.refuse(
            f"{reader.part(node)} stands for {argument} in {family.usage}, which must be {place.replace('count', 'positive')}, "
            f"and may be something else. Declare it so, for example {names or 'with other bounds'}",
            node,
        )


# -- points


def parse_point(text: str, model: Model) -> dict[str, Any]:
    """Numbers for symbols, exactly as written: ``"mu=0, sigma=1/2"``."""
    known = {str(symbol) for symbol in model.free}
    point: dict[str, Any] = {}
    for part in text.split(","):
        name, sign, value = part.partition("=")
        name = name.strip()
        if not sign or name not in known or name in point:
            raise TextError(
                f"a point names each symbol once: {', '.join(sorted(known))}; found {part.strip()[:40]!r}.", text=text
            )
        point[name] = parse_expression(value)
    return point
