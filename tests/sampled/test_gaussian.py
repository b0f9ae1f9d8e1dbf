"""Gaussian data with a model for mean and covariance, against closed forms."""

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import solve_ivp

import fisherkit as fk

Array = np.ndarray
X = np.linspace(0.0, 2.0, 7)


def test_a_straight_line_has_the_normal_equations() -> None:
    C = 0.3 * np.exp(-abs(X[:, None] - X))
    line = fk.sampled.GaussianModel(lambda t: t[0] + t[1] * X, C, parameters=("a", "b"))
    J = np.stack([np.ones(7), X], axis=1)
    assert np.asarray(fk.expected_information(line, {"a": 1.0, "b": -2.0})) == pytest.approx(J.T @ np.linalg.inv(C) @ J, rel=1e-9)


@pytest.mark.parametrize("axes", [1, 2])
def test_the_trace_term_is_kept_when_sigma_is_a_parameter(axes: int) -> None:
    """d independent data: d / sigma^2 for the mean and 2 d / sigma^2 for sigma; without the trace term, 0."""
    noise = lambda t: t[1] ** 2 * (np.ones(7) if axes == 1 else np.eye(7))
    own = fk.sampled.GaussianModel(lambda t: t[0] * np.ones(7), noise, parameters=("mu", "sigma"))
    F = np.asarray(fk.expected_information(own, {"mu": 0.5, "sigma": 2.0}))
    assert pytest.approx(np.diag([7 / 4, 14 / 4]), rel=1e-9, abs=1e-10) == F


def test_a_simulated_covariance_is_corrected_for_its_noise() -> None:
    """The mean over covariances estimated from 20 simulations is the information of the true one; uncorrected 85 % too large."""
    rng, truth = np.random.default_rng(0), 7.0
    found = []
    for _ in range(400):
        C = np.cov(rng.normal(size=(20, 7)), rowvar=False)
        own = fk.sampled.GaussianModel(lambda t: t[0] * np.ones(7), C, parameters=("mu",), simulations=20)
        found.append(float(fk.expected_information(own, {"mu": 0.0})))
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / 20


def decay(t: Array) -> Array:
    return np.exp(-t[0] * X)


def shared(t: Array) -> Array:
    return t[1] * np.eye(7) + 0.1 * t[0]


def noisy(t: Array) -> Array:
    return t[1] * (1 + X)


def crossed(f: object, at: Array, h: float) -> Array:
    """Second derivatives by the plainest differences."""
    e = h * np.eye(len(at))
    return np.array([[f(at + a + b) - f(at + a - b) - f(at - a + b) + f(at - a - b) for a in e] for b in e]) / (4 * h**2)


POINT = np.array([0.7, 0.2])
Y = decay(POINT) + np.random.default_rng(0).normal(size=(3, 7))


@pytest.mark.parametrize("covariance", [shared, noisy, 0.3 * np.eye(7), np.full(7, 0.3)])
@pytest.mark.parametrize("derivatives", ["numeric", "complex"])
def test_data_verbs_agree_with_the_density_of_scipy(covariance: object, derivatives: str) -> None:
    """By differences of `scipy.stats.multivariate_normal`, which has no hand in ours."""
    own = fk.sampled.GaussianModel(decay, covariance, parameters=("k", "v"), derivatives=derivatives, data=Y)
    matrix = lambda t: covariance(t) if callable(covariance) else covariance
    log = lambda t: scipy.stats.multivariate_normal(decay(t), matrix(t)).logpdf(Y)
    h = 1e-4 * np.eye(2)
    third = lambda e: 8 * (log(POINT + e) - log(POINT - e)) - log(POINT + 2 * e) + log(POINT - 2 * e)
    score = np.stack([third(e) / 12e-4 for e in h], axis=1)
    assert fk.score(own, POINT) == pytest.approx(score, rel=1e-8, abs=1e-8)
    assert own.log_likelihood(POINT) == pytest.approx(log(POINT).sum(), rel=1e-13)
    empirical, observed = (verb(own, POINT) for verb in (fk.empirical_information, fk.observed_information))
    assert empirical.dense() == pytest.approx(score.T @ score, rel=1e-8, abs=1e-8)
    hessian = crossed(lambda t: log(t).sum(), POINT, 1e-4)
    assert observed.dense() == pytest.approx(-hessian, rel=1e-4, abs=1e-4)
    assert (empirical.n, observed.n, empirical.kind, observed.kind) == (3, 3, "empirical", "observed")


