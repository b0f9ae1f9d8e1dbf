"""Intervals, tests, profiles, robust covariances and identifiability, each against something independent."""

import numpy as np
import pytest
import sympy as sp
from scipy import optimize, special, stats

import fisherkit as fk
from fisherkit import estimation
from tests.estimation.test_scoring import dataset, logit, poisson, rows, start

DATA = np.random.default_rng(0).gamma(2.0, 1.5, 30)
x, k, s = sp.symbols("x k s", positive=True)
GAMMA = fk.symbolic.Model(
    log_density=(k - 1) * sp.log(x) - x / s - sp.loggamma(k) - k * sp.log(s), data=x, parameters=(k, s), support=(0, sp.oo)
)


@pytest.fixture(scope="module")
def gamma() -> estimation.Estimate:
    return estimation.fisher_scoring(GAMMA, {"k": 1.0, "s": 1.0}, DATA)


@pytest.fixture(scope="module")
def spector():
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("spector")
    return y, X, sm.Logit(y, X).fit(disp=0, method="newton", tol=1e-13), estimation.fisher_scoring(logit(4), start(4), rows(y, X))


def highest(fixed: dict[str, float]) -> float:
    """The log-likelihood of the gamma sample, the rest maximized by another route."""
    if set(fixed) == {"k", "s"}:
        return float(stats.gamma(fixed["k"], scale=fixed["s"]).logpdf(DATA).sum())
    if "k" in fixed:
        return highest({"k": fixed["k"], "s": DATA.mean() / fixed["k"]})
    found = optimize.minimize_scalar(
        lambda a: -highest({**fixed, "k": a}), bounds=(0.01, 50), method="bounded", options={"xatol": 1e-12}
    )
    return float(-found.fun)


# -- intervals


def test_intervals_are_those_of_statsmodels(spector) -> None:
    _, _, reference, fit = spector
    intervals = estimation.confidence_intervals(fit.information, fit.estimate, level=0.9)
    np.testing.assert_allclose(np.stack([intervals.low, intervals.high], axis=1), reference.conf_int(alpha=0.1), rtol=1e-8)
    assert intervals["b1"] == pytest.approx(tuple(reference.conf_int(alpha=0.1)[1]), rel=1e-8)
    assert list(intervals) == ["b0", "b1", "b2", "b3"]


def test_the_delta_method(gamma) -> None:
    """Of mean k s and log s: by hand, by a callable, and by expressions."""
    (a, b), V = gamma.estimate.values(), np.asarray(gamma.information.inverse())
    G = np.array([[b, a], [0, 1 / b]])
    errors = np.sqrt(np.diagonal(G @ V @ G.T))
    by_code = estimation.confidence_intervals(
        gamma.information, gamma.estimate, of=lambda t: np.array([t[0] * t[1], np.log(t[1])])
    )
    by_name = estimation.confidence_intervals(gamma.information, gamma.estimate, of={"mean": k * s, "log s": sp.log(s)})
    for found in (by_code, by_name):
        np.testing.assert_allclose(found.standard_errors, errors, rtol=1e-8)
        np.testing.assert_allclose(found.estimate, [a * b, np.log(b)])
    assert by_name["mean"] == pytest.approx((a * b - 1.959963984540054 * errors[0], a * b + 1.959963984540054 * errors[0]))


def test_a_domain_keeps_its_intervals(gamma) -> None:
    error = gamma.standard_errors["s"]
    low, high = estimation.confidence_intervals(gamma.information, gamma.estimate, domain={"s": (0, np.inf)})["s"]
    factor = np.exp(1.959963984540054 * error / gamma.estimate["s"])
    assert (low, high) == pytest.approx((gamma.estimate["s"] / factor, gamma.estimate["s"] * factor))
    F = fk.FisherInformation([[30.0]], parameters=("p",))
    low, high = estimation.confidence_intervals(F, {"p": 0.03}, domain={"p": (0, 1)})["p"]
    half = 1.959963984540054 / np.sqrt(30) / (0.03 * 0.97)
    assert (low, high) == pytest.approx(tuple(special.expit(special.logit(0.03) + np.array([-half, half]))))
    low, high = estimation.confidence_intervals(F, {"p": -0.5}, domain={"p": (-np.inf, 0)})["p"]
    assert low < -0.5 < high < 0


