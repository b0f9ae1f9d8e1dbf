"""Likelihoods, methods, data and refusals of the network track."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn = torch.nn
torch.manual_seed(0)
X = torch.randn(37, 4)
Y = torch.arange(37) % 3


def mlp(outputs: int = 3, dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).to(dtype)


def net(likelihood: object = "categorical", outputs: int = 3) -> fk.networks.Model:
    return fk.networks.Model(mlp(outputs), likelihood)


def bernoulli(output):
    """Each output on its own: independent labels add."""
    for z in output:
        p = torch.sigmoid(z)
        yield p, torch.log(p)
        yield 1 - p, torch.log(1 - p)


def gaussian(variance: float):
    """Scores (y - z) / v with y - z = +-sqrt(v): the same second moment as a normal label."""
    deviation = variance**0.5

    def outcomes(output):
        for z in output:
            for sign in (1, -1):
                yield 0.5, -((z.detach() + sign * deviation - z) ** 2) / (2 * variance)

    return outcomes


LIKELIHOODS = {
    "categorical": ("categorical", brute_force.categorical),
    "bernoulli": ("bernoulli", bernoulli),
    "gaussian": ("gaussian", gaussian(1.0)),
    "gaussian, half the variance": (fk.networks.Gaussian(variance=0.5), gaussian(0.5)),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_exact_is_the_definition(name: str) -> None:
    likelihood, outcomes = LIKELIHOODS[name]
    model = net(likelihood)
    brute = brute_force.expected(model.module, X.double(), outcomes)
    F = fk.expected_information(model, inputs=X.double())
    assert (F.kind, F.n, F.structure) == ("expected", 1, "dense")
    torch.testing.assert_close(F.dense(), brute, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("draws", [1, 2, 25])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_monte_carlo_is_calibrated(name: str, draws: int) -> None:
    """Unbiased, and off by what mcse says; with one draw that also holds the inputs' variation, and may be too much."""
    model = net(LIKELIHOODS[name][0])
    exact = brute_force.flat(fk.expected_information(model, inputs=X.double(), structure="diagonal"))
    runs = [
        fk.expected_information(model, inputs=X.double(), structure="diagonal", method=fk.MonteCarlo(draws, rng=seed))
        for seed in range(60)
    ]
    errors = torch.stack([brute_force.flat(F) - exact for F in runs])
    told = torch.stack([torch.cat([e.reshape(-1) for e in F.mcse.values()]) for F in runs])
    bias = errors.mean(0) / (errors.std(0) / len(runs) ** 0.5)
    assert float(bias.abs().max()) < 4.5
    ratio = float((errors**2).mean().sqrt() / (told**2).mean().sqrt())
    assert (0.4 if draws == 1 else 0.8) < ratio < 1.2


def test_monte_carlo_labels_do_not_depend_on_the_batch_size() -> None:
    model, method = net(), fk.MonteCarlo(3, rng=5)
    loaders = [torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X.double(), Y), batch_size=b) for b in (1, 8, 37)]
    results = [
        brute_force.flat(fk.expected_information(model, inputs=loader, structure="diagonal", method=method)) for loader in loaders
    ]
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=0)


def test_nothing_depends_on_the_batch_size_or_on_the_labels_of_a_loader() -> None:
    model = net()

    def compute(size: int, labels=Y) -> fk.FisherInformation:
        pairs = torch.utils.data.TensorDataset(X.double(), labels)
        return fk.expected_information(model, inputs=torch.utils.data.DataLoader(pairs, batch_size=size), structure="diagonal")

    fk.checks.check_batch_size(compute, [1, 7, 37])
    fk.checks.check_labels(lambda labels: compute(8, labels), [Y, 2 - Y])

    def empirical(size: int) -> fk.FisherInformation:
        pairs = torch.utils.data.TensorDataset(X.double(), Y)
        return fk.empirical_information(model, data=torch.utils.data.DataLoader(pairs, batch_size=size))

    fk.checks.check_batch_size(empirical, [1, 7, 37])
    assert empirical(7).n == 37


def test_empirical_is_the_sum_over_the_data() -> None:
    model = net()
    scores = fk.score(model, data=(X.double(), Y))
    flat = torch.cat([value.flatten(1) for value in scores.values()], dim=1)
    F = fk.empirical_information(model, data=(X.double(), Y))
    assert (F.kind, F.n) == ("empirical", 37)
    torch.testing.assert_close(F.dense(), flat.T @ flat)


