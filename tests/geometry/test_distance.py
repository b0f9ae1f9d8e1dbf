"""Fisher-Rao distances: closed forms of the literature, the geodesics that they must equal, and each route's refusals."""

from itertools import combinations

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from fisherkit import geometry
from tests.geometry.families import (
    BERNOULLI,
    BETA,
    CATEGORICAL,
    GAMMA,
    INVERSE_GAUSSIAN,
    MU,
    NORMAL,
    POISSON,
    RATE,
    SIGMA,
    WEIBULL,
    K,
)


def hellinger(p: list[float], q: list[float]) -> float:
    full = [np.array([*cells, 1 - sum(cells)]) for cells in (p, q)]
    return float(2 * np.arccos(np.sqrt(full[0] * full[1]).sum()))


def costa(a: list[float], b: list[float]) -> float:
    """Costa, Santos & Strapasson (2015), equation (4)."""
    f = np.sqrt(((a[0] - b[0]) ** 2 + 2 * (a[1] - b[1]) ** 2) * ((a[0] - b[0]) ** 2 + 2 * (a[1] + b[1]) ** 2))
    return float(np.sqrt(2) * np.log((f + (a[0] - b[0]) ** 2 + 2 * (a[1] ** 2 + b[1] ** 2)) / (4 * a[1] * b[1])))


TABLE = {
    "normal": (NORMAL, [1.0, 0.5], [3.0, 2.0], costa, "half-plane"),
    "normal, equal means": (NORMAL, [1.0, 0.5], [1.0, 2.0], lambda a, b: np.sqrt(2) * np.log(b[1] / a[1]), "half-plane"),
    "poisson": (POISSON, [4.0], [9.0], lambda a, b: 2 * abs(b[0] ** 0.5 - a[0] ** 0.5), "line"),
    "bernoulli": (BERNOULLI, [0.2], [0.7], hellinger, "simplex"),
    "categorical": (CATEGORICAL, [0.1, 0.2, 0.3], [0.25, 0.25, 0.25], hellinger, "simplex"),
}


@pytest.mark.parametrize("case", TABLE)
def test_closed_forms_of_the_literature(case: str) -> None:
    F, a, b, expected, route = TABLE[case]
    found = geometry.distance(F, a, b)
    assert (found.route, found.error) == (route, None)
    assert float(found) == pytest.approx(expected(a, b), rel=1e-13)
    assert float(geometry.distance(F, b, a)) == pytest.approx(float(found), rel=1e-13)
    assert float(geometry.distance(4 * F, a, b)) == pytest.approx(2 * float(found), rel=1e-13)  # sqrt(n)


@pytest.mark.parametrize(
    ("F", "a", "b"),
    [
        (NORMAL, [1.0, 0.5], [3.0, 2.0]),
        (WEIBULL, [1.0, 2.0], [2.0, 3.0]),
        (INVERSE_GAUSSIAN, [1.0, 2.0], [2.0, 3.0]),
        (CATEGORICAL, [0.1, 0.2, 0.3], [0.25, 0.25, 0.25]),
        (POISSON, [1.0], [9.0]),
    ],
    ids=["normal", "weibull", "inverse gaussian", "categorical", "poisson"],
)
def test_a_closed_form_is_the_length_of_the_geodesic(F: fk.FisherInformation, a: list[float], b: list[float]) -> None:
    path = geometry.geodesic(F, a, b)
    assert path.error < 1e-8
    assert path.length == pytest.approx(float(geometry.distance(F, a, b)), rel=1e-9)
    np.testing.assert_allclose(path.points[[0, -1]], [a, b], rtol=1e-8)


def test_symbols_in_symbols_out() -> None:
    assert sp.simplify(geometry.distance(POISSON, [RATE], [4 * RATE]).value - 2 * sp.sqrt(RATE)) == 0
    found = geometry.distance(NORMAL, [MU, SIGMA], [MU, K * SIGMA]).value
    assert float(found.subs({K: 3, SIGMA: 2})) == pytest.approx(np.sqrt(2) * np.log(3))
    constant = fk.FisherInformation(sp.Matrix([[4, 1], [1, 2]]), parameters=("a", "b"))
    assert geometry.distance(constant, [0, 0], [MU, 0]).value == 2 * sp.Abs(MU)
    with pytest.raises(fk.errors.MethodError, match="no closed form of the distance"):
        geometry.distance(GAMMA, [K, 1], [2 * K, 1])


def test_independent_blocks_add_in_squares() -> None:
    """A Poisson count beside a normal sample beside a shape parameter."""
    joint = fk.FisherInformation(
        sp.diag(1 / RATE, *NORMAL.dense().diagonal(), sp.polygamma(1, K)), parameters=(RATE, MU, SIGMA, K)
    )
    found = geometry.distance(joint, [4.0, 1.0, 0.5, 1.0], [9.0, 3.0, 2.0, 2.0])
    shape = geometry.distance(joint.fix("rate", "mu", "sigma"), [1.0], [2.0])
    assert found.route == "line+half-plane"
    assert shape.error is not None
    assert shape.error < 1e-9
    assert float(found) == pytest.approx(np.hypot(np.hypot(2.0, costa([1.0, 0.5], [3.0, 2.0])), float(shape)), rel=1e-12)


