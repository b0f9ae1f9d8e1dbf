"""Formulas from text: what is read, what is refused and how, and that no text takes long."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import sympy as sp

import fisherkit as fk
from fisherkit.errors import TextError
from fisherkit.symbolic import parse_expression
from fisherkit.symbolic.text import FUNCTIONS

x, k = sp.Symbol("x", real=True), sp.Symbol("k", positive=True)

READ: dict[str, Any] = {
    "2*x + 1": 2 * x + 1,
    "-x^2": -(x**2),
    "2**-x": 2 ** (-x),
    "x - k - 1": x - k - 1,
    "x/k/2": x / k / 2,
    "2^3^2": sp.Integer(512),
    "0.1": sp.Rational(1, 10),
    "1.5e-3 * x": sp.Rational(3, 2000) * x,
    ".5": sp.Rational(1, 2),
    "123456789012345678901234567890.5": sp.Rational("123456789012345678901234567890.5"),
    "pi*E + EulerGamma": sp.pi * sp.E + sp.EulerGamma,
    "-oo": -sp.oo,
    "ln(k) + sqrt(k) + abs(x)": sp.log(k) + sp.sqrt(k) + sp.Abs(x),
    "exp(-(x - k)**2/2)/sqrt(2*pi)": sp.exp(-((x - k) ** 2) / 2) / sp.sqrt(2 * sp.pi),
    "digamma(k) + trigamma(k) + polygamma(2, k)": sp.digamma(k) + sp.polygamma(1, k) + sp.polygamma(2, k),
    "zeta(k) - beta(k, 2) + binomial(5, 2) + factorial(4)": sp.zeta(k) - sp.beta(k, 2) + 34,
    "besseli(0, k) / besselk(1, k)": sp.besseli(0, k) / sp.besselk(1, k),
    "erf(x) + erfc(x) + Ei(k) + expint(1, k)": sp.erf(x) + sp.erfc(x) + sp.Ei(k) + sp.expint(1, k),
    "Piecewise((x, x > 0), (k, x == 0), (0, True))": sp.Piecewise((x, x > 0), (k, sp.Eq(x, 0)), (0, True)),
    "Piecewise((1, 0 < x < k and k >= 2), (0, True))": sp.Piecewise((1, (x > 0) & (x < k) & (k >= 2)), (0, True)),
    "+".join(["x"] * 200): 200 * x,  # long, not deep
    "  ( x\n+ 1 ) ": x + 1,
}

REFUSED = {
    "2x": r"written with \*; found '2x' at column 2. Write 2\*x",
    "x k": r"found 'x k' at column 3. Write x\*k",
    "x(k + 1)": r"x is no function; a multiplication is written with \*: x\*\(k \+ 1\)",
    "(x)(k)": r"Write \(...\)\*\(...\)",
    "3(x)": r"Write 3\*\(...\)",
    "x.real": "'.' at column 2 has no place in a formula",
    "x.__class__": "has no place",
    "__import__('os').system('true')": "start with a letter; found '__import__' at column 1",
    "x__y": "single underscores",
    "eval(x)": "unknown function eval",
    "getattr(x, k)": "unknown function getattr",
    "lambda: 1": "lambda is a word of Python's own at column 1. Write lamda, or lam",
    "[x for x in k]": r"'\[' at column 1",
    "{x}": "Write round brackets",
    "'x'": "has no place",
    "x if k else 2": "if is a word of Python's own",
    "x := 2": "':' at column 3",
    "x = 2": "not well formed",
    "x // 2": "only .* are operators; found floor div",
    "x % 2": "'%' at column 3",
    "x!": r"Write factorial\(k\)",
    "|x|": r"Write Abs\(x\)",
    "σ + 1": "only ASCII characters are read; found 'σ' at column 1",
    "sigam": "unknown name sigam; the names are x, k",
    "gama(x)": "unknown function gama. Did you mean gamma",
    "exp": r"exp is a function: write exp\(...\)",
    "exp(x, k)": "takes exactly 1 argument",
    "exp(*x)": "takes plain arguments",
    "gamma(x=1)": "takes plain arguments",
    "x < 1": "a formula is needed; found the condition",
    "x, k": "tuple has no place",
    "x + (k < 1)": "a value is needed",
    "Piecewise(x)": r"Piecewise takes pairs",
    "Piecewise((x, k))": "a condition is needed",
    "True": "a formula is needed",
    "not x": "not is a word",
    "1/0": "division by zero: 1/0",
    "1/(x - x)": "division by zero",
    "log(0)": "divides by zero, or is no number",
    "0x10": "written with",
    "1_000": "names are made of",
    "1j": "written with",
    "1 +": "not complete or not well formed",
    "": "empty",
    "   ": "empty",
    "x" * 2001: "a formula may have 2000 characters; this one has 2001",
}

#: each would take very long, or all the memory, if it were computed
ATTACKS = {
    "9**9**9": "exponent of 9 is larger than 1000",
    "9**9**9**9": "is larger than 1000",
    "(((2^1000)^4)^4)": "more than 4096 bits",
    "2^(10^9/7)": "exponent of 2",
    "factorial(10**9)": "factorial of a number larger than 300",
    "gamma(10**8)": "gamma of a number larger than 300",
    "loggamma(10**8)": "loggamma of a number larger than 300",
    "digamma(10**8)": "digamma of a number",
    "binomial(10**6, 5*10**5)": "binomial of a number",
    "zeta(-10**7)": "zeta of a number",
    "zeta(x, 10**8)": "zeta of a number",
    "polygamma(1, x + 10**8)": "polygamma of a number",
    "lowergamma(10**6, k)": "lowergamma of a number",
    "expint(-10**6, k)": "expint of a number",
    "1e999999999": "exponents up to 300",
    "1e-999999999": "exponents up to 300",
    "1" * 1999: "60 digits",
    "x**(10**6)": "exponent of x",
    "exp(exp(exp(9)))": "exp of a number larger than",
    "floor(exp(exp(exp(9))))": "of a number larger than",
    "exp(exp(exp(exp(x))))": "more than 3 exponentials",
    "x^x^x^x^x": "more than 3 exponentials",
    "max(exp(exp(14)), x)": "of a number larger than",
    "(" * 300 + "x" + ")" * 300: "brackets are nested more than 50 deep",
    "-" * 1500 + "x": "nested more than 50 deep",
    "exp(" * 45 + "x" + ")" * 45: "more than 3 exponentials",
    "sin(" * 300 + "x": "brackets are nested",
    "x+" * 900 + "x": "more than 500 parts",
    "x" * 10**6: "may have 2000 characters",
    "(" * 10**6: "may have 2000 characters",
}


@pytest.mark.parametrize("text", READ, ids=lambda text: text[:40])
def test_what_is_read(text: str) -> None:
    assert parse_expression(text, (x, k)) == READ[text]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:40]))
def test_what_is_refused(text: str) -> None:
    with pytest.raises(TextError, match=REFUSED[text]):
        parse_expression(text, (x, k))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: text[:40])
def test_an_attack_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(TextError, match=ATTACKS[text]):
        parse_expression(text, (x, k))
    assert time.perf_counter() - start < 1


def test_every_function_named_can_be_called() -> None:
    for name in set(FUNCTIONS) - {"Piecewise"}:
        arguments = {"polygamma": "1, k", "beta": "k, 2", "binomial": "k, 2", "expint": "2, k", "Max": "k, x", "max": "k, x"}
        arguments |= dict.fromkeys(["Min", "min"], "k, x") | dict.fromkeys(["lowergamma", "uppergamma"], "k, 2")
        arguments |= {f"bessel{kind}": "0, k" for kind in "jyik"}
        assert parse_expression(f"{name}({arguments.get(name, 'x')})", (x, k)).free_symbols, name


def test_the_place_of_the_trouble_is_told() -> None:
    with pytest.raises(TextError) as refusal:
        parse_expression("x^2 + sigam", (x,))
    assert (refusal.value.text, refusal.value.column) == ("x^2 + sigam", 6)
    assert isinstance(refusal.value, ValueError)


def test_names_are_those_given() -> None:
    beta = sp.Symbol("beta", positive=True)
    assert parse_expression("beta*beta(beta, 2)", {"beta": beta}) == beta * sp.beta(beta, 2)
    with pytest.raises(TextError, match="got int"):
        parse_expression(3, (x,))  # type: ignore[arg-type]


def _random(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return rng.choice(["x", "k", "2", "0", "1/3", "300", "7.5", "-1", "1e3", "pi", "E", "oo", "10**9"])
    kind = rng.choice(["call", "call", "sign", "sign", "power"])
    if kind == "call":
        count = rng.choice([1, 1, 2])
        return f"{rng.choice(sorted(FUNCTIONS))}({', '.join(_random(rng, depth - 1) for _ in range(count))})"
    sign = "**" if kind == "power" else rng.choice("+-*/")
    return f"({_random(rng, depth - 1)}{sign}{_random(rng, depth - 1)})"


@pytest.mark.timeout(100)
def test_no_text_takes_long() -> None:
    """Random formulas are read or refused, and nothing else happens."""
    rng = random.Random(20)
    read = 0
    for _ in range(400):
        text = _random(rng, rng.choice([1, 2, 3]))
        start = time.perf_counter()
        try:
            parse_expression(text, (x, k))
            read += 1
        except fk.errors.TextError:
            pass
        assert time.perf_counter() - start < 3, text
    assert read > 80  # not everything is refused
