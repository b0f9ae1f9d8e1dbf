"""Information from noisy log-densities, beside the closed form of the normal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fisherkit as fk

AT = {"mu": 0.5, "sigma": 2.0}
EXACT = np.diag([0.25, 0.5])


def sampler(theta: Any, size: int, rng: np.random.Generator) -> Any:
    return rng.normal(*theta, size)


def exact(x: Any, theta: Any, rng: np.random.Generator | None = None) -> Any:
    return -0.5 * ((x - theta[0]) / theta[1]) ** 2 - np.log(theta[1])


OWN = np.random.default_rng(0)


def noisy(x: Any, theta: Any, rng: np.random.Generator) -> Any:
    """With noise that no generator of ours repeats."""
    return exact(x, theta) + 0.1 * OWN.normal(size=len(x))


def common(x: Any, theta: Any, rng: np.random.Generator) -> Any:
    """With much more of it, that ours repeats."""
    return exact(x, theta) + 30 * rng.normal(size=len(x))


def asked(log_density: Any = noisy, n: int = 20_000, rng: int = 0, **given: Any) -> fk.FisherInformation:
    steps = given.pop("steps", [0.2, 0.1])
    own = fk.sampled.NoisyModel(log_density, sampler=sampler, parameters=("mu", "sigma"), steps=steps)
    return fk.expected_information(own, AT, method=fk.MonteCarlo(n, rng=rng, **given))


def test_unbiased_and_within_its_error() -> None:
    """Over 30 runs; what the steps make, 5 % for sigma, is in the tolerance. A sign or a factor 2 would be seen."""
    found = np.stack([asked(n=4000, rng=rng).dense() for rng in range(30)])
    error = found.std(axis=0) / np.sqrt(30)
    assert (abs(found.mean(axis=0) - EXACT) < 4 * error + 0.07 * EXACT).all()
    stated = np.mean([asked(n=4000, rng=rng).mcse for rng in range(5)], axis=0)
    assert np.all((stated > 0.5 * found.std(axis=0)) & (stated < 2 * found.std(axis=0)))


def test_noise_from_equal_generators_cancels() -> None:
    small = [0.04, 0.02]
    np.testing.assert_allclose(asked(common, steps=small).dense(), asked(exact, steps=small).dense(), atol=1e-7)


def test_signs_leave_no_noise_of_their_own() -> None:
    """Every observation has one Hessian here: least squares gets F to rounding from a few draws, where plain averages do not."""
    linear = lambda x, t, rng: -0.5 * (2 * t[0] ** 2 + 3 * t[0] * t[1] + 5 * t[1] ** 2) + x * t[0]
    assert asked(linear, n=100).dense() == pytest.approx(np.array([[2, 1.5], [1.5, 5]]), rel=1e-10)


def test_known_entries_are_kept_and_help() -> None:
    F = asked(known={("mu", "sigma"): 0.0, ("mu", "mu"): 0.25})
    assert (F.dense()[0] == [0.25, 0.0]).all()
    assert F.dense()[1, 1] == pytest.approx(0.5, abs=5 * F.mcse[1, 1] + 0.03)


def test_workers_structure_and_units() -> None:
    one, three = asked(exact), asked(exact, workers=3)
    np.testing.assert_array_equal(one.dense(), three.dense())
    own = fk.sampled.NoisyModel(exact, sampler=sampler, parameters=("mu", "sigma"), steps={"mu": 0.2, "sigma": 0.1})
    diagonal = fk.expected_information(own, AT, method=fk.MonteCarlo(20_000, rng=0), structure="diagonal")
    np.testing.assert_array_equal(diagonal.diagonal(), np.diagonal(one.dense()))
    assert dict(one.point) == AT


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(fk.errors.MethodError, match="2 parameters need 40 draws at least"):
        asked(n=30)
    with pytest.raises(fk.errors.DataError, match="steps must be positive"):
        asked(steps=[0.1, 0.0])
    with pytest.raises(fk.errors.DataError, match=r"log_density is nan for draw 0 at theta=.*give smaller steps="):
        asked(lambda x, t, rng: exact(x, t) * (1 if t[1] > 1.9 else np.nan))
    with pytest.raises(fk.errors.LayoutError, match=r"must have shape \(500,\); got \(\)"):
        asked(lambda x, t, rng: 0.0)
    with pytest.raises(fk.errors.LayoutError, match="known= names 'tau'"):
        asked(known={("mu", "tau"): 0.0})
    with pytest.raises(fk.errors.MethodError, match="takes no rtol"):
        asked(rtol=0.1)
    own = fk.sampled.NoisyModel(exact, sampler=sampler, parameters=("mu", "sigma"), steps=[0.1, 0.1])
    with pytest.raises(fk.errors.MethodError, match="needs method=MonteCarlo"):
        fk.expected_information(own, AT)
    with pytest.raises(fk.errors.LayoutError, match="theta is needed"):
        fk.expected_information(own, method=fk.MonteCarlo(100))
