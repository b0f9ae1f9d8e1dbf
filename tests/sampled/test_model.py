"""Models in code: derivatives, Monte Carlo, data, and what they refuse."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fisherkit as fk
from fisherkit.sampled.diagnostics import SamplerMismatchWarning

AT = {"mu": 1.0, "sigma": 2.0}


def log_density(x, theta):
    return -0.5 * ((x - theta[0]) / theta[1]) ** 2 - np.log(theta[1]) - 0.5 * np.log(2 * np.pi)


def sampler(theta: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(theta[0], theta[1], size)


def exact_score(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    z = (x - theta[0]) / theta[1]
    return np.stack([z / theta[1], (z**2 - 1) / theta[1]], axis=1)


def model(**changes: object) -> fk.sampled.Model:
    given = {"log_density": log_density, "sampler": sampler, "parameters": ("mu", "sigma"), **changes}
    return fk.sampled.Model(given.pop("log_density"), **given)


DATA = np.random.default_rng(0).normal(1.0, 2.0, 200)


@pytest.mark.parametrize("how", ["numeric", "complex", "torch"])
def test_scores_agree_with_the_formula(how: str) -> None:
    log = log_density
    if how == "torch":
        torch = pytest.importorskip("torch")
        log = lambda x, t: -0.5 * ((x - t[0]) / t[1]) ** 2 - torch.log(t[1])
    scores = fk.score(model(log_density=log, derivatives=how), AT, data=DATA)
    tolerance = 1e-9 if how == "numeric" else 1e-13
    np.testing.assert_allclose(scores, exact_score(DATA, np.array([1.0, 2.0])), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "changes", [{}, {"score": exact_score}, {"derivatives": "complex"}], ids=["numeric", "own score", "complex"]
)
def test_observed_information_is_minus_the_hessian(changes: dict[str, object]) -> None:
    z = (DATA - 1.0) / 2.0
    exact = [[len(DATA) / 4, z.sum() / 2], [z.sum() / 2, (3 * (z**2).sum() - len(DATA)) / 4]]
    F = fk.observed_information(model(**changes), AT, data=DATA)
    assert (F.kind, F.n) == ("observed", 200)
    np.testing.assert_allclose(F.dense(), exact, rtol=1e-7, atol=1e-6)


def test_empirical_information_is_the_sum_of_outer_products() -> None:
    s = exact_score(DATA, np.array([1.0, 2.0]))
    F = fk.empirical_information(model(), AT, data=DATA)
    np.testing.assert_allclose(F.dense(), s.T @ s, rtol=1e-9)
    diagonal = fk.empirical_information(model(), AT, data=DATA, structure="diagonal")
    np.testing.assert_allclose(diagonal.diagonal(), (s**2).sum(axis=0), rtol=1e-9)


def test_data_may_belong_to_the_model() -> None:
    F = fk.observed_information(model(data=DATA), AT)
    assert F.n == 200


@pytest.mark.parametrize("structure", ["dense", "diagonal"])
def test_monte_carlo_error_is_calibrated(structure: str) -> None:
    """z-scores of 60 seeds have standard deviation one; a factor-2 mistake would be many of them off."""
    m, exact = model(score=exact_score), np.diag([0.25, 0.5])
    z = []
    for seed in range(60):
        F = fk.expected_information(m, AT, method=fk.MonteCarlo(2000, rng=seed, estimator="outer_product"), structure=structure)
        value, truth = (F.dense(), exact) if structure == "dense" else (F.diagonal(), np.diagonal(exact))
        z.append((value - truth) / F.mcse)
    spread = np.sqrt(np.mean(np.square(z), axis=0))
    assert np.all((spread > 0.75) & (spread < 1.35))
    assert np.min(0.25 / F.mcse) > 6


def test_the_error_follows_every_verb() -> None:
    """mcse of the log-determinant and of a bound against their spread over seeds."""
    m = model(score=exact_score)
    runs = [fk.expected_information(m, AT, method=fk.MonteCarlo(2000, rng=seed, estimator="outer_product")) for seed in range(80)]
    for function in (lambda F: F.logdet, lambda F: F.marginalize("sigma").trace, lambda F: F.eigenvalues()[1]):
        spread = np.std([function(F) for F in runs], ddof=1)
        told = np.mean([F.mcse_of(function) for F in runs])
        assert 0.75 < told / spread < 1.3
    spread = np.std([fk.cramer_rao_bound(F).covariance[1, 1] for F in runs], ddof=1)
    told = np.mean([fk.cramer_rao_bound(F).mcse[1, 1] for F in runs])
    assert 0.75 < told / spread < 1.3


def test_the_result_does_not_depend_on_the_workers() -> None:
    def run(workers: object) -> np.ndarray:
        method = fk.MonteCarlo(30_000, rng=7, workers=workers)
        return fk.expected_information(model(score=exact_score), AT, method=method).dense()

    alone = run(1)
    np.testing.assert_array_equal(alone, run(3))
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(alone, run(pool))
        assert pool.submit(int, 1).result() == 1  # not shut down


def test_the_global_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 that is what is tested
    fk.expected_information(model(), AT, method=fk.MonteCarlo(100, rng=0))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002 that is what is tested


def test_one_draw_has_no_error_and_groups_can_be_left_out() -> None:
    m = model(score=exact_score)
    with pytest.raises(fk.errors.MethodError, match="one draw has no error"):
        fk.expected_information(m, AT, method=fk.MonteCarlo(1, rng=0))
    assert fk.expected_information(m, AT, method=fk.MonteCarlo(100, rng=0, groups=0)).mcse is None


def test_a_sampler_of_another_model_is_told() -> None:
    with pytest.warns(SamplerMismatchWarning, match="do not have mean zero"):
        fk.expected_information(
            model(sampler=lambda t, size, rng: rng.normal(0.0, 2.0, size)), AT, method=fk.MonteCarlo(2000, rng=0)
        )


def test_an_unnormalised_density_is_refused() -> None:
    m = model(log_density=lambda x, t: -0.5 * ((x - t[0]) / t[1]) ** 2, support=(-np.inf, np.inf))
    with pytest.raises(fk.errors.RegularityError, match="mass") as refusal:
        fk.expected_information(m, AT)
    assert refusal.value.condition == "not_normalised"


def test_a_factor_that_is_one_only_here_is_refused() -> None:
    """Mass 1 at sigma = 1 by accident: the mean score tells."""
    m = model(log_density=lambda x, t: -0.5 * ((x - t[0]) / t[1]) ** 2 - 0.5 * np.log(2 * np.pi), support=(-np.inf, np.inf))
    with pytest.raises(fk.errors.RegularityError, match="sigma") as refusal:
        fk.expected_information(m, {"mu": 0.0, "sigma": 1.0})
    assert (refusal.value.condition, refusal.value.parameter) == ("not_normalised", "sigma")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], fk.errors.DataError, "at least one observation"),
        ([1.0, np.nan, 2.0], fk.errors.DataError, r"entry \(1,\) is nan"),
        ([1.0, np.inf], fk.errors.DataError, r"entry \(1,\) is inf"),
        (["a"], fk.errors.DataError, "real numbers"),
        ([1j], fk.errors.DataError, "real numbers"),
        (np.array([1.0, 2.0], dtype=object), fk.errors.DataError, "real numbers; got dtype object"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), fk.errors.DataError, r"entry \(1,\) is nan"),
        ({"x": [1.0]}, fk.errors.DataError, "an array with a row for each observation"),
        (None, fk.errors.DataError, "give data="),
    ],
)
def test_unusable_data(data: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fk.observed_information(model(), AT, data=data)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ({"mu": 1.0}, "missing: sigma"),
        ({"mu": 1.0, "sigma": 2.0, "nu": 1.0}, "unknown: nu"),
        ([1.0, 2.0, 3.0], r"shape \(2,\)"),
        (None, "theta is needed"),
    ],
)
def test_points_that_do_not_fit(theta: object, message: str) -> None:
    with pytest.raises(fk.errors.LayoutError, match=message):
        fk.score(model(), theta, data=DATA)


def test_a_score_that_is_not_finite_names_the_observation_and_the_parameter() -> None:
    bad = lambda x, t: np.where(x[:, None] > 3, np.nan, exact_score(x, t))
    with pytest.raises(fk.errors.DataError, match=r"observation 2 in mu is nan"):
        fk.score(model(score=bad), AT, data=[0.0, 1.0, 4.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_density": lambda x, t: 0.0}, r"shape \(200,\); got \(\)"),
        ({"log_density": lambda x, t: np.zeros((len(x), 2))}, r"got \(200, 2\)"),
        ({"score": lambda x, t: np.zeros((2, 2))}, r"shape \(200, 2\); got \(2, 2\)"),
        ({"score": lambda x, t: None}, r"shape \(200, 2\); got \(\)"),
    ],
)
def test_functions_of_the_wrong_shape(changes: dict[str, object], message: str) -> None:
    with pytest.raises(fk.errors.LayoutError, match=message):
        fk.score(model(**changes), AT, data=DATA)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_density": lambda x, t: log_density(x, t) + 1j}, r"log_density\(x, theta\) must return real .* complex128"),
        ({"log_density": lambda x, t: log_density(x, t).astype(object)}, r"log_density\(x, theta\) must return real .* object"),
        ({"score": lambda x, t: exact_score(x, t) + 1j}, r"score\(x, theta\) must return real numbers; got dtype complex128"),
        ({"score": lambda x, t: exact_score(x, t).astype(str)}, r"score\(x, theta\) must return real numbers; got dtype <U"),
        ({"hessian": lambda x, t: np.full((len(x), 2, 2), np.nan)}, "second derivatives of observation 0 are not finite"),
    ],
)
def test_functions_that_return_no_real_numbers(changes: dict[str, object], message: str) -> None:
    with pytest.raises(fk.errors.DataError, match=message):
        fk.observed_information(model(**changes), AT, data=DATA)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"log_density": "log"}, r"log_density= must be a function of \(x, theta\)"),
        ({"score": 3}, "score= must be a function"),
        ({"hessian": np.eye(2)}, "hessian= must be a function"),
        ({"sampler": 3}, r"sampler= must be a function of \(theta, size, rng\)"),
        ({"log_density": None}, "needs log_density= or score="),
    ],
)
def test_what_is_no_function_is_refused_at_once(given: dict[str, object], message: str) -> None:
    with pytest.raises(fk.errors.LayoutError, match=message):
        model(**given)


@pytest.mark.parametrize(
    ("draws", "error", "message"),
    [
        (lambda t, size, rng: np.full(size, np.nan), fk.errors.DataError, r"the sampler's draws must be finite; entry \(0,\)"),
        (lambda t, size, rng: None, fk.errors.DataError, "the sampler's draws are missing"),
        (lambda t, size, rng: 1j * np.ones(size), fk.errors.DataError, "the sampler's draws must be real numbers"),
        (lambda t, size, rng: np.ones(3), fk.errors.LayoutError, "must return 20 observations; got 3"),
    ],
)
def test_draws_that_are_none(draws: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fk.expected_information(model(sampler=draws), AT, method=fk.MonteCarlo(2000, rng=0))


def test_a_frame_or_series_is_its_values_whatever_its_index() -> None:
    pandas = pytest.importorskip("pandas")
    shuffled = pandas.Series(DATA, index=np.arange(200)[::-1])
    np.testing.assert_array_equal(fk.score(model(), AT, data=shuffled), fk.score(model(), AT, data=DATA))


def test_methods_that_the_model_cannot_take_are_refused_naming_those_it_can() -> None:
    with pytest.raises(fk.errors.MethodError, match=r"takes method=MonteCarlo; got Quadrature\(\)"):
        fk.expected_information(model(), AT, method=fk.Quadrature())
    with pytest.raises(fk.errors.MethodError, match=r"needs method=MonteCarlo\(n, rng="):
        fk.expected_information(model(), AT)
    with pytest.raises(fk.errors.MethodError, match="no sampler, support or outcomes"):
        fk.expected_information(model(sampler=None), AT)
    with pytest.raises(fk.errors.MethodError, match="and log_density="):
        fk.expected_information(
            fk.sampled.Model(score=exact_score, parameters=("mu", "sigma"), outcomes=lambda t: np.arange(2)), AT
        )
    with pytest.raises(fk.errors.MethodError, match="inputs= belongs to networks"):
        fk.expected_information(model(), AT, inputs=DATA, method=fk.MonteCarlo(10))
    with pytest.raises(fk.errors.MethodError, match="structure must be one of 'dense', 'diagonal'"):
        fk.expected_information(model(), AT, method=fk.MonteCarlo(10), structure="kfac")


def test_a_score_too_rough_to_use_is_refused() -> None:
    rng = np.random.default_rng(0)
    noisy = model(log_density=lambda x, t: log_density(x, t) + 1e-3 * rng.normal(size=len(x)))
    with pytest.raises(fk.errors.PrecisionError, match="too rough"):
        fk.score(noisy, AT, data=DATA)


def test_a_function_that_no_other_process_can_have_is_named_with_the_cure() -> None:
    method = fk.MonteCarlo(20_000, rng=0, workers=ProcessPoolExecutor(1), estimator="outer_product")
    local = lambda t, size, rng: rng.normal(t[0], t[1], size)
    with pytest.raises(
        fk.errors.MethodError, match=r"lambda or a closure. Define it at the top of a module, or .* ThreadPoolExecutor"
    ):
        fk.expected_information(model(sampler=local, score=exact_score), AT, method=method)
    method.workers.shutdown()


def test_too_few_draws_for_an_inverse_name_how_many_are_needed() -> None:
    few = fk.expected_information(model(score=exact_score), AT, method=fk.MonteCarlo(4, rng=0, estimator="outer_product"))
    with pytest.raises(fk.errors.PrecisionError, match=r"4 draws of 2 parameters .* give MonteCarlo\(n=20\)"):
        few.inverse()