def test_coverage_of_the_intervals() -> None:
    """Exponential samples of 50, the interval on the log scale: exactly 94.82 %, from the gamma distribution of the mean."""
    half, exact = 1.959963984540054 / np.sqrt(50), stats.gamma(50, scale=1 / 50)
    exact_coverage = exact.cdf(np.exp(half)) - exact.cdf(np.exp(-half))
    rng, held = np.random.default_rng(1), 0
    for _ in range(2000):
        rate = 1 / rng.exponential(0.5, 50).mean()
        F = fk.FisherInformation([[50 / rate**2]], parameters=("rate",))
        low, high = estimation.confidence_intervals(F, {"rate": rate}, domain={"rate": (0, np.inf)})["rate"]
        held += low < 2 < high
    assert abs(held / 2000 - exact_coverage) < 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_an_estimated_information_gives_intervals_with_mcse() -> None:
    F = fk.expected_information(
        stats.norm, {"loc": 0.0, "scale": 1.0}, method=fk.MonteCarlo(2000, rng=0, estimator="outer_product")
    ).total(100)
    intervals = estimation.confidence_intervals(F, {"loc": 0.0, "scale": 1.0})
    exact = np.array([[-0.196, 0.196], [1 - 0.1386, 1 + 0.1386]])
    found = np.stack([intervals.low, intervals.high], axis=1)
    assert np.abs((found - exact) / intervals.mcse).max() < 4


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"domain": {"s": (5, 6)}}, fk.errors.DataError, r"the estimate s = .* is outside its domain \(5, 6\)"),
        ({"domain": {"z": (0, 1)}}, fk.errors.LayoutError, "domain names z"),
        ({"domain": {"s": (1, 0)}}, fk.errors.LayoutError, "low < high"),
        ({"level": 95}, fk.errors.DataError, "between 0 and 1; got 95"),
        ({"degrees_of_freedom": 0}, fk.errors.DataError, "must be positive"),
        ({"of": k * sp.Symbol("w")}, fk.errors.LayoutError, "of= holds w"),
        ({"of": "k"}, fk.errors.LayoutError, "of= must be a callable"),
    ],
)
def test_intervals_refuse(gamma, more: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        estimation.confidence_intervals(gamma.information, gamma.estimate, **more)


def test_intervals_of_a_singular_information_name_the_direction() -> None:
    F = fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]], parameters=("a", "b"))
    with pytest.raises(fk.errors.SingularInformationError, match=r"\+1 a -1 b"):
        estimation.confidence_intervals(F, {"a": 0.0, "b": 0.0})
    with pytest.raises(fk.errors.LayoutError, match="missing: b"):
        estimation.confidence_intervals(F, {"a": 0.0})


# -- tests


def test_wald_is_that_of_statsmodels(spector) -> None:
    _, _, reference, fit = spector
    both = reference.wald_test(np.eye(4)[[1, 3]], scalar=True)
    found = estimation.wald_test(fit.information, fit.estimate, {"b1": 0, "b3": 0})
    assert (found.statistic, found.p_value) == pytest.approx((float(both.statistic), float(both.pvalue)), rel=1e-8)
    one = estimation.wald_test(fit.information, fit.estimate, 1.0, of=lambda t: t[1] - t[3])
    difference = reference.wald_test(np.array([[0, 1.0, 0, -1.0]]), scalar=True)
    assert one.degrees_of_freedom == difference.df_denom == 1
    G = np.array([0, 1.0, 0, -1.0])
    assert one.statistic == pytest.approx((G @ reference.params - 1) ** 2 / (G @ reference.cov_params() @ G), rel=1e-8)


def test_the_likelihood_ratio_is_that_of_statsmodels(spector) -> None:
    y, X, reference, fit = spector
    null = {"b1": 0.0, "b2": 0.0, "b3": 0.0}
    for begin in (fit, start(4)):
        found = estimation.likelihood_ratio_test(logit(4), null, rows(y, X), start=begin)
        assert (found.statistic, found.p_value) == pytest.approx((reference.llr, reference.llr_pvalue), rel=1e-8)
        assert found.degrees_of_freedom == 3


