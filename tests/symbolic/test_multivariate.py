"""Several data symbols: groups that are independent, and densities that are joint."""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import scipy.integrate
import sympy as sp
import sympy.stats
from sympy import exp, gamma, log, oo, pi, sqrt

import fisherkit as fk
from fisherkit.symbolic import as_model

x1, x2, x3, x4, m, a0, b0 = sp.symbols("x1 x2 x3 x4 m a0 b0", real=True)
s, a, b, lam, p, p1, p2 = sp.symbols("s a b lam p p1 p2", positive=True)
t1, t2, t3 = t = sp.symbols("t1:4", real=True)
y = sp.symbols("y1:4", real=True)
k1, k2, k3 = k = sp.symbols("k1:4", integer=True, nonnegative=True)
LINE, HALF = (-oo, oo), (0, oo)
psi1 = lambda z: sp.polygamma(1, z)


def normal(x, mean, sd):
    return exp(-((x - mean) ** 2) / (2 * sd**2)) / (sd * sqrt(2 * pi))


def cauchy(x, mean, scale):
    return scale / pi / ((x - mean) ** 2 + scale**2)


def dirichlet(alpha, x):
    last = 1 - sum(x)
    factors = sp.prod([z ** (c - 1) / gamma(c) for z, c in zip((*x, last), alpha, strict=True)])
    return gamma(sum(alpha)) * factors


def bernoulli(y, logit):
    return exp(y * logit) / (1 + exp(logit))


def model(density, data, parameters, *support):
    return fk.symbolic.Model(density, data=data, parameters=parameters, support=support)


def test_independent_groups_add() -> None:
    """A Cauchy and a gamma variable: the matrices of both, beside each other."""
    both = model(cauchy(x1, m, s) * b**a * x2 ** (a - 1) * exp(-b * x2) / gamma(a), (x1, x2), (m, s, a, b), LINE, HALF)
    F = fk.expected_information(both)
    assert both.tier == "product"
    expected = sp.diag(1 / (2 * s**2), 1 / (2 * s**2), sp.Matrix([[psi1(a), -1 / b], [-1 / b, a / b**2]]))
    assert (F.dense() - expected).applyfunc(sp.simplify) == sp.zeros(4, 4)


def test_regression_with_a_symbolic_design() -> None:
    """sum of (1, t)' (1, t) / s^2, and half of it for Cauchy errors (I of a location is 1/(2 s^2))."""
    design = sp.Matrix([[1, 1, 1], list(t)])
    for errors, weight, last in ((normal, 1, 6 / s**2), (cauchy, sp.Rational(1, 2), 3 / (2 * s**2))):
        density = sp.prod([errors(one, a0 + b0 * at, s) for one, at in zip(y, t, strict=True)])
        F = fk.expected_information(model(density, y, (a0, b0, s), LINE, LINE, LINE))
        expected = sp.diag(weight * design * design.T / s**2, last)
        assert (F.dense() - expected).applyfunc(sp.simplify) == sp.zeros(3, 3)


def test_logistic_regression_with_a_symbolic_design() -> None:
    density = sp.prod([bernoulli(one, a0 + b0 * at) for one, at in zip(y, t, strict=True)])
    F = fk.expected_information(model(density, y, (a0, b0), [0, 1], [0, 1], [0, 1]))
    variances = [1 / (2 + exp(a0 + b0 * at) + exp(-a0 - b0 * at)) for at in t]
    expected = sum((v * sp.Matrix([1, at]) * sp.Matrix([[1, at]]) for v, at in zip(variances, t, strict=True)), sp.zeros(2, 2))
    at = {a0: 0.3, b0: -0.7, t1: 0.2, t2: 1.5, t3: -2.0}
    np.testing.assert_allclose(np.array(F.dense().subs(at), float), np.array(expected.subs(at), float), rtol=1e-12)


def test_poisson_regression_with_a_symbolic_design() -> None:
    density = sp.prod([exp(one * (a0 + b0 * at) - exp(a0 + b0 * at)) / sp.factorial(one) for one, at in zip(k, t, strict=True)])
    F = fk.expected_information(model(density, k, (a0, b0), HALF, HALF, HALF))
    assert sp.simplify(F.dense()[1, 1] - sum(at**2 * exp(a0 + b0 * at) for at in t)) == 0


