"""A formula as a function of arrays, and in a paper."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.special
import sympy as sp
from sympy import stats

import fisherkit as fk
from fisherkit.formulas import Walk
from tests.symbolic.families import ROWS, family

k, t, mu = sp.symbols("k theta mu", positive=True)
m = sp.Symbol("m", real=True)
QUICK = {"Gamma", "Kumaraswamy", "StudentT", "VonMises", "Davis"}


@pytest.fixture(scope="module")
def gamma() -> fk.FisherInformation:
    return fk.expected_information(stats.Gamma("X", k, t))


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative to the roots of the diagonal."""
    root = np.sqrt(np.diagonal(expected))
    return float(np.max(np.abs(found - expected) / np.outer(root, root)))


def test_a_hundred_thousand_points_at_once(gamma: fk.FisherInformation) -> None:
    rng = np.random.default_rng(0)
    shape, scale = rng.uniform(0.5, 9, (2, 100_000))
    out = gamma.lambdify()(k=shape, theta=scale)
    assert out.shape == (100_000, 2, 2)
    np.testing.assert_allclose(out[:, 0, 0], scipy.special.polygamma(1, shape), rtol=1e-12)
    np.testing.assert_allclose(out[:, 0, 1], 1 / scale, rtol=1e-14)
    np.testing.assert_allclose(out[:, 1, 0], 1 / scale, rtol=1e-14)
    np.testing.assert_allclose(out[:, 1, 1], shape / scale**2, rtol=1e-14)


def test_arrays_broadcast_and_numbers_give_one_matrix(gamma: fk.FisherInformation) -> None:
    F = 10 * gamma
    values = F.lambdify()
    assert values(k=np.ones((3, 1)), theta=np.ones(2)).shape == (3, 2, 2, 2)
    np.testing.assert_allclose(values(k=2.5, theta=0.5), F.at(k=2.5, theta=0.5).dense(), rtol=1e-14)
    np.testing.assert_allclose(values({k: 2.5, "theta": 0.5}), values(k=2.5, theta=0.5))


def test_a_constant_information_takes_the_shape_of_its_points() -> None:
    F = fk.FisherInformation(sp.Matrix([[4]]), parameters=("mu",))
    assert F.lambdify()(mu=np.zeros((2, 3))).shape == (2, 3, 1, 1)
    assert F.lambdify()().tolist() == [[4.0]]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in sorted(ROWS) if family(name).upper]
)
def test_every_published_formula_at_scattered_points(name: str) -> None:
    """Against F.at, which works with 40 digits and more."""
    row, rng = family(name), np.random.default_rng(3)
    F = fk.FisherInformation(row.matrix(), parameters=row.parameters)
    first = np.array([float(value) for value in row.points[0]])
    points = np.vstack([first * rng.uniform(0.8, 1.25, (20, len(first))), *(np.array(p, dtype=float) for p in row.points)])
    found = F.lambdify()({symbol: points[:, i] for i, symbol in enumerate(row.parameters)})
    for at, matrix in zip(points, found, strict=True):
        expected = np.array(F.at(dict(zip(row.parameters, at, strict=True))).dense(), dtype=float)
        assert error(matrix, expected) < 1e-9


def test_near_terms_that_cancel_keep_their_digits() -> None:
    """trigamma(mu) - 1/mu = 1/(2 mu^2) + 1/(6 mu^3) - ...: float64 alone loses all digits but eight at 1e7."""
    F = fk.FisherInformation([[sp.polygamma(1, mu) - 1 / mu]], parameters=(mu,))
    at = np.array([1e5, 1e6, 1e7])
    expected = 1 / (2 * at**2) + 1 / (6 * at**3)
    np.testing.assert_allclose(F.lambdify()(mu=at)[:, 0, 0], expected, rtol=1e-9)  # the accuracy promised
    np.testing.assert_allclose([float(F.at(mu=value)) for value in at], expected, rtol=1e-14)
    with np.errstate(all="ignore"):
        plain = scipy.special.polygamma(1, at) - 1 / at
    assert abs(plain[2] / expected[2] - 1) > 1e-10  # the trap is there


def test_what_overflows_on_the_way_is_done_again() -> None:
    """Bessel functions of a large concentration overflow; their ratio is nearly 1."""
    ratio = sp.besseli(1, k) / sp.besseli(0, k)
    F = fk.FisherInformation([[k * ratio]], parameters=(k,))
    at = np.array([1.0, 2000.0])
    np.testing.assert_allclose(F.lambdify()(k=at)[:, 0, 0], at * scipy.special.i1e(at) / scipy.special.i0e(at), rtol=1e-12)


