"""Densities with point masses: inflation, hurdles, censoring."""

import numpy as np
import pytest
import scipy.integrate
import sympy as sp
from sympy import Eq, Piecewise, exp, oo, pi, sqrt

import fisherkit as fk

u, m = sp.symbols("u m", real=True)
c, lam, p, s, a = sp.symbols("c lam p s a", positive=True)
k = sp.Symbol("k", integer=True, nonnegative=True)
POISSON = lam**k * exp(-lam) / sp.factorial(k)
NORMAL = exp(-((u - m) ** 2) / (2 * s**2)) / (s * sqrt(2 * pi))
EXPONENTIAL = lam * exp(-lam * u)


def test_zero_inflated_poisson() -> None:
    """Against the sum over 200 counts in float64."""
    zero = p + (1 - p) * exp(-lam)
    model = fk.symbolic.Model(
        Piecewise((zero, Eq(k, 0)), ((1 - p) * POISSON, True)), data=k, parameters=(p, lam), support=(0, oo)
    )
    F = fk.expected_information(model)
    assert model.tier == "parts"
    masses = [zero, *((1 - p) * POISSON.subs(k, i) for i in range(1, 60))]
    at = {p: 0.3, lam: 2.5}
    expected = sum(
        np.outer(g, g) / float(q.subs(at)) for q in masses for g in [np.array([float(sp.diff(q, z).subs(at)) for z in (p, lam)])]
    )
    np.testing.assert_allclose(F.at(p=0.3, lam=2.5).dense(), expected, rtol=1e-12)


def test_a_hurdle_keeps_its_parts_apart() -> None:
    model = fk.symbolic.Model(
        Piecewise((p, Eq(u, 0)), ((1 - p) * EXPONENTIAL, True)), data=u, parameters=(p, lam), support=(0, oo)
    )
    F = fk.expected_information(model)
    assert (F.dense() - sp.diag(1 / (p * (1 - p)), (1 - p) / lam**2)).applyfunc(sp.simplify) == sp.zeros(2, 2)


def test_censored_lifetimes() -> None:
    """Exponential, censored at c: (1 - exp(-lam c)) / lam^2 (the expected number of deaths over lam^2)."""
    model = fk.symbolic.Model(
        Piecewise((exp(-lam * c), Eq(u, c)), (EXPONENTIAL, True)), data=u, parameters=(lam,), support=(0, c)
    )
    assert sp.simplify(fk.expected_information(model).dense()[0] - (1 - exp(-lam * c)) / lam**2) == 0


def test_tobit() -> None:
    """A normal variable censored below at 0 (Tobin 1958), against scipy's quadrature."""
    below = (1 + sp.erf(-m / s / sqrt(2))) / 2
    model = fk.symbolic.Model(Piecewise((below, Eq(u, 0)), (NORMAL, True)), data=u, parameters=(m, s), support=(0, oo))
    F = fk.expected_information(model)
    at = {m: 0.5, s: 1.5}
    mass = float(below.subs(at))
    slope = [float(sp.diff(below, z).subs(at)) for z in (m, s)]
    for i, v in enumerate((m, s)):
        for j, w in enumerate((m, s)):
            f = sp.lambdify(u, (sp.diff(NORMAL, v) * sp.diff(NORMAL, w) / NORMAL).subs(at))
            expected = slope[i] * slope[j] / mass + scipy.integrate.quad(f, 0, 20)[0]
            assert F.at(m=0.5, s=1.5).dense()[i, j] == pytest.approx(expected, rel=1e-9)


def test_thirty_digits_beside_a_point_mass() -> None:
    """A censored Weibull has no closed form here; the digits agree with the exponential's where its shape is 1."""
    weibull = a / s * (u / s) ** (a - 1) * exp(-((u / s) ** a))
    model = fk.symbolic.Model(
        Piecewise((exp(-((c / s) ** a)), Eq(u, c)), (weibull, True)), data=u, parameters=(s, a), support=(0, c)
    )
    F = fk.expected_information(model, {"s": 2, "a": 1, "c": 3}, method=fk.Quadrature(digits=30))
    exact = (1 - exp(-sp.Rational(3, 2))) / 4
    assert abs(sp.N(F.dense()[0, 0] / exact - 1, 40)) < 1e-30
    with pytest.raises(fk.errors.MethodError, match="no closed form"):
        fk.expected_information(model)


def test_scores_and_observed_information_of_mixed_data() -> None:
    model = fk.symbolic.Model(
        Piecewise((exp(-lam * c), Eq(u, c)), (EXPONENTIAL, True)), data=u, parameters=(lam,), support=(0, c)
    )
    data, at = [0.5, 2.0, 1.0, 2.0], {"lam": 0.8, "c": 2}
    np.testing.assert_allclose(fk.score(model, at, data=data)[:, 0], [1 / 0.8 - 0.5, -2, 1 / 0.8 - 1, -2])
    assert float(fk.observed_information(model, at, data=data)) == pytest.approx(2 / 0.64)


def test_the_value_at_one_point_is_no_mass() -> None:
    """A triangular density whose mode is written as a branch of its own."""
    triangle = Piecewise((2 * u / p, u < p), (2, Eq(u, p)), (2 * (1 - u) / (1 - p), True))
    F = fk.expected_information(fk.symbolic.Model(triangle, data=u, parameters=(p,), support=(0, 1)))
    assert sp.simplify(F.dense()[0] - 1 / (p * (1 - p))) == 0


def mixed(mass, rest, at=0):
    return fk.symbolic.Model(Piecewise((mass, Eq(u, at)), (rest, True)), data=u, parameters=(p, lam), support=(0, oo))


def test_masses_that_do_not_sum_to_one() -> None:
    with pytest.raises(fk.errors.RegularityError, match="has mass") as refusal:
        fk.expected_information(mixed(p, EXPONENTIAL))
    assert refusal.value.condition == "not_normalised"
    with pytest.raises(fk.errors.DataError, match=r"probabilities 2\.54545, -1\.54545: the point is outside the domain"):
        fk.expected_information(mixed(1 + p, (1 - p) * EXPONENTIAL))
    with pytest.raises(fk.errors.DataError, match="outside the domain"):
        fk.expected_information(mixed(p, (1 - p) * EXPONENTIAL), {"p": 1.5, "lam": 1}, method=fk.Quadrature())


def test_a_mass_that_moves() -> None:
    with pytest.raises(fk.errors.RegularityError, match="a point mass moves with lam") as refusal:
        fk.expected_information(mixed(p, (1 - p) * EXPONENTIAL, at=lam))
    assert (refusal.value.condition, refusal.value.parameter) == ("support_depends_on_parameter", "lam")
