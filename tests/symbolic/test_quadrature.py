"""Where there is no closed form: numbers with a bound, as many digits as asked."""

import mpmath
import numpy as np
import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.symbolic import evaluate

from .families import ROWS, family

a, b, s = sp.symbols("a b s", positive=True)
m = sp.Symbol("m", real=True)
half = sp.Rational(1, 2)
G1 = 1 - sp.EulerGamma

EXACT = {
    "gamma": (stats.Gamma("X", a, b), {"a": sp.Rational(5, 2), "b": half}, lambda: mpmath.polygamma(1, 2.5)),
    "infinite at both ends": (stats.Beta("X", a, b), {"a": half, "b": half}, lambda: mpmath.pi**2 / 3),
    "a kink": (stats.Laplace("X", m, b), {"m": sp.Rational(1, 3), "b": 2}, lambda: mpmath.mpf(1) / 4),
    "heavy tails": (stats.Cauchy("X", m, s), {"m": 1, "s": 2}, lambda: mpmath.mpf(1) / 8),
    "logistic": (stats.Logistic("X", m, s), {"m": 0, "s": 2}, lambda: mpmath.mpf(1) / 12),
    "weibull": (stats.Weibull("X", a, b), {"a": 2, "b": sp.Rational(3, 2)}, lambda: mpmath.mpf(9) / 16),
    "poisson": (stats.Poisson("X", a), {"a": 3}, lambda: mpmath.mpf(1) / 3),
}


@pytest.mark.parametrize("digits", [8, 15, 30])
@pytest.mark.parametrize("name", EXACT)
def test_as_many_digits_as_asked_and_a_bound_that_holds(name: str, digits: int) -> None:
    variable, at, exact = EXACT[name]
    F = fk.expected_information(variable, at, method=fk.Quadrature(digits=digits))
    assert F.error_bound <= 10.0**-digits
    with mpmath.workdps(60):
        found = F.dense()[0, 0]
        value = mpmath.mpf(str(found)) if digits > 15 else mpmath.mpf(float(found))
        assert abs(value / exact() - 1) < F.error_bound * 2


@pytest.mark.slow
@pytest.mark.parametrize("digits", [15, 30, 50])
@pytest.mark.parametrize("point", [0, 1])
@pytest.mark.parametrize("name", sorted(ROWS.keys() - {"LogCauchy", "BetaNoncentral"}))
def test_every_family_to_the_digits_asked(name: str, point: int, digits: int) -> None:
    """Against the published form where there is one, else against ten digits more."""
    row = family(name)
    model = fk.symbolic.as_model(row.variable)
    at = dict(zip([symbol.name for symbol in model.symbols], row.points[point], strict=True))
    F = fk.expected_information(model, at, method=fk.Quadrature(digits=digits))
    with mpmath.workdps(digits + 20):
        if row.upper is None:
            exact = fk.expected_information(model, at, method=fk.Quadrature(digits=digits + 10)).dense()
            expected = [mpmath.mpf(str(value)) for value in exact]
        else:
            values = dict(zip(row.parameters, row.points[point], strict=True))
            expected = evaluate.digits([sp.sympify(entry).subs(values) for entry in row.matrix()], ())()
        p = len(model.symbols)
        found = [mpmath.mpf(str(value)) if digits > 15 else mpmath.mpf(float(value)) for value in np.ravel(F.dense())]
        root = [mpmath.sqrt(expected[i * p + i]) for i in range(p)]
        error = max(abs(found[i * p + j] - expected[i * p + j]) / (root[i] * root[j]) for i in range(p) for j in range(p))
        assert error < max(F.error_bound, 4e-16 if digits <= 15 else 0)
        assert F.error_bound <= 10.0**-digits


def test_fifty_digits_are_kept_through_the_verbs() -> None:
    F = fk.expected_information(stats.Gamma("X", a, b), {"a": 2, "b": 3}, method=fk.Quadrature(digits=50))
    with mpmath.workdps(60):
        exact = 9 / (2 - 1 / mpmath.polygamma(1, 2))
        assert abs(mpmath.mpf(str(F.marginalize("a").inverse()[0, 0])) / exact - 1) < mpmath.mpf(10) ** -48


def test_without_a_closed_form_the_default_says_so_and_falls_back() -> None:
    mixed = stats.ExGaussian("X", m, s, a)
    with pytest.raises(fk.errors.MethodError, match=r"no closed form was found for \(m, s, a\)"):
        fk.expected_information(mixed)
    F = fk.expected_information(mixed, {"m": 1, "s": 2, "a": 3})
    assert isinstance(F.method, fk.Quadrature)
    assert F.error_bound < 1e-5
    precise = fk.expected_information(mixed, {"m": 1, "s": 2, "a": 3}, method=fk.Quadrature(digits=15))
    np.testing.assert_allclose(F.dense(), precise.dense(), atol=2 * F.error_bound * float(precise.trace))


def test_monte_carlo_is_refused_naming_what_there_is() -> None:
    with pytest.raises(fk.errors.MethodError, match="takes method=Exact or Quadrature; got MonteCarlo"):
        fk.expected_information(stats.Normal("X", m, s), method=fk.MonteCarlo(10))
