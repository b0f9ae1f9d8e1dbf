"""The same model through all three tracks: equal where exact, within Monte Carlo error elsewhere."""

import numpy as np
import pytest
import sympy as sp
import sympy.stats
from scipy import stats

import fisherkit as fk

torch = pytest.importorskip("torch")
sm = pytest.importorskip("statsmodels.api")
NAMES = ("const", "gpa", "tuce", "psi")


class Location(torch.nn.Module):
    """A network whose output is its parameter: a normal model."""

    def __init__(self, mu: float) -> None:
        super().__init__()
        self.mu = torch.nn.Parameter(torch.tensor([mu], dtype=torch.float64))

    def forward(self, x):
        return self.mu.expand(len(x), 1)


def test_one_normal_model_three_tracks() -> None:
    """Mean 1, standard deviation 2: the information of the mean is 1/4."""
    mu, sigma = sp.Symbol("mu", real=True), sp.Symbol("sigma", positive=True)
    symbolic = fk.expected_information(sp.stats.Normal("X", mu, sigma))
    both = symbolic.at(mu=1, sigma=2)
    family = fk.expected_information(stats.norm, {"loc": 1.0, "scale": 2.0}).rename(loc="mu", scale="sigma")
    tensors = fk.expected_information(torch.distributions.Normal(torch.tensor(1.0), torch.tensor(2.0)))
    np.testing.assert_allclose(both.dense(), np.diag([1 / 4, 1 / 2]), rtol=1e-15)
    np.testing.assert_allclose(family.dense(), both.dense(), atol=1e-10)
    np.testing.assert_allclose(tensors.dense(), both.dense(), atol=1e-10)

    model = fk.networks.Model(Location(1.0), fk.networks.Gaussian(variance=4.0))
    inputs = torch.zeros(50, 1, dtype=torch.float64)
    assert float(fk.expected_information(model, inputs=inputs)) == pytest.approx(1 / 4, rel=1e-14)

    sampled = fk.expected_information(stats.norm, {"loc": 1.0, "scale": 2.0}, method=fk.MonteCarlo(20_000, rng=0))
    assert np.abs((sampled.dense() - both.dense()) / sampled.mcse).max() < 4
    drawn = fk.expected_information(model, inputs=inputs, method=fk.MonteCarlo(200, rng=0))
    assert abs(float(drawn) - 1 / 4) < 4 * float(drawn.mcse)

    added = both + family
    assert (added.n, added.parameters.names) == (2, ("mu", "sigma"))


@pytest.fixture(scope="module")
def spector():
    """statsmodels' logit of the spector data: an independent implementation."""
    data = sm.datasets.spector.load_pandas()
    y, X = data.endog.to_numpy(float), sm.add_constant(data.exog.to_numpy(float))
    fit = sm.Logit(y, X).fit(disp=0, tol=1e-13, method="newton")
    return y, X, fit


def symbolic_logit(X: np.ndarray, theta: dict[str, float]) -> fk.FisherInformation:
    y, x = sp.Symbol("y", integer=True), sp.symbols("x0:4", real=True)
    betas = sp.symbols(" ".join(NAMES), real=True)
    eta = sum(b * v for b, v in zip(betas, x, strict=True))
    row = fk.symbolic.Model(log_density=y * eta - sp.log(1 + sp.exp(eta)), data=y, parameters=betas, support={0, 1})
    formula = fk.expected_information(row)
    return sum(formula.at({**theta, **{f"x{j}": v for j, v in enumerate(values)}}) for values in X)


def sampled_logit(X: np.ndarray) -> fk.sampled.Model:
    def log_density(rows: np.ndarray, beta: np.ndarray) -> np.ndarray:
        eta = rows[:, 1:] @ beta
        return rows[:, 0] * eta - np.logaddexp(0, eta)

    def sampler(beta: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        rows = X[rng.integers(len(X), size=size)]
        return np.column_stack([rng.random(size) < 1 / (1 + np.exp(-rows @ beta)), rows])

    return fk.sampled.Model(log_density, sampler=sampler, parameters=NAMES)


def network_logit(theta: dict[str, float]) -> fk.networks.Model:
    linear = torch.nn.Linear(4, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight[:] = torch.tensor(list(theta.values()))
    return fk.networks.Model(linear, likelihood="bernoulli")


def test_one_logistic_regression_three_tracks_and_statsmodels(spector) -> None:
    y, X, fit = spector
    theta = dict(zip(NAMES, fit.params, strict=True))
    symbolic = symbolic_logit(X, theta)
    observed = fk.observed_information(sampled_logit(X), theta, data=np.column_stack([y, X]))
    network = fk.expected_information(network_logit(theta), inputs=torch.tensor(X)).total(32)
    statsmodels = -fit.model.hessian(fit.params)
    root = np.sqrt(np.outer(np.diagonal(statsmodels), np.diagonal(statsmodels)))
    for F, tolerance in ((symbolic, 1e-13), (network, 1e-13), (observed, 1e-9)):
        assert F.n == 32
        assert np.abs((np.asarray(F) - statsmodels) / root).max() < tolerance
        assert np.abs(np.asarray(fk.cramer_rao_bound(F).standard_errors) / fit.bse - 1).max() < 1e-7

    drawn = fk.expected_information(sampled_logit(X), theta, method=fk.MonteCarlo(20_000, rng=1)).total(32)
    assert np.abs((np.asarray(drawn) - statsmodels) / drawn.mcse).max() < 4
    labels = fk.expected_information(network_logit(theta), inputs=torch.tensor(X), method=fk.MonteCarlo(400, rng=1)).total(32)
    assert np.abs((np.asarray(labels) - statsmodels) / np.asarray(labels.mcse)).max() < 4.5


def test_empirical_information_is_the_same_in_all_three_tracks_and_not_the_expected_one(spector) -> None:
    y, X, fit = spector
    theta = dict(zip(NAMES, fit.params, strict=True))
    outer = fit.model.score_obs(fit.params).T @ fit.model.score_obs(fit.params)
    sampled = fk.empirical_information(sampled_logit(X), theta, data=np.column_stack([y, X]))
    network = fk.empirical_information(network_logit(theta), data=(torch.tensor(X), torch.tensor(y)[:, None]))
    for F in (sampled, network):
        np.testing.assert_allclose(np.asarray(F), outer, rtol=1e-7)
    assert np.abs(outer / -fit.model.hessian(fit.params) - 1).max() > 0.05
