"""Models from text: families with what their checks ask, densities with what is declared."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.errors import TextError
from fisherkit.symbolic import named, parse_expression, parse_model
from fisherkit.symbolic.statement import parse_point

EXPONENTIAL = {"data": "x", "support": "0, oo", "parameters": "s:positive"}


@pytest.mark.parametrize(
    ("text", "assumptions"),
    [
        ("normal(mu, sigma)", {"mu": "real", "sigma": "positive"}),
        ("Normal(mu, 2)", {"mu": "real"}),
        ("NORMAL(std=s, mean=m)", {"m": "real", "s": "positive"}),
        ("gaussian_inverse(a, b)", {"a": "positive", "b": "positive"}),
        ("GaussianInverse(a, b)", {"a": "positive", "b": "positive"}),
        ("student_t(nu)", {"nu": "positive"}),
        ("cauchy(x0, gamma)", {"x0": "real", "gamma": "positive"}),
        ("geometric(p)", {"p": "positive"}),
        ("f_distribution(d1, d2)", {"d1": "positive", "d2": "positive"}),
        ("normal(mu, exp(t))", {"mu": "real", "t": "real"}),
        ("normal(0, sqrt(v))", {"v": "positive"}),
        ("exponential(-r)", {"r": "negative"}),
        ("bernoulli(1/(1 + exp(-t)))", {"t": "real"}),
        ("normal(m, m)", {"m": "positive"}),
        ("gumbel(beta, mu, minimum=True)", {"beta": "positive", "mu": "real"}),
    ],
)
def test_a_family_brings_the_assumptions_of_its_checks(text: str, assumptions: dict[str, str]) -> None:
    model = parse_model(text)
    assert {str(s): next(iter(s._assumptions_orig)) for s in model.symbols} == assumptions


def test_the_same_model_as_by_hand() -> None:
    mu, sigma = sp.Symbol("mu", real=True), sp.Symbol("sigma", positive=True)
    assert fk.expected_information(parse_model("normal(mu, sigma)")).dense() == sp.diag(1 / sigma**2, 2 / sigma**2)
    by_hand = fk.expected_information(stats.Normal("X", mu, sigma)).dense()
    assert fk.expected_information(parse_model("normal(mu, sigma)")).dense() == by_hand
    assert parse_model("normal(mu, sigma)", parameters="sigma:positive").symbols == (sigma,)
    assert parse_model("normal(mu, sigma)", parameters={"sigma": "positive", "mu": "real"}).symbols == (sigma, mu)
    assert parse_model("normal(mu, sigma)", constants="mu:real").symbols == (sigma,)


def test_every_family_of_sympy_can_be_named_and_asked() -> None:
    families = named.families()
    assert len(families) > 65
    for family in families.values():
        assert named.find(named.snake(family.name)) is family
        assert all(family.place(argument) in named.ASSUMPTIONS for argument in family.arguments)
    places = {(f.name, a): f.place(a) for f in families.values() for a in f.arguments}
    assert places["Bernoulli", "p"] == places["NegativeBinomial", "p"] == "probability"
    assert places["Binomial", "n"] == places["Chi", "k"] == "count"
    assert places["Skellam", "mu1"] == "nonnegative"
    assert places["Laplace", "mu"] == places["Uniform", "right"] == "real"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("norml(mu, s)", "unknown family norml. Did you mean normal"),
        ("inverse_gaussian(a, b)", "gaussian_inverse"),
        ("student(nu)", "student_t"),
        ("normal(mu)", r"Normal is used as normal\(mean, std\); found normal\(mu\)"),
        ("normal(mu, s, t)", "is used as"),
        ("normal(mu, mean=2)", "is used as"),
        ("normal(mu, -1)", "Standard deviation must be positive"),
        ("normal(mu, 2s)", r"Write 2\*s"),
        ("poisson(lambda)", "Write lamda, or lam"),
        ("x + 1", "a family is written with its arguments"),
        ("normal(mu, s).x", "has no place"),
        ("normal(mu, s)(2)", "Write"),
        ("normal(mu, f(s))", "unknown function f"),
        ("normal(mu, sin(s))", r"sin\(s\) stands for std in normal\(mean, std\), which must be positive"),
        ("binomial(10**6, p)", r"n of binomial\(.*\) may be a number up to 300; found 10\*\*6"),
        ("die(10**9)", "may be a number up to 300"),
        ("chi(10**8)", "may be a number up to 300"),
        ("nakagami(10**8, o)", "may be a number up to 300"),
        ("student_t(10**6)", "may be a number up to 300"),
        ("erlang(10**9, l)", "may be a number up to 300"),
        ("normal(9**9**9, s)", "exponent of 9"),
    ],
)
@pytest.mark.timeout(20)
def test_a_family_that_is_refused(text: str, match: str) -> None:
    start = time.perf_counter()
    with pytest.raises(TextError, match=match):
        parse_model(text)
    assert time.perf_counter() - start < 2


def test_what_the_engine_refuses_keeps_its_name() -> None:
    with pytest.raises(fk.errors.RegularityError) as refusal:
        parse_model("binomial(n, p)")
    assert refusal.value.condition == "integer_parameter"


def test_a_declaration_that_contradicts_the_place() -> None:
    with pytest.raises(TextError, match=r"must be positive, and may be something else.* sigma:positive"):
        parse_model("normal(mu, sigma)", parameters="mu:real, sigma:real")


@pytest.mark.parametrize(
    ("given", "information"),
    [
        ({"log_density": "-log(s) - x/s", **EXPONENTIAL}, [["s**(-2)"]]),
        ({"density": "exp(-x/s)/s", **EXPONENTIAL}, [["s**(-2)"]]),
        (
            {"density": "p^k*(1 - p)^(1 - k)", "data": "k:integer", "support": "{0, 1}", "parameters": "p:probability"},
            [["-1/(p*(p - 1))"]],
        ),
        (
            {
                "log_density": "k*log(m) - m - log(factorial(k))",
                "data": {"k": "integer"},
                "support": "0, oo",
                "parameters": "m:positive",
            },
            [["1/m"]],
        ),
        (
            {
                "log_density": "-(x - m)^2/2 - (y - c*m)^2/2 - log(2*pi)",
                "data": "x, y",
                "support": "-oo, oo; -oo, oo",
                "parameters": "m",
                "constants": "c",
            },
            [["c**2 + 1"]],
        ),
    ],
)
def test_a_density_from_text(given: dict[str, Any], information: list[list[str]]) -> None:
    found = fk.expected_information(parse_model(**given)).dense()
    (expected,) = information[0]
    assert sp.simplify(found[0, 0] - parse_expression(expected, found.free_symbols)) == 0


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "one of a family, a density and a log-density"),
        ({"family": "normal(m, s)", "density": "x"}, "only one"),
        ({"family": "normal(m, s)", "data": "x"}, "brings its data and support"),
        ({"family": "normal(m, s)", "parameters": "q"}, "q is declared, and .* does not mention it"),
        ({"density": "x*s"}, "a density needs data"),
        ({"density": "exp(-x/q)/q", **EXPONENTIAL}, "unknown name q; the names are x, s"),
        ({**EXPONENTIAL, "density": "x", "parameters": "s:small"}, "s may be real, positive, .*; found 'small'"),
        ({**EXPONENTIAL, "density": "x", "parameters": "s, s"}, "s is declared twice"),
        ({**EXPONENTIAL, "density": "x", "parameters": "x"}, "x is declared twice"),
        ({**EXPONENTIAL, "density": "x", "parameters": "pi"}, "pi is a constant"),
        ({**EXPONENTIAL, "density": "x", "parameters": "__s"}, "names of ASCII letters"),
        ({**EXPONENTIAL, "density": "x", "parameters": ",".join(f"a{i}" for i in range(30))}, "at most 20 symbols"),
        ({**EXPONENTIAL, "density": "x*s", "support": "0"}, "a support is two ends"),
        ({**EXPONENTIAL, "density": "x*s", "support": "0, oo; 0, 1"}, "as many supports"),
        ({**EXPONENTIAL, "density": "x*s", "support": "0, q"}, "unknown name q"),
    ],
)
def test_a_density_that_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(TextError, match=match):
        parse_model(**given)


def test_points_are_exact() -> None:
    model = parse_model("normal(mu, sigma)")
    assert parse_point("mu=0, sigma=1/3", model) == {"mu": 0, "sigma": sp.Rational(1, 3)}
    assert parse_point("sigma = 0.1", model) == {"sigma": sp.Rational(1, 10)}
    for text in ("q=1", "mu", "mu=1, mu=2", ""):
        with pytest.raises(TextError, match="a point names each symbol once: mu, sigma"):
            parse_point(text, model)
    with pytest.raises(TextError, match="unknown name"):
        parse_point("mu=sigma", model)
