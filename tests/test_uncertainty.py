"""The jackknife: equal to the closed forms where there are some, and calibrated where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import fisherkit as fk
from fisherkit.provenance import Provenance
from fisherkit.structures.dense import Dense
from fisherkit.uncertainty import LeaveOneOut, average, sum_errors
from tests.families import FAMILIES, plain


def cut(draws: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    return np.split(draws, np.cumsum(sizes)[:-1])


def estimate(draws: np.ndarray, sizes: Sequence[int], make: Callable = np.asarray) -> fk.FisherInformation:
    """The mean of (p, p) draws, with the groups that carry its error."""
    sums = [[make(group.sum(axis=0)) for group in cut(draws, sizes)]]
    mean, replicates, weights = average(sums, [list(sizes)])
    parameters = fk.Parameters.of(tuple("abc"[: len(mean)]))
    errors = LeaveOneOut(tuple(Dense(r, parameters) for r in replicates), weights)
    return fk.FisherInformation.of(Dense(mean, parameters), Provenance(method=fk.MonteCarlo(len(draws))), errors)


def matrices(rng: np.random.Generator, n: int, p: int = 2) -> np.ndarray:
    """Outer products of scores whose information has off-diagonal entries."""
    s = rng.normal(size=(n, p)) @ np.array([[1.0, 0.5, 0.2], [0.0, 1.0, 0.4], [0.0, 0.0, 0.7]])[:p, :p]
    return s[:, :, None] * s[:, None, :]


# -- closed forms


@pytest.mark.parametrize("make", FAMILIES[:2])
def test_a_mean_of_equal_groups_has_the_textbook_error(make: Callable) -> None:
    draws = matrices(np.random.default_rng(0), 120)
    F = estimate(draws, [6] * 20, make)
    np.testing.assert_allclose(plain(F.dense()), draws.mean(axis=0), rtol=1e-13)
    means = draws.reshape(20, 6, 2, 2).mean(axis=1)
    np.testing.assert_allclose(plain(F.mcse), means.std(axis=0, ddof=1) / np.sqrt(20), rtol=1e-12)


def test_one_draw_per_group_is_the_standard_error_of_the_mean() -> None:
    draws = matrices(np.random.default_rng(1), 50)
    F = estimate(draws, [1] * 50)
    np.testing.assert_allclose(F.mcse, draws.std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-12)


def test_unequal_groups_weigh_by_their_size() -> None:
    """Delete-m_j jackknife (Busing, Meijer & van der Leeden 1999), written out."""
    sizes = [1, 2, 3, 4, 10]
    draws = matrices(np.random.default_rng(2), sum(sizes))
    F = estimate(draws, sizes)
    n, G, total = sum(sizes), len(sizes), draws.sum(axis=0)
    variance = 0.0
    for group, m in zip(cut(draws, sizes), sizes, strict=True):
        h, without = n / m, (total - group.sum(axis=0)) / (n - m)
        pseudo = h * total / n - (h - 1) * without
        variance = variance + (pseudo - total / n) ** 2 / (h - 1) / G
    np.testing.assert_allclose(F.mcse, np.sqrt(variance), rtol=1e-12)


def test_strata_count_only_what_varies_within_them() -> None:
    """Two strata far apart: the error of a stratified mean is that of its two means, weighted."""
    rng = np.random.default_rng(3)
    one, two = rng.normal(0, 1, 40), rng.normal(100, 2, 80)
    groups = [[np.array([g.sum()]) for g in cut(one, [4] * 10)], [np.array([g.sum()]) for g in cut(two, [8] * 10)]]
    mean, replicates, weights = average(groups, [[4] * 10, [8] * 10])
    assert mean[0] == pytest.approx(np.concatenate([one, two]).mean())
    errors = [g.reshape(10, -1).mean(axis=1).std(ddof=1) / np.sqrt(10) for g in (one, two)]
    expected = np.hypot(40 / 120 * errors[0], 80 / 120 * errors[1])
    found = LeaveOneOut((), weights).standard_error(mean, replicates)
    assert found[0] == pytest.approx(expected, rel=1e-12)


def test_a_stratum_of_one_group_has_no_error_of_its_own() -> None:
    mean, replicates, weights = average([[np.array([6.0])]], [[3]])
    assert (mean[0], replicates, weights) == (2.0, None, ())
    _, replicates, weights = average([[np.array([6.0])], [np.array([1.0]), np.array([3.0])]], [[3], [1, 1]])
    assert len(replicates) == len(weights) == 2


# -- every function of F


def test_scaling_and_selecting_carry_the_error_along() -> None:
    F = estimate(matrices(np.random.default_rng(4), 200), [10] * 20)
    np.testing.assert_allclose((7 * F).mcse, 7 * F.mcse)
    np.testing.assert_allclose(F["b", "a"].mcse, F.mcse[::-1, ::-1])
    np.testing.assert_allclose(F.fix("a").mcse, F.mcse[1:, 1:])
    assert (7 * F).per_observation().mcse == pytest.approx(F.mcse)


def test_a_linear_map_has_the_error_of_the_mapped_draws() -> None:
    J = np.array([[1.0, 0.5], [0.0, 2.0]])
    draws = matrices(np.random.default_rng(5), 200)
    F, direct = estimate(draws, [10] * 20), estimate(J.T @ draws @ J, [10] * 20)
    moved = F.reparametrize({"a": 1.0, "b": 1.0}, lambda phi: J @ phi)
    np.testing.assert_allclose(moved.mcse, direct.mcse, rtol=1e-8)


def test_one_mechanism_for_functions() -> None:
    F = estimate(matrices(np.random.default_rng(6), 20_000), [1000] * 20)
    assert F.mcse_of(lambda G: G.trace) == pytest.approx(F.mcse_of(lambda G: G.dense().trace()))
    assert F.mcse_of(lambda G: {"trace": G.trace})["trace"] == pytest.approx(F.mcse_of(lambda G: G.trace))
    relative = F["a"].mcse[0, 0] / float(F["a"])  # log x has the relative error of x
    assert F.mcse_of(lambda G: G["a"].logdet) == pytest.approx(relative, rel=0.01)
    assert fk.cramer_rao_bound(F).mcse == pytest.approx(F.mcse_of(lambda G: G.inverse()))
    assert np.shape(F.mcse_of(lambda G: G.eigenvalues())) == (2,)


def test_exact_results_have_none() -> None:
    F = fk.FisherInformation(np.eye(2))
    assert F.mcse is None
    assert F.mcse_of(lambda G: G.logdet) is None
    assert (F + F).mcse is None


# -- sums


def test_equal_groups_of_a_sum_leave_together() -> None:
    """Common random numbers: F + F is 2 F, with twice the error, not root two times."""
    F = estimate(matrices(np.random.default_rng(7), 100), [5] * 20)
    np.testing.assert_allclose((F + F).mcse, 2 * F.mcse, rtol=1e-12)


@pytest.mark.parametrize("groups", [(20, 20), (20, 10)], ids=["equal groups", "unequal groups"])
def test_independent_errors_add_in_squares(groups: tuple[int, int]) -> None:
    """On average over runs: the cross terms of equal groups vanish."""
    ratios = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        F, G = (estimate(matrices(rng, 100), [100 // count] * count) for count in groups)
        ratios.append(np.asarray((F + G).mcse) ** 2 / (F.mcse**2 + G.mcse**2))
    np.testing.assert_allclose(np.mean(ratios, axis=0), 1.0, atol=0.1)


def test_an_exact_part_of_a_sum_adds_no_error() -> None:
    F = estimate(matrices(np.random.default_rng(8), 100), [5] * 20)
    prior = fk.FisherInformation(np.eye(2), parameters=("a", "b"), n=0)
    for total in (F + prior, prior + F):
        np.testing.assert_allclose(total.mcse, F.mcse, rtol=1e-10)
    assert sum_errors(F._structure, None, F._structure, None) is None


# -- calibration

FUNCTIONS: dict[str, Callable[[fk.FisherInformation], float]] = {
    "entry": lambda F: float(F.dense()[0, 1]),
    "logdet": lambda F: F.logdet,
    "bound": lambda F: F.inverse()[0, 0],
    "variance ratio": lambda F: F.dense()[0, 0] / F.dense()[1, 1],
    "marginal": lambda F: float(F.marginalize("b")),
    "standard error": lambda F: F.standard_errors()[1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_the_spread_over_runs(name: str) -> None:
    """200 runs: the mean of mcse^2 is the variance over runs, and z-scores have variance 1. Twice or half would be seen."""
    function, truth = FUNCTIONS[name], fk.FisherInformation([[1.0, 0.5], [0.5, 1.25]], parameters=("a", "b"))
    values, errors = [], []
    for seed in range(200):
        F = estimate(matrices(np.random.default_rng(seed), 2000), [100] * 20)
        values.append(function(F))
        errors.append(F.mcse_of(function))
    ratio = np.mean(np.square(errors)) / np.var(values, ddof=1)
    assert 0.75 < ratio < 1.35
    z = (np.array(values) - function(truth)) / errors
    assert abs(z.mean()) < 4 / np.sqrt(200)
    assert 0.75 < z.var() < 1.45  # 20 groups: Student's t with 19 degrees of freedom has 1.12


def test_a_sampler_brings_it_along() -> None:
    """Through the whole library: the normal model, forty seeds."""
    model = fk.sampled.Model(
        score=lambda x, t: np.stack([(x - t[0]) / t[1] ** 2, ((x - t[0]) ** 2 / t[1] ** 2 - 1) / t[1]], axis=1),
        sampler=lambda t, size, rng: rng.normal(t[0], t[1], size),
        parameters=("mu", "sigma"),
    )
    exact, z = np.array([[0.25, 0.0], [0.0, 0.5]]), []
    for seed in range(40):
        F = fk.expected_information(
            model, {"mu": 1.0, "sigma": 2.0}, method=fk.MonteCarlo(1000, rng=100 + seed, estimator="outer_product")
        )
        z.append(((np.asarray(F) - exact) / F.mcse)[np.triu_indices(2)])
    assert np.abs(np.mean(z, axis=0)).max() < 4 / np.sqrt(40)
    assert 0.5 < np.var(z) < 1.8
