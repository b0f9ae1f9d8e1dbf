"""Closed forms in symbols, against the published ones (notes of the field: Lehmann & Casella; Kleiber & Kotz)."""

import pytest
import sympy as sp
from sympy import besseli, log, polygamma, stats

import fisherkit as fk

a, b, k, s, t, lam, nu = sp.symbols("a b k s t lamda nu", positive=True)
m = sp.Symbol("m", real=True)
count = sp.Symbol("k", integer=True, positive=True)
A = besseli(1, k) / besseli(0, k)

PUBLISHED = {
    "normal": (stats.Normal("X", m, s), [[1 / s**2, 0], [0, 2 / s**2]]),
    "lognormal": (stats.LogNormal("X", m, s), [[1 / s**2, 0], [0, 2 / s**2]]),
    "gamma": (stats.Gamma("X", k, t), [[polygamma(1, k), 1 / t], [1 / t, k / t**2]]),
    "inverse gamma": (stats.GammaInverse("X", a, b), [[polygamma(1, a), -1 / b], [-1 / b, a / b**2]]),
    "beta": (
        stats.Beta("X", a, b),
        [
            [polygamma(1, a) - polygamma(1, a + b), -polygamma(1, a + b)],
            [-polygamma(1, a + b), polygamma(1, b) - polygamma(1, a + b)],
        ],
    ),
    "exponential": (stats.Exponential("X", lam), [[1 / lam**2]]),
    "rayleigh": (stats.Rayleigh("X", s), [[4 / s**2]]),
    "maxwell": (stats.Maxwell("X", a), [[6 / a**2]]),
    "chi, an integer by declaration": (stats.Chi("X", count), [[polygamma(1, sp.Symbol("k", positive=True) / 2) / 4]]),
    "nakagami": (stats.Nakagami("X", a, b), [[polygamma(1, a) - 1 / a, 0], [0, a / b**2]]),
    "inverse gaussian": (stats.GaussianInverse("X", nu, lam), [[lam / nu**3, 0], [0, 1 / (2 * lam**2)]]),
    "von Mises": (stats.VonMises("X", m, k), [[k * A, 0], [0, 1 - A / k - A**2]]),
    "poisson": (stats.Poisson("X", lam), [[1 / lam]]),
    "geometric": (stats.Geometric("X", s), [[1 / (s**2 * (1 - s))]]),
    "logarithmic": (stats.Logarithmic("X", s), [[-(s + log(1 - s)) / (s * (1 - s) ** 2 * log(1 - s) ** 2)]]),
    "bernoulli": (stats.Bernoulli("X", s), [[1 / (s * (1 - s))]]),
    "binomial": (stats.Binomial("X", 5, s), [[5 / (s * (1 - s))]]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_closed_form_is_the_published_one(name: str) -> None:
    variable, published = PUBLISHED[name]
    F = fk.expected_information(variable)
    assert isinstance(F.method, fk.Exact)
    difference = (F.dense() - sp.Matrix(published)).applyfunc(sp.simplify)
    assert difference == sp.zeros(*difference.shape)


def test_parameters_come_in_the_order_of_the_distribution() -> None:
    assert fk.expected_information(stats.GaussianInverse("X", nu, lam)).parameters.names == ("nu", "lamda")


def test_a_row_of_a_regression_keeps_its_covariates_as_symbols() -> None:
    y, x0, x1, b0, b1 = sp.Symbol("y", integer=True), *sp.symbols("x0 x1 b0 b1", real=True)
    eta = b0 * x0 + b1 * x1
    row = fk.symbolic.Model(log_density=y * eta - log(1 + sp.exp(eta)), data=y, parameters=(b0, b1), support={0, 1})
    F = fk.expected_information(row)
    p = 1 / (1 + sp.exp(-eta))
    difference = F.dense() - p * (1 - p) * sp.Matrix([[x0**2, x0 * x1], [x0 * x1, x1**2]])
    assert difference.applyfunc(lambda entry: sp.simplify(entry.rewrite(sp.exp))) == sp.zeros(2, 2)
    numbers = F.at(x0=1, x1=2.0, b0=0.5, b1=-0.25)
    assert numbers.dense() == pytest.approx(numbers.dense()[0, 0] * sp.Matrix([[1, 2], [2, 4]]))


def test_a_joint_density_goes_through_as_it_is() -> None:
    x, y = sp.symbols("x y", real=True)
    density = sp.exp(-(x**2) / (2 * s**2) - (y - x) ** 2 / (2 * t**2)) / (2 * sp.pi * s * t)
    model = fk.symbolic.Model(density, data=(x, y), parameters=(s, t), support=((-sp.oo, sp.oo), (-sp.oo, sp.oo)))
    assert fk.expected_information(model).dense() == sp.diag(2 / s**2, 2 / t**2)


def test_the_same_answer_as_numbers() -> None:
    F = fk.expected_information(stats.Gamma("X", k, t), {"k": 2.5, "t": 0.5})
    assert isinstance(F.method, fk.Exact)
    assert F.point == {"k": 2.5, "t": 0.5}
    assert F.dense()[1, 1] == pytest.approx(10)
