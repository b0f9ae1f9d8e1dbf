"""Information from draws alone, beside densities that are known."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

import fisherkit as fk
import fisherkit.sampled  # before doctests are collected: a module that is loaded twice cannot be sent to processes


def normal(theta: Any, size: int, rng: np.random.Generator) -> Any:
    return theta[0] + theta[1] * rng.standard_normal(size)


def uncommon(theta: Any, size: int, rng: np.random.Generator) -> Any:
    """Other random numbers at any other parameters: as noisy as derivatives can be."""
    seed = rng.integers(2**32)
    own = np.random.default_rng([int(seed), *np.asarray(theta).view(np.uint32).tolist()])
    return normal(theta, size, own)


def moments(x: np.ndarray) -> np.ndarray:
    return np.hstack([x, x**2])


def g_and_k(theta: Any, size: int, rng: np.random.Generator) -> Any:
    return quantile(rng.standard_normal(size), *theta)


def quantile(z: Any, a: float, b: float, g: float, k: float) -> Any:
    return a + b * (1 + 0.8 * np.tanh(g * z / 2)) * (1 + z**2) ** k * z


def of_quantiles(theta: np.ndarray) -> np.ndarray:
    """Of a density given by its quantiles: x = Q(z) with z normal, so that log p = log phi(z) - log Q'(z) at fixed x."""
    z = np.linspace(-9, 9, 40_001)
    weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    h = 1e-4
    slope = lambda z, t: (quantile(z + h, *t) - quantile(z - h, *t)) / (2 * h)
    bend = (slope(z + h, theta) - slope(z - h, theta)) / (2 * h)
    columns = []
    for step in h * np.eye(len(theta)):
        moved = (quantile(z, *(theta + step)) - quantile(z, *(theta - step))) / (2 * h)
        steeper = (slope(z, theta + step) - slope(z, theta - step)) / (2 * h)
        z_moved = -moved / slope(z, theta)  # z of a fixed x
        columns.append(-z * z_moved - (steeper + bend * z_moved) / slope(z, theta))
    s = np.stack(columns, axis=1)
    return (s * weights[:, None]).T @ s


NORMAL = {"mu": 0.5, "sigma": 2.0}
EXACT = np.diag([0.25, 0.5])


def simulated(simulate: Any = normal, **given: Any) -> Any:
    return fk.sampled.Simulator(simulate, parameters=("mu", "sigma"), **given)


def test_exact_where_the_features_hold_the_score() -> None:
    """Mean and square of a normal: unbiased, within the error stated."""
    F = fk.expected_information(simulated(features=moments), NORMAL, method=fk.MonteCarlo(20_000, rng=1))
    assert abs((F.dense() - EXACT) / F.mcse).max() < 4
    assert F.mcse.max() < 0.02
    assert (F.n, F.kind, dict(F.point)) == (1, "expected", NORMAL)


@pytest.mark.parametrize("features", [2, 8, 16])
def test_ranks_tighten_from_below(features: int) -> None:
    F = fk.expected_information(simulated(features=features), NORMAL, method=fk.MonteCarlo(40_000, rng=2))
    share = np.diagonal(F.dense()) / np.diagonal(EXACT)
    noise = np.diagonal(F.mcse) / np.diagonal(EXACT)
    floor = {2: 0.5, 8: 0.85, 16: 0.92}[features]
    assert (share > floor).all()
    assert (share < 1 + 4 * noise).all()


def test_a_density_known_by_its_quantiles() -> None:
    """g and k, four parameters: bounds within a few percent."""
    theta = np.array([3.0, 1.0, 2.0, 0.5])
    model = fk.sampled.Simulator(g_and_k, parameters=("A", "B", "g", "k"), features=16)
    F = fk.expected_information(model, theta, method=fk.MonteCarlo(60_000, rng=3))
    exact = np.sqrt(np.diagonal(np.linalg.inv(of_quantiles(theta))))
    ratio = F.standard_errors() / exact
    assert ((ratio > 0.98) & (ratio < 1.06)).all()


def test_two_coordinates_and_their_correlation() -> None:
    def correlated(theta: Any, size: int, rng: np.random.Generator) -> Any:
        e = rng.standard_normal((size, 2))
        return np.stack([e[:, 0], theta[0] * e[:, 0] + np.sqrt(1 - theta[0] ** 2) * e[:, 1]], axis=1)

    model = fk.sampled.Simulator(correlated, parameters=("rho",), features=4)
    F = fk.expected_information(model, {"rho": 0.3}, method=fk.MonteCarlo(40_000, rng=4))
    exact = (1 + 0.3**2) / (1 - 0.3**2) ** 2
    assert 0.8 * exact < float(F) < exact + 4 * float(F.mcse[0, 0])


def test_the_noise_of_derivatives_is_taken_off() -> None:
    """Without common random numbers it doubles the information; subtracted, nothing is left of it on average."""
    given = {"features": moments, "steps": {"mu": 0.3, "sigma": 0.3}}
    found = {}
    for correction in ("subtracted", "none"):
        model = simulated(uncommon, correction=correction, **given)
        each = [fk.expected_information(model, NORMAL, method=fk.MonteCarlo(200, rng=rng)).dense() for rng in range(60)]
        found[correction] = np.mean(each, axis=0), np.std(each, axis=0) / np.sqrt(60)
    mean, error = found["subtracted"]
    assert (abs(mean - EXACT) < 4 * error + 0.02 * 0.5).all()  # and 2 % of the step's own error
    assert (np.diagonal(found["none"][0]) > 1.1 * np.diagonal(EXACT)).all()