def test_the_expectation_of_the_observed_information_is_the_expected_one() -> None:
    """Over 4000 data vectors; without the trace term, entry (v, v) would be 0."""
    own = fk.sampled.GaussianModel(decay, shared, parameters=("k", "v"))
    rng = np.random.default_rng(1)
    y = rng.multivariate_normal(decay(POINT), shared(POINT), size=4000)
    F = fk.expected_information(own, POINT)
    s = fk.score(own, POINT, data=y)
    assert (abs(s.mean(axis=0)) < 4 * s.std(axis=0) / np.sqrt(4000)).all()
    for found in (fk.observed_information(own, POINT, data=y), fk.empirical_information(own, POINT, data=y)):
        assert np.linalg.solve(F.dense(), found.per_observation().dense()) == pytest.approx(np.eye(2), abs=0.15)


def test_one_vector_may_be_given_flat_and_an_estimate_climbs_to_its_maximum() -> None:
    own = fk.sampled.GaussianModel(decay, np.full(7, 0.01), parameters=("k",))
    y = decay(POINT) + 0.1 * np.random.default_rng(3).normal(size=7)
    assert fk.score(own, [0.7], data=y).shape == (1, 1)
    fit = fk.estimation.fisher_scoring(own, {"k": 0.5}, y[None])
    assert fk.score(own, fit.estimate, data=y) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("noise", ["hartlap", "sellentin-heavens"])
def test_what_an_estimated_covariance_does_to_a_likelihood(noise: str) -> None:
    """Sellentin & Heavens: a t density with N - d degrees of freedom; its variance is the one that Hartlap's factor gives."""
    N, d = 30, 7
    S = np.cov(np.random.default_rng(4).normal(size=(N, d)), rowvar=False)
    own = fk.sampled.GaussianModel(decay, S, parameters=("k",), simulations=N, noise=noise, data=Y)
    t = scipy.stats.multivariate_t(decay(POINT), S * (N - 1) / (N - d), df=N - d)
    hartlap = S * (N - 1) / (N - d - 2)
    density = scipy.stats.multivariate_normal(decay(POINT), hartlap) if noise == "hartlap" else t
    assert own.log_likelihood([0.7]) == pytest.approx(density.logpdf(Y).sum(), rel=1e-12)
    draws = density.rvs(20_000, random_state=np.random.default_rng(5))
    assert np.cov(draws, rowvar=False) == pytest.approx(hartlap, abs=0.1)
    s = fk.score(own, [0.7], data=draws)[:, 0]
    F = float(fk.expected_information(own, [0.7]))
    assert abs(np.mean(s**2) - F) < 4 * np.std(s**2) / np.sqrt(len(s))  # the information of that very density
    J = -X * decay(POINT)
    larger = 1 if noise == "hartlap" else N * (N - d) / (N + 2) / (N - d - 2)
    assert pytest.approx(larger * J @ np.linalg.solve(hartlap, J)) == F


