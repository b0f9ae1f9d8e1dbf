"""Models made from models, each compared with a formula of its own or with float64 sums and integrals."""

import numpy as np
import pytest
import scipy.stats
import sympy as sp
from sympy import Abs, exp, oo, stats

import fisherkit as fk

x, y, m = sp.symbols("x y m", real=True)
s, lam, k, th, t, c, p = sp.symbols("s lam k th t c p", positive=True)
n = sp.Symbol("n", positive=True, integer=True)
NORMAL = fk.symbolic.Model(
    exp(-(((x - m) / s) ** 2) / 2) / (s * sp.sqrt(2 * sp.pi)), data=x, parameters=(m, s), support=(-oo, oo)
)
EXPONENTIAL = fk.symbolic.as_model(stats.Exponential("X", lam))
POISSON = fk.symbolic.as_model(stats.Poisson("X", lam))
GAMMA = fk.symbolic.as_model(stats.Gamma("X", k, th))


def information(model, **at):
    F = fk.expected_information(model)
    return F.at(**at).dense() if at else F.dense()


def same(one, other) -> bool:
    """Equal as functions: by simplification, or at two points to 30 digits where that does not see it."""
    gap = (sp.Matrix(one) - sp.Matrix(other)).applyfunc(sp.simplify)
    points = [{z: sp.Rational(3 + i, q) for i, z in enumerate(sorted(gap.free_symbols, key=str))} for q in (5, 7)]
    return gap.is_zero_matrix or all(abs(e.subs(at).evalf(30)) < 1e-28 for e in gap for at in points)


def test_a_sample() -> None:
    F = fk.expected_information(NORMAL.iid(n))
    assert same(F.dense(), sp.diag(n / s**2, 2 * n / s**2))
    assert F.n == n
    assert F.per_observation().dense() == information(NORMAL)
    np.testing.assert_allclose(fk.expected_information(NORMAL.iid(5), {"m": 0, "s": 2}).dense(), np.diag([1.25, 2.5]))


def test_a_product_shares_what_is_shared() -> None:
    """A mean observed twice, with two spreads."""
    u = sp.Symbol("u", positive=True)
    other = fk.symbolic.Model(
        exp(-(((y - m) / u) ** 2) / 2) / (u * sp.sqrt(2 * sp.pi)), data=y, parameters=(m, u), support=(-oo, oo)
    )
    F = fk.expected_information(NORMAL * other)
    assert F.parameters.names == ("m", "s", "u")
    assert same(F.dense(), sp.diag(1 / s**2 + 1 / u**2, 2 / s**2, 2 / u**2))
    G = fk.expected_information((NORMAL.iid(3) * other).iid(n), {"m": 0, "s": 1, "u": 2})
    assert same(G.dense(), n * sp.diag(3.25, 6, 0.5))


def test_data_of_a_product() -> None:
    both = NORMAL.iid(2) * EXPONENTIAL
    rows, at = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, 0.3]]), {"m": 0.2, "s": 1.5, "lam": 0.7}
    normal, exponential = {"m": 0.2, "s": 1.5}, {"lam": 0.7}
    parts = [fk.score(NORMAL, normal, data=rows[:, 0]) + fk.score(NORMAL, normal, data=rows[:, 1])]
    expected = np.column_stack([*parts, fk.score(EXPONENTIAL, exponential, data=rows[:, 2])])
    np.testing.assert_allclose(fk.score(both, at, data=rows), expected)
    np.testing.assert_allclose(fk.empirical_information(both, at, data=rows).dense(), expected.T @ expected)
    observed = fk.observed_information(both, at, data=rows).dense()
    np.testing.assert_allclose(observed[:2, :2], fk.observed_information(NORMAL, normal, data=rows[:, :2].ravel()).dense())
    assert observed[2, 2] == pytest.approx(2 / 0.49)


def test_what_is_known() -> None:
    assert same(information(NORMAL.given(s=2)), [[sp.Rational(1, 4)]])
    assert same(information((NORMAL * EXPONENTIAL).given(s=2)), sp.diag(sp.Rational(1, 4), 1 / lam**2))


def test_truncation() -> None:
    """Positive counts only: (1/lam - 1/(e^lam - 1)) / (1 - e^-lam)."""
    mass = 1 - exp(-lam)
    assert same(information(POISSON.truncated(1)), [[(1 / lam - exp(-lam) / mass) / mass]])
    assert same(information(EXPONENTIAL.truncated(high=c)), [[1 / lam**2 - c**2 * exp(c * lam) / (exp(c * lam) - 1) ** 2]])
    found = information(NORMAL.truncated(0, oo), m=0.5, s=1.5)
    np.testing.assert_allclose(found, _by_sums(scipy.stats.truncnorm, np.linspace(0, 20, 200_001)), rtol=1e-5)


def _by_sums(family, grid):
    """A truncated normal's information by the trapezoidal rule on differences of its log-density."""

    def log_density(m, s):
        return family.logpdf(grid, -m / s, np.inf, loc=m, scale=s)

    step = 1e-4
    score = [
        (log_density(0.5 + step, 1.5) - log_density(0.5 - step, 1.5)) / (2 * step),
        (log_density(0.5, 1.5 + step) - log_density(0.5, 1.5 - step)) / (2 * step),
    ]
    density = np.exp(log_density(0.5, 1.5))
    return np.array([[np.trapezoid(a * b * density, grid) for b in score] for a in score])


