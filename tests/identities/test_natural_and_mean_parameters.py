"""In an exponential family the informations in natural and mean parameters are inverse to each other.

The first is the Hessian of the log-partition A(eta), the covariance of T; both are the model's information in other
coordinates (Barndorff-Nielsen 1978, section 8.1; Amari & Nagaoka 2000, section 3.5).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import sympy as sp
from sympy import exp, stats

import fisherkit as fk
from fisherkit.expressions import value_at
from fisherkit.symbolic import as_model

R = sp.Rational
a, b, s, p, lam = sp.symbols("a b s p lamda", positive=True)
m = sp.Symbol("m", real=True)
e1, e2 = sp.symbols("e1 e2", real=True)

#: a model; its parameters as functions of the natural ones, in the order of the statistics; a point
FAMILIES: dict[str, tuple[Any, dict[Any, Any], dict[Any, Any]]] = {
    "normal": (stats.Normal("X", m, s), {m: -e1 / (2 * e2), s: sp.sqrt(-1 / (2 * e2))}, {m: R(1, 3), s: R(7, 5)}),
    "lognormal": (stats.LogNormal("X", m, s), {m: -e1 / (2 * e2), s: sp.sqrt(-1 / (2 * e2))}, {m: R(1, 3), s: R(7, 5)}),
    "gamma": (stats.Gamma("X", a, b), {a: e2, b: -1 / e1}, {a: R(5, 2), b: R(4, 3)}),
    "inverse gamma": (stats.GammaInverse("X", a, b), {b: -e1, a: -e2}, {a: R(5, 2), b: R(4, 3)}),
    "beta": (stats.Beta("X", a, b), {a: e1, b: e2}, {a: R(5, 2), b: R(4, 3)}),
    "inverse Gaussian": (stats.GaussianInverse("X", a, b), {b: -2 * e2, a: sp.sqrt(e2 / e1)}, {a: R(5, 2), b: R(4, 3)}),
    "exponential": (stats.Exponential("X", lam), {lam: -e1}, {lam: R(3, 7)}),
    "Rayleigh": (stats.Rayleigh("X", s), {s: sp.sqrt(-1 / (2 * e1))}, {s: R(7, 5)}),
    "Pareto above 2": (as_model(stats.Pareto("X", 2, b)), {b: -e1}, {b: R(4, 3)}),
    "Poisson": (stats.Poisson("X", lam), {lam: exp(e1)}, {lam: R(3, 7)}),
    "Bernoulli": (stats.Bernoulli("X", p), {p: 1 / (1 + exp(-e1))}, {p: R(2, 7)}),
    "binomial of 5": (stats.Binomial("X", 5, p), {p: 1 / (1 + exp(-e1))}, {p: R(2, 7)}),
    "geometric": (stats.Geometric("X", p), {p: 1 - exp(e1)}, {p: R(2, 7)}),
    "negative binomial of 3": (as_model(stats.NegativeBinomial("X", 3, p)), {p: 1 - exp(e1)}, {p: R(2, 7)}),
    "logarithmic": (stats.Logarithmic("X", p), {p: exp(e1)}, {p: R(2, 7)}),
    "zeta": (stats.Zeta("X", s), {s: -e1}, {s: R(7, 3)}),
    "von Mises": (stats.VonMises("X", m, a), {m: sp.atan(e2 / e1), a: sp.sqrt(e1**2 + e2**2)}, {m: R(1, 3), a: R(5, 2)}),
}


@cache
def family(name: str) -> fk.symbolic.ExponentialFamily:
    return as_model(FAMILIES[name][0]).exponential_family()


@cache
def information(name: str, of: str) -> Any:
    """At the point, to 30 digits."""
    return numbers(family(name).information(of).dense(), FAMILIES[name][2])


def numbers(matrix: Any, at: dict[Any, Any]) -> Any:
    """To 30 digits."""
    point = {symbol: value.evalf(40) for symbol, value in at.items()}
    return sp.Matrix(matrix).applyfunc(lambda entry: value_at(entry, point))


def gap(left: Any, right: Any) -> Any:
    return (left - right).norm() / right.norm()


@pytest.mark.parametrize("name", FAMILIES)
def test_natural_and_mean_informations_are_inverse(name: str) -> None:
    product = information(name, "natural") * information(name, "mean")
    assert gap(product, sp.eye(product.rows)) < 1e-20


@pytest.mark.parametrize("name", FAMILIES)
def test_the_natural_information_is_the_hessian_of_the_log_partition(name: str) -> None:
    _, inverse, at = FAMILIES[name]
    found, etas = family(name), [e1, e2][: len(at)]
    there = {eta: natural.subs(at) for eta, natural in zip(etas, found.natural, strict=True)}
    for symbol, value in at.items():  # the map is the right one
        assert abs((inverse[symbol].subs(there) - value).evalf(30)) < 1e-25
    hessian = sp.hessian(found.log_partition.subs(inverse, simultaneous=True), etas)
    assert gap(information(name, "natural"), numbers(hessian, there)) < 1e-20


@pytest.mark.parametrize("name", FAMILIES)
def test_both_are_the_information_of_the_model_in_other_coordinates(name: str) -> None:
    model, inverse, at = FAMILIES[name]
    found, F = family(name), fk.expected_information(model)
    there = {str(e): n.subs(at).evalf(40) for e, n in zip((e1, e2), found.natural, strict=False)}
    moved = F.reparametrize([e1, e2][: len(at)], {str(symbol): value for symbol, value in inverse.items()}).at(there)
    assert gap(information(name, "natural"), sp.Matrix(moved.dense())) < 1e-20
    back = numbers(sp.Matrix(found.mean).jacobian(found.parameters), at).inv()
    assert gap(information(name, "mean"), back.T * numbers(F.dense(), at) * back) < 1e-20


def test_a_wrong_statistic_would_be_seen() -> None:
    """The covariance of 2T is four times that of T, and its inverse is no longer the other."""
    product = 4 * information("normal", "natural") * information("normal", "mean")
    assert gap(product, sp.eye(2)) > 1