def test_weights_of_an_estimated_covariance_cost_more_than_either_tells() -> None:
    """The scatter of fits by weights 1 / S is (N - 2) / (N - d + p - 2) times the bound, which the docs say."""
    N, d, p, rng = 14, 7, 2, np.random.default_rng(6)
    J, runs = np.stack([np.ones(d), X], axis=1), 8000
    S = np.stack([np.cov(rng.normal(size=(N, d)), rowvar=False) for _ in range(runs)])
    W = np.linalg.solve(S, np.broadcast_to(J, (runs, d, p)))
    fits = np.linalg.solve(np.swapaxes(W, 1, 2) @ J, (np.swapaxes(W, 1, 2) @ rng.normal(size=(runs, d, 1))))[..., 0]
    excess = np.cov(fits, rowvar=False) @ (J.T @ J)
    assert np.diagonal(excess) == pytest.approx((N - 2) / (N - d + p - 2), rel=0.1)


def test_torch_functions_give_the_same() -> None:
    torch = pytest.importorskip("torch")
    x = torch.as_tensor(X)
    numeric = fk.sampled.GaussianModel(
        lambda t: np.exp(-t[0] * X), lambda t: t[1] * np.eye(7) + 0.1 * t[0], parameters=("k", "v")
    )
    own = fk.sampled.GaussianModel(
        lambda t: torch.exp(-t[0] * x),
        lambda t: t[1] * torch.eye(7, dtype=torch.float64) + 0.1 * t[0],
        parameters=("k", "v"),
        derivatives="torch",
    )
    at = {"k": 0.7, "v": 0.2}
    for verb, given in (
        (fk.expected_information, {}),
        (fk.observed_information, {"data": Y}),
        (fk.empirical_information, {"data": Y}),
    ):
        found, expected = (np.asarray(verb(model, at, **given)) for model in (own, numeric))
        assert found == pytest.approx(expected, rel=1e-7)
    assert own.log_likelihood(at, data=Y) == pytest.approx(numeric.log_likelihood(at, data=Y), rel=1e-12)


def test_an_epidemic_names_what_its_data_do_not_tell() -> None:
    """Early in an SIR epidemic only beta - gamma shows in the cases; a reporting rate and the first cases never part."""

    def cases(t: np.ndarray) -> np.ndarray:
        beta, gamma, report, first = t
        slope = lambda _, y: [-beta * y[0] * y[1], beta * y[0] * y[1] - gamma * y[1]]
        run = solve_ivp(slope, (0, 8), [1.0, 1e-9 * first], t_eval=np.arange(1.0, 9), rtol=1e-11, atol=1e-20, method="DOP853")
        return 1e9 * report * run.y[1]

    sir = fk.sampled.GaussianModel(cases, np.full(8, 0.01), parameters=("beta", "gamma", "report", "first"))
    F = fk.expected_information(sir, {"beta": 0.9, "gamma": 0.4, "report": 0.5, "first": 2.0})
    with pytest.raises(fk.errors.SingularInformationError, match="report"):
        F.inverse()
    assert F.fix("gamma", "first").standard_errors()[0] < 1e-2


@pytest.mark.parametrize(
    ("covariance", "given", "error", "message"),
    [
        (np.eye(3), {}, fk.errors.LayoutError, "as the mean has 7 data"),
        (-np.ones(7), {}, fk.errors.DataError, "positive definite; its lowest eigenvalue is -1"),
        (np.full(7, np.nan), {}, fk.errors.DataError, "finite and symmetric"),
        (np.eye(7), {"simulations": 9}, fk.errors.DataError, "needs more than 9 simulations"),
        (lambda t: np.eye(7), {"simulations": 90}, fk.errors.MethodError, "cannot be a function of theta"),
        (np.eye(7), {"derivatives": "magic"}, fk.errors.MethodError, "one of numeric, torch, complex, or an array"),
        (np.eye(7), {"noise": "none"}, fk.errors.MethodError, "one of hartlap, sellentin-heavens"),
        (np.eye(7)[:, :3], {}, fk.errors.LayoutError, r"\(d, d\) or \(d,\); got \(7, 3\)"),
        (1j * np.eye(7), {}, fk.errors.DataError, "must be real numbers; got complex128"),
    ],
)
def test_bad_input_is_refused_in_words(covariance: object, given: dict, error: type, message: str) -> None:
    ask = lambda: fk.expected_information(
        fk.sampled.GaussianModel(lambda t: t[0] * X, covariance, parameters=("a",), **given), {"a": 1.0}
    )
    with pytest.raises(error, match=message):
        ask()


