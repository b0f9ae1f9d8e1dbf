"""I_(T,X) = I_T + E I_(X|T): a bin tells something, and what falls into it tells the rest."""

import numpy as np
import pytest
import sympy as sp
from sympy import stats

import fisherkit as fk

m = sp.Symbol("m", real=True)
s, lam, k = sp.symbols("s lam k", positive=True)
MODELS = {
    "exponential": (stats.Exponential("X", lam), (1, 2), {"lam": 0.7}),
    "normal": (stats.Normal("X", m, s), (0, 1), {"m": 0.4, "s": 1.3}),
    "Poisson": (stats.Poisson("X", lam), (1, 3), {"lam": 1.9}),
    "Weibull": (stats.Weibull("X", s, k), (1, 2), {"s": 1.5, "k": 2.2}),
    "logistic": (stats.Logistic("X", m, s), (0, 1), {"m": 0.4, "s": 1.3}),
}
QUADRATURE = fk.Quadrature(digits=8)


@pytest.fixture(params=MODELS)
def case(request):
    variable, edges, at = MODELS[request.param]
    return fk.symbolic.as_model(variable), edges, at


def matrix(model, at):
    return fk.expected_information(model, at, method=QUADRATURE).dense()


def inside(model, low, high, at):
    """P(low <= X <= high) times the information of what is seen there."""
    chance = float(model.probability(low, high).subs({symbol: at[str(symbol)] for symbol in model.symbols}))
    return chance * matrix(model.truncated(low, high), at)


def test_what_a_bin_tells_and_what_is_left_make_the_whole(case) -> None:
    model, (first, second), at = case
    (support,) = model.supports
    step = 1 if support.discrete else 0
    parts = [(support.low, first), (first + step, second), (second + step, support.high)]
    total = matrix(model.binned([first, second]), at) + sum(inside(model, *part, at) for part in parts)
    np.testing.assert_allclose(total, matrix(model, at), rtol=1e-7, atol=1e-8)


def test_censoring_on_both_sides_keeps_the_bins_and_the_middle(case) -> None:
    model, (first, second), at = case
    step = 1 if model.supports[0].discrete else 0
    total = matrix(model.binned([first, second]), at) + inside(model, first + step, second, at)
    np.testing.assert_allclose(matrix(model.censored(first, second + step), at), total, rtol=1e-7, atol=1e-8)
