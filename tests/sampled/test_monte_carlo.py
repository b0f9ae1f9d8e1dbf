"""Monte Carlo information: which estimator, how exact, on which workers, from which checkpoint, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fisherkit as fk
from fisherkit.sampled import chunks, diagnostics
from tests.benchmarks.sampled_coverage import coverage, gain
from tests.benchmarks.sampled_problems import PROBLEMS


def information(name: str, method: fk.MonteCarlo, **given: Any) -> fk.FisherInformation:
    problem = PROBLEMS[name]
    return fk.expected_information(problem.model(), np.array(problem.theta), method=method, **given)


def error(name: str, method: fk.MonteCarlo) -> float:
    exact = PROBLEMS[name].exact(PROBLEMS[name])
    root = np.sqrt(np.diagonal(exact))
    return float(np.abs((np.asarray(information(name, method)) - exact) / np.outer(root, root)).max())


# -- the estimator


@pytest.mark.parametrize("name", ["normal", "gamma", "poisson regression", "student", "cauchy", "zero-inflated"])
def test_exact_where_algebra_allows_it(name: str) -> None:
    """To what differences of a score can tell; exponential families need the scores alone, the others all controls."""
    F = information(name, fk.MonteCarlo(2000, rng=0))
    assert F.method.estimator in ("hessian", "bartlett")
    assert error(name, fk.MonteCarlo(2000, rng=0)) < 1e-9


def normal_score(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.stack([(x - t[0]) / t[1] ** 2, ((x - t[0]) ** 2 / t[1] ** 2 - 1) / t[1]], axis=1)


def draw_normal(t: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(t[0], t[1], size)


def normal(**given: Any) -> fk.sampled.Model:
    return fk.sampled.Model(**{"score": normal_score, "sampler": draw_normal, "parameters": ("mu", "sigma"), **given})


EXACT, AT = np.diag([0.25, 0.5]), {"mu": 1.0, "sigma": 2.0}


def run(method: fk.MonteCarlo, **given: Any) -> fk.FisherInformation:
    return fk.expected_information(normal(**given), AT, method=method)


def test_a_complex_safe_score_and_a_hessian_make_it_exact_to_rounding() -> None:
    np.testing.assert_allclose(run(fk.MonteCarlo(1000, rng=0)).dense(), EXACT, atol=1e-13)
    hessian = lambda x, t: np.stack([(normal_score(x, t + h) - normal_score(x, t - h)) / 2e-5 for h in 1e-5 * np.eye(2)], axis=2)
    np.testing.assert_allclose(run(fk.MonteCarlo(1000, rng=0), hessian=hessian).dense(), EXACT, atol=1e-8)


def test_the_result_says_what_it_was_estimated_with() -> None:
    F = run(fk.MonteCarlo(1000, rng=0))
    assert "method=MonteCarlo(n=1000, rng=0, estimator='bartlett')" in repr(F)
    plain = run(fk.MonteCarlo(1000, rng=0, estimator="outer_product"))
    assert plain.method == fk.MonteCarlo(1000, rng=0, estimator="outer_product")


@pytest.mark.parametrize("estimator", ["outer_product", "score_control", "hessian", "bartlett"])
@pytest.mark.parametrize("name", ["logistic", "hidden chain"])
def test_every_estimator_agrees_with_the_exact_information(name: str, estimator: str) -> None:
    F = information(name, fk.MonteCarlo(20_000, rng=1, estimator=estimator))
    assert F.method.estimator in (estimator, "hessian")
    exact = PROBLEMS[name].exact(PROBLEMS[name])
    assert np.abs((F.dense() - exact) / F.mcse).max() < 4
    assert (F.mcse / np.sqrt(np.outer(*[np.diagonal(exact)] * 2))).max() < 0.3


@pytest.mark.parametrize("name", ["mixture", "hidden chain"])
def test_a_noisy_hessian_is_not_chosen(name: str) -> None:
    """Their Hessians have 30 to 70 times the variance at equal cost, and all controls flatter them in few draws."""
    for seed in range(6):
        F = information(name, fk.MonteCarlo(4000, rng=seed))
        assert F.method.estimator in ("outer_product", "score_control")


@pytest.mark.parametrize(("name", "least"), [("gumbel", 20.0), ("growth curve", 20.0), ("mixture", 1.0), ("hidden chain", 1.0)])
def test_gain_over_the_outer_product_at_equal_cost(name: str, least: float) -> None:
    assert gain(name, 2048, 24) > least


def test_few_controls_of_many_parameters() -> None:
    """Beyond 32 parameters: Gaussian scores, whose outer product has the plain error, and cubes that a control removes."""
    rng, p = np.random.default_rng(0), 40
    z = rng.standard_gamma(2.0, size=(20_000, p)) - 2.0
    names = tuple(f"a{k}" for k in range(p))
    plain = fk.sampled.Accumulator(names, estimator="outer_product")
    controlled = fk.sampled.Accumulator(names, estimator="score_control")
    for part in np.split(z, 10):
        plain.update(part)
        controlled.update(part)
    np.testing.assert_allclose(plain.result().dense(), z.T @ z / len(z), rtol=1e-12)
    F, G = plain.result(), controlled.result()
    assert np.abs((G.dense() - 2 * np.eye(p)) / G.mcse).max() < 5
    assert np.median(np.diagonal(G.mcse)) < 0.85 * np.median(np.diagonal(F.mcse))


def logistic_score(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.tanh((x - t) / 2)[:, None]


def test_low_discrepancy_points_where_the_sampler_takes_uniforms() -> None:
    """The location of a logistic law has information 1/3; sixteen scramblings carry an honest error."""
    given = {"score": logistic_score, "parameters": ("mu",)}
    quiet = fk.sampled.Model(sampler=lambda t, u: t + np.log(u[:, 0] / (1 - u[:, 0])), uniforms=1, **given)
    loud = fk.sampled.Model(sampler=lambda t, n, rng: rng.logistic(t, 1.0, n), **given)
    method = lambda seed: fk.MonteCarlo(2048, rng=seed, estimator="outer_product")
    runs = [[fk.expected_information(m, [0.0], method=method(seed)) for seed in range(12)] for m in (quiet, loud)]
    errors = [np.sqrt(np.mean([(float(F) - 1 / 3) ** 2 for F in some])) for some in runs]
    assert errors[0] < errors[1] / 20
    z = [(float(F) - 1 / 3) / F.mcse[0, 0] for F in runs[0]]
    assert 0.5 < np.sqrt(np.mean(np.square(z))) < 1.8


def test_known_entries_are_kept_and_correct_the_others() -> None:
    known = {("mu", "mu"): 0.25, ("mu", "sigma"): 0.0}
    runs = [run(fk.MonteCarlo(2000, rng=seed, estimator="outer_product", known=known)) for seed in range(50)]
    plain = [run(fk.MonteCarlo(2000, rng=seed, estimator="outer_product")) for seed in range(50)]
    for F in runs:
        np.testing.assert_allclose(F.dense()[0], [0.25, 0.0], rtol=1e-14)
        assert F.mcse[0].max() < 1e-15
    errors = [np.sqrt(np.mean([(F.dense()[1, 1] - 0.5) ** 2 for F in some])) for some in (runs, plain)]
    assert errors[0] < 0.95 * errors[1]
    assert 0.6 < np.sqrt(np.mean([((F.dense()[1, 1] - 0.5) / F.mcse[1, 1]) ** 2 for F in runs])) < 1.4
    with pytest.raises(fk.errors.MethodError, match="maps pairs of mu, sigma to finite numbers; got"):
        run(fk.MonteCarlo(100, rng=0, known={("mu", "tau"): 1.0}))


# -- where scores come from


def logistic_density(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    z = (x - t[0]) / t[1]
    return -z - np.log(t[1]) - 2 * np.log1p(np.exp(-z))


def draw_logistic(t: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.logistic(t[0], t[1], size)


def by_sympy() -> Any:
    import sympy

    x, mu, s = sympy.Symbol("x", real=True), sympy.Symbol("mu", real=True), sympy.Symbol("s", positive=True)
    density = sympy.exp(-(x - mu) / s) / s / (1 + sympy.exp(-(x - mu) / s)) ** 2
    model = fk.symbolic.Model(density, data=x, parameters=(mu, s), support=(-sympy.oo, sympy.oo))
    return {"score": lambda data, t: fk.score(model, {"mu": t[0], "s": t[1]}, data=data)}


def by_torch() -> Any:
    torch = pytest.importorskip("torch")

    def log_density(x: Any, t: Any) -> Any:
        z = (x - t[0]) / t[1]
        return -z - torch.log(t[1]) - 2 * torch.log1p(torch.exp(-z))

    return {"log_density": log_density, "derivatives": "torch"}


SCORES = {
    "the user": lambda: {"score": PROBLEMS["logistic"].score},
    "SymPy": by_sympy,
    "torch.func": by_torch,
    "a complex step": lambda: {"log_density": logistic_density, "derivatives": "complex"},
    "differences": lambda: {"log_density": logistic_density},
}


@pytest.mark.parametrize("source", SCORES)
def test_scores_from_any_source_give_the_same_information(source: str) -> None:
    model = fk.sampled.Model(**SCORES[source](), sampler=draw_logistic, parameters=("mu", "s"))
    F = fk.expected_information(model, [0.3, 2.0], method=fk.MonteCarlo(3000, rng=0, estimator="outer_product"))
    exact = fk.sampled.Model(score=PROBLEMS["logistic"].score, sampler=draw_logistic, parameters=("mu", "s"))
    expected = fk.expected_information(exact, [0.3, 2.0], method=fk.MonteCarlo(3000, rng=0, estimator="outer_product"))
    np.testing.assert_allclose(F.dense(), expected.dense(), rtol=1e-10)


def test_a_log_density_with_few_digits_gives_few_digits_and_says_so() -> None:
    """Numbers of single precision stand still under small steps, which must not look like a derivative of 0."""
    rough = lambda x, t: logistic_density(x, t).astype(np.float32)
    method = fk.MonteCarlo(5000, rng=0, estimator="outer_product")
    F, G = (
        fk.expected_information(fk.sampled.Model(f, sampler=draw_logistic, parameters=("mu", "s")), [0.0, 1.0], method=method)
        for f in (rough, logistic_density)
    )
    difference = np.abs(F.dense() - G.dense()).max()
    assert 1e-9 < difference < 1e-4
    assert np.abs(F._errors.replicates[-1].dense() - F.dense()).max() > difference / 10  # the replicate of the numeric error


def test_rough_differences_where_draws_differ_and_fine_ones_where_they_agree() -> None:
    """One score evaluation for each parameter, or two."""
    assert information("logistic", fk.MonteCarlo(3000, rng=0))._provenance.draws > 0.9 * 3000 / 3
    assert information("student", fk.MonteCarlo(3000, rng=0))._provenance.draws <= 3000 / 5


def test_steps_suit_parameters_far_from_their_deviation() -> None:
    """A location of 1e4, or 0, with a deviation of 1e-2 leaves a Hessian six digits at least."""
    score = lambda x, t: np.tanh((x - t[0]) / 0.02)[:, None] * 100
    sampler = lambda t, n, rng: rng.logistic(t[0], 0.01, n)
    model = fk.sampled.Model(score=score, sampler=sampler, parameters=("mu",))
    for place in (0.0, 1e4):
        F = fk.expected_information(model, [place], method=fk.MonteCarlo(100_000, rng=0, estimator="bartlett"))
        assert float(F) == pytest.approx(1e4 / 3, rel=1e-6)


# -- a tolerance


def test_to_a_tolerance_and_no_further() -> None:
    method = fk.MonteCarlo(200_000, rng=0, estimator="outer_product", rtol=0.02)
    F = run(method)
    relative = (F.mcse / np.sqrt(np.outer(*[np.diagonal(EXACT)] * 2))).max()
    assert 0.01 < relative <= 0.0205
    assert 5_000 < F._provenance.draws < 60_000  # the fourth moment of the score asks for 31,000


def test_a_ceiling_that_is_reached_is_told() -> None:
    with pytest.warns(
        diagnostics.ToleranceWarning, match=r"ceiling n=3000 was reached at a relative error of .* should reach it"
    ):
        run(fk.MonteCarlo(3000, rng=0, estimator="outer_product", rtol=0.001))


# -- workers


def test_processes_threads_and_one_worker_give_the_same_bits() -> None:
    method = lambda workers: fk.MonteCarlo(100_000, rng=7, workers=workers, estimator="bartlett")
    alone = run(method(1))
    np.testing.assert_array_equal(alone.dense(), run(method(3)).dense())
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2) as processes:
        for pool in (threads, processes):
            F = run(method(pool))
            np.testing.assert_array_equal(alone.dense(), F.dense())
            np.testing.assert_array_equal(alone.mcse, F.mcse)


def test_dask_gives_the_same_bits() -> None:
    distributed = pytest.importorskip("distributed")
    method = lambda workers: fk.MonteCarlo(60_000, rng=7, workers=workers, estimator="bartlett")
    with (
        warnings.catch_warnings(),
        distributed.LocalCluster(2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        warnings.simplefilter("ignore")  # of Dask's own
        F = run(method(client.get_executor()))
    np.testing.assert_array_equal(F.dense(), run(method(1)).dense())


def fatal_score(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Ends a worker, never the process that asked."""
    if os.environ.get("FISHERKIT_TEST_PARENT") != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return normal_score(x, t)