def test_observed_is_minus_the_hessian_and_equals_expected_for_a_linear_softmax() -> None:
    module = nn.Linear(4, 3).double()
    model = fk.networks.Model(module, "categorical")
    observed = fk.observed_information(model, data=(X.double(), Y))
    expected = fk.expected_information(model, inputs=X.double()).total(37)
    torch.testing.assert_close(observed.dense(), expected.dense(), rtol=1e-10, atol=1e-10)


def test_float32_agrees_with_float64_and_sums_in_float64() -> None:
    single = fk.networks.Model(mlp(dtype=torch.float32), "categorical")
    F = fk.expected_information(single, inputs=X, structure="diagonal")
    double = fk.expected_information(net(), inputs=X.double(), structure="diagonal")
    assert brute_force.flat(F).dtype == torch.float64
    torch.testing.assert_close(brute_force.flat(F), brute_force.flat(double), rtol=3e-5, atol=1e-8)


def test_frozen_parameters_are_left_out_and_theta_may_be_given() -> None:
    module = mlp()
    module[0].weight.requires_grad_(False)
    model = fk.networks.Model(module, "categorical")
    F = fk.expected_information(model, inputs=X.double(), structure="diagonal")
    assert F.parameters.names == ("0.bias", "2.weight", "2.bias")
    doubled = {name: 2 * p for name, p in model.tensors.items()}
    elsewhere = fk.expected_information(model, doubled, inputs=X.double(), structure="diagonal")
    with torch.no_grad():
        for p in model.tensors.values():
            p *= 2
    here = fk.expected_information(model, inputs=X.double(), structure="diagonal")
    torch.testing.assert_close(brute_force.flat(elsewhere), brute_force.flat(here))


def snapshot(module):
    state = {name: value.clone() for name, value in module.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in module.modules()]
    return state, grads, [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()], hooks


def test_the_network_is_left_as_it_was_also_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 3)).eval()
    module[0].weight.grad = torch.ones(5, 4)
    module[3].train()
    model, before = fk.networks.Model(module, "categorical"), snapshot(module)
    random = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 that is what is tested
    fk.expected_information(model, inputs=X, method=fk.MonteCarlo(2, rng=0))
    with pytest.raises(fk.errors.DataError):
        fk.empirical_information(model, data=(X, Y + 7))
    after = snapshot(module)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert torch.equal(before[1][0], after[1][0])
    assert [g is None for g in before[1]] == [g is None for g in after[1]]
    assert before[2:] == after[2:]
    assert torch.equal(random[0], torch.random.get_rng_state())
    assert np.array_equal(random[1], np.random.get_state()[1])  # noqa: NPY002 that is what is tested


def test_buffers_that_a_forward_pass_writes_are_the_copys() -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    module = Counting()
    fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X)
    assert module.calls.item() == 0


def test_four_threads_at_once_get_the_same_answer() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3)).double()
    model = fk.networks.Model(module, "categorical")
    alone = brute_force.flat(fk.expected_information(model, inputs=X.double(), structure="diagonal"))

    def ask(_: int):
        return brute_force.flat(fk.expected_information(model, inputs=X.double(), structure="diagonal"))

    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(result, alone) for result in pool.map(ask, range(24)))
    assert all(isinstance(p, nn.Parameter) for p in module.parameters())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(5), r"BatchNorm1d '1' uses the statistics of the batch.*module.eval\(\)"),
        (nn.Dropout(0.5), r"Dropout '1' drops out at random \(p=0.5\).*module.eval\(\)"),
    ],
)
def test_train_mode_is_refused_by_layer(layer: object, message: str) -> None:
    module = nn.Sequential(nn.Linear(4, 5), layer, nn.Linear(5, 3))
    model = fk.networks.Model(module, "categorical")
    for ask in (lambda: fk.expected_information(model, inputs=X), lambda: fk.score(model, data=(X, Y))):
        with pytest.raises(fk.errors.NetworkStateError, match=message):
            ask()
    module.eval()
    fk.expected_information(model, inputs=X)


