"""Connection and curvature against hand-computed tables, SymPy's own, and the literature."""

import mpmath
import numpy as np
import pytest
import sympy as sp
from sympy.diffgeom import CoordSystem, Manifold, Patch, TensorProduct, metric_to_Christoffel_2nd

import fisherkit as fk
from fisherkit import geometry
from tests.geometry.families import BETA, CATEGORICAL, GAMMA, INVERSE_GAUSSIAN, MU, NORMAL, SIGMA, THETA, WEIBULL, A, B, K

TWO = {"normal": NORMAL, "gamma": GAMMA, "beta": BETA, "weibull": WEIBULL, "inverse gaussian": INVERSE_GAUSSIAN}


def test_the_connection_of_the_normal_by_hand() -> None:
    """Amari & Nagaoka (2000), example 2.1, with alpha = 0."""
    gamma = geometry.christoffel(NORMAL)
    assert gamma[0].tolist() == [[0, -1 / SIGMA], [-1 / SIGMA, 0]]
    assert gamma[1].tolist() == [[1 / (2 * SIGMA), 0], [0, -1 / SIGMA]]
    lower = geometry.christoffel(NORMAL, kind="first")
    assert lower[1, 0, 0] == SIGMA**-3
    assert lower[1, 1, 1] == -2 * SIGMA**-3


@pytest.mark.parametrize("family", ["normal", "gamma", "inverse gaussian"])
def test_the_connection_is_that_of_sympy(family: str) -> None:
    F = TWO[family]
    x, y = {"normal": (MU, SIGMA), "gamma": (K, THETA), "inverse gaussian": (A, B)}[family]
    chart = CoordSystem("c", Patch("p", Manifold(f"m{x}{y}", 2)), [x, y])
    here = dict(zip((x, y), chart.base_scalars(), strict=True))
    form = sum(
        F.dense()[i, j].xreplace(here) * TensorProduct(chart.base_oneforms()[i], chart.base_oneforms()[j])
        for i in range(2)
        for j in range(2)
    )
    theirs, ours = metric_to_Christoffel_2nd(form), geometry.christoffel(F)
    at = {here[x]: 1.3, here[y]: 0.7}
    for index in np.ndindex(2, 2, 2):
        expected = sp.sympify(theirs[index]).subs(at).evalf()
        assert float(ours[index].subs({x: 1.3, y: 0.7})) == pytest.approx(float(expected), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("F", [NORMAL, WEIBULL, INVERSE_GAUSSIAN], ids=["normal", "weibull", "inverse gaussian"])
def test_constant_curvature(F: fk.FisherInformation) -> None:
    """Half-planes: the normal has R = -1, Gaussian curvature -1/2 (Atkinson & Mitchell 1981); the Weibull -6/pi^2."""
    R = geometry.scalar_curvature(F)
    assert R.free_symbols == set()
    expected = {"WEIBULL": -12 / sp.pi**2}.get("WEIBULL" if F is WEIBULL else "", -1)
    assert sp.simplify(R - expected) == 0
    assert sp.simplify(geometry.scalar_curvature(7 * F) - sp.sympify(expected) / 7) == 0


def test_the_gamma_and_the_beta_family() -> None:
    """Gamma: Arwini & Dodson (2008), Information Geometry, section 3.4; it tends to -1/2 for small k, to -1 for large."""
    R = geometry.scalar_curvature(GAMMA)
    one, two = sp.polygamma(1, K), sp.polygamma(2, K)
    assert sp.expand(sp.together(R / ((one + K * two) / (2 * (K * one - 1) ** 2))) - 1) == 0
    limits = [float(sp.lambdify(K, R, modules="mpmath")(mpmath.mpf(k))) for k in (1e-4, 1e3)]
    assert limits == pytest.approx([-0.5, -1], abs=2e-3)
    assert all(geometry.scalar_curvature(BETA, [a, b]) < 0 for a in (0.1, 1, 20) for b in (0.3, 5))  # Le Brigant et al. 2021


def test_the_sphere_is_positive() -> None:
    """Categorical distributions lie on a sphere of radius 2: sectional curvature 1/4, scalar 3 * 2 / 4."""
    trinomial = fk.FisherInformation(sp.diag(1 / A, 1 / B) + sp.ones(2, 2) / (1 - A - B), parameters=(A, B))
    assert geometry.scalar_curvature(trinomial) == sp.Rational(1, 2)
    at = {"p1": 0.1, "p2": 0.3, "p3": 0.2}
    assert geometry.sectional_curvature(CATEGORICAL, [1, 2, 3], "p2", point=at) == pytest.approx(0.25)
    assert geometry.scalar_curvature(CATEGORICAL, at) == pytest.approx(1.5)


@pytest.mark.parametrize("family", TWO)
def test_a_formula_at_a_point_and_a_function_agree(family: str) -> None:
    F, point = TWO[family], {name: 1.3 + 0.4 * k for k, name in enumerate(TWO[family].parameters.names)}
    whole = geometry.scalar_curvature(F)
    expected = float(whole.subs({s: point[s.name] for s in whole.free_symbols}))
    assert geometry.scalar_curvature(F, point) == pytest.approx(expected, rel=1e-9)
    assert geometry.scalar_curvature(lambda theta: F.at(theta), point) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        geometry.christoffel(lambda theta: F.at(theta), point), geometry.christoffel(F, point), rtol=1e-7, atol=1e-8
    )


def test_a_plane_in_symbols() -> None:
    assert geometry.sectional_curvature(NORMAL, [1, 2], "sigma") == -sp.Rational(1, 2)
    with pytest.raises(fk.errors.DataError, match="span no plane"):
        geometry.sectional_curvature(NORMAL, [1, 2], [2, 4])
    with pytest.raises(fk.errors.LayoutError, match="unknown parameter tau"):
        geometry.sectional_curvature(NORMAL, "mu", "tau")


def test_what_has_no_connection() -> None:
    with pytest.raises(fk.errors.EntriesError, match="taken at mu=0, sigma=2"):
        geometry.christoffel(NORMAL.at(mu=0, sigma=2))
    with pytest.raises(fk.errors.EntriesError, match="numbers at one point"):
        geometry.scalar_curvature(fk.FisherInformation([[1.0]], parameters=("a",)))
    a, b = sp.symbols("a b", positive=True)
    flat = fk.FisherInformation([[a**2, a * b], [a * b, b**2]], parameters=(a, b))
    for verb in (geometry.christoffel, geometry.scalar_curvature):
        with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
            verb(flat)
        with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
            verb(flat, [1.0, 2.0])
    with pytest.raises(fk.errors.DataError, match=r"sigma = -1\.\d* is outside its domain"):
        geometry.christoffel(NORMAL, [0.0, -1.0])
    with pytest.raises(fk.errors.LayoutError, match="needs a point"):
        geometry.scalar_curvature(lambda theta: NORMAL.at(theta))
    with pytest.raises(fk.errors.MethodError, match="'first' or 'second'"):
        geometry.christoffel(NORMAL, kind="third")
    with pytest.raises(fk.errors.LayoutError, match="takes a FisherInformation or a function"):
        geometry.christoffel(sp.eye(2))
