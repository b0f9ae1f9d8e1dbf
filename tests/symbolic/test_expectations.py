"""Means of functions of the data in closed form, against the textbooks (Johnson, Kotz & Balakrishnan, 1994 and 1995)."""

import pytest
import sympy as sp
import sympy.stats

import fisherkit as fk
from fisherkit.symbolic import as_model

m, t = sp.symbols("m t", real=True)
a, b = sp.symbols("a b", positive=True)
x = sp.Symbol("x", real=True)
GAMMA = sp.EulerGamma


@pytest.mark.parametrize(
    ("variable", "function", "mean"),
    [
        (sympy.stats.Laplace("X", m, b), (x - t) ** 2, (m - t) ** 2 + 2 * b**2),
        (sympy.stats.Laplace("X", m, b), sp.Abs(x - m), b),
        (sympy.stats.Logistic("X", m, b), x**2, m**2 + sp.pi**2 * b**2 / 3),
        (sympy.stats.Gumbel("X", b, m), x, m + GAMMA * b),
        (sympy.stats.Weibull("X", a, b), x**2, a**2 * sp.gamma(1 + 2 / b)),
        (sympy.stats.Weibull("X", a, b), sp.log(x), sp.log(a) - GAMMA / b),
        (sympy.stats.Normal("X", m, b), sp.Abs(x - m), b * sp.sqrt(2 / sp.pi)),
        (sympy.stats.Maxwell("X", a), 1 / x, sp.sqrt(2 / sp.pi) / a),
    ],
)
def test_of_kernels(variable: sp.Expr, function: sp.Expr, mean: sp.Expr) -> None:
    model = as_model(variable)
    (found,) = model.expectation([function.subs(x, model.data[0])]).value
    assert sp.simplify(found - mean) == 0


@pytest.mark.parametrize(("variable", "function"), [(sympy.stats.Cauchy("X", m, b), x**2), (sympy.stats.Pareto("X", a, b), x)])
def test_a_mean_that_is_infinite_somewhere_has_no_closed_form(variable: sp.Expr, function: sp.Expr) -> None:
    model = as_model(variable)
    with pytest.raises(fk.errors.MethodError, match="no closed form of the expectation was found"):
        model.expectation([function.subs(x, model.data[0])])
