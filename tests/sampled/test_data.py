"""Observed and empirical information of real data: statsmodels' standard errors, weights, clusters, what is missing."""

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
import sympy.stats
from scipy import special, stats

import fisherkit as fk
from fisherkit import estimation
from fisherkit.rows import Rows
from tests.estimation.test_scoring import dataset, poisson, rows, start
from tests.estimation.test_scoring import logit as symbolic_logit
from tests.test_examples import ROOT, run

AT = {"loc": 1.0, "scale": 2.0}
X = np.random.default_rng(0).normal(1.0, 2.0, 60)
FIT = {"loc": float(X.mean()), "scale": float(X.std())}
VERBS = (fk.observed_information, fk.empirical_information)


# -- real data; estimates are statsmodels', so that only the standard errors are ours


def logit(r: np.ndarray, b: np.ndarray) -> np.ndarray:
    return r[:, 0] * (r[:, 1:] @ b) - np.log(1 + np.exp(r[:, 1:] @ b))


def binomial(r: np.ndarray, b: np.ndarray) -> np.ndarray:
    return r[:, 0] * (r[:, 2:] @ b) - r[:, 1] * np.log(1 + np.exp(r[:, 2:] @ b))


def counts(r: np.ndarray, b: np.ndarray) -> np.ndarray:
    return r[:, 0] * (r[:, 1:] @ b) - np.exp(r[:, 1:] @ b) - special.gammaln(r[:, 0] + 1)


def negative_binomial(r: np.ndarray, t: np.ndarray) -> np.ndarray:
    y, mu, k = r[:, 0], np.exp(r[:, 1:] @ t[:-1]), 1 / t[-1]
    log = special.loggamma  # complex-safe
    return log(y + k) - log(k) - log(y + 1) + y * np.log(mu / k) - (y + k) * np.log(1 + mu / k)


def fitted(name: str) -> tuple[Callable, np.ndarray, object]:
    """Log-density, rows, and statsmodels' fit."""
    sm = pytest.importorskip("statsmodels.api")
    newton = {"disp": 0, "method": "newton", "tol": 1e-13, "maxiter": 100}
    y, Z = dataset(name.split()[0])
    if name == "spector":
        return logit, np.column_stack([y, Z]), sm.Logit(y, Z).fit(**newton)
    if name == "star98":
        reference = sm.GLM(y, Z, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=100)
        return binomial, np.column_stack([y[:, 0], y.sum(axis=1), Z]), reference
    if name == "cpunish":
        return counts, np.column_stack([y, Z]), sm.GLM(y, Z, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=200)
    y, Z = y[::5], Z[::5]
    poisson_fit = sm.Poisson(y, Z).fit(**newton)
    if name == "randhie":
        return counts, np.column_stack([y, Z]), poisson_fit
    reference = sm.NegativeBinomial(y, Z).fit(start_params=[*poisson_fit.params, 1.0], **newton)
    return negative_binomial, np.column_stack([y, Z]), reference


@pytest.mark.parametrize("how", ["numeric", "complex"])
@pytest.mark.parametrize("name", ["spector", "star98", "cpunish", "randhie", "randhie dispersed"])
def test_standard_errors_are_those_of_statsmodels(name: str, how: str) -> None:
    """To 7 digits at least, from a log-density in code alone: raw units, and 21 coefficients of condition 1e6 in star98."""
    log, r, reference = fitted(name)
    model = fk.sampled.Model(log, parameters=[f"b{k}" for k in range(len(reference.params))], derivatives=how)
    F = fk.observed_information(model, reference.params, data=r)
    np.testing.assert_allclose(F.standard_errors(), reference.bse, rtol=1e-8)
    assert F.sample.gradient < 1e-6
    assert F.n == len(r)