def test_the_chunk_of_a_killed_worker_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHERKIT_TEST_PARENT", str(os.getpid()))
    method = lambda workers: fk.MonteCarlo(30_000, rng=7, workers=workers, estimator="outer_product")
    with ProcessPoolExecutor(2) as pool, pytest.warns(chunks.WorkerWarning, match="a worker died at chunk"):
        F = run(method(pool), score=fatal_score)
    np.testing.assert_array_equal(F.dense(), run(method(1)).dense())


class Unreliable(ThreadPoolExecutor):
    """An executor with an exception of its own for a worker that was lost, as Dask's."""

    def submit(self, function: Any, /, *given: Any, **named: Any) -> Any:
        def lost() -> None:
            raise ConnectionError("worker lost")

        self.calls = getattr(self, "calls", 0) + 1
        return super().submit(*((lost,) if self.calls == 2 else (function, *given)), **named)


def test_whatever_an_executor_calls_a_lost_worker() -> None:
    method = lambda workers: fk.MonteCarlo(50_000, rng=7, workers=workers, estimator="outer_product")
    with Unreliable(2) as pool, pytest.warns(chunks.WorkerWarning, match=r"at chunk 16384 \(ConnectionError\)"):
        F = run(method(pool))
    np.testing.assert_array_equal(F.dense(), run(method(1)).dense())