# -- derivatives with their error


def test_derivatives_tell_their_error() -> None:
    """An exact one has none; a smooth one reaches rounding; a rough solver is told; a hopeless one is refused."""
    smooth = lambda t: np.exp(-t[0] * X)
    ask = lambda mean, kind="numeric": fk.expected_information(
        fk.sampled.GaussianModel(mean, np.full(7, 0.01), parameters=("k",), derivatives=kind), [0.7]
    )
    exact = 100 * np.sum((X * np.exp(-0.7 * X)) ** 2)
    assert ask(smooth, "complex").error_bound is None
    assert float(ask(smooth, "complex")) == pytest.approx(exact, rel=1e-15)
    assert ask(smooth).error_bound < 1e-10
    assert abs(float(ask(smooth)) / exact - 1) <= ask(smooth).error_bound
    rough = ask(lambda t: np.round(smooth(t), 7))
    assert 1e-8 < rough.error_bound < 1e-3
    assert abs(float(rough) / exact - 1) <= rough.error_bound
    with pytest.raises(fk.errors.PrecisionError, match=r"the derivative in k is known to .* Tighten its solver's tolerance"):
        ask(lambda t: np.round(smooth(t), 2))


def test_a_model_that_drops_the_imaginary_part_is_refused() -> None:
    own = fk.sampled.GaussianModel(lambda t: abs(t[0]) * X, np.ones(7), parameters=("a",), derivatives="complex")
    with pytest.raises(fk.errors.LayoutError, match="drops the imaginary part"):
        fk.expected_information(own, [0.7])


def test_units_do_not_matter() -> None:
    """An amplitude of 2e-9 beside an index near 1, as cosmologists have them."""
    mean = lambda t: 1e9 * t[0] * np.exp((t[1] - 1) * X)
    own = fk.sampled.GaussianModel(mean, np.full(7, 0.01), parameters=("A", "n"))
    F = np.asarray(fk.expected_information(own, {"A": 2e-9, "n": 0.96}))
    J = np.stack([mean([1, 0.96]), X * mean([2e-9, 0.96])], axis=1)
    assert pytest.approx(100 * J.T @ J, rel=1e-10) == F


def test_a_parameter_without_effect_is_named() -> None:
    own = fk.sampled.GaussianModel(lambda t: t[0] * X, np.ones(7), parameters=("a", "idle"))
    with pytest.raises(fk.errors.SingularInformationError, match="idle"):
        fk.expected_information(own, [1.0, 2.0]).inverse()


# -- differential equations and time series


def sensitivities(slope: object, jacobian: object, start: Array, ends: Array, p: int) -> Array:
    """(times, states, parameters): states and their derivatives integrated together, the textbook's way."""
    k = len(start)

    def both(_: float, y: Array) -> Array:
        dfdy, dfdt = jacobian(y[:k])
        return np.concatenate([slope(y[:k]), (dfdy @ y[k:].reshape(k, p) + dfdt).ravel()])

    whole = np.concatenate([start, np.zeros(k * p)])
    run = solve_ivp(both, (0, ends[-1]), whole, t_eval=ends, rtol=1e-12, atol=1e-14, method="DOP853")
    return run.y[k:].T.reshape(len(ends), k, p)