def test_truncation_of_a_power_law_times_an_exponential() -> None:
    """A gamma variable seen above 1: incomplete gamma functions and their derivatives, against float64 quadrature."""
    F = information(GAMMA.truncated(1, oo), k=2.5, th=0.8)
    numbers = fk.expected_information(GAMMA.truncated(1, oo), {"k": 2.5, "th": 0.8}, method=fk.Quadrature(digits=10)).dense()
    np.testing.assert_allclose(F, numbers, rtol=1e-9)


def test_censoring() -> None:
    assert same(information(EXPONENTIAL.censored(high=c)), [[(1 - exp(-c * lam)) / lam**2]])
    tail = 1 - sum(lam**i * exp(-lam) / sp.factorial(i) for i in range(3))
    masses = [lam**i * exp(-lam) / sp.factorial(i) for i in range(3)] + [tail]
    assert same(information(POISSON.censored(high=3)), [[sum(sp.diff(q, lam) ** 2 / q for q in masses)]])


def test_bins() -> None:
    chances = [1 - exp(-lam), exp(-lam) - exp(-2 * lam), exp(-2 * lam)]
    assert same(information(EXPONENTIAL.binned([1, 2])), [[sum(sp.diff(q, lam) ** 2 / q for q in chances)]])
    first = exp(-lam) + lam * exp(-lam)
    assert same(information(POISSON.binned([1])), [[sp.diff(first, lam) ** 2 * (1 / first + 1 / (1 - first))]])


@pytest.mark.parametrize("statistic", [exp(x), 2 * x + 1, -x, sp.tanh(x), x + exp(x), x**3 + x])
def test_a_monotone_map_changes_nothing(statistic) -> None:
    image = t if statistic == exp(x) else y
    model = NORMAL.pushforward(statistic, image)
    found = fk.expected_information(model, {"m": 0.3, "s": 1.2}, method=fk.Quadrature(digits=8)).dense()
    np.testing.assert_allclose(found, np.diag([1, 2]) / 1.44, atol=1e-7)


def test_the_density_of_an_image() -> None:
    """exp of a normal variable is log-normal: scipy's own density."""
    model = NORMAL.pushforward(exp(x), t)
    values = np.array([0.2, 1.0, 3.0])
    density = sp.lambdify(t, exp(model.log_density.subs({m: 0.3, s: 1.2})))(values)
    np.testing.assert_allclose(density, scipy.stats.lognorm.pdf(values, 1.2, scale=np.exp(0.3)))


def test_a_fold_keeps_what_is_even() -> None:
    """x^2 is sufficient for the spread about a known mean 0, |x| for a Laplace scale; about another mean something is lost."""
    assert same(information(NORMAL.given(m=0).pushforward(x**2, t)), [[2 / s**2]])
    laplace = fk.symbolic.as_model(stats.Laplace("X", 0, s))
    assert same(information(laplace.pushforward(Abs(laplace.data[0]), t)), [[1 / s**2]])
    folded = NORMAL.given(s=1).pushforward(x**2, t)
    kept = float(fk.expected_information(folded, {"m": 1}))
    assert 0.1 < kept < 0.9


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NORMAL.given(tau=2), fk.errors.LayoutError, "got tau; the density holds m, s"),
        (lambda: (NORMAL * EXPONENTIAL).given(tau=2), fk.errors.LayoutError, "got tau; the densities hold lam, m, s"),
        (lambda: NORMAL.given(s=-1), fk.errors.DataError, "outside its domain"),
        (lambda: NORMAL.iid(0), fk.errors.LayoutError, "positive integer"),
        (lambda: NORMAL.iid(2.5), fk.errors.LayoutError, "positive integer"),
        (lambda: NORMAL.iid(k), fk.errors.LayoutError, "positive integer"),
        (lambda: NORMAL.truncated(), fk.errors.LayoutError, "low or high must cut"),
        (lambda: EXPONENTIAL.truncated(-2, -1), fk.errors.LayoutError, "lies outside the support"),
        (lambda: EXPONENTIAL.truncated(3, 2), fk.errors.LayoutError, "low < high"),
        (lambda: NORMAL.pushforward(m, y), fk.errors.DataError, "does not depend on x"),
        (lambda: NORMAL.pushforward(sp.sin(x), y), fk.errors.MethodError, "has no limit|could not be solved|folds"),
        (lambda: POISSON.pushforward(POISSON.data[0] ** 2, y), fk.errors.MethodError, "labels"),
        (lambda: NORMAL.pushforward(x**2 * (x - 3), y), fk.errors.MethodError, "folds the support onto different intervals"),
    ],
)
def test_refusals(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_data_of_a_sample_whose_size_is_a_symbol() -> None:
    with pytest.raises(fk.errors.DataError, match="data need a number"):
        fk.score(NORMAL.iid(n), {"m": 0, "s": 1}, data=[[1.0]])
    with pytest.raises(fk.errors.DataError, match="3 columns; got shape"):
        fk.score(NORMAL.iid(3), {"m": 0, "s": 1}, data=[[1.0, 2.0]])
    with pytest.raises(fk.errors.LayoutError, match="theta names q; the densities hold m, s"):
        fk.expected_information(NORMAL.iid(3), {"m": 0, "s": 1, "q": 2})


def test_one_name_two_symbols() -> None:
    other = fk.symbolic.as_model(stats.Exponential("X", sp.Symbol("m", positive=True)))
    with pytest.raises(fk.errors.LayoutError, match="m is a symbol with different assumptions"):
        NORMAL * other
