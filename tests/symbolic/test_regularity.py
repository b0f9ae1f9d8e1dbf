"""How a density meets its ends and kinks decides; convergence of a rule proves nothing."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp
from sympy import Abs, Piecewise, exp, gamma, oo, pi, sqrt, stats

import fisherkit as fk

x, m = sp.symbols("x m", real=True)
b, s, theta = sp.symbols("b s theta", positive=True)
xi = sp.Symbol("xi", negative=True)
R = sp.Rational
LINE = (-oo, oo)
u = 1 + xi * (x - m) / s


def model(density: Any, support: Any = LINE, **options: Any) -> fk.symbolic.Model:
    return fk.symbolic.Model(sp.sympify(density), data=x, support=support, **options)


MOVING = "support_depends_on_parameter"
INFINITE = "infinite_information"
EXTREME = model(u ** (-1 / xi - 1) * exp(-(u ** (-1 / xi))) / s, (-oo, m - s / xi), parameters=(m,))
CUSP = model(b / (2 * gamma(1 / b)) * exp(-(Abs(x - m) ** b)), parameters=(m,))
REFUSED = {
    "uniform": (model(1 / theta, (0, theta)), {}, MOVING, "theta"),
    "uniform of fixed length: its score is 0 and so is E[s s']": (model(1, (m, m + 1)), {}, MOVING, "m"),
    "shifted exponential": (model(exp(-(x - m) / s) / s, (m, oo), parameters=(m, s)), {}, MOVING, "m"),
    "Pareto's end": (stats.Pareto("X", b, s), {}, MOVING, "b"),
    "semicircle: order 1/2": (stats.WignerSemicircle("X", s), {}, INFINITE, "s"),
    "triangle: order 1, only logarithmically": (model(2 * (theta - x) / theta**2, (0, theta)), {}, INFINITE, "theta"),
    "a step inside": (
        model(Piecewise((R(3, 2), x < theta), ((1 - 3 * theta / 2) / (1 - theta), True)), (0, 1)),
        {},
        MOVING,
        "theta",
    ),
    "extreme values below -1/2": (EXTREME, {"m": 0, "s": 1, "xi": -R(3, 5)}, INFINITE, "m"),
    "extreme values at -1/2": (EXTREME, {"m": 0, "s": 1, "xi": -R(1, 2)}, INFINITE, "m"),
    "extreme values at -1": (EXTREME, {"m": 0, "s": 1, "xi": -1}, MOVING, "m"),
    "a cusp of order 1/2": (CUSP, {"m": 0, "b": R(1, 2)}, INFINITE, "m"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("digits", [None, 15])
def test_refused_by_the_condition_and_the_parameter(name: str, digits: int | None) -> None:
    source, at, condition, parameter = REFUSED[name]
    if digits is None:
        method = None
    else:
        method, at = fk.Quadrature(digits=digits), at or dict.fromkeys(fk.symbolic.as_model(source).parameters.names, R(3, 5))
        at = {**at, "s": R(4, 5)} if name == "Pareto's end" else at
    with pytest.raises(fk.errors.RegularityError) as refusal:
        fk.expected_information(source, at or None, method=method)
    assert (refusal.value.condition, refusal.value.parameter) == (condition, parameter)


ANSWERED = {
    "Laplace location, a kink": (stats.Laplace("X", m, s), {"m": 1, "s": 2}, 1 / 4),
    "triangular mode, a kink with the wrong sign in the Hessian form": (stats.Triangular("X", 0, 1, b), {"b": R(1, 3)}, 4.5),
    "raised cosine, both ends move, order 2": (stats.RaisedCosine("X", m, s), {"m": 1, "s": 2}, float(pi**2) / 4),
    "Levy location, faster than any power": (stats.Levy("X", m, s), {"m": 1, "s": 2}, 21 / 8),
    "extreme values above -1/2": (EXTREME, {"m": 0, "s": 1, "xi": -R(2, 5)}, 0.36 * float(gamma(R(1, 5)))),
    "a cusp of order 3/4": (CUSP, {"m": 0, "b": R(3, 4)}, float(R(9, 16) * gamma(R(2, 3)) / gamma(R(4, 3)))),
    "the half-line with a fixed pole": (stats.Gamma("X", b, s), {"b": R(1, 10), "s": 2}, float(sp.polygamma(1, R(1, 10)))),
}


@pytest.mark.parametrize("name", ANSWERED)
@pytest.mark.parametrize("method", [None, fk.Quadrature(digits=12)])
def test_regular_all_the_same(name: str, method: fk.Quadrature | None) -> None:
    source, at, first = ANSWERED[name]
    F = fk.expected_information(source, at, method=method)
    assert float(F.dense()[0, 0]) == pytest.approx(first, rel=1e-11 if method else 1e-9)


def test_a_density_that_is_negative_somewhere() -> None:
    tilted = model(R(1, 2) + theta * x, (-1, 1))
    with pytest.raises(fk.errors.RegularityError) as refusal:
        fk.expected_information(tilted, {"theta": 2}, method=fk.Quadrature(digits=15))
    assert refusal.value.condition == "not_normalised"
    assert fk.expected_information(tilted, {"theta": R(1, 4)}, method=fk.Quadrature(digits=15)).error_bound < 1e-14


def test_a_forgotten_constant() -> None:
    """Without sqrt(2 pi) the score is right and the mass is not."""
    with pytest.raises(fk.errors.RegularityError, match=r"has mass 2\.50"):
        fk.expected_information(model(exp(-((x - m) ** 2) / 2)), {"m": 0})
    assert fk.expected_information(model(exp(-((x - m) ** 2) / 2) / sqrt(2 * pi))).dense()[0, 0] == 1