@pytest.mark.parametrize("derivatives", ["numeric", "complex"])
def test_predators_and_prey_agree_with_sensitivity_equations(derivatives: str) -> None:
    """Lotka-Volterra with four rates, both species seen at 20 times."""
    ends, theta = np.linspace(0.5, 10, 20), np.array([1.1, 0.4, 0.1, 0.4])
    slope = lambda y, t: np.array([t[0] * y[0] - t[1] * y[0] * y[1], t[2] * y[0] * y[1] - t[3] * y[1]])

    def jacobian(y: Array) -> tuple[Array, Array]:
        a, b, c, d = theta
        x, z = y
        return np.array([[a - b * z, -b * x], [c * z, c * x - d]]), np.array([[x, -x * z, 0, 0], [0, 0, x * z, -z]])

    def seen(t: Array) -> Array:
        start = np.array([10.0, 5.0]) + 0 * t[0]  # complex where theta is: the step then goes through the solver
        run = solve_ivp(lambda _, y: slope(y, t), (0, 10), start, t_eval=ends, rtol=1e-10, atol=1e-12, method="DOP853")
        return run.y.T.ravel()

    names = ("birth", "caught", "growth", "death")
    own = fk.sampled.GaussianModel(seen, np.full(40, 0.25), parameters=names, derivatives=derivatives)
    F = fk.expected_information(own, theta)
    J = sensitivities(lambda y: slope(y, theta), jacobian, np.array([10.0, 5.0]), ends, 4).reshape(40, 4)
    exact, scale = 4 * J.T @ J, np.sqrt(np.diagonal(4 * J.T @ J))
    assert np.abs((F.dense() - exact) / np.outer(scale, scale)).max() < 1e-7
    assert (F.error_bound or 0.0) < 1e-5


def test_an_epidemic_agrees_with_sensitivity_equations() -> None:
    """Infected of an SIR model, weekly."""
    ends, theta = np.arange(1.0, 11), np.array([1.2, 0.5])
    slope = lambda y, t: np.array([-t[0] * y[0] * y[1], t[0] * y[0] * y[1] - t[1] * y[1]])

    def jacobian(y: Array) -> tuple[Array, Array]:
        beta, gamma = theta
        s, i = y
        return np.array([[-beta * i, -beta * s], [beta * i, beta * s - gamma]]), np.array([[-s * i, 0], [s * i, -i]])

    def infected(t: Array) -> Array:
        run = solve_ivp(lambda _, y: slope(y, t), (0, 10), [0.99, 0.01], t_eval=ends, rtol=1e-10, atol=1e-12, method="DOP853")
        return run.y[1]

    F = fk.expected_information(fk.sampled.GaussianModel(infected, np.full(10, 1e-4), parameters=("beta", "gamma")), theta)
    J = sensitivities(lambda y: slope(y, theta), jacobian, np.array([0.99, 0.01]), ends, 2)[:, 1]
    assert F.dense() == pytest.approx(1e4 * J.T @ J, rel=1e-7)


def test_an_autoregression_has_its_closed_form() -> None:
    """AR(1) from its stationary law, n values: by hand from the exact log-density."""
    n, phi, v = 30, 0.6, 1.5
    lag = abs(np.subtract.outer(np.arange(n), np.arange(n)))
    covariance = lambda t: t[1] * t[0] ** lag / (1 - t[0] ** 2)
    own = fk.sampled.GaussianModel(lambda t: np.zeros(n), covariance, parameters=("phi", "v"), derivatives="complex")
    F = fk.expected_information(own, [phi, v])
    q = 1 - phi**2
    exact = [[(1 + phi**2) / q**2 + (n - 2) / q, phi / v / q], [phi / v / q, n / 2 / v**2]]
    assert F.dense() == pytest.approx(np.array(exact), rel=1e-9)