@pytest.mark.parametrize("cells", [3, 4])
def test_dirichlet(cells: int) -> None:
    """diag(psi1(alpha_i)) - psi1(sum alpha) 11'; the simplex by ends that depend on the data before."""
    alpha, x = sp.symbols(f"alpha1:{cells + 1}", positive=True), (x1, x2, x3)[: cells - 1]
    ends = [(0, 1 - sum(x[:i])) for i in range(len(x))]
    F = fk.expected_information(model(dirichlet(alpha, x), x, alpha, *ends))
    expected = sp.diag(*map(psi1, alpha)) - psi1(sum(alpha)) * sp.ones(cells, cells)
    assert (F.dense() - expected).applyfunc(sp.expand) == sp.zeros(cells, cells)


def test_multinomial() -> None:
    """n (diag(1/p_i) + 11'/p_0)."""
    n, p0 = 5, 1 - p1 - p2
    counts = sp.factorial(n) / (sp.factorial(k1) * sp.factorial(k2) * sp.factorial(n - k1 - k2))
    F = fk.expected_information(model(counts * p1**k1 * p2**k2 * p0 ** (n - k1 - k2), (k1, k2), (p1, p2), (0, n), (0, n - k1)))
    expected = n * (sp.diag(1 / p1, 1 / p2) + sp.ones(2, 2) / p0)
    assert (F.dense() - expected).applyfunc(sp.simplify) == sp.zeros(2, 2)


def test_thinned_poisson_counts() -> None:
    """k1 of a Poisson, k2 of them kept: 1/lam and lam/(p (1-p)) (a chain rule, on infinitely many outcomes)."""
    density = lam**k1 * exp(-lam) / sp.factorial(k1) * sp.binomial(k1, k2) * p**k2 * (1 - p) ** (k1 - k2)
    F = fk.expected_information(model(density, (k1, k2), (lam, p), HALF, (0, k1)))
    assert (F.dense() - sp.diag(1 / lam, lam / (p * (1 - p)))).applyfunc(sp.simplify) == sp.zeros(2, 2)


def gaussian_formula(mean, covariance, parameters):
    """d mu' P d mu + tr(P dS P dS)/2, by itself."""
    P = covariance.inv()
    return sp.Matrix(
        len(parameters),
        len(parameters),
        lambda i, j: (
            (mean.diff(parameters[i]).T * P * mean.diff(parameters[j]))[0]
            + (P * covariance.diff(parameters[i]) * P * covariance.diff(parameters[j])).trace() / 2
        ),
    )


def joint_normal(x, mean, covariance):
    z = sp.Matrix(x) - mean
    quadratic = (z.T * covariance.adjugate() * z)[0] / covariance.det()
    return fk.symbolic.Model(
        log_density=-quadratic / 2 - log(covariance.det()) / 2 - len(x) * log(2 * pi) / 2,
        data=x,
        parameters=sorted(mean.free_symbols | covariance.free_symbols, key=str),
        support=(LINE,) * len(x),
    )


def test_parameters_in_mean_and_covariance() -> None:
    """Four data symbols in time: an autoregression started from its stationary law, with a trend in the mean."""
    mean = sp.Matrix([b0 * i for i in range(4)])
    covariance = sp.Matrix(4, 4, lambda i, j: s**2 * m ** abs(i - j) / (1 - m**2))
    made = joint_normal((x1, x2, x3, x4), mean, covariance)
    F = fk.expected_information(made)
    assert made.tier == "gaussian"
    at = {b0: sp.Rational(1, 3), s: sp.Rational(7, 5), m: sp.Rational(1, 4)}
    expected = gaussian_formula(mean, covariance, made.symbols).subs(at)
    np.testing.assert_allclose(np.array(F.dense().subs(at), float), np.array(expected, float), rtol=1e-12)


def test_a_bivariate_normal_with_all_five_parameters() -> None:
    """Correlation rho: I = (1 + rho^2)/(1 - rho^2)^2 where all else is known."""
    rho, u = sp.Symbol("rho", real=True), sp.Symbol("u", positive=True)
    covariance = sp.Matrix([[s**2, rho * s * u], [rho * s * u, u**2]])
    F = fk.expected_information(joint_normal((x1, x2), sp.Matrix([m, a0]), covariance))
    assert sp.simplify(F["rho"].dense()[0] - (1 + rho**2) / (1 - rho**2) ** 2) == 0
    at = {"rho": 0.5, "s": 1.3, "u": 0.7, "m": 0.0, "a0": 1.0}
    np.testing.assert_allclose(F.fix("rho", "s", "u").at(**at).dense(), _precision(0.5, 1.3, 0.7)[::-1, ::-1], rtol=1e-12)


