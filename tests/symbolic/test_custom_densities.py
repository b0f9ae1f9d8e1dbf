"""Densities written for the purpose: the engine reads the formula, and knows no family."""

from __future__ import annotations

from itertools import product
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.integrate
import sympy as sp
from sympy import Abs, Piecewise, exp, gamma, log, oo, pi, sqrt

import fisherkit as fk

x, y, m = sp.symbols("x y m", real=True)
a, b, c, s, t, theta = sp.symbols("a b c s t theta", positive=True)
negative = sp.Symbol("xi", negative=True)
R = sp.Rational
LINE, HALF = (-oo, oo), (0, oo)


def gev(xi: Any) -> Any:
    u = 1 + xi * (x - m) / s
    return u ** (-1 / xi - 1) * exp(-(u ** (-1 / xi))) / s


student = gamma((a + 1) / 2) / gamma(a / 2) / sqrt(pi * a) / s * (1 + ((x - m) / s) ** 2 / a) ** (-(a + 1) / 2)
DENSITIES = {
    "extreme values, unbounded": (gev(a), (m - s / a, oo), (m, s, a), (R(1, 3), R(7, 5), R(3, 4)), "kernels"),
    "extreme values, bounded": (gev(negative), (-oo, m - s / negative), (m, s), (R(1, 3), R(7, 5), -R(1, 4)), "kernels"),
    "Cauchy, multiplied out": (s / pi / (x**2 - 2 * m * x + m**2 + s**2), LINE, (m, s), (R(1, 3), R(7, 5)), "kernels"),
    "Student with all three": (student, LINE, (m, s, a), (R(1, 3), R(7, 5), R(5, 2)), "kernels"),
    "two exponentials": (
        Piecewise((exp(-(x - m) / s), x > m), (exp((x - m) / t), True)) / (s + t),
        LINE,
        (m, s, t),
        (R(1, 3), R(7, 5), R(2, 3)),
        "kernels",
    ),
    "exponentiated exponential": (
        a * b * (1 - exp(-b * x)) ** (a - 1) * exp(-b * x),
        HALF,
        (a, b),
        (R(5, 2), R(2, 3)),
        "kernels",
    ),
    "generalized gamma": (
        b * x ** (a * b - 1) * exp(-((x / s) ** b)) / s ** (a * b) / gamma(a),
        HALF,
        (a, b, s),
        (R(5, 2), R(4, 3), R(2, 3)),
        "kernels",
    ),
    "Burr with a scale": (
        a * b / s * (x / s) ** (b - 1) / (1 + (x / s) ** b) ** (a + 1),
        HALF,
        (a, b, s),
        (R(5, 2), R(4, 3), R(2, 3)),
        "kernels",
    ),
    "generalized Pareto": ((1 + a * x / s) ** (-1 / a - 1) / s, HALF, (s, a), (R(7, 5), R(2, 3)), "kernels"),
    "log-gamma": (exp(a * (x - m) / s - exp((x - m) / s)) / (s * gamma(a)), LINE, (a, m, s), (2, R(1, 3), R(7, 5)), "kernels"),
    "quartic": (exp(-(((x - m) / s) ** 4)) * 2 / (s * gamma(R(1, 4))), LINE, (m, s), (R(1, 3), R(7, 5)), "kernels"),
    "biweight, both ends move": (
        R(15, 16) * (1 - ((x - m) / s) ** 2) ** 2 / s,
        (m - s, m + s),
        (m, s),
        (R(1, 3), R(7, 5)),
        "elementary",
    ),
    "curved normal": (exp(-((x - theta) ** 2) / (2 * theta**2)) / (theta * sqrt(2 * pi)), LINE, (theta,), (R(7, 5),), "gaussian"),
    "truncated exponential": (a * exp(-a * x) / (1 - exp(-a)), (0, 1), (a,), (R(7, 5),), "linear system"),
}


def brute_force(density: Any, support: Any, parameters: Any, at: dict[Any, Any]) -> np.ndarray:
    """Score products by `scipy.integrate.quad`, a rule of another kind, cut at kinks."""
    low, high = (float(sp.sympify(end).subs(at)) for end in support)
    functions = [sp.lambdify(x, (density * e).subs(at), "scipy") for e in products(density, parameters)]
    kinks = sorted(z for z in {float(at.get(m, 0)), 1.0} if low < z < high)
    pieces = list(zip([low, *kinks], [*kinks, high], strict=True))
    with np.errstate(all="ignore"):
        sums = [
            sum(
                scipy.integrate.quad(lambda v, f=f: np.nan_to_num(f(v), posinf=0, neginf=0), *ends, limit=400, epsabs=1e-11)[0]
                for ends in pieces
            )
            for f in functions
        ]
    return np.reshape(sums, (len(parameters), len(parameters)))