def test_an_arma_process_agrees_with_a_kalman_filter() -> None:
    """ARMA(1, 1) as a Gaussian with a Toeplitz covariance, and as the state-space model of statsmodels."""
    from scipy.linalg import toeplitz
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    n, at = 25, np.array([0.5, 0.3, 1.2])
    y = np.random.default_rng(7).normal(size=n).cumsum() / 2

    def covariance(t: Array) -> Array:
        phi, ma, v = t
        first = v * (1 + 2 * phi * ma + ma**2) / (1 - phi**2)
        second = v * (1 + phi * ma) * (phi + ma) / (1 - phi**2)
        return toeplitz(np.concatenate([[first], second * phi ** np.arange(n - 1)]))

    own = fk.sampled.GaussianModel(lambda t: np.zeros(n), covariance, parameters=("ar", "ma", "v"), data=y)
    theirs = SARIMAX(y, order=(1, 0, 1))
    assert own.log_likelihood(at) == pytest.approx(theirs.loglike(at), rel=1e-10)
    assert fk.score(own, at)[0] == pytest.approx(theirs.score(at, approx_complex_step=True, approx_centered=True), rel=1e-5)
    hessian = crossed(theirs.loglike, at, 1e-3)
    assert fk.observed_information(own, at).dense() == pytest.approx(-hessian, rel=1e-4)


# -- derivatives from simulations


def simulated(m: int, rng: np.random.Generator, level: float = 1.0) -> tuple[Array, Array]:
    """Noisy derivatives (m, p, d) of a wave, and the exact ones."""
    slopes = np.stack([np.ones(30), np.linspace(-1, 1, 30)]) / 3
    return slopes + level * rng.normal(size=(m, 2, 30)), slopes


def from_pairs(pairs: Array, **given: object) -> fk.FisherInformation:
    model = fk.sampled.GaussianModel(None, np.ones(pairs.shape[2]), parameters=("a", "b"), derivatives=pairs, **given)
    return fk.expected_information(model)


def test_the_noise_of_simulated_derivatives_is_taken_off() -> None:
    """Over 300 sets of 20 pairs: subtracted, F is right on average; left in, 45 % and more too large."""
    rng, found = np.random.default_rng(8), {"subtracted": [], "none": []}
    for _ in range(300):
        pairs, slopes = simulated(20, rng)
        for correction, each in found.items():
            each.append(from_pairs(pairs, correction=correction).dense())
    exact = slopes @ slopes.T
    z = (np.mean(found["subtracted"], axis=0) - exact) / (np.std(found["subtracted"], axis=0) / np.sqrt(300))
    assert abs(z).max() < 4
    assert np.diagonal(np.mean(found["none"], axis=0) / exact).min() > 1.4
    assert np.mean(found["none"], axis=0) == pytest.approx(exact + 30 / 20 * np.eye(2), abs=0.2)


def test_a_shrunk_information_has_the_right_bounds() -> None:
    """Standard errors on average within 6 %, with intervals that cover; plain ones are 21 % low, subtracted ones too large."""
    rng, found, held = np.random.default_rng(9), {"shrunk": [], "none": []}, []
    for _ in range(60):
        pairs, slopes = simulated(20, rng)
        exact = np.sqrt(np.diagonal(np.linalg.inv(slopes @ slopes.T)))
        for correction, each in found.items():
            each.append(from_pairs(pairs, correction=correction).standard_errors() / exact)
        low, high = from_pairs(pairs, correction="shrunk").interval_of(lambda F: F.standard_errors())
        held.append((low <= exact) & (exact <= high))
    assert np.mean(found["shrunk"]) == pytest.approx(1, abs=0.06)
    assert np.mean(found["none"]) < 0.8
    assert 0.88 < np.mean(held) <= 1


def test_without_noise_all_corrections_agree() -> None:
    pairs = np.broadcast_to(simulated(1, np.random.default_rng(0), level=0.0)[0], (6, 2, 30))
    plain, subtracted, shrunk = (from_pairs(pairs, correction=c).dense() for c in ("none", "subtracted", "shrunk"))
    assert subtracted == pytest.approx(plain, rel=1e-12)
    assert shrunk == pytest.approx(plain, rel=1e-10)