def test_the_score_test_against_its_formula(spector) -> None:
    """Under b1 = b2 = b3 = 0 the logit's mean is the share of ones: U'V^-1 U / (p (1-p)) with centered covariates."""
    y, X, _, _ = spector
    found = estimation.score_test(logit(4), {"b1": 0.0, "b2": 0.0, "b3": 0.0}, rows(y, X), start=start(4))
    p, Z = y.mean(), X[:, 1:] - X[:, 1:].mean(axis=0)
    U = Z.T @ (y - p)
    assert found.statistic == pytest.approx(U @ np.linalg.solve(p * (1 - p) * Z.T @ Z, U), rel=1e-8)
    assert found.degrees_of_freedom == 3


def test_the_gamma_against_direct_maximization(gamma) -> None:
    found = estimation.likelihood_ratio_test(GAMMA, {"k": 1.0}, DATA, start=gamma)
    assert found.statistic == pytest.approx(2 * (gamma.log_likelihood - highest({"k": 1.0})), rel=1e-8)
    all_known = estimation.likelihood_ratio_test(GAMMA, {"k": 2.0, "s": 1.5}, DATA, start=gamma)
    assert all_known.statistic == pytest.approx(2 * (gamma.log_likelihood - highest({"k": 2.0, "s": 1.5})), rel=1e-8)
    assert all_known.degrees_of_freedom == 2