def _precision(rho, s, u):
    return np.linalg.inv([[s**2, rho * s * u], [rho * s * u, u**2]])


def test_integers_and_reals_together() -> None:
    """A label and a normal variable whose mean it decides: a complete-data mixture, p(1-p) and the means apart."""
    z = sp.Symbol("z", integer=True)
    density = p**z * (1 - p) ** (1 - z) * normal(x1, a0 + (b0 - a0) * z, 1)
    F = fk.expected_information(model(density, (z, x1), (p, a0, b0), [0, 1], LINE), {"p": 0.3, "a0": 0, "b0": 1})
    np.testing.assert_allclose(F.dense(), np.diag([1 / 0.21, 0.7, 0.3]), atol=1e-6)


def test_a_joint_density_without_a_closed_form_is_integrated() -> None:
    """Gumbel's bivariate exponential, against scipy's quadrature of the score."""
    c = sp.Symbol("c", positive=True)
    density = ((1 + c * x1) * (1 + c * x2) - c) * exp(-x1 - x2 - c * x1 * x2)
    F = fk.expected_information(model(density, (x1, x2), (c,), HALF, HALF), {"c": sp.Rational(1, 2)})
    square = sp.lambdify((x1, x2), (sp.simplify(sp.diff(log(density), c)) ** 2 * density).subs(c, sp.Rational(1, 2)))
    expected, _ = scipy.integrate.dblquad(square, 0, 40, 0, 40, epsabs=1e-9)
    assert float(F) == pytest.approx(float(expected), rel=1e-6)


def test_more_reals_than_rules_reach_carry_their_error() -> None:
    """Four exchangeable logistic variables, not independent: sampled, with an honest bound."""
    z = (x1, x2, x3, x4)
    density = 24 * exp(-sum(z)) * s**4 / (1 + s * sum(exp(-one) for one in z)) ** 5
    made = model(density, z, (s,), LINE, LINE, LINE, LINE)
    with pytest.raises(fk.errors.PrecisionError, match="reaches a relative error"):
        fk.expected_information(made, {"s": 1.5}, method=fk.Quadrature(digits=6))
    F = fk.expected_information(made, {"s": 1.5}, method=fk.Quadrature(digits=2))
    assert abs(float(F) * 1.5**2 - 4 / 6) < F.error_bound * 4 / 6 < 0.01  # s is a scale of a Dirichlet-type law: 4/(6 s^2)


def test_groups_with_different_constants_are_normalized_apart() -> None:
    """Two groups that share a parameter in their normalizers."""
    density = a * exp(-a * x1) * cauchy(x2, 0, a) * normal(x3, a, 1)
    made = model(density, (x1, x2, x3), (a,), HALF, LINE, LINE)
    assert sp.simplify(fk.expected_information(made).dense()[0] - (1 / a**2 + 1 / (2 * a**2) + 1)) == 0
    assert made.tier == "product"


def test_a_group_that_carries_nothing_still_needs_its_mass() -> None:
    with pytest.raises(fk.errors.RegularityError, match="has mass 2"):
        fk.expected_information(model(2 * normal(x1, m, 1) * normal(x2, 0, 1), (x1, x2), (m,), LINE, LINE))
    F = fk.expected_information(model(normal(x1, m, 1) * normal(x2, 0, 1), (x1, x2), (m,), LINE, LINE))
    assert F.dense() == sp.Matrix([[1]])


def test_thirty_digits_of_a_product() -> None:
    """Student's t and a normal variable of the same location; both known in closed form."""
    nu = sp.Rational(5, 2)
    student = gamma((nu + 1) / 2) / gamma(nu / 2) / sqrt(pi * nu) * (1 + (x1 - m) ** 2 / nu) ** (-(nu + 1) / 2)
    F = fk.expected_information(
        model(student * normal(x2, m, 1), (x1, x2), (m,), LINE, LINE), {"m": 0}, method=fk.Quadrature(digits=30)
    )
    exact = (nu + 1) / (nu + 3) + 1
    assert abs(sp.Rational(str(F.dense()[0, 0])) / exact - 1) < F.error_bound < 1e-30


