"""Where there is no closed form: numbers with a bound, as many digits as asked."""

from __future__ import annotations

from typing import Any

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
@pytest.mark.parametrize("name", sorted(ROWS))
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


z = mpmath.mpf


def by_hand(log_density: Any, point: list[Any], cuts: list[Any]) -> list[list[Any]]:
    """E[s s'] by Gauss-Legendre or tanh-sinh on given pieces (`mpmath.quad`), the scores by numeric differences."""

    def scores(v: Any) -> list[Any]:
        return [mpmath.diff(lambda t, i=i: log_density(v, *point[:i], t, *point[i + 1 :]), point[i]) for i in range(len(point))]

    def entry(i: int, j: int) -> Any:
        def integrand(v: Any) -> Any:
            s = scores(v)
            return s[i] * s[j] * mpmath.exp(log_density(v, *point))

        return mpmath.quad(integrand, cuts)

    return [[entry(i, j) for j in range(i + 1)] for i in range(len(point))]


def noncentral_beta(v: Any, a: Any, b: Any, lam: Any) -> Any:
    """The sum of Poisson-weighted betas in closed form, by Kummer's function."""
    kummer = mpmath.log(mpmath.hyp1f1(a + b, a, lam * v / 2))
    return -lam / 2 + (a - 1) * mpmath.log(v) + (b - 1) * mpmath.log1p(-v) - mpmath.log(mpmath.beta(a, b)) + kummer


def noncentral_chi(v: Any, k: Any, lam: Any) -> Any:
    bessel = mpmath.log(mpmath.besseli(k / 2 - 1, lam * v))
    return -(v**2 + lam**2) / 2 + k * mpmath.log(v) + mpmath.log(lam) - k / 2 * mpmath.log(lam * v) + bessel


def modified_gaussian(v: Any, m: Any, s: Any, lam: Any) -> Any:
    tail = mpmath.erfc((m + lam * s**2 - v) / (mpmath.sqrt(2) * s))
    return mpmath.log(lam / 2) + lam / 2 * (2 * m + lam * s**2 - 2 * v) + mpmath.log(tail)


def shifted_gompertz(v: Any, b: Any, eta: Any) -> Any:
    u = mpmath.exp(-b * v)
    return mpmath.log(b) - b * v - eta * u + mpmath.log1p(eta * (1 - u))


BY_HAND = {
    "BetaNoncentral": (noncentral_beta, [0, 0.25, 0.5, 0.75, 1]),
    "ChiNoncentral": (noncentral_chi, [0, 1, 2, 4, 7, 12]),
    "ExGaussian": (modified_gaussian, [-28, -14, -5, -1, 1, 4, 12, 40, 80]),
    "ShiftedGompertz": (shifted_gompertz, [0, 0.5, 1, 2, 5, 12, 40, 80]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_HAND)
def test_families_without_a_closed_form_against_an_integrand_by_hand(name: str) -> None:
    row, (log_density, cuts) = family(name), BY_HAND[name]
    model = fk.symbolic.as_model(row.variable)
    at = dict(zip([symbol.name for symbol in model.symbols], row.points[0], strict=True))
    found = fk.expected_information(model, at, method=fk.Quadrature(digits=16)).dense()
    with mpmath.workdps(22):
        point = [mpmath.mpf(value.p) / value.q for value in row.points[0]]
        expected = by_hand(log_density, point, cuts)
        for i, entries in enumerate(expected):
            for j, entry in enumerate(entries):
                root = mpmath.sqrt(expected[i][i] * expected[j][j])
                assert abs(mpmath.mpf(str(found[i, j])) - entry) < 1e-12 * root


@pytest.mark.parametrize("digits", [8, 15, 30])
def test_a_tail_heavier_than_any_power(digits: int) -> None:
    """exp(X) of a Cauchy variable: its mass beyond exp(t) falls as 1/t; the information is the Cauchy's."""
    F = fk.expected_information(stats.LogCauchy("X", m, s), {"m": half, "s": 2}, method=fk.Quadrature(digits=digits))
    assert F.error_bound <= 10.0**-digits
    with mpmath.workdps(40):
        for i, j, exact in ((0, 0, 1 / z(8)), (1, 1, 1 / z(8)), (0, 1, z(0))):
            assert abs(mpmath.mpf(str(F.dense()[i, j])) - exact) <= max(F.error_bound, 2.0**-52)


def test_a_series_inside_the_density() -> None:
    """A mixture over a Poisson count, against the same mixture in a closed form."""
    x, j, lam = sp.Symbol("x", positive=True), sp.Symbol("j", integer=True, nonnegative=True), sp.Symbol("lam", positive=True)
    weight = sp.exp(-lam) * lam**j / sp.factorial(j)
    term = weight * x**j * sp.exp(-x) / sp.factorial(j)
    summed = sp.exp(-lam - x) * sp.besseli(0, 2 * sp.sqrt(lam * x))
    series, closed = (
        fk.symbolic.Model(density, data=x, parameters=(lam,), support=(0, sp.oo))
        for density in (sp.Sum(term, (j, 0, sp.oo)), summed)
    )
    for digits in (8, 15):
        F, G = (fk.expected_information(model, {"lam": 2}, method=fk.Quadrature(digits=digits)) for model in (series, closed))
        with mpmath.workdps(30):
            assert abs(mpmath.mpf(str(F.dense()[0, 0])) / mpmath.mpf(str(G.dense()[0, 0])) - 1) < 2 * 10.0**-digits


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
