"""The exponential family in a density: minimal, or refused with what mixes data and parameters."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp
from sympy import log, stats

import fisherkit as fk
from fisherkit.symbolic import ExponentialFamily, as_model

a, b, c, s, p, r = sp.symbols("a b c s p r", positive=True)
m = sp.Symbol("m", real=True)
x, y = sp.symbols("x y", real=True)
u, v = sp.symbols("u v", positive=True)
k1, k2 = sp.symbols("k1 k2", integer=True, nonnegative=True)
n = sp.Symbol("n", integer=True, positive=True)
LINE = (-sp.oo, sp.oo)


def family(variable: Any) -> ExponentialFamily:
    return as_model(variable).exponential_family()


def named(found: ExponentialFamily) -> dict[str, Any]:
    """Natural parameters by statistic, the data's dummies by their names."""
    plain = {d: sp.Symbol(d.name) for t in found.statistics for d in t.atoms(sp.Dummy)}
    return {str(t.xreplace(plain)): eta for t, eta in zip(found.statistics, found.natural, strict=True)}


def test_the_normal_in_its_natural_form() -> None:
    found = family(stats.Normal("X", m, s))
    assert named(found) == {"x": m / s**2, "x**2": -1 / (2 * s**2)}
    assert sp.simplify(found.log_partition - (m**2 / (2 * s**2) + log(s) + log(2 * sp.pi) / 2)) == 0
    assert found.carrier == 1
    assert found.mean == (m, m**2 + s**2)
    assert not found.curved


ONE = {
    "Poisson": (stats.Poisson("X", a), {"k": log(a)}),
    "Bernoulli": (stats.Bernoulli("X", p), {"y": log(p) - log(1 - p)}),
    "binomial, n fixed": (stats.Binomial("X", 5, p), {"y": log(p) - log(1 - p)}),
    "geometric": (stats.Geometric("X", p), {"k": log(1 - p)}),
    "logarithmic": (stats.Logarithmic("X", p), {"k": log(p)}),
    "zeta": (stats.Zeta("X", s), {"log(k)": -s}),
    "Flory-Schulz": (stats.FlorySchulz("X", p), {"k": log(1 - p)}),
    "power function": (stats.PowerFunction("X", a, 0, 1), {"log(x)": a}),
    "inverse Gaussian": (stats.GaussianInverse("X", a, b), {"1/x": -b / 2, "x": -b / (2 * a**2)}),
    "von Mises": (stats.VonMises("X", m, a), {"cos(x)": a * sp.cos(m), "sin(x)": a * sp.sin(m)}),
    "gamma": (stats.Gamma("X", a, b), {"log(x)": a, "x": -1 / b}),
    "beta": (stats.Beta("X", a, b), {"log(x)": a, "log(1 - x)": b}),
    "lognormal": (stats.LogNormal("X", m, s), {"log(x)": m / s**2, "log(x)**2": -1 / (2 * s**2)}),
    "chi": (stats.Chi("X", n), {"log(x)": sp.Symbol("n", positive=True)}),
}


@pytest.mark.parametrize("name", ONE)
def test_statistics_and_natural_parameters(name: str) -> None:
    variable, expected = ONE[name]
    assert named(family(variable)) == expected