def test_every_outcome_of_a_finite_joint_law() -> None:
    """Two dependent bits, by hand: sum of dp dp' / p."""
    table = {(0, 0): p1 * p2, (0, 1): p1 * (1 - p2), (1, 0): (1 - p1) * p2 / 2, (1, 1): (1 - p1) * (1 - p2 / 2)}
    bits = sp.symbols("c d", integer=True)
    density = sp.Piecewise(*((value, sp.And(*map(sp.Eq, bits, outcome))) for outcome, value in table.items()))
    F = fk.expected_information(model(density, bits, (p1, p2), [0, 1], [0, 1]))
    for (i, u), (j, v) in product(enumerate((p1, p2)), repeat=2):
        expected = sum(sp.diff(value, u) * sp.diff(value, v) / value for value in table.values())
        assert sp.simplify(F.dense()[i, j] - expected) == 0


def symmetric(names, size):
    """A symmetric matrix of symbols, those on the diagonal positive."""
    entries = {}
    for i, j in combinations_with_replacement(range(size), 2):
        entries[i, j] = entries[j, i] = sp.Symbol(f"{names}{i + 1}{j + 1}", real=i != j or None, positive=i == j or None)
    return sp.Matrix(size, size, lambda i, j: entries[i, j])


def test_three_dimensions_in_the_precision() -> None:
    """Nine parameters: the precision itself for the means, tr(S dP S dP)/2 for its entries."""
    P, mean, z = symmetric("P", 3), sp.Matrix(sp.symbols("mu1:4", real=True)), (x1, x2, x3)
    d = sp.Matrix(z) - mean
    entries = [P[i, j] for i in range(3) for j in range(i, 3)]
    log_density = -(d.T * P * d)[0] / 2 + log(P.det()) / 2 - 3 * log(2 * pi) / 2
    made = fk.symbolic.Model(log_density=log_density, data=z, parameters=(*mean, *entries), support=(LINE,) * 3)
    at = dict(zip(entries, [2.0, 0.3, -0.2, 1.5, 0.4, 1.0], strict=True))
    F = np.array(fk.expected_information(made).dense().subs(at), float)
    precision = np.array(P.subs(at), float)
    S, turned = np.linalg.inv(precision), [np.array(P.diff(entry), float) for entry in entries]
    np.testing.assert_allclose(F[:3, :3], precision)
    np.testing.assert_allclose(F[3:, 3:], [[np.trace(S @ u @ S @ v) / 2 for u in turned] for v in turned], rtol=1e-10)
    np.testing.assert_allclose(F[:3, 3:], 0, atol=1e-12)


@pytest.mark.slow
def test_three_dimensions_in_the_covariance() -> None:
    mean, covariance = sp.Matrix(sp.symbols("mu1:4", real=True)), symmetric("S", 3)
    made = joint_normal((x1, x2, x3), mean, covariance)
    at = dict(zip(made.symbols, [2.0, 0.3, -0.2, 1.5, 0.4, 1.0, 0, 0, 0], strict=True))
    expected = gaussian_formula(mean, covariance, made.symbols).subs(at)
    np.testing.assert_allclose(
        np.array(fk.expected_information(made).dense().subs(at), float), np.array(expected, float), atol=1e-10
    )


# -- joint variables of sympy.stats


def test_a_bivariate_normal_of_sympy_stats() -> None:
    """Correlation and standard deviations: Anderson (2003), section 4.2; the mean has the precision."""
    mu, nu, rho = sp.symbols("mu nu rho", real=True)
    covariance = sp.Matrix([[a**2, rho * a * b], [rho * a * b, b**2]])
    F = fk.expected_information(sympy.stats.MultivariateNormal("X", [mu, nu], covariance.tolist()))
    assert F.parameters.names == ("mu", "nu", "a", "b", "rho")
    c = 1 - rho**2
    spread = sp.Matrix(
        [
            [(2 - rho**2) / a**2, -(rho**2) / (a * b), -rho / a],
            [-(rho**2) / (a * b), (2 - rho**2) / b**2, -rho / b],
            [-rho / a, -rho / b, (1 + rho**2) / c],
        ]
    )
    assert sp.simplify(F.dense() - sp.diag(covariance.inv(), spread / c)) == sp.zeros(5, 5)


def test_a_component_and_a_law_on_a_surface_are_refused() -> None:
    with pytest.raises(fk.errors.MethodError, match=r"X\[0\] is not a sympy\.stats variable with a density of its own"):
        as_model(sympy.stats.MultivariateNormal("X", [a, 0], [[1, 0], [0, 1]])[0])
    with pytest.raises(fk.errors.RegularityError, match=r"has mass .* over its support at this point, not 1"):
        fk.expected_information(sympy.stats.Multinomial("M", 3, p1, p2))  # the cells' sum is not in the declared support
