"""Expressions as plain data: written and read without evaluating text, and numbers put for symbols."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit import expressions
from fisherkit.expressions import decode, encode, substitution

X, K = sp.Symbol("x", positive=True), sp.Symbol("k", integer=True, nonnegative=True)

ROUND_TRIPS = [
    sp.Rational(1, 3) * X**2 - sp.sqrt(2) * sp.pi,
    sp.exp(-X) * sp.log(X) + sp.gamma(X) / sp.digamma(X + 1),
    sp.Piecewise((X, X > 1), (0, True)),
    sp.Float("0.1", 40) + sp.EulerGamma,
    sp.factorial(K) * sp.zeta(2, X),
    sp.Integer(10) ** 40,
    sp.Max(X, 1) + sp.Abs(sp.Symbol("y", real=True)),
]


@pytest.mark.parametrize("expression", ROUND_TRIPS, ids=str)
def test_plain_data_and_back(expression: sp.Expr) -> None:
    back = decode(json.loads(json.dumps(encode(expression))))
    assert back == expression
    assert back.free_symbols == expression.free_symbols  # assumptions too
    assert sp.srepr(back) == sp.srepr(expression)


def test_every_head_on_the_list_exists() -> None:
    for name in expressions.HEADS:
        assert callable(expressions._head(name))
    for name in expressions.CONSTANTS:
        assert encode(expressions._head(f"sympy.{name}")) == ["constant", name]


@pytest.mark.parametrize("data", [["lambdify", []], ["sympify", "1"], ["__class__"], ["Lambda", []], ["constant", "os"]])
def test_other_heads_are_refused(data: list[object]) -> None:
    with pytest.raises(fk.errors.StorageError, match="which is not an expression that fisherkit writes"):
        decode(data)


def test_symbols_are_replaced_all_at_once() -> None:
    a, b = sp.symbols("a b", positive=True)
    entries = np.array([a / b, a + 2 * b], dtype=object)
    assert substitution([entries], {"a": b, "b": a})(entries).tolist() == [b / a, b + 2 * a]


def test_numbers_become_float64_unless_they_carry_more() -> None:
    entries = np.array([X**2], dtype=object)
    assert substitution([entries], {"x": 3})(entries).dtype == np.float64
    precise = substitution([entries], {"x": sp.Float("1.1", 30)})(entries)
    assert abs(precise[0] - sp.Rational(121, 100)) < 1e-28


def test_a_pole_beside_a_derivative_is_no_zero() -> None:
    """zeta'(s)^2 / zeta(s)^2 at s = 1: SymPy multiplies the derivative that it leaves undone by 1/zoo = 0."""
    z = sp.zeta(X)
    F = fk.FisherInformation([[sp.diff(z, X, 2) / z - sp.diff(z, X) ** 2 / z**2]], parameters=("x",))
    with pytest.raises(fk.errors.DataError, match="must be finite"):
        F.at(x=1)
    assert float(F.at(x=2.5)) == pytest.approx(0.35045248787741)  # (log zeta)''(2.5), by mpmath
