"""Natural and mean parameters, read from the density; their informations are inverse to each other."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp
from sympy import log, stats

import fisherkit as fk

a, b, s = sp.symbols("a b s", positive=True)
m = sp.Symbol("m", real=True)


def family(variable: Any) -> Any:
    return fk.symbolic.exponential_family(fk.symbolic.as_model(variable))


def test_the_normal_in_its_natural_form() -> None:
    found = family(stats.Normal("X", m, s))
    x = next(iter(found.statistics[0].free_symbols))
    natural = dict(zip(found.statistics, found.natural, strict=True))
    assert natural == {x: m / s**2, x**2: -1 / (2 * s**2)}
    assert sp.simplify(found.log_partition - (m**2 / (2 * s**2) + log(s) + log(2 * sp.pi) / 2)) == 0
    assert found.carrier == 1
    mean = dict(zip(found.statistics, found.mean, strict=True))
    assert mean == {x: m, x**2: m**2 + s**2}


@pytest.mark.parametrize(
    "variable",
    [
        stats.Normal("X", m, s),
        stats.Gamma("X", a, b),
        stats.Beta("X", a, b),
        stats.GaussianInverse("X", a, b),
        stats.Poisson("X", a),
    ],
    ids=["normal", "gamma", "beta", "inverse Gaussian", "Poisson"],
)
def test_natural_and_mean_informations_are_inverse(variable: Any) -> None:
    """Cov(T) in the natural parameters, and its inverse in the mean parameters (Barndorff-Nielsen 1978)."""
    found = family(variable)
    at = {a: sp.Rational(5, 2), b: sp.Rational(4, 3), m: sp.Rational(1, 3), s: sp.Rational(7, 5)}
    information = fk.expected_information(variable).dense().subs(at).evalf(40)
    to_natural = found.jacobian.subs(at).evalf(40).inv()
    to_mean = sp.Matrix(found.mean).jacobian(found.parameters).subs(at).evalf(40).inv()
    product = to_natural.T * information * to_natural * to_mean.T * information * to_mean
    assert (product - sp.eye(product.rows)).norm() < 1e-20


def test_no_family_and_curved_families() -> None:
    with pytest.raises(fk.errors.MethodError, match="mixes data and parameters"):
        family(stats.Cauchy("X", m, s))
    curved = family(stats.Normal("X", a, a))
    assert len(curved.natural) == 2
    with pytest.raises(fk.errors.MethodError, match="curved family"):
        _ = curved.mean


def test_given_what_is_known() -> None:
    model = fk.symbolic.as_model(stats.Pareto("X", a, b)).given(a=2)
    assert fk.expected_information(model).dense() == sp.Matrix([[1 / b**2]])
    normal = fk.symbolic.as_model(stats.Normal("X", m, s))
    assert fk.expected_information(normal.given(m=0)).dense() == fk.expected_information(normal).fix("m").dense()
    with pytest.raises(fk.errors.LayoutError, match=r"given\(\) got q; the density holds m, s"):
        normal.given(q=1)
    with pytest.raises(fk.errors.DataError, match="outside its domain"):
        normal.given(s=-1)
    with pytest.raises(fk.errors.LayoutError, match="at least one parameter"):
        normal.given(m=0, s=1)