@pytest.mark.parametrize(
    "entry",
    [
        sp.expint(1, k) * sp.exp(k),
        sp.uppergamma(-1, k),
        sp.lowergamma(k, 2),
        sp.zeta(k + 1, 3),
        sp.beta(k, 2),
        sp.erfc(k),
        sp.besselk(0, k),
        sp.Max(k, 2) + sp.Abs(k - 3),
        sp.tanh(k) + sp.sech(k) + sp.coth(k) + sp.csch(k),
        sp.meijerg([[], [1, 1]], [[0, 0, 0], []], k),
        sp.LambertW(k),
        sp.polylog(2, k / 9),
        sp.diff(sp.log(sp.zeta(k + 1)), k, 2),
        sp.Piecewise((k, k < 2), (k**2, True)),
        sp.loggamma(k) ** 2 + sp.factorial(k) + sp.Ei(k),
        sp.acos(k / 9) + sp.log(k) ** 2 + sp.sqrt(k),
    ],
    ids=str,
)
def test_functions(entry: Any) -> None:
    F = fk.FisherInformation([[entry]], parameters=(k,))
    at = np.array([0.3, 1.7, 4.4])
    expected = [float(F.at(k=value)) for value in at]
    np.testing.assert_allclose(F.lambdify()(k=at)[:, 0, 0], expected, rtol=1e-9)


# -- outside


def test_conditions_of_entries_hold_at_each_point() -> None:
    F = fk.FisherInformation([[sp.Piecewise((k**2, k > 1))]], parameters=(k,))
    with pytest.raises(
        fk.errors.DataError, match=r"1 of 3 points are outside the domain of the formula, the first, of index \(2,\)"
    ):
        F.lambdify()(k=[3.0, 2.0, 0.5])
    found = F.lambdify(outside="nan")(k=[3.0, 2.0, 0.5])[:, 0, 0]
    np.testing.assert_array_equal(found, [9.0, 4.0, np.nan])
    with pytest.raises(fk.errors.DataError, match="must be finite"):
        F.at(k=0.5)


@pytest.mark.parametrize(
    ("variable", "outside"),
    [
        (stats.Geometric("X", k), 1.5),  # negative
        (stats.Logarithmic("X", k), 1.5),  # complex
        (stats.Zeta("X", k), 1.0),  # a pole
        (stats.Poisson("X", k), -1.0),  # not positive
        (stats.Poisson("X", k), np.inf),
        (stats.Poisson("X", k), np.nan),
    ],
)
def test_points_outside_the_domain(variable: Any, outside: float) -> None:
    F = fk.expected_information(variable)
    with pytest.raises(fk.errors.DataError, match=r"outside the domain of the formula, the first: k="):
        F.lambdify()(k=outside)
    assert np.isnan(F.lambdify(outside="nan")(k=outside)).all()


def test_refused_by_name(gamma: fk.FisherInformation) -> None:
    values = gamma.lambdify()
    with pytest.raises(fk.errors.LayoutError, match="missing: theta"):
        values(k=1.0)
    with pytest.raises(fk.errors.LayoutError, match="unknown: q"):
        values(k=1.0, theta=1.0, q=2.0)
    with pytest.raises(fk.errors.DataError, match=r"the first, of index \(1,\): k=1, theta=0"):
        values(k=1.0, theta=[1.0, 0.0])
    with pytest.raises(fk.errors.DataError, match="k must be real numbers"):
        values(k="1", theta=1.0)
    with pytest.raises(fk.errors.EntriesError, match=r"F.lambdify\(\) needs expressions; the entries of F are numbers already"):
        gamma.at(k=1.0, theta=1.0).lambdify()
    with pytest.raises(fk.errors.LayoutError, match="outside must be"):
        gamma.lambdify(outside="zero")


def test_an_integer_symbol_takes_integers() -> None:
    n = sp.Symbol("n", integer=True, positive=True)
    F = fk.FisherInformation([[n / (k * (1 - k))]], parameters=(k,))
    assert F.lambdify()(n=5, k=0.5).tolist() == [[20.0]]
    with pytest.raises(fk.errors.DataError, match="outside the domain"):
        F.lambdify()(n=5.5, k=0.5)


def test_names_never_become_source() -> None:
    evil = sp.Symbol("__import__('os').abort()", positive=True)
    F = fk.FisherInformation([[evil**2]], parameters=(evil,))
    assert F.lambdify()({evil: 3.0}).tolist() == [[9.0]]


def test_the_error_bound_holds() -> None:
    """Of each part, against 40 digits."""
    entry = sp.exp(-k) * (sp.polygamma(1, k) - 1 / k) + sp.log(k) ** 3 / (k - sp.Rational(1, 3))
    at = np.linspace(0.34, 40, 60)
    value, bound = Walk({k: at}, at.size).bounded(entry)
    exact = [sp.sympify(entry).subs(k, sp.Rational(x)).evalf(30) for x in at]
    assert all(abs(sp.Float(v, 30) - e) <= b for v, e, b in zip(value, exact, bound, strict=True))


# -- in a paper


def test_in_a_paper(gamma: fk.FisherInformation) -> None:
    text = gamma.latex()
    assert re.match(r"\\begin\{pmatrix\}.*\\end\{pmatrix\}$", text)
    assert r"\frac{k}{\theta^{2}}" in text
    with pytest.raises(fk.errors.EntriesError, match=r"F.latex\(\) needs expressions"):
        gamma.at(k=1.0, theta=1.0).latex()