def test_star98_as_pupils_that_count_as_often_as_they_are() -> None:
    """A row for those above and one for those below in each county, weighted by their number: the binomial information."""
    _, r, reference = fitted("star98")
    above, below = np.insert(r[:, 2:], 0, 1.0, axis=1), np.insert(r[:, 2:], 0, 0.0, axis=1)
    number = np.concatenate([r[:, 0], r[:, 1] - r[:, 0]])
    model = fk.sampled.Model(logit, parameters=[f"b{k}" for k in range(21)], derivatives="complex")
    F = fk.observed_information(model, reference.params, data=np.concatenate([above, below]), weights=number)
    np.testing.assert_allclose(F.standard_errors(), reference.bse, rtol=1e-8)
    assert (F.n, F.sample.rows) == (int(r[:, 1].sum()), 606)


def weibull(r: np.ndarray, t: np.ndarray) -> np.ndarray:
    time, died, age = r.T
    z = np.exp(t[2]) * (np.log(time) - t[0] - t[1] * age)
    return died * (t[2] - np.log(time) + z) - np.exp(z)


def test_weibull_with_censoring() -> None:
    """statsmodels' heart: 69 patients, 24 of them alive. Its own numeric Hessian, and the formula by SymPy."""
    sm = pytest.importorskip("statsmodels.api")
    from statsmodels.tools.numdiff import approx_hess_cs

    data = sm.datasets.heart.load_pandas()
    r = np.column_stack([data.endog, data.censors, (data.exog.to_numpy().ravel() - 50) / 10])
    model = fk.sampled.Model(weibull, parameters=("a", "b", "s"))
    fit = estimation.fisher_scoring(model, {"a": 5.0, "b": 0.0, "s": 0.0}, r, information="observed")
    at = np.array(list(fit.estimate.values()))
    F = fk.observed_information(model, fit.estimate, data=r)
    np.testing.assert_allclose(F.dense(), -approx_hess_cs(at, lambda t: weibull(r, t).sum()), rtol=1e-7, atol=1e-7)
    time, died, age, a, b, s = sp.symbols("time died age a b s")
    z = sp.exp(s) * (sp.log(time) - a - b * age)
    formula = sp.lambdify((time, died, age, a, b, s), sp.hessian(died * (s - sp.log(time) + z) - sp.exp(z), (a, b, s)))
    exact = -sum(np.array(formula(*row, *at), dtype=float) for row in r)
    np.testing.assert_allclose(F.standard_errors(), np.sqrt(np.diagonal(np.linalg.inv(exact))), rtol=1e-9)


@pytest.mark.parametrize("track", ["code", "symbols"])
def test_clusters_and_weights_of_randhie(track: str) -> None:
    """Both informations make statsmodels' cluster covariance; with weights they are those of the rows repeated."""
    sm = pytest.importorskip("statsmodels.api")
    y, Z = dataset("randhie")
    y, Z = y[:800], Z[:800, :7]
    families, often = np.arange(800) // 8, np.random.default_rng(0).integers(0, 4, 800)
    model = fk.sampled.Model(counts, parameters=[f"b{k}" for k in range(7)]) if track == "code" else poisson(7)
    data = np.column_stack([y, Z]) if track == "code" else rows(y, Z)
    for weights in (None, often):
        w = np.ones(800, int) if weights is None else weights
        seen = np.repeat(np.arange(800), w)
        kwds = {"groups": families[seen], "use_correction": False}
        newton = {"disp": 0, "method": "newton", "tol": 1e-13}
        reference = sm.Poisson(y[seen], Z[seen]).fit(cov_type="cluster", cov_kwds=kwds, **newton)
        plain = sm.Poisson(y[seen], Z[seen]).fit(**newton)
        theta = start(7, **dict(zip([f"b{k}" for k in range(7)], reference.params, strict=True)))
        A = fk.observed_information(model, theta, data=data, weights=weights)
        B = fk.empirical_information(model, theta, data=data, weights=weights, clusters=families)
        assert (A.n, B.n, B.sample.clusters) == (len(seen), len(seen), 100)
        np.testing.assert_allclose(A.standard_errors(), plain.bse, rtol=1e-9)
        by_hand = np.sqrt(np.diagonal(A.solve(A.solve(B.dense()).T)))
        by_name = estimation.sandwich(model, theta, data, weights=weights, clusters=families).standard_errors()
        np.testing.assert_allclose(by_hand, reference.bse, rtol=1e-8)
        np.testing.assert_allclose(by_name, reference.bse, rtol=1e-8)
        fit = estimation.fisher_scoring(model, start(7), data, weights=weights, information="observed")
        np.testing.assert_allclose(list(fit.estimate.values()), reference.params, rtol=1e-7)