def test_without_a_closed_form_it_is_a_metric() -> None:
    """Gamma: symmetric, below the straight line, the triangle inequality, and equal in other parameters."""
    points = [[1.0, 2.0], [5.0, 0.3], [2.0, 1.0]]
    d = {(i, j): geometry.distance(GAMMA, points[i], points[j]) for i, j in combinations(range(3), 2)}
    assert all(one.route == "geodesic" and one.error < 1e-8 for one in d.values())
    assert float(d[0, 1]) < float(d[0, 2]) + float(d[1, 2])
    back = geometry.distance(GAMMA, points[1], points[0])
    assert float(back) == pytest.approx(float(d[0, 1]), rel=1e-9)
    m = sp.Symbol("m", positive=True)
    by_mean = GAMMA.reparametrize((K, m), {"theta": m / K})
    moved = geometry.distance(by_mean, [1.0, 2.0], [5.0, 1.5])
    assert float(moved) == pytest.approx(float(d[0, 1]), rel=1e-9)


def test_a_function_of_the_point_serves_as_well() -> None:
    def normal(theta: np.ndarray) -> fk.FisherInformation:
        return fk.FisherInformation(np.diag([1.0, 2.0]) / theta[1] ** 2, parameters=("mu", "sigma"))

    found = geometry.distance(normal, [0.0, 1.0], [0.5, 1.5])
    exact = costa([0.0, 1.0], [0.5, 1.5])
    assert found.route == "geodesic"
    assert abs(float(found) - exact) < max(3 * found.error, 1e-9)


def test_covariances_of_equal_mean() -> None:
    """Atkinson & Mitchell (1981): sqrt(half the sum of squared log eigenvalues), whatever the units of the data."""
    rng = np.random.default_rng(0)
    first, second, units = (rng.normal(size=(3, 3)) for _ in range(3))
    first, second = first @ first.T, second @ second.T
    d = geometry.covariance_distance(first, second)
    assert geometry.covariance_distance(units @ first @ units.T, units @ second @ units.T) == pytest.approx(d, rel=1e-9)
    assert geometry.covariance_distance(second, first) == pytest.approx(d, rel=1e-12)
    assert geometry.covariance_distance([[0.25]], [[4.0]]) == pytest.approx(float(geometry.distance(NORMAL, [0, 0.5], [0, 2.0])))
    with pytest.raises(fk.errors.DataError, match="second must be positive definite; its lowest eigenvalue is -1"):
        geometry.covariance_distance(np.eye(2), np.diag([1.0, -1.0]))
    with pytest.raises(fk.errors.DataError, match="first must be symmetric"):
        geometry.covariance_distance([[1.0, 0.5], [0.0, 1.0]], np.eye(2))
    with pytest.raises(fk.errors.LayoutError, match="one shape"):
        geometry.covariance_distance(np.eye(2), np.eye(3))


def test_a_geodesic_by_its_velocity() -> None:
    """With the mean held, log sigma moves at constant speed."""
    path = geometry.geodesic(NORMAL, {"mu": 0, "sigma": 1}, velocity=[0, -3], points=5)
    np.testing.assert_allclose(path.points[:, 1], np.exp(-3 * np.linspace(0, 1, 5)), rtol=1e-9)
    assert path.length == pytest.approx(3 * np.sqrt(2))
    same = geometry.geodesic(NORMAL, [0.0, 1.0], [0.0, 1.0])
    assert (same.length, same.error) == (0.0, 0.0)


def test_points_outside_the_domain() -> None:
    with pytest.raises(fk.errors.DataError, match=r"b \(p=1.7\) is outside the domain: .* not positive definite"):
        geometry.distance(BERNOULLI, [0.2], [1.7])
    with pytest.raises(fk.errors.DataError, match=r"b .* is outside the domain"):
        geometry.distance(CATEGORICAL, [0.1, 0.2, 0.3], [0.5, 0.25, 0.35])
    with pytest.raises(fk.errors.DataError, match="the symbol is declared positive"):
        geometry.distance(NORMAL, [0.0, -1.0], [0.0, 1.0])
    with pytest.raises(fk.errors.DataError, match="leaves the domain"):
        geometry.geodesic(BERNOULLI, [0.5], velocity=[3.0])
    s = sp.Symbol("s", real=True)
    for F, ends in (
        (fk.FisherInformation([[1 / s**2]], parameters=(s,)), ([-1.0], [2.0])),
        (fk.FisherInformation(sp.diag(s**-2, 2 * s**-2), parameters=(MU, s)), ([0.0, -1.0], [0.0, 2.0])),
    ):
        with pytest.raises(fk.errors.PrecisionError, match="domain between them is not connected"):
            geometry.distance(F, *ends)


def test_what_cannot_be_measured() -> None:
    with pytest.raises(fk.errors.EntriesError, match=r"Call F.at\(n=...\) first"):
        geometry.distance(sp.Symbol("n", positive=True) * NORMAL, [0, 1], [1, 2])
    with pytest.raises(fk.errors.EntriesError, match="taken at mu=0, sigma=1"):
        geometry.distance(NORMAL.at(mu=0, sigma=1), [0, 1], [1, 2])
    with pytest.raises(fk.errors.LayoutError, match=r"shape \(2,\)"):
        geometry.distance(NORMAL, [0, 1, 2], [1, 2, 3])
    with pytest.raises(fk.errors.LayoutError, match="missing: sigma"):
        geometry.distance(NORMAL, {"mu": 0}, [1, 2])
    with pytest.raises(fk.errors.LayoutError, match="either an end or velocity"):
        geometry.geodesic(BETA, [1.0, 2.0])
    with pytest.raises(fk.errors.EntriesError, match="returned ndarray"):
        geometry.distance(lambda theta: np.eye(2), [0.0, 1.0], [1.0, 2.0])
