"""Every likelihood against the definition in float64, against closed forms, and against statsmodels."""

import copy

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn, D = torch.nn, torch.distributions
torch.manual_seed(0)
X = torch.randn(9, 4, dtype=torch.float64)
MAPS = torch.randn(5, 2, 3, 2, dtype=torch.float64)


def dense(model, inputs=X):
    return fk.expected_information(model, inputs=inputs).dense()


def module(outputs: int = 3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


# -- the definition: outcomes of one example's labels, with their probabilities


def poisson(output):
    """Counts far into the tail."""
    for z in output.flatten():
        for k in range(60):
            value = k * z - z.exp() - torch.lgamma(torch.tensor(k + 1.0, dtype=z.dtype))
            yield value.exp(), value


def nodes(count: int = 40):
    """Gauss-Hermite nodes and weights of the standard normal: exact for the polynomials that scores are."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    return zip(x, w / w.sum(), strict=True)


def two_heads(output):
    mean, log_variance = output.chunk(2)
    for m, s in zip(mean.flatten(), log_variance.flatten(), strict=True):
        for x, w in nodes():
            y = (m + (s / 2).exp() * x).detach()
            yield w, -0.5 * ((y - m) ** 2 * (-s).exp() + s)


def pixels(output):
    for place in output.flatten(1).T:
        yield from brute_force.categorical(place)


def tokens(output):
    for place in output:
        yield from brute_force.categorical(place)


def different_variances(output):
    for z, variance in zip(output, (0.5, 1.0, 4.0), strict=True):
        for sign in (1, -1):
            yield 0.5, -((z.detach() + sign * variance**0.5 - z) ** 2) / (2 * variance)


CASES = {
    "poisson": ("poisson", module, X, poisson),
    "one variance per output": (fk.networks.Gaussian(variance=(0.5, 1.0, 4.0)), module, X, different_variances),
    "mean and log-variance": (fk.networks.HeteroscedasticGaussian(), lambda: module(2), X, two_heads),
    "means and log-variances": (fk.networks.HeteroscedasticGaussian(axis=-1), lambda: module(4), X, two_heads),
    "segmentation map": (fk.networks.Categorical(axis=1), lambda: nn.Conv2d(2, 3, 2).double(), MAPS, pixels),
    "sequence": (
        fk.networks.Categorical(axis=-1),
        lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3)).double(),
        X,
        tokens,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_exact_is_the_definition(name: str) -> None:
    likelihood, make, inputs, outcomes = CASES[name]
    net = make()
    brute = brute_force.expected(net, inputs, outcomes)
    found = dense(fk.networks.Model(net, likelihood), inputs)
    torch.testing.assert_close(found, brute, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("estimator", ["labels", "hutchinson", "batches"])
@pytest.mark.parametrize("name", CASES)
def test_each_estimator_is_unbiased_and_calibrated(name: str, estimator: str) -> None:
    """z-scores over repetitions: mean 0, and mcse is the error that is made."""
    likelihood, make, inputs, _ = CASES[name]
    model = fk.networks.Model(make(), likelihood)
    exact = brute_force.flat(fk.expected_information(model, inputs=inputs, structure="diagonal"))
    method = [fk.MonteCarlo(12, rng=seed, estimator=estimator) for seed in range(25)]
    runs = [fk.expected_information(model, inputs=inputs, structure="diagonal", method=m) for m in method]
    errors = torch.stack([brute_force.flat(F) - exact for F in runs])
    told = torch.stack([torch.cat([e.reshape(-1) for e in F.mcse.values()]) for F in runs])
    rounding = 1e-12 * exact  # signs give some entries without error
    z = errors.mean(0) / ((told**2).mean(0).sqrt() + rounding) * len(runs) ** 0.5
    assert float(z.abs().max()) < 5
    ratio = float((errors**2).mean().sqrt() / (told**2).mean().sqrt())
    assert 0.7 < ratio < 1.35


# -- generalised linear models: X' W X


def test_logit_and_poisson_are_those_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    design = api.add_constant(np.random.default_rng(0).normal(size=(50, 2)))
    counts = np.random.default_rng(1).poisson(2.0, size=50)
    for name, fitted in {
        "poisson": api.Poisson(counts, design).fit(disp=0),
        "bernoulli": api.Logit((counts > 1).astype(float), design).fit(disp=0),
    }.items():
        layer = nn.Linear(3, 1, bias=False).double()
        layer.weight.data[0] = torch.from_numpy(fitted.params)
        model = fk.networks.Model(layer, name)
        labels = torch.from_numpy(fitted.model.endog).double()[:, None]
        observed = fk.observed_information(model, data=(torch.from_numpy(design), labels))
        oracle = -fitted.model.hessian(fitted.params)
        np.testing.assert_allclose(observed.dense(), oracle, rtol=1e-10)
        expected = fk.expected_information(model, inputs=torch.from_numpy(design)).total(50)
        np.testing.assert_allclose(expected.dense(), oracle, rtol=1e-10)  # canonical links: observed is expected
        np.testing.assert_allclose(expected.standard_errors()["weight"][0], fitted.bse, rtol=1e-6)
        scores = fk.score(model, data=(torch.from_numpy(design), labels))["weight"]
        np.testing.assert_allclose(scores[:, 0], fitted.model.score_obs(fitted.params), rtol=1e-9, atol=1e-12)


def test_linear_regression_with_several_outputs_is_the_closed_form() -> None:
    """X'X / n beside each output's precision."""
    layer = nn.Linear(4, 2, bias=False).double()
    found = dense(fk.networks.Model(layer, fk.networks.Gaussian(variance=(0.5, 4.0))))
    gram = X.T @ X / len(X)
    torch.testing.assert_close(found, torch.block_diag(gram / 0.5, gram / 4.0))


# -- distributions that a callable builds


SAME = {
    "poisson": ("poisson", lambda z: D.Independent(D.Poisson(z.exp()), 1)),
    "poisson, by place": ("poisson", lambda z: D.Poisson(z.exp())),
    "bernoulli": ("bernoulli", lambda z: D.Independent(D.Bernoulli(logits=z), 1)),
    "bernoulli from probabilities": ("bernoulli", lambda z: D.Bernoulli(torch.sigmoid(z))),
    "categorical": ("categorical", lambda z: D.Categorical(logits=z)),
    "one-hot": ("categorical", lambda z: D.OneHotCategorical(logits=z)),
    "binomial of one": ("bernoulli", lambda z: D.Binomial(1, logits=z)),
    "normal": (fk.networks.Gaussian(variance=4.0), lambda z: D.Normal(z, 2.0)),
    "mean and log-variance": (
        fk.networks.HeteroscedasticGaussian(),
        lambda z: D.Independent(D.Normal(z[:, :2], (z[:, 2:] / 2).exp()), 1),
    ),
    "log-normal": (fk.networks.HeteroscedasticGaussian(), lambda z: D.LogNormal(z[:, :2], (z[:, 2:] / 2).exp())),
}


@pytest.mark.parametrize("name", SAME)
def test_a_callable_gives_what_the_named_likelihood_gives(name: str) -> None:
    likelihood, build = SAME[name]
    net = module(4)
    ours, named = fk.networks.Model(net, build), fk.networks.Model(net, likelihood)
    torch.testing.assert_close(dense(ours), dense(named), rtol=1e-9, atol=1e-12)
    if name in ("poisson", "bernoulli", "categorical", "normal", "mean and log-variance"):
        labels = named.likelihood.sample(net(X), 1, np.random.default_rng(0))[0]
        for verb in (fk.empirical_information, fk.observed_information):
            torch.testing.assert_close(verb(ours, data=(X, labels)).dense(), verb(named, data=(X, labels)).dense())


def integral(family, of_t):
    """H of one row of outputs: trapezoids in t, with y = of_t(t) to reach far into the tails."""
    t = torch.linspace(-14, 14, 400_001, dtype=torch.float64, requires_grad=True)
    y = of_t(t)
    (speed,) = torch.autograd.grad(y.sum(), t)
    inside = torch.isfinite(y) & (y != 0) & (y != 1)
    return moments(family, y.detach()[inside], speed[inside] * 28 / 400_000)


def moments(family, y, weights):
    def information(z):
        scores = torch.func.jacfwd(lambda row: family(row).log_prob(y))(z)
        w = family(z).log_prob(y).exp() * weights
        return (scores * w[:, None]).T @ scores

    return information


def counts(family, largest: int):
    y = torch.arange(largest, dtype=torch.float64)
    return moments(family, y, torch.ones_like(y))


REAL, POSITIVE, UNIT = torch.sinh, torch.exp, torch.sigmoid

#: built from a row (2,) or from an output (b, 2): the last axis holds the arguments
FAMILIES = {
    "normal, mean and scale": (lambda z: D.Normal(z[..., 0], z[..., 1].exp()), REAL),
    "laplace": (lambda z: D.Laplace(z[..., 0], z[..., 1].exp()), REAL),
    "student": (lambda z: D.StudentT(5.0, z[..., 0], z[..., 1].exp()), REAL),
    "cauchy": (lambda z: D.Cauchy(z[..., 0], z[..., 1].exp()), REAL),
    "log-normal": (lambda z: D.LogNormal(z[..., 0], z[..., 1].exp()), POSITIVE),
    "gamma": (lambda z: D.Gamma(3 + z[..., 0].exp(), z[..., 1].exp()), POSITIVE),
    "gamma, the rate alone": (lambda z: D.Gamma(3.0, z[..., 1].exp()), POSITIVE),
    "beta": (lambda z: D.Beta(3 + z[..., 0].exp(), 3 + z[..., 1].exp()), UNIT),
    "exponential": (lambda z: D.Exponential(z[..., 0].exp()), POSITIVE),
    "geometric": (lambda z: D.Geometric(torch.sigmoid(z[..., 0])), 300),
    "negative binomial": (lambda z: D.NegativeBinomial(3.0, logits=z[..., 0] - 1), 300),
    "binomial": (lambda z: D.Binomial(7, logits=z[..., 0]), 8),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_information_of_a_family_is_its_definition(name: str) -> None:
    family, support = FAMILIES[name]
    information = counts(family, support) if isinstance(support, int) else integral(family, support)
    layer = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.3, -0.3], [0.15, 0.3]]))
    inputs = X[:2, :2]
    kron = [torch.kron(information(layer(x).detach()), torch.outer(x, x)) for x in inputs]
    found = dense(fk.networks.Model(layer, family), inputs)
    size = float(found.abs().max())
    torch.testing.assert_close(found, sum(kron) / 2, rtol=1e-4, atol=1e-4 * size)


def test_near_singular_families_keep_their_digits_and_singular_ones_are_refused() -> None:
    """The determinant of a Gamma's information is 1 / 2a of its entries' product: float32 alone would lose it."""
    layer = nn.Linear(2, 2)

    def gamma(z):
        return D.Gamma(1e7 * z[:, 0].exp(), z[:, 1].exp())

    inputs = X[:5, :2].float()
    single = dense(fk.networks.Model(layer, gamma), inputs)
    double = dense(fk.networks.Model(copy.deepcopy(layer).double(), gamma), inputs.double())
    torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-5 * float(double.abs().max()))
    with pytest.raises(fk.errors.DataError, match="gives a Normal whose information is singular or not finite"):
        dense(fk.networks.Model(layer, lambda z: D.Normal(z[:, 0], (z[:, 1] + 1e3).exp() + 1e-30)), inputs)


def test_a_number_of_trials_from_the_output_has_no_closed_form() -> None:
    def build(z):
        return D.NegativeBinomial(z[:, 0].exp(), logits=z[:, 1])

    with pytest.raises(fk.errors.MethodError, match="labels of NegativeBinomial"):
        dense(fk.networks.Model(module(), build))
    fk.expected_information(fk.networks.Model(module(), build), inputs=X, method=fk.MonteCarlo(2, rng=0))


def test_a_mixture_is_drawn_or_refused_with_monte_carlo_named() -> None:
    def mixture(z):
        return D.MixtureSameFamily(D.Categorical(logits=z[:, :2]), D.Normal(z[:, 2:], 1.0))

    model = fk.networks.Model(module(4), mixture)
    for method in (None, fk.Exact(), fk.MonteCarlo(2, rng=0, estimator="hutchinson")):
        with pytest.raises(fk.errors.MethodError, match=r"labels of MixtureSameFamily .* method=fk.MonteCarlo\(n, rng=...\)"):
            fk.expected_information(model, inputs=X, method=method)
    F = fk.expected_information(model, inputs=X, method=fk.MonteCarlo(500, rng=0), structure="diagonal")
    again = fk.expected_information(model, inputs=X, method=fk.MonteCarlo(500, rng=0), structure="diagonal")
    assert torch.equal(brute_force.flat(F), brute_force.flat(again))  # the seed decides

    def outcomes(z):  # trapezoids over one label
        for y in torch.arange(-12, 12, 0.2, dtype=torch.float64):
            value = mixture(z[None]).log_prob(y[None])[0]
            yield (value.exp() * 0.2).detach(), value

    true = brute_force.expected(model.module, X, outcomes).diagonal()
    told = torch.cat([e.reshape(-1) for e in F.mcse.values()])
    assert float(((brute_force.flat(F) - true) / told).abs().max()) < 4.5


# -- digits


@pytest.mark.parametrize("top", [0, 1, 2])
def test_exact_keeps_its_digits_where_the_network_is_confident(top: int) -> None:
    """Columns of the categorical root sum to 0: 1 - p is never taken, whichever class has no column."""
    single = module().float()
    with torch.no_grad():
        single[2].bias[top] += 16.0
    double = copy.deepcopy(single).double()
    for method in (fk.Exact(), fk.MonteCarlo(3, rng=0, estimator="hutchinson")):
        found = fk.expected_information(fk.networks.Model(single, "categorical"), inputs=X.float(), method=method).dense()
        true = fk.expected_information(fk.networks.Model(double, "categorical"), inputs=X.float().double(), method=method).dense()
        assert float(true.diagonal().max()) > 0
        torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-5 * float(true.abs().max()))