def test_weights_that_are_no_counts() -> None:
    """A cluster of its own for each row squares the weight: statsmodels' HC0 of a GLM with var_weights."""
    sm = pytest.importorskip("statsmodels.api")
    y, Z = dataset("spector")
    w = np.linspace(0.3, 1.7, 32)
    glm = sm.GLM(y, Z, family=sm.families.Binomial(), var_weights=w)
    plain, robust = glm.fit(tol=1e-14, maxiter=100), glm.fit(tol=1e-14, maxiter=100, cov_type="HC0")
    model = fk.sampled.Model(logit, parameters=[f"b{k}" for k in range(4)])
    r = np.column_stack([y, Z])
    F = fk.observed_information(model, plain.params, data=r, weights=w)
    np.testing.assert_allclose(F.standard_errors(), plain.bse, rtol=1e-7)  # statsmodels stops at eight digits
    assert F.n == pytest.approx(w.sum())
    found = estimation.sandwich(model, dict(zip(F.parameters.names, plain.params, strict=True)), r, weights=w, clusters=range(32))
    np.testing.assert_allclose(found.standard_errors(), robust.bse, rtol=1e-7)


# -- models fitted to data


def mixture(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    first, second = (np.exp(-0.5 * (x - m) ** 2) for m in t[1:])
    return np.log((first + np.exp(t[0]) * second) / (1 + np.exp(t[0])) / np.sqrt(2 * np.pi))


def test_a_mixture_whose_components_overlap() -> None:
    """Two normals 1.5 standard deviations apart: one hump, and a share that is known 2.5 times worse than if the means were."""
    numdiff = pytest.importorskip("statsmodels.tools.numdiff")
    rng = np.random.default_rng(5)
    x = np.where(rng.random(400) < 0.5, -0.75, 0.75) + rng.standard_normal(400)
    model = fk.sampled.Model(mixture, parameters=("logit", "a", "b"))
    fit = estimation.fisher_scoring(model, {"logit": 0.0, "a": -0.75, "b": 0.75}, x, information="observed")
    at = np.array(list(fit.estimate.values()))
    exact = -numdiff.approx_hess_cs(at, lambda t: mixture(x, t).sum())
    np.testing.assert_allclose(fit.information.dense(), exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.information.standard_errors(), np.sqrt(np.diagonal(np.linalg.inv(exact))), rtol=1e-7)
    told = estimation.identifiability(fit.information)
    assert told.identifiable
    assert told["logit"]["variance_inflation"] > 5
    meeting = fk.empirical_information(model, {"logit": 0.0, "a": x.mean(), "b": x.mean()}, data=x)
    with pytest.raises(fk.errors.SingularInformationError, match="no information along -1 a \\+1 b"):
        meeting.inverse()
    assert meeting.diagonal()[0] < 1e-20  # and where both are one, their share does nothing


@pytest.mark.slow
def test_hares_and_lynxes() -> None:
    """The page's estimate, its gradient and its errors, by another integrator and plain differences."""
    from scipy.integrate import solve_ivp

    page = run(ROOT / "docs" / "data.md")
    fitted, pelts = page["fitted"], page["pelts"]

    def likelihood(theta: np.ndarray) -> float:
        alpha, beta, gamma, delta, h, lynx, sigma = np.exp(theta)
        slope = lambda _, z: [alpha - beta * np.exp(z[1]), delta * np.exp(z[0]) - gamma]
        path = solve_ivp(slope, (0, 20), np.log([h, lynx]), t_eval=np.arange(21.0), rtol=1e-10, atol=1e-12, method="DOP853").y.T
        return float(-0.5 * (((pelts[:, 1:] - path) / sigma) ** 2).sum() - 42 * np.log(sigma))

    at, error = np.array(list(fitted.estimate.values())), np.array(list(fitted.standard_errors.values()))
    steps = 0.1 * np.diag(error)
    gradient = np.array([likelihood(at + s) - likelihood(at - s) for s in steps]) / 0.2
    assert np.abs(gradient).max() < 0.1  # of a standard error: the page takes four steps a year
    hessian = [[sum(a * b * likelihood(at + a * s + b * t) for a in (1, -1) for b in (1, -1)) / 4 for s in steps] for t in steps]
    np.testing.assert_allclose(
        np.sqrt(np.diagonal(np.linalg.inv(-np.array(hessian) / np.outer(steps.sum(0), steps.sum(0))))), error, rtol=0.02
    )


# -- weights, clusters


@pytest.mark.parametrize("verb", VERBS)
def test_a_weight_of_two_is_that_observation_twice(verb: Callable) -> None:
    often = np.random.default_rng(1).integers(0, 4, 60)
    repeated = np.repeat(X, often)
    at = {"loc": repeated.mean() + 0.1, "scale": repeated.std()}
    weighted, plain = verb(stats.norm, at, data=X, weights=often), verb(stats.norm, at, data=repeated)
    np.testing.assert_allclose(weighted.dense(), plain.dense(), rtol=1e-8, atol=1e-8)
    assert weighted.n == plain.n
    assert weighted.sample.gradient == pytest.approx(plain.sample.gradient)
    assert weighted.sample.chance == pytest.approx(plain.sample.chance)


def test_weights_under_every_derivative() -> None:
    torch = pytest.importorskip("torch")
    w = np.linspace(0, 2, 60)
    z = (X - FIT["loc"]) / FIT["scale"]
    exact = np.array([[w.sum(), 2 * (w * z).sum()], [2 * (w * z).sum(), (w * (3 * z**2 - 1)).sum()]]) / FIT["scale"] ** 2
    by_code = lambda x, t: -0.5 * ((x - t[0]) / t[1]) ** 2 - np.log(t[1])
    score = lambda x, t: np.stack([(x - t[0]) / t[1] ** 2, ((x - t[0]) ** 2 / t[1] ** 2 - 1) / t[1]], axis=1)
    h = lambda x, t: np.tile(-exact / w.sum(), (60, 1, 1))
    models = [
        fk.sampled.Model(by_code, parameters=("loc", "scale")),
        fk.sampled.Model(by_code, parameters=("loc", "scale"), derivatives="complex"),
        fk.sampled.Model(
            lambda x, t: -0.5 * ((x - t[0]) / t[1]) ** 2 - torch.log(t[1]), parameters=("loc", "scale"), derivatives="torch"
        ),
        fk.sampled.Model(score=score, parameters=("loc", "scale")),
        fk.sampled.Model(score=lambda x, t: np.real(score(x, t)), parameters=("loc", "scale")),
        fk.sampled.Model(score=score, hessian=h, parameters=("loc", "scale")),
    ]
    for model in models:
        np.testing.assert_allclose(
            fk.observed_information(model, FIT, data=X, weights=w).dense(), exact, rtol=1e-9, atol=1e-9 * exact.max()
        )


def test_clusters_of_one_change_nothing_and_clusters_of_copies_do() -> None:
    plain = fk.empirical_information(stats.norm, FIT, data=X)
    each = fk.empirical_information(stats.norm, FIT, data=X, clusters=[f"person {i}" for i in range(60)])
    np.testing.assert_allclose(each.dense(), plain.dense(), rtol=1e-12)
    twice = fk.empirical_information(stats.norm, FIT, data=np.tile(X, 2), clusters=np.tile(np.arange(60), 2))
    np.testing.assert_allclose(twice.dense(), 4 * plain.dense(), rtol=1e-12)
    diagonal = fk.empirical_information(stats.norm, FIT, data=X, clusters=np.arange(60) % 7, structure="diagonal")
    dense = fk.empirical_information(stats.norm, FIT, data=X, clusters=np.arange(60) % 7)
    np.testing.assert_allclose(diagonal.diagonal(), np.diagonal(dense.dense()))


def test_joint_observations_count_as_their_rows_do() -> None:
    mu, rate = sp.Symbol("mu", real=True), sp.Symbol("rate", positive=True)
    pair = fk.symbolic.as_model(sp.stats.Normal("Y", mu, 1)).iid(2) * fk.symbolic.as_model(sp.stats.Exponential("T", rate))
    data, often = np.abs(np.random.default_rng(2).normal(1, 1, (9, 3))), np.arange(9) % 3
    seen = np.repeat(data, often, axis=0)
    at = {"mu": seen[:, :2].mean(), "rate": 1 / seen[:, 2].mean()}
    for verb in VERBS:
        np.testing.assert_allclose(
            verb(pair, at, data=data, weights=often).dense(), verb(pair, at, data=seen).dense(), rtol=1e-12
        )


# -- missing observations


def with_holes() -> list[object]:
    """The same sample with two values missing, in the forms in which data come."""
    holed = X.copy()
    holed[[3, 7]] = np.nan
    listed = [None if np.isnan(x) else float(x) for x in holed]
    forms: list[object] = [holed, listed, np.ma.masked_invalid(holed), np.ma.array(X, mask=np.isnan(holed))]
    return forms


@pytest.mark.filterwarnings("ignore:the scores of:fisherkit.errors.NotAtMaximumWarning")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("form", range(4), ids=["nan", "None", "masked nan", "masked numbers"])
def test_what_is_missing_is_refused_or_counted(verb: Callable, form: int) -> None:
    data = with_holes()[form]
    complete = np.delete(X, [3, 7])
    with pytest.raises(fk.errors.DataError, match=r"entry \(3,\) is nan|real numbers; got dtype object"):
        verb(stats.norm, FIT, data=data)
    F = verb(stats.norm, FIT, data=data, nan_policy="omit", weights=np.arange(60))
    exact = verb(stats.norm, FIT, data=complete, weights=np.delete(np.arange(60), [3, 7]))
    np.testing.assert_allclose(F.dense(), exact.dense(), rtol=1e-12)
    assert (F.n, F.sample.rows, F.sample.omitted) == (exact.n, 58, 2)
    assert "omitted=2" in repr(F)


def test_rows_of_a_frame_are_left_out_for_the_columns_that_the_model_names() -> None:
    pandas = pytest.importorskip("pandas")
    y, Z = dataset("spector")
    frame = pandas.DataFrame({**rows(y, Z), "note": [None] * 32})
    frame.loc[[4, 9], "x2"] = np.nan
    frame["y"] = frame["y"].astype("Int64")
    frame.loc[0, "y"] = pandas.NA
    y, eta = sp.Symbol("y", integer=True), sum(sp.Symbol(f"b{k}") * sp.Symbol(f"x{k}") for k in range(4))
    betas = sp.symbols("b0:4")
    model = fk.symbolic.Model(log_density=y * eta - sp.log(1 + sp.exp(eta)), data=y, parameters=betas, support={0, 1})
    fit = estimation.fisher_scoring(model, start(4), frame, nan_policy="omit")
    F = fk.observed_information(model, fit.estimate, data=frame, nan_policy="omit")
    assert (F.n, F.sample.omitted) == (29, 3)
    clusters = ["a"] * 5 + ["b"] * 27
    assert fk.empirical_information(model, fit.estimate, data=frame, nan_policy="omit", clusters=clusters).sample.clusters == 2
    complete = frame.dropna(subset=["x2", "y"])
    np.testing.assert_allclose(F.dense(), fk.observed_information(model, fit.estimate, data=complete.astype({"y": int})).dense())


def test_places_are_those_in_the_data_as_given() -> None:
    """An impossible observation is refused under either policy, and named where the caller finds it."""
    bad = lambda x, t: np.where(x > 4, np.nan, x - t[0])[:, None]
    model = fk.sampled.Model(score=bad, parameters=("mu",))
    data = [0.0, np.nan, 1.0, 5.0]
    with pytest.raises(fk.errors.DataError, match="score of observation 3 in mu is nan"):
        fk.empirical_information(model, {"mu": 1.0}, data=data, nan_policy="omit")
    exponential = fk.symbolic.as_model(sp.stats.Exponential("T", sp.Symbol("rate", positive=True)))
    with pytest.raises(fk.errors.DataError, match=r"observation 3 of \w+ is -5: outside its support"):
        fk.empirical_information(exponential, {"rate": 1.0}, data=[0.5, np.nan, 1.0, -5.0], nan_policy="omit")
    with pytest.raises(fk.errors.DataError, match=r"score of observation 0 in \w+ is nan"):
        fk.score(
            fk.sampled.Model(score=lambda x, t: np.full((len(x), 1), np.nan), parameters=("mu",)), {"mu": 1.0}, data=data[:1]
        )


# -- the sum of the scores


def test_the_score_sum_is_told_and_warned_of() -> None:
    F = fk.observed_information(stats.norm, FIT, data=X)
    assert F.sample.gradient < 1e-9
    assert "gradient" not in repr(F)
    far = {"loc": FIT["loc"] + 1.0, "scale": FIT["scale"]}
    told = (
        f"scores of 60 observations add up to {{loc: {-60 / FIT['scale'] ** 2:.3g}, .*standard errors long.*NotAtMaximumWarning"
    )
    for verb in VERBS:
        with pytest.warns(fk.errors.NotAtMaximumWarning, match=told):
            F = verb(stats.norm, far, data=X)
        assert F.sample.score_sum["loc"] == pytest.approx(-60 / FIT["scale"] ** 2)
        assert "gradient=" in repr(F)


def test_the_gradient_is_in_standard_errors() -> None:
    """For one parameter, Student's t of the scores but for their spread about 0 in place of their mean."""
    F = fk.empirical_information(stats.norm, {"loc": 1.5}, data=X)
    s = X - 1.5
    assert F.sample.gradient == pytest.approx(abs(stats.ttest_1samp(s, 0).statistic), rel=0.02)
    assert F.sample.chance == pytest.approx(stats.ttest_1samp(s, 0).pvalue, rel=0.2)


def test_where_the_data_come_from_it_is_silent() -> None:
    """At the parameters that drew them, the chance of the sum is uniform: no warning but one in a thousand times."""
    draws = np.random.default_rng(3).normal(size=(400, 40, 2))
    found = [Rows(s).sample(s, {"a": 0.0, "b": 1.0}).chance for s in draws]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.min(found) > 1e-3


def test_too_few_observations_to_tell() -> None:
    assert np.isnan(fk.observed_information(stats.norm, AT, data=[3.0]).sample.chance)
    assert "gradient" not in repr(fk.observed_information(stats.norm, {"loc": 3.0}, data=[3.0]))


def test_a_sample_is_kept_in_a_file_and_lost_in_a_sum(tmp_path) -> None:
    F = fk.empirical_information(stats.norm, FIT, data=[*X, np.nan], nan_policy="omit", clusters=np.arange(61) // 2)
    F.save(tmp_path / "F.npz")
    assert fk.load(tmp_path / "F.npz").sample == F.sample
    assert (F + F).sample is None
    assert (2 * F).sample == F.sample


def test_latent_and_joint_models_tell_it_too() -> None:
    model = fk.sampled.LatentModel(
        lambda y, z, t: -0.5 * (y - z) ** 2 - 0.5 * (z - t[0]) ** 2,
        posterior=lambda y, t, size, rng: rng.normal((y[:, None] + t[0]) / 2, np.sqrt(0.5), (len(y), size)),
        parameters=("mu",),
        method=fk.MonteCarlo(400, rng=0),
    )
    with pytest.warns(fk.errors.NotAtMaximumWarning, match="60 observations"):
        fk.observed_information(model, {"mu": 3.0}, data=X)
    with pytest.raises(fk.errors.MethodError, match="models whose data are rows"):
        fk.observed_information(model, {"mu": 1.0}, data=X, weights=np.ones(60))


# -- refusals


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"weights": np.ones(3)}, fk.errors.DataError, r"one number for each of the 60 observations; got shape \(3,\)"),
        ({"weights": np.ones((60, 1))}, fk.errors.DataError, r"got shape \(60, 1\)"),
        ({"weights": np.where(np.arange(60) == 5, -1.0, 1)}, fk.errors.DataError, "not negative; entry 5 is -1"),
        ({"weights": np.where(np.arange(60) == 5, np.nan, 1)}, fk.errors.DataError, "finite .*entry 5 is nan"),
        ({"weights": np.zeros(60)}, fk.errors.DataError, "all 0: no observation counts"),
        ({"weights": ["a"] * 60}, fk.errors.DataError, "weights must be real numbers"),
        ({"weights": 1j * X}, fk.errors.DataError, "weights must be real numbers; got dtype complex128"),
        ({"clusters": [1, 2]}, fk.errors.DataError, "one label for each of the 60"),
        ({"clusters": [0] * 60}, fk.errors.DataError, "one label only"),
        ({"clusters": [None] + [1] * 59}, fk.errors.DataError, "no missing label; entry 0"),
        ({"clusters": [1.0, np.nan] * 30}, fk.errors.DataError, "no missing label; entry 1"),
        ({"clusters": np.array([1, "a"] * 30, dtype=object)}, fk.errors.DataError, "labels of one kind"),
        ({"nan_policy": "propagate"}, fk.errors.MethodError, "'raise' or 'omit'; got 'propagate'"),
        ({"data": np.full(3, np.nan), "nan_policy": "omit"}, fk.errors.DataError, "every one of the 3 .* nothing is left"),
        ({"data": ["a", "b"], "nan_policy": "omit"}, fk.errors.DataError, "real numbers"),
        ({"data": 1j * X, "nan_policy": "omit"}, fk.errors.DataError, "real numbers; got dtype complex128"),
        ({"data": [], "weights": []}, fk.errors.DataError, "at least one observation"),
        ({"data": None, "weights": [1.0]}, fk.errors.DataError, "give data="),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fk.empirical_information(stats.norm, FIT, **{"data": X, **given})