def test_more_noise_than_information_stays_positive_where_shrunk() -> None:
    pairs = simulated(8, np.random.default_rng(1), level=8.0)[0]
    with pytest.raises(fk.errors.IndefiniteInformationError):
        from_pairs(pairs).inverse()
    F = from_pairs(pairs, correction="shrunk")
    assert F.eigenvalues().min() > 0
    low, high = F.interval_of()
    assert (low <= 0).any() or (high > 2 * F.dense()).any()  # and says how little it knows


def test_pairs_pass_through_covariance_units_and_structure() -> None:
    """Whitened by a covariance, estimated from simulations or not; a point is kept."""
    rng = np.random.default_rng(2)
    pairs = simulated(12, rng)[0]
    A = np.tril(rng.normal(size=(30, 30))) / 5 + np.eye(30)
    plain = from_pairs(pairs)
    model = fk.sampled.GaussianModel(None, A @ A.T, parameters=("a", "b"), derivatives=pairs @ A.T, simulations=100)
    F = fk.expected_information(model, {"a": 1.0, "b": 2.0})
    assert F.dense() == pytest.approx(plain.dense() * (100 - 32) / 99, rel=1e-9)
    assert dict(F.point) == {"a": 1.0, "b": 2.0}
    diagonal = fk.expected_information(model, structure="diagonal")
    assert np.asarray(diagonal.diagonal()) == pytest.approx(np.diagonal(F.dense()))
    assert diagonal.mcse == pytest.approx(np.diagonal(F.mcse))


def test_bad_simulations_are_refused_in_words() -> None:
    pairs = simulated(6, np.random.default_rng(3))[0]
    with pytest.raises(fk.errors.LayoutError, match=r"of shape \(m, 2, d\) for a, b|of shape \(m, 2, d\)"):
        from_pairs(pairs[:, :1])
    with pytest.raises(fk.errors.DataError, match="3 simulated derivatives do not tell their noise: 4"):
        from_pairs(pairs[:3])
    with pytest.raises(fk.errors.DataError, match="simulated derivative 1 in b is nan in datum 4"):
        from_pairs(np.where(np.arange(pairs.size).reshape(pairs.shape) == 94, np.nan, pairs))
    with pytest.raises(fk.errors.MethodError, match="correction one of subtracted, shrunk, none"):
        from_pairs(pairs, correction="split")
    model = fk.sampled.GaussianModel(None, np.ones(30), parameters=("a", "b"), derivatives=pairs)
    with pytest.raises(fk.errors.MethodError, match="for data give mean= as a function"):
        fk.score(model, [0.0, 0.0], data=np.zeros(30))
    with pytest.raises(fk.errors.MethodError, match="simulated derivatives are of the mean"):
        fk.sampled.GaussianModel(None, lambda t: np.ones(30), parameters=("a", "b"), derivatives=pairs)
    with pytest.raises(fk.errors.LayoutError, match="mean must be a function of theta"):
        fk.sampled.GaussianModel(None, np.ones(30), parameters=("a", "b"))


def test_bad_data_are_refused_in_words() -> None:
    own = fk.sampled.GaussianModel(decay, np.full(7, 0.3), parameters=("k",))
    with pytest.raises(fk.errors.DataError, match="give data="):
        fk.score(own, [0.7])
    with pytest.raises(fk.errors.LayoutError, match=r"data must hold 7 numbers for each vector.*got 3"):
        fk.score(own, [0.7], data=np.zeros(3))
    with pytest.raises(fk.errors.DataError, match="datum 2 of vector 1 is nan"):
        fk.observed_information(own, [0.7], data=np.where(np.arange(14).reshape(2, 7) == 9, np.nan, 0.0))
    with pytest.raises(fk.errors.DataError, match="must be real numbers"):
        fk.score(own, [0.7], data=np.array([None] * 7))
    with pytest.raises(fk.errors.DataError, match=r"mean\(theta\) is nan in datum 0"):
        fk.expected_information(fk.sampled.GaussianModel(lambda t: X * np.nan, np.ones(7), parameters=("k",)), [0.7])