def test_intervals_cover() -> None:
    model = simulated(uncommon, features=moments, steps={"mu": 0.3, "sigma": 0.3})
    z = []
    for rng in range(80):
        F = fk.expected_information(model, NORMAL, method=fk.MonteCarlo(2000, rng=rng))
        z.append((np.diagonal(F.dense()) - np.diagonal(EXACT)) / np.diagonal(F.mcse))
    assert (np.mean(np.abs(z) < 2.09, axis=0) > 0.85).all()  # t with 19 degrees
    assert (np.std(z, axis=0) > 0.6).all()


def test_steps_find_their_size() -> None:
    """In any units; and a step of one's own is taken as it is."""
    small = fk.sampled.Simulator(
        lambda t, n, r: 1e6 * normal(t * [1e-6, 1e-6], n, r), parameters=("mu", "sigma"), features=moments
    )
    F = fk.expected_information(small, {"mu": 0.0, "sigma": 2.0}, method=fk.MonteCarlo(4000, rng=5))
    np.testing.assert_allclose(np.diagonal(F.dense()), np.diagonal(EXACT), rtol=0.1)


def test_shrunk_bounds_are_closer_than_plain_ones() -> None:
    """Where every fifth run has more noise than information in some direction, and is refused when noise is subtracted."""
    given = {"features": moments, "steps": {"mu": 0.3, "sigma": 0.3}}
    ask = lambda rng, correction: fk.expected_information(
        simulated(uncommon, correction=correction, **given), NORMAL, method=fk.MonteCarlo(200, rng=rng, groups=0)
    )
    off = {c: [ask(rng, c).standard_errors() * np.sqrt(np.diagonal(EXACT)) - 1 for rng in range(60)] for c in ("shrunk", "none")}
    assert np.mean(np.square(off["shrunk"])) < 0.5 * np.mean(np.square(off["none"]))
    assert sum(ask(rng, "subtracted").eigenvalues().min() < 0 for rng in range(60)) > 3


@pytest.mark.parametrize("features", [moments, 4])
def test_the_same_bits_for_any_workers(features: Any) -> None:
    ask = lambda workers: fk.expected_information(
        simulated(features=features), NORMAL, method=fk.MonteCarlo(2000, rng=3, workers=workers)
    )
    one = ask(1)
    with ProcessPoolExecutor(2) as processes:
        for other in (ask(3), ask(processes)):
            np.testing.assert_array_equal(one.dense(), other.dense())
            np.testing.assert_array_equal(one.mcse, other.mcse)


def test_what_processes_cannot_take_is_told() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(fk.errors.MethodError, match="Define it at the top of a module"):
        fk.expected_information(
            simulated(lambda t, n, r: normal(t, n, r)), NORMAL, method=fk.MonteCarlo(400, rng=0, workers=pool)
        )


def test_structure_and_seed() -> None:
    method = fk.MonteCarlo(400, rng=7)
    dense, again, diagonal = (
        fk.expected_information(simulated(), NORMAL, method=method, structure=s) for s in ("dense", "dense", "diagonal")
    )
    np.testing.assert_array_equal(dense.dense(), again.dense())
    np.testing.assert_array_equal(diagonal.diagonal(), np.diagonal(dense.dense()))


def test_bad_input() -> None:
    method = fk.MonteCarlo(400, rng=0)
    with pytest.raises(fk.errors.MethodError, match=r"a simulator needs method=MonteCarlo\(n, rng=...\)"):
        fk.expected_information(simulated(), NORMAL)
    with pytest.raises(fk.errors.MethodError, match="takes method=MonteCarlo; got Exact"):
        fk.expected_information(simulated(), NORMAL, method=fk.Exact())
    with pytest.raises(fk.errors.LayoutError, match="theta is needed"):
        fk.expected_information(simulated(), method=method)
    with pytest.raises(fk.errors.LayoutError, match=r"must return shape \(400,\) or \(400, d\); got \(3,\)"):
        fk.expected_information(simulated(lambda t, n, r: np.zeros(3)), NORMAL, method=method)
    rooted = simulated(lambda t, n, r: normal([t[0], np.emath.sqrt(t[1]).real or np.nan], n, r), steps=[0.1, 3.0])
    with pytest.raises(fk.errors.DataError, match=r"returned nan in draw 0 at sigma - 3.*give smaller steps="):
        fk.expected_information(rooted, {"mu": 0.0, "sigma": 2.0}, method=method)
    with pytest.raises(fk.errors.DataError, match=r"the draws change by another sample when mu does.*Give steps="):
        fk.expected_information(simulated(uncommon), NORMAL, method=method)
    with pytest.raises(fk.errors.DataError, match="the draws change not when sigma does"):
        fk.expected_information(simulated(lambda t, n, r: t[0] + r.standard_normal(n)), NORMAL, method=method)
    with pytest.raises(fk.errors.MethodError, match=r"64 features need 139 .* at least"):
        fk.expected_information(simulated(features=64), NORMAL, method=fk.MonteCarlo(100))
    with pytest.raises(fk.errors.MethodError, match="give 40 draws at least"):
        fk.expected_information(simulated(features=1), NORMAL, method=fk.MonteCarlo(30))
    with pytest.raises(fk.errors.DataError, match="some are combinations of others"):
        fk.expected_information(simulated(features=lambda x: np.hstack([x, 2 * x])), NORMAL, method=method)
    with pytest.raises(fk.errors.LayoutError, match=r"features\(draws\) must have shape"):
        fk.expected_information(simulated(features=lambda x: x[:, 0]), NORMAL, method=method)
    with pytest.raises(fk.errors.LayoutError, match="features must be a number of polynomials"):
        simulated(features=0)
    with pytest.raises(fk.errors.LayoutError, match="correction must be one of subtracted, shrunk, none"):
        simulated(correction="split")
    with pytest.raises(fk.errors.DataError, match="steps must be positive"):
        simulated(steps=[0.1, -1.0])