def test_hidden_randomness_and_coupling_are_refused() -> None:
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.rand(())

    class Counting(nn.Linear):
        calls = 0

        def forward(self, x):
            type(self).calls += 1
            return super().forward(x) + self.calls

    class Coupled(nn.Linear):
        def forward(self, x):
            z = super().forward(x)
            return z - z.mean(0)

    with pytest.raises(fk.errors.NetworkStateError, match="the network draws random numbers"):
        fk.expected_information(fk.networks.Model(Noisy(4, 3), "categorical"), inputs=X)
    with pytest.raises(fk.errors.NetworkStateError, match="two passes over the same examples differ"):
        fk.expected_information(fk.networks.Model(Counting(4, 3), "gaussian"), inputs=X)
    with pytest.raises(fk.errors.NetworkStateError, match="depends on the others in its batch"):
        fk.expected_information(fk.networks.Model(Coupled(4, 3), "categorical"), inputs=X)


BAD_DATA = [
    ("categorical", (X.double(), Y + 1), "label 3 of example 2 is outside the 3 classes"),
    ("categorical", (X.double(), Y - 1), "label -1 of example 0"),
    ("categorical", (X.double(), Y.double()), "must be integers of shape"),
    ("categorical", (X.double(), Y[:5]), "as many labels as inputs; got 37 and 5"),
    ("categorical", X.double(), "labels are needed"),
    ("categorical", None, "labels are needed"),
    ("categorical", (X[:0].double(), Y[:0]), "no examples"),
    ("categorical", [], "no examples"),
    ("bernoulli", (X.double(), 2 * torch.ones(37, 3)), "must be 0 or 1"),
    ("bernoulli", (X.double(), Y), r"output's shape \(37, 3\); got \(37,\)"),
    ("gaussian", (X.double(), torch.full((37, 3), torch.nan)), "must be finite"),
    ("categorical", (X.double() * torch.nan, Y), r"inputs must be finite; entry \(0, 0\)"),
]


@pytest.mark.parametrize(("likelihood", "data", "message"), BAD_DATA, ids=[row[2][:24] for row in BAD_DATA])
def test_unusable_data(likelihood: str, data: object, message: str) -> None:
    with pytest.raises(fk.errors.DataError, match=message):
        fk.empirical_information(net(likelihood), data=data)


def test_unusable_networks_and_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(fk.errors.MethodError, match="a network needs a likelihood"):
        fk.expected_information(mlp(), inputs=X)
    with pytest.raises(fk.errors.LayoutError, match="likelihood must be one of 'categorical', 'bernoulli', 'gaussian'"):
        net("softmax")
    with pytest.raises(fk.errors.MethodError, match=r"Exact or MonteCarlo; got Quadrature\(\)"):
        fk.expected_information(net(), inputs=X.double(), method=fk.Quadrature())
    with pytest.raises(fk.errors.MethodError, match="give inputs=X"):
        fk.expected_information(net())
    with pytest.raises(fk.errors.DataError, match="no examples"):
        fk.expected_information(net(), inputs=X[:0].double())
    for inputs in (X[:, :2].double(), (X.double(), Y), X.double().long()):
        with pytest.raises(fk.errors.LayoutError, match="the network cannot take these inputs, tensors of"):
            fk.expected_information(net(), inputs=inputs)
    with pytest.raises(fk.errors.LayoutError, match="must return one row per example"):
        fk.expected_information(fk.networks.Model(nn.Sequential(nn.Linear(4, 3), nn.Flatten(0)), "gaussian"), inputs=X)
    with pytest.raises(fk.errors.LayoutError, match="two classes at least"):
        fk.expected_information(fk.networks.Model(nn.Linear(4, 1), "categorical"), inputs=X)
    with pytest.raises(fk.errors.LayoutError, match="theta for a network"):
        fk.expected_information(net(), {"weight": X}, inputs=X.double())
    frozen = mlp().requires_grad_(False)
    with pytest.raises(fk.errors.LayoutError, match="no parameter of the network requires a gradient"):
        fk.expected_information(fk.networks.Model(frozen, "categorical"), inputs=X.double())
    exploding = copy.deepcopy(mlp())
    exploding[2].bias.data[1] = torch.inf
    with pytest.raises(fk.errors.DataError, match="output for example 0 is not finite"):
        fk.expected_information(fk.networks.Model(exploding, "categorical"), inputs=X.double())
    monkeypatch.setenv("FISHERKIT_MEMORY", "10000")
    with pytest.raises(fk.errors.MemoryBudgetError, match=r"dense 43 x 43 .* structure='diagonal' needs p numbers"):
        fk.expected_information(net(), inputs=X.double())
    fk.expected_information(net(), inputs=X.double(), structure="diagonal")
