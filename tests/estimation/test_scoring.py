"""Fisher scoring: regressions against statsmodels on its data, closed forms, and estimates that do not exist."""

import numpy as np
import pytest
import sympy as sp
from scipy import special, stats

import fisherkit as fk
from fisherkit.estimation import ConvergenceWarning, fisher_scoring

Y01, COUNT, POSITIVE = sp.Symbol("y", integer=True), sp.Symbol("y", integer=True, nonnegative=True), sp.Symbol("y", positive=True)


def design(p: int) -> tuple[tuple, tuple, sp.Expr]:
    """Coefficients, covariates and their linear predictor."""
    beta, x = sp.symbols(f"b0:{p}", real=True), sp.symbols(f"x0:{p}", real=True)
    return beta, x, sum(b * v for b, v in zip(beta, x, strict=True))


def rows(y: np.ndarray, X: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": y, **{f"x{j}": column for j, column in enumerate(X.T)}}


def logit(p: int) -> fk.symbolic.Model:
    beta, _, eta = design(p)
    return fk.symbolic.Model(log_density=Y01 * eta - sp.log(1 + sp.exp(eta)), data=Y01, parameters=beta, support={0, 1})


def probit(p: int) -> fk.symbolic.Model:
    beta, _, eta = design(p)
    high, low = ((1 + sp.erf(s * eta / sp.sqrt(2))) / 2 for s in (1, -1))
    return fk.symbolic.Model(log_density=Y01 * sp.log(high) + (1 - Y01) * sp.log(low), data=Y01, parameters=beta, support={0, 1})


def poisson(p: int) -> fk.symbolic.Model:
    beta, _, eta = design(p)
    log_density = COUNT * eta - sp.exp(eta) - sp.loggamma(COUNT + 1)
    return fk.symbolic.Model(log_density=log_density, data=COUNT, parameters=beta, support=sp.S.Naturals0)


def gamma(p: int, shape: float) -> fk.symbolic.Model:
    beta, _, eta = design(p)
    k, y = sp.Symbol("k", positive=True), POSITIVE
    log_density = k * sp.log(k) - k * eta + (k - 1) * sp.log(y) - k * y * sp.exp(-eta) - sp.loggamma(k)
    return fk.symbolic.Model(log_density=log_density, data=y, parameters=beta, support=(0, sp.oo)).given(k=shape)


def dataset(name: str, *, constant: bool = True) -> tuple[np.ndarray, np.ndarray]:
    sm = pytest.importorskip("statsmodels.api")
    data = getattr(sm.datasets, name).load_pandas()
    X = data.exog.to_numpy(float)
    return np.squeeze(data.endog.to_numpy(float)), sm.add_constant(X) if constant else X


def errors(fit: fk.estimation.Estimate) -> np.ndarray:
    return np.array(list(fit.standard_errors.values()))


ZERO = {f"b{k}": 0.0 for k in range(20)}


def start(p: int, **given: float) -> dict[str, float]:
    return {**{f"b{k}": 0.0 for k in range(p)}, **given}


# -- statsmodels


@pytest.mark.parametrize("kind", ["expected", "observed"])
def test_logit_of_spector(kind: str) -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("spector")
    reference = sm.Logit(y, X).fit(disp=0, method="newton", tol=1e-13)
    fit = fisher_scoring(logit(4), start(4), rows(y, X), information=kind)
    np.testing.assert_allclose(list(fit.estimate.values()), reference.params, rtol=1e-10)
    np.testing.assert_allclose(errors(fit), reference.bse, rtol=1e-9)
    assert fit.log_likelihood == pytest.approx(reference.llf, rel=1e-13)
    assert (fit.information.kind, fit.information.n) == (kind, 32)
    assert fit.gradient < 1e-8


def test_probit_of_spector_has_two_informations() -> None:
    """statsmodels' Probit reports the observed one, its GLM the expected one."""
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("spector")
    observed = fisher_scoring(probit(4), start(4), rows(y, X), information="observed")
    expected = fisher_scoring(probit(4), start(4), rows(y, X))
    reference = sm.Probit(y, X).fit(disp=0, method="newton", tol=1e-13)
    link = sm.families.links.Probit()
    glm = sm.GLM(y, X, family=sm.families.Binomial(link)).fit(tol=1e-14, maxiter=200)
    np.testing.assert_allclose(errors(observed), reference.bse, rtol=1e-9)
    np.testing.assert_allclose(errors(expected), glm.bse, rtol=1e-8)
    assert np.abs(errors(observed) / errors(expected) - 1).max() > 0.01


@pytest.mark.parametrize("kind", ["expected", "observed"])
def test_poisson_of_twenty_thousand_visits(kind: str) -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("randhie")
    reference = sm.Poisson(y, X).fit(disp=0, method="newton", tol=1e-13)
    fit = fisher_scoring(poisson(10), start(10), rows(y, X), information=kind)
    np.testing.assert_allclose(errors(fit), reference.bse, rtol=1e-9)
    assert fit.log_likelihood == pytest.approx(reference.llf, rel=1e-12)


def test_poisson_of_executions() -> None:
    """cpunish: 17 states, in units from 1e-3 to 1e4."""
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("cpunish")
    reference = sm.GLM(y, X, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=200)
    fit = fisher_scoring(poisson(7), start(7, b0=np.log(y.mean())), rows(y, X))
    np.testing.assert_allclose(errors(fit), reference.bse, rtol=1e-7)


@pytest.mark.parametrize(("kind", "method"), [("expected", "IRLS"), ("observed", "newton")])
def test_gamma_regression_of_scotland(kind: str, method: str) -> None:
    """The dispersion is statsmodels' own, from Pearson's chi-squared."""
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("scotland")
    X = X / np.abs(X).max(axis=0)  # for statsmodels' optimizer; ours minds no units
    reference = sm.GLM(y, X, family=sm.families.Gamma(sm.families.links.Log())).fit(tol=1e-14, maxiter=300)
    fit = fisher_scoring(gamma(8, 1 / float(reference.scale)), start(8, b0=np.log(y.mean())), rows(y, X), information=kind)
    np.testing.assert_allclose(list(fit.estimate.values()), reference.params, rtol=1e-7)
    if kind == "expected":
        np.testing.assert_allclose(errors(fit), reference.bse, rtol=1e-7)
    else:
        hessian = -reference.model.hessian(reference.params, scale=reference.scale, observed=True)
        np.testing.assert_allclose(errors(fit), np.sqrt(np.diagonal(np.linalg.inv(hessian))), rtol=1e-7)


def test_binomial_regression_of_star98_in_code() -> None:
    """303 counties, 21 coefficients, in code with its score."""
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("star98")
    X = X / np.abs(X).max(axis=0)
    n = y.sum(axis=1)
    reference = sm.GLM(y, X, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=100)

    def log_density(r: np.ndarray, b: np.ndarray) -> np.ndarray:
        eta = r[:, 2:] @ b
        chosen = special.gammaln(r[:, 1] + 1) - special.gammaln(r[:, 0] + 1) - special.gammaln(r[:, 1] - r[:, 0] + 1)
        return r[:, 0] * eta - r[:, 1] * np.logaddexp(0, eta) + chosen

    def score(r: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (r[:, 0] - r[:, 1] * special.expit(r[:, 2:] @ b))[:, None] * r[:, 2:]

    model = fk.sampled.Model(log_density, score=score, parameters=[f"b{k}" for k in range(X.shape[1])])
    fit = fisher_scoring(model, start(X.shape[1]), np.column_stack([y[:, 0], n, X]), information="observed")
    np.testing.assert_allclose(errors(fit), reference.bse, rtol=1e-7)
    assert fit.log_likelihood == pytest.approx(reference.llf, rel=1e-10)


def test_weibull_regression_with_censoring() -> None:
    """Survival after a heart transplant (statsmodels' heart: 69 patients, 24 censored), log-linear in age."""
    sm = pytest.importorskip("statsmodels.api")
    from statsmodels.base.model import GenericLikelihoodModel
    from statsmodels.tools.numdiff import approx_hess_cs

    data = sm.datasets.heart.load_pandas()
    time, died = data.endog.to_numpy(float), data.censors.to_numpy(float)
    age = (data.exog.to_numpy(float).ravel() - 50) / 10

    class Reference(GenericLikelihoodModel):
        def loglikeobs(self, t):
            z = np.exp(t[2]) * (np.log(self.endog) - t[0] - t[1] * self.exog[:, 0])
            return self.exog[:, 1] * (t[2] - np.log(self.endog) + z) - np.exp(z)

    reference = Reference(time, np.column_stack([age, died]))
    y, x, d = sp.symbols("y x d", positive=True)
    a, b, s = sp.symbols("a b s", real=True)
    z = sp.exp(s) * (sp.log(y) - a - b * x)
    model = fk.symbolic.Model(log_density=d * (s - sp.log(y) + z) - sp.exp(z), data=y, parameters=(a, b, s), support=(0, sp.oo))
    begin = {"a": 5.0, "b": 0.0, "s": 0.0}
    fit = fisher_scoring(model, begin, {"y": time, "x": age, "d": died}, information="observed")
    params = np.array(list(fit.estimate.values()))
    assert np.abs(reference.score_obs(params).sum(axis=0)).max() < 1e-5
    hessian = approx_hess_cs(params, reference.loglike)
    np.testing.assert_allclose(errors(fit), np.sqrt(np.diagonal(np.linalg.inv(-hessian))), rtol=1e-7)


# -- closed forms, tracks, kinds


def test_a_normal_sample_through_every_kind_and_track() -> None:
    x, mu, sigma = sp.Symbol("x", real=True), sp.Symbol("mu", real=True), sp.Symbol("sigma", positive=True)
    symbolic = fk.symbolic.Model(
        log_density=-(((x - mu) / sigma) ** 2) / 2 - sp.log(sigma) - sp.log(2 * sp.pi) / 2,
        data=x,
        parameters=(mu, sigma),
        support=(-sp.oo, sp.oo),
    )
    data = np.random.default_rng(0).normal(3, 2, 40)
    exact = np.array([data.mean(), data.std()])
    code = fk.sampled.Model(
        lambda x, t: -(((x - t[0]) / t[1]) ** 2) / 2 - np.log(t[1]) - np.log(2 * np.pi) / 2,
        parameters=("mu", "sigma"),
        derivatives="complex",
        data=data,
    )
    fits = [fisher_scoring(symbolic, {"mu": 0.0, "sigma": 1.0}, data, information=k) for k in ("expected", "observed")]
    fits.append(fisher_scoring(code, {"mu": 0.0, "sigma": 1.0}, information="observed"))
    fits.append(fisher_scoring(stats.Normal, {"mu": 2.0, "sigma": 2.0}, data, information="observed"))
    for fit in fits:
        np.testing.assert_allclose(list(fit.estimate.values()), exact, rtol=1e-8)
        np.testing.assert_allclose(errors(fit), exact[1] / np.sqrt([40, 80]), rtol=1e-7)
        assert fit.log_likelihood == pytest.approx(stats.norm(*exact).logpdf(data).sum(), rel=1e-12)
    assert "standard error" in repr(fits[0])


def test_a_data_frame() -> None:
    """Columns that the model does not name may be there; a covariate that tells zeros apart has no estimate."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x0": np.ones(4), "x1": [0.0, 1, 2, 3], "y": [1, 2, 2, 5], "name": list("abcd")})
    fit = fisher_scoring(poisson(2), start(2), frame)
    mean = np.exp(fit.estimate["b0"] + fit.estimate["b1"] * frame["x1"])
    assert mean.sum() == pytest.approx(10, rel=1e-9)  # the likelihood equations
    assert (mean * frame["x1"]).sum() == pytest.approx((frame["y"] * frame["x1"]).sum(), rel=1e-9)
    frame["y"], frame["x1"] = [1, 2, 0, 0], [0.0, 0, 1, 1]
    with pytest.raises(fk.errors.ConvergenceError, match="further in b1"):
        fisher_scoring(poisson(2), start(2), frame)


def test_an_expectation_by_monte_carlo() -> None:
    """The estimate is the same, whatever the metric; the error of the information follows."""
    model = fk.sampled.Model(
        lambda x, t: np.log(t[0]) - t[0] * x,
        sampler=lambda t, size, rng: rng.exponential(1 / t[0], size),
        parameters=("rate",),
        derivatives="complex",
    )
    data = np.random.default_rng(0).exponential(0.5, 100)
    fit = fisher_scoring(model, {"rate": 1.0}, data, method=fk.MonteCarlo(4000, rng=0))
    assert fit.estimate["rate"] == pytest.approx(1 / data.mean(), rel=1e-8)
    assert abs(float(fit.information) - 100 * data.mean() ** 2) < 4 * float(fit.information.mcse[0, 0])


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    data = np.random.default_rng(1).gamma(2.5, 1 / 3.0, 200)
    family = torch.distributions.Gamma(torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    fit = fisher_scoring(family, {"concentration": 1.0, "rate": 1.0}, data, information="observed")
    shape, _, _ = stats.gamma.fit(data, floc=0)
    assert fit.estimate["concentration"] == pytest.approx(shape, rel=1e-5)
    exact = 200 * np.array([[special.polygamma(1, fit.estimate["concentration"]), -1 / fit.estimate["rate"]], [0, 0]])
    assert fit.information.dense()[0] == pytest.approx(exact[0], rel=1e-7)


@pytest.mark.filterwarnings("ignore:the scores of:fisherkit.errors.NotAtMaximumWarning")
def test_steps_are_halved_out_of_bad_starts() -> None:
    """Cauchy data from a start at which the plain step leaves the domain of the scale."""
    data = stats.cauchy.rvs(loc=1, scale=0.5, size=100, random_state=np.random.default_rng(2))
    model = fk.sampled.Model(
        lambda x, t: np.log(t[1] / np.pi) - np.log(t[1] ** 2 + (x - t[0]) ** 2),
        parameters=("loc", "scale"),
        derivatives="complex",
    )
    begin = {"loc": 0.0, "scale": 30.0}
    F = fk.observed_information(model, begin, data=data)
    plain = np.array([0.0, 30.0]) + fk.empirical_information(model, begin, data=data).solve(
        fk.score(model, begin, data=data).sum(axis=0)
    )
    assert plain[1] < 0
    assert np.isfinite(F.dense()).all()
    fit = fisher_scoring(model, begin, data, information="empirical")
    loc, scale = stats.cauchy.fit(data)
    assert fit.estimate["loc"] == pytest.approx(loc, abs=1e-3)
    assert fit.estimate["scale"] == pytest.approx(scale, abs=1e-3)


# -- what does not exist, or is refused


def separated(kind: str) -> tuple[np.ndarray, np.ndarray]:
    y, X = dataset("spector")
    responses = {
        "complete": (X[:, 1] > 3).astype(float),
        "quasi": np.where(X[:, 3] == 1, 1.0, y),
        "all ones": np.ones(len(y)),
        "in two covariates": (X[:, 1] + 0.06 * X[:, 2] + X[:, 3] > 4.9).astype(float),
    }
    return responses[kind], X


@pytest.mark.parametrize("information", ["expected", "observed"])
@pytest.mark.parametrize("kind", ["complete", "quasi", "all ones", "in two covariates"])
def test_a_separated_logit_has_no_estimate(kind: str, information: str) -> None:
    y, X = separated(kind)
    with pytest.raises(fk.errors.ConvergenceError) as refusal:
        fisher_scoring(logit(4), start(4), rows(y, X), information=information)
    assert refusal.value.condition in ("no_maximum", "not_ascending")


@pytest.mark.parametrize("kind", ["complete", "quasi", "all ones", "in two covariates"])
@pytest.mark.parametrize("information", ["observed", "empirical"])
def test_nor_has_one_in_code(kind: str, information: str) -> None:
    y, X = separated(kind)
    model = fk.sampled.Model(
        lambda r, b: r[:, 0] * (r[:, 1:] @ b) - np.logaddexp(0, r[:, 1:] @ b),
        score=lambda r, b: (r[:, 0] - special.expit(r[:, 1:] @ b))[:, None] * r[:, 1:],
        parameters=[f"b{k}" for k in range(4)],
    )
    with pytest.raises(fk.errors.ConvergenceError):
        fisher_scoring(model, start(4), np.column_stack([y, X]), information=information)


def test_a_quasi_separated_logit_tells_the_covariate() -> None:
    y, X = separated("quasi")
    with pytest.raises(fk.errors.ConvergenceError, match=r"has no maximum at a finite point.*further in b3"):
        fisher_scoring(logit(4), start(4), rows(y, X))


def test_an_unbounded_likelihood_has_no_estimate() -> None:
    x, mu, s = sp.Symbol("x", real=True), sp.Symbol("mu", real=True), sp.Symbol("s", positive=True)
    model = fk.symbolic.Model(
        log_density=-(((x - mu) / s) ** 2) / 2 - sp.log(s), data=x, parameters=(mu, s), support=(-sp.oo, sp.oo)
    )
    with pytest.raises((fk.errors.ConvergenceError, fk.errors.FisherkitError)):
        fisher_scoring(model, {"mu": 1.0, "s": 1.0}, [1.0, 1.0, 1.0], information="observed")


def test_too_few_iterations_are_told_with_the_gradient() -> None:
    y, X = dataset("spector")
    with pytest.raises(
        fk.errors.ConvergenceError, match=r"no maximum after 2 iterations: the next step would be .* standard"
    ) as refusal:
        fisher_scoring(logit(4), start(4), rows(y, X), max_iterations=2)
    assert refusal.value.condition == "iterations"
    assert set(refusal.value.point) == {"b0", "b1", "b2", "b3"}


def test_rounding_in_the_derivatives_is_told() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=200)
    model = fk.sampled.Model(
        lambda x, t: -((x - t[0]) ** 2) / 2,
        score=lambda x, t: (x - t[0])[:, None] + 1e-6 * np.sin(1e12 * t[0]),
        parameters=("mu",),
    )
    with pytest.warns(ConvergenceWarning, match="derivatives of the model have no more digits"):
        fisher_scoring(model, {"mu": 0.5}, data, information="empirical")


def test_dependent_covariates_are_named_at_the_start() -> None:
    y, X = dataset("spector")
    twice = np.column_stack([X, X[:, 1]])
    with pytest.raises(fk.errors.SingularInformationError, match=r"b1.*b4"):
        fisher_scoring(logit(5), start(5), rows(y, twice))


NORMAL = fk.sampled.Model(lambda x, t: -((x - t[0]) ** 2) / 2, parameters=("mu",))


@pytest.mark.parametrize(
    ("model", "begin", "data", "more", "error", "message"),
    [
        (NORMAL, {"mu": 0.0}, [1.0, np.nan], {}, fk.errors.DataError, "must be finite"),
        (NORMAL, {"mu": 0.0}, [], {}, fk.errors.DataError, "at least one observation"),
        (NORMAL, {"nu": 0.0}, [1.0], {}, fk.errors.LayoutError, "missing: mu; unknown: nu"),
        (NORMAL, {"mu": 0.0}, [1.0, 2.0], {}, fk.errors.MethodError, "no sampler, support or outcomes"),
        (
            NORMAL,
            {"mu": 0.0},
            [1.0, 2.0],
            {"information": "fisher"},
            fk.errors.MethodError,
            "one of expected, observed, empirical",
        ),
        (stats.norm, {"loc": 0.0, "scale": -1.0}, [1.0, 2.0], {}, fk.errors.LayoutError, "outside the domain"),
        (stats.expon, {"scale": 1.0}, [-1.0, 2.0], {}, fk.errors.ConvergenceError, "-inf at the start"),
        (stats.norm, [0.0, 1.0], [1.0], {}, fk.errors.LayoutError, "start must be a mapping"),
        (logit(2), start(2), {"y": [0, 1], "x0": [1, 1]}, {}, fk.errors.LayoutError, "give x1 in theta too, or as columns"),
        (logit(2), start(2), {"x0": [1, 1], "x1": [1, 2]}, {}, fk.errors.DataError, "data must have a column for y"),
        (logit(2), start(2), {"y": [0, 1], "x0": [1], "x1": [1, 2]}, {}, fk.errors.DataError, "of one length"),
        (logit(2), start(2), {"y": [0, np.nan], "x0": [1, 1], "x1": [1, 2]}, {}, fk.errors.DataError, "y must be finite"),
        (
            logit(2),
            start(2),
            {"y": [0, 2], "x0": [1, 1], "x1": [1, 2]},
            {},
            fk.errors.DataError,
            "observation 1 of y is 2: outside",
        ),
        (
            poisson(1),
            start(1),
            {"y": [0.5], "x0": [1]},
            {},
            fk.errors.DataError,
            "observation 0 of y is 0.5: outside its support",
        ),
    ],
)
def test_bad_input(model, begin, data, more, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fisher_scoring(model, begin, data, **more)