def test_networks_take_no_rows() -> None:
    torch = pytest.importorskip("torch")
    net = fk.networks.Model(torch.nn.Linear(2, 1), likelihood="gaussian")
    pair = torch.ones(4, 2), torch.ones(4, 1)
    assert fk.empirical_information(net, data=pair).sample is None
    with pytest.raises(fk.errors.MethodError, match=r"models whose data are rows.*networks"):
        fk.empirical_information(net, data=pair, clusters=[1, 1, 2, 2])


@pytest.mark.parametrize("kind", ["expected", "observed"])
def test_weighted_scoring_is_that_of_the_rows_repeated(kind: str) -> None:
    """Of a regression over covariates, and of a family."""
    y, Z = dataset("spector")
    often = np.arange(32) % 3 + 1
    seen = np.repeat(np.arange(32), often)
    weighted = estimation.fisher_scoring(symbolic_logit(4), start(4), rows(y, Z), weights=often, information=kind)
    repeated = estimation.fisher_scoring(symbolic_logit(4), start(4), rows(y[seen], Z[seen]), information=kind)
    np.testing.assert_allclose(weighted.information.dense(), repeated.information.dense(), rtol=1e-6)
    assert weighted.information.n == repeated.information.n == len(seen)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood)
    weights = np.arange(60) % 4
    one = estimation.fisher_scoring(stats.norm, AT, X, weights=weights, information=kind)
    two = estimation.fisher_scoring(stats.norm, AT, np.repeat(X, weights), information=kind)
    np.testing.assert_allclose(one.information.dense(), two.information.dense(), rtol=1e-6, atol=1e-6)