def test_an_error_of_the_score_is_no_lost_worker() -> None:
    def failing(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("of the user")

    with pytest.raises(ZeroDivisionError, match="of the user"):
        run(fk.MonteCarlo(50_000, rng=0, workers=2, estimator="outer_product"), score=failing)


def test_a_bar_over_the_chunks(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    run(fk.MonteCarlo(30_000, rng=0, estimator="outer_product", progress=True))
    told = capsys.readouterr()
    assert "information" in told.err
    assert "chunks" in told.err
    assert told.out == ""


def test_a_model_that_cannot_be_sent_to_processes_is_told_the_cure() -> None:
    method = fk.MonteCarlo(100_000, rng=0, estimator="outer_product")
    with ProcessPoolExecutor(1) as pool, pytest.raises(fk.errors.MethodError, match="Define it at the top of a module"):
        run(fk.MonteCarlo(method.n, rng=0, workers=pool), score=lambda x, t: normal_score(x, t))


# -- checkpoints


class Interruption(KeyboardInterrupt):
    pass


@pytest.mark.parametrize(("rtol", "estimator"), [(None, "outer_product"), (0.015, "outer_product"), (None, "bartlett")])
def test_a_run_goes_on_bit_for_bit_after_ctrl_c(tmp_path: Path, rtol: float | None, estimator: str) -> None:
    calls = 0

    def interrupted(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == (7 if rtol else 14):
            raise Interruption
        return normal_score(x, t)

    path = str(tmp_path / "run.npz")
    method = fk.MonteCarlo(150_000, rng=3, estimator=estimator, rtol=rtol, checkpoint=path)
    with pytest.raises(Interruption):
        run(method, score=interrupted)
    F = run(method, score=interrupted)
    whole = run(fk.MonteCarlo(150_000, rng=3, estimator=estimator, rtol=rtol))
    np.testing.assert_array_equal(F.dense(), whole.dense())
    np.testing.assert_array_equal(F.mcse, whole.mcse)
    once = calls
    np.testing.assert_array_equal(run(method, score=interrupted).dense(), whole.dense())
    assert calls <= once + 20  # a finished run is read; a few more calls see what derivatives the score allows


def test_a_signal_leaves_a_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    """A real SIGINT, at any moment, in a process of its own."""
    path = tmp_path / "run.npz"
    code = f"""
import os, signal, threading, numpy as np, fisherkit as fk
calls = []
def sampler(t, n, rng):
    calls.append(n)
    if len(calls) == 10:
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    return rng.normal(size=n)
model = fk.sampled.Model(score=lambda x, t: x[:, None] - t, sampler=sampler, parameters=("m",))
fk.expected_information(model, [0.0], method=fk.MonteCarlo(10**8, rng=0, estimator="outer_product", checkpoint={str(path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    arrays, meta = (
        fk.storage.read(path) if hasattr(fk, "storage") else __import__("fisherkit.storage", fromlist=["read"]).read(path)
    )
    assert arrays["n"].sum() == meta["state"][0] * chunks.CHUNK
    assert meta["state"][0] >= 8


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "run.npz")
    run(fk.MonteCarlo(1000, rng=0, estimator="outer_product", checkpoint=path))
    with pytest.raises(fk.errors.StorageError, match="checkpoint of another run: other rng"):
        run(fk.MonteCarlo(1000, rng=1, estimator="outer_product", checkpoint=path))
    with pytest.raises(fk.errors.MethodError, match="needs rng= to be a number"):
        fk.MonteCarlo(1000, checkpoint=path)


# -- the accumulator


def test_an_accumulator_in_a_loop_and_merged() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 2.0, 3000)
    at = np.array([1.0, 2.0])
    s = normal_score(x, at)
    whole = fk.sampled.Accumulator(("mu", "sigma"), estimator="outer_product")
    whole.update(s)
    parts = [fk.sampled.Accumulator(("mu", "sigma"), estimator="outer_product") for _ in range(3)]
    for part, rows in zip(parts, np.split(s, 3), strict=True):
        for few in np.array_split(rows, 7):
            part.update(few)
    parts[0].merge(parts[1])
    parts[0].merge(parts[2])
    F, G = whole.result(), parts[0].result()
    assert F._provenance.draws == parts[0].n == 3000
    np.testing.assert_allclose(F.dense(), s.T @ s / 3000, rtol=1e-12)
    np.testing.assert_allclose(G.dense(), F.dense(), rtol=1e-12)
    np.testing.assert_allclose(G.mcse, F.mcse, rtol=0.3)
    diagonal = fk.sampled.Accumulator(("mu", "sigma"), structure="diagonal", estimator="outer_product")
    diagonal.update(s)
    np.testing.assert_allclose(diagonal.result().diagonal(), np.diagonal(F.dense()), rtol=1e-12)


def test_what_an_accumulator_refuses() -> None:
    sums = fk.sampled.Accumulator(("mu", "sigma"))
    with pytest.raises(fk.errors.DataError, match="0 draws has no error"):
        sums.result()
    with pytest.raises(fk.errors.LayoutError, match=r"scores must have shape \(n, 2\); got \(3, 1\)"):
        sums.update(np.ones((3, 1)))
    sums.update(np.ones((3, 2)))
    with pytest.raises(fk.errors.DataError, match="the score of draw 4 is not finite"):
        sums.update([[1.0, 1.0], [np.nan, 1.0]])
    assert sums.n == 3
    with pytest.raises(fk.errors.LayoutError, match="always or never"):
        sums.update(np.ones((3, 2)), np.ones((3, 2, 2)))
    with pytest.raises(fk.errors.LayoutError, match="merge needs equal parameters"):
        sums.merge(fk.sampled.Accumulator(("mu", "tau")))


# -- intervals, bias, and the inverse


@pytest.mark.parametrize("name", ["weibull", "gumbel", "latent count"])
def test_intervals_of_few_draws_hold_the_exact_value(name: str) -> None:
    """Plain normal intervals of these hold it in 80 to 90 %; 120 runs have an error of 2 points."""
    found = coverage(name, lambda seed: fk.MonteCarlo(200, rng=seed), 120).shares
    assert all(88 < share < 99.5 for share in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 2000])
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "g-and-k"])
def test_intervals_are_calibrated(name: str, n: int) -> None:
    found = coverage(name, lambda seed: fk.MonteCarlo(n, rng=1000 + seed), 400).shares
    assert all(not share < 90.5 for share in found.values()), found


def test_the_interval_of_a_function_that_is_flat_at_the_exact_value() -> None:
    """The trace of s s' is 1 for every draw of a Cauchy law, so that its log-determinant varies to second order only."""
    held = [
        low <= np.log(0.25) <= high
        for seed in range(120)
        for low, high in [information("cauchy", fk.MonteCarlo(200, rng=seed)).interval_of(lambda F: F.logdet)]
    ]
    assert np.mean(held) > 0.9


def test_the_bias_of_the_inverse_is_told() -> None:
    """n / (n - p - 1) for Gaussian scores: 30 draws of 3 parameters are 15 % high."""
    rng, inverses, biases = np.random.default_rng(0), [], []
    for _ in range(150):
        sums = fk.sampled.Accumulator(("a", "b", "c"), estimator="outer_product")
        sums.update(rng.normal(size=(30, 3)))
        bound = fk.cramer_rao_bound(sums.result())
        inverses.append(np.diagonal(bound.covariance).mean())
        biases.append(np.diagonal(bound.bias).mean())
    assert np.mean(inverses) == pytest.approx(30 / 26, abs=0.04)
    assert np.mean(np.subtract(inverses, biases)) == pytest.approx(1.0, abs=0.04)


def test_the_inverse_of_too_few_draws_is_refused() -> None:
    sums = fk.sampled.Accumulator(("a", "b", "c"), estimator="outer_product")
    sums.update(np.random.default_rng(0).normal(size=(5, 3)))
    F = sums.result()
    assert F.dense().shape == (3, 3)
    for ask in (F.inverse, F.standard_errors, lambda: fk.cramer_rao_bound(F)):
        with pytest.raises(
            fk.errors.PrecisionError, match=r"5 draws of 3 parameters leave it no mean .* needs about 1.4 times .*n=30"
        ):
            ask()


def test_the_inverse_of_a_noisy_hessian_is_refused() -> None:
    """A hidden chain's -H from 28 draws may even be negative in some direction."""
    F = information("hidden chain", fk.MonteCarlo(200, rng=0, estimator="hessian"))
    with pytest.raises(
        fk.errors.PrecisionError, match=r"least-known direction is known to \d\.\d standard errors. It needs about"
    ):
        F.inverse()


def test_an_interval_needs_groups_and_a_level() -> None:
    with pytest.raises(fk.errors.MethodError, match="groups= of 20 or more"):
        run(fk.MonteCarlo(100, rng=0, groups=0)).interval_of()
    with pytest.raises(fk.errors.DataError, match="level must lie between 0 and 1"):
        run(fk.MonteCarlo(100, rng=0)).interval_of(level=95)
    exact = fk.FisherInformation(np.eye(2))
    assert exact.interval_of(lambda F: F.trace) == (2.0, 2.0)
    low, high = run(fk.MonteCarlo(500, rng=0, estimator="outer_product")).interval_of(lambda F: {"trace": F.trace})
    assert low["trace"] < 0.75 < high["trace"]


# -- bad input


def test_scores_that_are_not_finite() -> None:
    bad = lambda x, t: np.where(x[:, None] > 5, np.nan, normal_score(x, t))
    with pytest.raises(fk.errors.DataError, match=r"the score of observation \d+ in mu is nan"):
        run(fk.MonteCarlo(20_000, rng=0, estimator="outer_product"), score=bad)
    with pytest.warns(diagnostics.OmittedWarning, match="draws with a score that is not finite were left out"):
        F = run(fk.MonteCarlo(2000, rng=0, estimator="outer_product", nan_policy="omit"), score=bad)
    assert 1900 < F._provenance.draws < 2000


def test_an_information_that_is_infinite_does_not_settle() -> None:
    """The score of a power at its edge: s^2 has no mean."""
    model = fk.sampled.Model(score=lambda x, t: x[:, None], sampler=lambda t, n, rng: rng.standard_cauchy(n), parameters=("a",))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fk.expected_information(model, [0.0], method=fk.MonteCarlo(50_000, rng=0))
    assert any("does not settle" in str(w.message) for w in told)


def test_a_hessian_of_another_density_is_told() -> None:
    wrong = lambda x, t: 1.5 * np.stack([np.stack([0 * x - 0.25, 0 * x], 1), np.stack([0 * x, 0 * x - 0.5], 1)], 2)
    with pytest.warns(diagnostics.SamplerMismatchWarning, match=r"E\[s s' \+ H\] is not zero"):
        run(fk.MonteCarlo(20_000, rng=0, estimator="hessian"), hessian=wrong)


REFUSED = {
    "estimator": (lambda: fk.MonteCarlo(10, estimator="best"), "must be one of outer_product, score_control, hessian, bartlett"),
    "rtol": (lambda: fk.MonteCarlo(10, rtol=2.0), r"rtol=\) must be a number between 0 and 1; got 2.0"),
    "nan policy": (lambda: fk.MonteCarlo(10, nan_policy="drop"), "must be 'raise' or 'omit'"),
    "no sampler's information": (
        lambda: normal().expectation(lambda x: x[:, None], AT, method=fk.MonteCarlo(100, rng=0, rtol=0.1)),
        "an average over draws takes no rtol",
    ),
    "one hessian": (
        lambda: run(fk.MonteCarlo(5, rng=0, estimator="hessian")),
        "budget for 1 Hessians of 3 score evaluations; give n=6",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    ask, message = REFUSED[case]
    with pytest.raises(fk.errors.MethodError, match=message):
        ask()


def test_a_hessian_of_the_wrong_shape() -> None:
    with pytest.raises(fk.errors.LayoutError, match=r"hessian\(x, theta\) must have shape \(\d+, 2, 2\); got \(2, 2\)"):
        run(fk.MonteCarlo(1000, rng=0, estimator="hessian"), hessian=lambda x, t: np.eye(2))
    with pytest.raises(fk.errors.LayoutError, match="uniforms must be a positive integer"):
        normal(uniforms=0)