def test_the_three_tests_have_their_size() -> None:
    """Exponential samples of 60 under the hypothesis: about 5 % of p-values below 0.05 (three binomial errors)."""
    rng, rate = np.random.default_rng(1), sp.Symbol("rate", positive=True)
    model = fk.symbolic.Model(rate * sp.exp(-rate * x), data=x, parameters=rate, support=(0, sp.oo))
    small = np.zeros(3)
    for _ in range(40):
        data = rng.exponential(1.0, 60)
        mle = 1 / data.mean()
        F = fk.FisherInformation([[60 / mle**2]], parameters=("rate",))
        wald = estimation.wald_test(F, {"rate": mle}, {"rate": 1.0})
        score = estimation.score_test(model, {"rate": 1.0}, data, start={"rate": mle})
        ratio = estimation.likelihood_ratio_test(model, {"rate": 1.0}, data, start={"rate": mle})
        z = 60**0.5 * (1 - 1 / mle)
        assert wald.statistic == pytest.approx(60 * (1 - 1 / mle) ** 2, rel=1e-9)
        assert score.statistic == pytest.approx(z**2, rel=1e-8)
        assert ratio.statistic == pytest.approx(120 * (data.mean() - 1 - np.log(data.mean())), abs=1e-9)
        small += np.array([wald.p_value, score.p_value, ratio.p_value]) < 0.05
    assert (small <= 7).all()


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda F, t: estimation.wald_test(F, t, {"z": 0}), fk.errors.LayoutError, "null names z"),
        (lambda F, t: estimation.wald_test(F, t, {}), fk.errors.LayoutError, "null must give a value"),
        (lambda F, t: estimation.wald_test(F, t, {"k": np.nan}), fk.errors.DataError, "null must be finite"),
        (
            lambda F, t: estimation.wald_test(F, t, [0, 0], of=[k * s, 2 * k * s]),
            fk.errors.SingularInformationError,
            "depend on each other",
        ),
        (lambda F, t: estimation.score_test(GAMMA, {"z": 0}, DATA, start=t), fk.errors.LayoutError, "unknown parameter z"),
        (lambda F, t: estimation.score_test(GAMMA, 1.0, DATA, start=t), fk.errors.LayoutError, "null must be a mapping"),
        (lambda F, t: estimation.score_test(GAMMA, {"k": -1.0}, DATA, start=t), fk.errors.DataError, "outside its domain"),
    ],
)
def test_hypotheses_that_are_none(gamma, ask, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(gamma.information, gamma.estimate)


# -- profiles


def test_profile_ends_lie_on_the_quantile(gamma) -> None:
    intervals = estimation.profile_intervals(GAMMA, gamma, DATA, level=0.9)
    for name in ("k", "s"):
        for end in intervals[name]:
            assert 2 * (gamma.log_likelihood - highest({name: end})) == pytest.approx(2.705543454095404, rel=1e-6)
    assert intervals.kind == "profile"


def test_profiles_do_not_change_with_the_parametrization(gamma) -> None:
    log_k = sp.Symbol("log_k", real=True)
    model = fk.symbolic.Model(
        log_density=GAMMA.log_density.subs(k, sp.exp(log_k)), data=x, parameters=(log_k, s), support=(0, sp.oo)
    )
    fit = estimation.fisher_scoring(model, {"log_k": 0.0, "s": 1.0}, DATA, information="observed")
    moved = estimation.profile_intervals(model, fit, DATA, parameters="log_k", information="observed")["log_k"]
    own = estimation.profile_intervals(GAMMA, gamma, DATA, parameters="k")["k"]
    assert np.exp(moved) == pytest.approx(own, rel=1e-6)


def test_an_end_that_is_never_reached_is_infinite() -> None:
    """A log-likelihood that falls by two at most, however far: 99 % reject nothing, 50 % do."""
    flat = fk.sampled.Model(lambda x, t: -((x - t[0]) ** 2) / (1 + (x - t[0]) ** 2), parameters=("mu",), derivatives="complex")
    fit = estimation.fisher_scoring(flat, {"mu": 0.1}, [0.0, 0.0], information="observed")
    assert estimation.profile_intervals(flat, fit, [0.0, 0.0], information="observed", level=0.99)["mu"] == (-np.inf, np.inf)
    low, high = estimation.profile_intervals(flat, fit, [0.0, 0.0], information="observed", level=0.5)["mu"]
    assert (low, high) == pytest.approx((-np.sqrt(1 / (4 / 0.454936 - 1)), np.sqrt(1 / (4 / 0.454936 - 1))), rel=1e-5)


def test_a_point_that_is_no_maximum_is_told(gamma) -> None:
    wrong = estimation.Estimate({"k": 1.0, "s": 1.0}, gamma.information, highest({"k": 1.0, "s": 1.0}), 0, 0.0)
    with pytest.raises(fk.errors.ConvergenceError, match="the fit is not the maximum"):
        estimation.profile_intervals(GAMMA, wrong, DATA)
    with pytest.raises(fk.errors.LayoutError, match="fit must be an Estimate"):
        estimation.profile_intervals(GAMMA, {"k": 1.0, "s": 1.0}, DATA)


# -- robust covariances


def test_the_sandwich_is_that_of_statsmodels(spector) -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, X, reference, fit = spector
    robust = sm.Logit(y, X).fit(disp=0, method="newton", tol=1e-13, cov_type="HC0")
    found = estimation.sandwich(logit(4), fit.estimate, rows(y, X))
    np.testing.assert_allclose(found.standard_errors(), robust.bse, rtol=1e-8)
    assert np.abs(found.standard_errors() / reference.bse - 1).max() > 0.05
    intervals = estimation.confidence_intervals(found, fit.estimate)
    np.testing.assert_allclose(np.stack([intervals.low, intervals.high], axis=1), robust.conf_int(), rtol=1e-7)
    wald = estimation.wald_test(found, fit.estimate, {"b1": 0.0})
    assert wald.statistic == pytest.approx((robust.params[1] / robust.bse[1]) ** 2, rel=1e-7)


@pytest.mark.parametrize("small_sample", [False, True])
def test_clusters_are_those_of_statsmodels(small_sample: bool) -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, X = dataset("randhie")
    y, X = y[:2000], X[:2000]
    groups = np.arange(2000) // 8
    options = {"groups": groups, "use_correction": small_sample}
    reference = sm.Poisson(y, X).fit(disp=0, method="newton", tol=1e-13, cov_type="cluster", cov_kwds=options)
    fit = estimation.fisher_scoring(poisson(10), start(10), rows(y, X), information="observed")
    labels = [f"family {g}" for g in groups]
    found = estimation.sandwich(poisson(10), fit.estimate, rows(y, X), clusters=labels, small_sample=small_sample)
    np.testing.assert_allclose(found.standard_errors(), reference.bse, rtol=1e-7)


def test_clusters_of_one_are_the_plain_sandwich_and_bad_labels_are_refused(gamma) -> None:
    plain = estimation.sandwich(GAMMA, gamma.estimate, DATA)
    np.testing.assert_allclose(
        estimation.sandwich(GAMMA, gamma.estimate, DATA, clusters=range(30)).matrix, plain.matrix, rtol=1e-12
    )
    ratio = estimation.sandwich(GAMMA, gamma.estimate, DATA, small_sample=True).matrix / plain.matrix
    np.testing.assert_allclose(ratio, 30 / 28)
    for labels, message in (
        ([0] * 30, "one label only"),
        ([0, 1], "one label for each of the 30"),
        ([np.nan] * 30, "missing label"),
    ):
        with pytest.raises(fk.errors.DataError, match=message):
            estimation.sandwich(GAMMA, gamma.estimate, DATA, clusters=labels)


# -- identifiability


def test_variance_inflation_is_that_of_statsmodels() -> None:
    pytest.importorskip("statsmodels.api")
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    _, X = dataset("longley", constant=False)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    told = estimation.identifiability(fk.FisherInformation(Z.T @ Z, parameters=tuple("abcdef")))
    np.testing.assert_allclose(told.variance_inflation, [variance_inflation_factor(Z, j) for j in range(6)], rtol=1e-8)
    assert told.identifiable
    assert told["a"]["standard_errors"] == pytest.approx(np.sqrt(np.linalg.inv(Z.T @ Z)[0, 0]), rel=1e-8)


def test_null_directions_take_only_their_own_parameters_along() -> None:
    """Only a b is known of a and b: in other units the same."""
    G = np.array([[2.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    for units in (np.ones(3), np.array([1e-6, 1e3, 1.0])):
        told = estimation.identifiability(fk.FisherInformation((G * units).T @ (G * units), parameters=("a", "b", "c")))
        assert not told.identifiable
        np.testing.assert_array_equal(told.standard_errors, [np.inf, np.inf, 1.0])
        assert len(told.null_directions) == 1
        (direction,) = told.null_directions
        ratio = direction["a"] / direction["b"]
        assert ratio == pytest.approx(-1.5 * units[1] / units[0])
        assert set(direction) <= {"a", "b"}
    assert "not identifiable" in repr(told)


def test_sloppy_directions_of_two_exponentials() -> None:
    """Rates 1 and 1.01 from nine times: their difference is hardly told, their sum is."""
    t = np.linspace(0.2, 3, 9)
    J = np.stack([-t * np.exp(-t), -t * np.exp(-1.01 * t)], axis=1)
    told = estimation.identifiability(fk.FisherInformation(J.T @ J, parameters=("fast", "slow")))
    assert told.identifiable
    (direction,) = told.sloppy_directions
    assert direction["fast"] * direction["slow"] < 0
    assert min(told.variance_inflation) > 1e3
    assert "little information along" in repr(told)
    assert not estimation.identifiability(fk.FisherInformation(np.eye(2))).sloppy_directions


def test_a_parameter_that_the_data_do_not_mention() -> None:
    told = estimation.identifiability(fk.FisherInformation(np.diag([4.0, 0.0]), parameters=("a", "b")))
    assert told["b"] == {"standard_errors": np.inf, "conditional_errors": np.inf, "variance_inflation": np.inf}
    assert told["a"]["standard_errors"] == 0.5
    assert told.null_directions == ({"b": 1.0},)


def test_identifiability_refuses() -> None:
    with pytest.raises(fk.errors.IndefiniteInformationError, match="negative"):
        estimation.identifiability(fk.FisherInformation([[1.0, 2.0], [2.0, 1.0]], kind="observed"))
    with pytest.raises(fk.errors.IndefiniteInformationError, match="information of b is negative"):
        estimation.identifiability(fk.FisherInformation(np.diag([1.0, -1.0]), parameters=("a", "b"), kind="observed"))
    with pytest.raises(fk.errors.DataError, match="share of the largest"):
        estimation.identifiability(fk.FisherInformation(np.eye(2)), sloppy=2)
    with pytest.raises(fk.errors.EntriesError, match=r"F\.at"):
        estimation.identifiability(fk.expected_information(GAMMA))