def products(density: Any, parameters: Any) -> list[Any]:
    scores = [sp.diff(density, parameter) / density for parameter in parameters]
    return [u * v for u, v in product(scores, scores)]


LONG = {"extreme values, unbounded", "exponentiated exponential", "Student with all three", "Burr with a scale", "log-gamma"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in DENSITIES])
def test_a_closed_form_that_another_rule_confirms(name: str) -> None:
    density, support, parameters, values, tier = DENSITIES[name]
    model = fk.symbolic.Model(density, data=x, parameters=parameters, support=support)
    F = fk.expected_information(model)
    assert model.tier == tier
    at = dict(zip(sorted(model.free, key=lambda z: [*parameters, negative].index(z)), values, strict=True))
    found = F.at({str(symbol): value for symbol, value in at.items()}).dense()
    expected = brute_force(density, support, parameters, at)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_textbook_shapes() -> None:
    """Generalized Pareto (Smith 1985); Student (Lange, Little & Taylor 1989)."""
    pareto = fk.expected_information(
        fk.symbolic.Model((1 + a * x / s) ** (-1 / a - 1) / s, data=x, parameters=(s, a), support=HALF)
    )
    d = 1 + 2 * a
    expected = sp.Matrix([[1 / (s**2 * d), 1 / (s * (1 + a) * d)], [1 / (s * (1 + a) * d), 2 / ((1 + a) * d)]])
    assert (pareto.dense() - expected).applyfunc(sp.simplify) == sp.zeros(2, 2)
    F = fk.expected_information(fk.symbolic.Model(student, data=x, parameters=(m, s), support=LINE))
    assert (F.dense() - sp.diag((a + 1) / (a + 3), 2 * a / (a + 3)) / s**2).applyfunc(sp.simplify) == sp.zeros(2, 2)


def test_a_map_of_the_data_changes_nothing() -> None:
    """exp(X) of a logistic variable is log-logistic, in the same parameters."""
    f = exp(-(x - m) / s) / (s * (1 + exp(-(x - m) / s)) ** 2)
    F = fk.expected_information(fk.symbolic.Model(f, data=x, parameters=(m, s), support=LINE))
    z = sp.Symbol("z", positive=True)
    G = fk.expected_information(fk.symbolic.Model(f.subs(x, log(z)) / z, data=z, parameters=(m, s), support=HALF))
    assert F.dense() == G.dense()


def test_a_condition_stays_with_the_entry_that_needs_it() -> None:
    """exp(-|x - m|^c): location information is finite for c > 1/2 only; the other entries hold everywhere."""
    f = c / (2 * s * gamma(1 / c)) * exp(-((Abs(x - m) / s) ** c))
    model = fk.symbolic.Model(f, data=x, parameters=(m, s, c), support=LINE)
    F = fk.expected_information(model)
    with pytest.raises(fk.errors.DataError, match="finite"):
        F.at(m=0, s=1, c=R(2, 5))
    assert F.fix("m").at(s=2, c=R(2, 5)).dense()[0, 0] == pytest.approx(0.1)
    with pytest.raises(fk.errors.RegularityError, match="information about m is infinite") as refusal:
        fk.expected_information(model, {"m": 0, "s": 1, "c": R(2, 5)})
    assert (refusal.value.condition, refusal.value.parameter) == ("infinite_information", "m")


def test_a_removable_singularity_of_the_formula_is_no_hole() -> None:
    """Kumaraswamy's formula is 0/0 at b = 2; the information is not."""
    model = fk.symbolic.Model(a * b * x ** (a - 1) * (1 - x**a) ** (b - 1), data=x, parameters=(a, b), support=(0, 1))
    F = fk.expected_information(model, {"a": 1, "b": 2})
    assert isinstance(F.method, fk.Quadrature)
    near = fk.expected_information(model).at(a=1, b=2 + 1e-5).dense()
    np.testing.assert_allclose(F.dense(), near, rtol=1e-4)


def test_kept_to_thirty_digits_where_an_end_moves() -> None:
    """Extreme values with xi = -1/4: I_mm = (1 + xi)^2 Gamma(1 + 2 xi) / sigma^2 (Prescott & Walden 1980)."""
    model = fk.symbolic.Model(gev(negative), data=x, parameters=(m,), support=(-oo, m - s / negative))
    F = fk.expected_information(model, {"m": 1, "s": 2, "xi": -R(1, 4)}, method=fk.Quadrature(digits=30))
    with mpmath.workdps(40):
        exact = mpmath.mpf(9) / 16 * mpmath.gamma(0.5) / 4
        assert abs(mpmath.mpf(str(F.dense()[0, 0])) / exact - 1) < F.error_bound < 1e-30