KNOWN = {
    "negative binomial": (stats.NegativeBinomial("X", r, p), {"r": 3}, {"k": log(1 - p)}),
    "Pareto": (stats.Pareto("X", a, b), {"a": 2}, {"log(x)": -b}),
    "Weibull": (stats.Weibull("X", a, b), {"b": 3}, {"x**3": -1 / a**3}),
    "Laplace": (stats.Laplace("X", m, s), {"m": 0}, {"Abs(x)": -1 / s}),
    "Levy": (stats.Levy("X", m, s), {"m": 0}, {"1/x": -s / 2}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_families_once_something_is_known(name: str) -> None:
    variable, known, expected = KNOWN[name]
    model = as_model(variable).given(**known)
    assert named(model.exponential_family()) == expected


# -- several variables


def test_a_multivariate_normal() -> None:
    s11, s22 = sp.symbols("s11 s22", positive=True)
    s12, m1, m2 = sp.symbols("s12 m1 m2", real=True)
    S, d = sp.Matrix([[s11, s12], [s12, s22]]), sp.Matrix([x - m1, y - m2])
    log_density = sp.together(-(d.T * S.inv() * d)[0] / 2) - log(S.det()) / 2 - log(2 * sp.pi)
    model = fk.symbolic.Model(log_density=log_density, data=(x, y), parameters=(m1, m2, s11, s12, s22), support=(LINE, LINE))
    found = model.exponential_family()
    assert set(found.statistics) == {x, y, x**2, y**2, x * y}
    mean = dict(zip(found.statistics, found.mean, strict=True))
    assert mean == {x: m1, y: m2, x**2: m1**2 + s11, y**2: m2**2 + s22, x * y: m1 * m2 + s12}
    covariance = found.information("natural").dense()
    i, j = found.statistics.index(x), found.statistics.index(y)
    assert covariance.extract([i, j], [i, j]) == S


def test_a_multinomial() -> None:
    p1, p2 = sp.symbols("p1 p2", positive=True)
    rest, last = n - k1 - k2, 1 - p1 - p2
    counts = log(sp.factorial(n) / (sp.factorial(k1) * sp.factorial(k2) * sp.factorial(rest)))
    log_density = counts + k1 * log(p1) + k2 * log(p2) + rest * log(last)
    model = fk.symbolic.Model(log_density=log_density, data=(k1, k2), parameters=(p1, p2), support=((0, n), (0, n)))
    found = model.exponential_family()
    assert dict(zip(found.statistics, found.natural, strict=True)) == {k1: log(p1) - log(last), k2: log(p2) - log(last)}
    assert [sp.expand(value) for value in found.mean] == [n * p1, n * p2]
    difference = found.information("natural").dense() - n * (sp.diag(p1, p2) - sp.Matrix([[p1**2, p1 * p2], [p1 * p2, p2**2]]))
    assert difference.applyfunc(sp.expand) == sp.zeros(2, 2)


def test_statistics_that_go_together_are_one() -> None:
    """Two observations with one mean: x + y is enough."""
    log_density = -((x - m) ** 2) / 2 - (y - m) ** 2 / 2 - log(2 * sp.pi)
    model = fk.symbolic.Model(log_density=log_density, data=(x, y), parameters=(m,), support=(LINE, LINE))
    assert named(model.exponential_family()) == {"x + y": m}


@pytest.mark.parametrize(
    ("statistics", "weights"),
    [
        ([x**2, (x + 1) ** 2], [-a, -a]),
        ([sp.cos(x) ** 2, sp.sin(x) ** 2, x], [-a, -2 * a, 0]),  # a function of one of them and of 1
    ],
)
def test_dependent_statistics_are_merged(statistics: list[Any], weights: list[Any]) -> None:
    kernel = sp.Add(*(w * t for w, t in zip(weights, statistics, strict=True))) - x**4
    terms, _, _ = fk.symbolic.exponential_family._minimal(
        {t: w for t, w in zip(statistics, weights, strict=True) if w != 0},
        fk.symbolic.Model(log_density=kernel, data=x, parameters=(a,), support=LINE),
    )
    assert len(terms) == 1


def test_a_finite_family_outcome_by_outcome() -> None:
    """Hardy-Weinberg: three outcomes, one parameter, and the number of alleles is enough."""
    density = sp.Piecewise((p**2, sp.Eq(x, 2)), (2 * p * (1 - p), sp.Eq(x, 1)), ((1 - p) ** 2, True))
    found = fk.symbolic.Model(density, data=x, parameters=p, support=[0, 1, 2]).exponential_family()
    assert named(found) == {"x": log(p) - log(1 - p)}
    assert [found.carrier.subs(x, value) for value in (0, 1, 2)] == [1, 2, 1]


# -- what is none


NONE = {
    "Cauchy": (stats.Cauchy("X", m, s), r"mixes the data with m, s: .*\(m, s\). Nor is it one with fewer parameters"),
    "Weibull with unknown shape": (
        stats.Weibull("X", a, b),
        r"x\*\*b mixes .* with b.* It is one where b is known: model.given\(b",
    ),
    "Laplace location": (stats.Laplace("X", m, s), r"Abs\(.*\) mixes the data with m: .* It is one where m is known"),
    "t": (stats.StudentT("X", a), "mixes the data with a"),
    "negative binomial with unknown r": (stats.NegativeBinomial("X", r, p), "It is one where r is known"),
    "Gumbel": (stats.Gumbel("X", b, m), "It is one where b is known"),
    "triangular": (stats.Triangular("X", 0, 1, a), "mixes the data with a"),
    "Kumaraswamy": (stats.Kumaraswamy("X", a, b), "It is one where a is known"),
}


@pytest.mark.parametrize("name", NONE)
def test_no_exponential_family(name: str) -> None:
    variable, match = NONE[name]
    with pytest.raises(fk.errors.MethodError, match=match):
        family(variable)


@pytest.mark.parametrize("variable", [stats.Uniform("X", 0, a), stats.Pareto("X", a, b)], ids=["uniform", "Pareto"])
def test_a_support_that_moves(variable: Any) -> None:
    with pytest.raises(
        fk.errors.RegularityError, match="the support of the density moves with a: it is no exponential family"
    ) as no:
        family(variable)
    assert (no.value.condition, no.value.parameter) == ("support_depends_on_parameter", "a")


def test_a_density_that_is_not_normalised() -> None:
    model = fk.symbolic.Model(sp.exp(-x / s), data=x, parameters=s, support=(0, sp.oo))
    with pytest.raises(fk.errors.RegularityError, match="mass"):
        model.exponential_family()


def test_curved_families_say_so() -> None:
    curved = family(stats.Normal("X", a, a))
    assert curved.curved
    assert len(curved.natural) == 2
    for ask in (lambda: curved.mean, lambda: curved.information("natural")):
        with pytest.raises(fk.errors.MethodError, match=r"2 natural parameters of 1 parameters \(a\) make a curved family"):
            ask()


def test_over_parametrised_families_say_so() -> None:
    family_ = family(stats.Normal("X", m + a, 1))
    assert len(family_.natural) == 1
    with pytest.raises(fk.errors.MethodError, match=r"do not determine \(a, m\)"):
        family_.information("natural")


def test_which_information() -> None:
    with pytest.raises(fk.errors.MethodError, match="'natural' or the 'mean' parameters; got 'other'"):
        family(stats.Poisson("X", a)).information("other")


def test_given_what_is_known() -> None:
    model = as_model(stats.Pareto("X", a, b)).given(a=2)
    assert fk.expected_information(model).dense() == sp.Matrix([[1 / b**2]])
    normal = as_model(stats.Normal("X", m, s))
    assert fk.expected_information(normal.given(m=0)).dense() == fk.expected_information(normal).fix("m").dense()
    with pytest.raises(fk.errors.LayoutError, match=r"given\(\) got q; the density holds m, s"):
        normal.given(q=1)
    with pytest.raises(fk.errors.DataError, match="outside its domain"):
        normal.given(s=-1)
    with pytest.raises(fk.errors.LayoutError, match="at least one parameter"):
        normal.given(m=0, s=1)
