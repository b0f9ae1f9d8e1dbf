"""Bad input of networks, each refused in words; and the network left as it was found, whatever happens."""

import copy
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn, D = torch.nn, torch.distributions
errors = fk.errors
torch.manual_seed(0)
X, Y = torch.randn(12, 4), torch.arange(12) % 3
MONTE_CARLO = [fk.MonteCarlo(2, rng=0, estimator=estimator) for estimator in ("labels", "hutchinson", "batches")]


def mlp(*, last: int = 3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, last)).eval()


def expected(module, likelihood="categorical", inputs=X, **keywords):
    return fk.expected_information(fk.networks.Model(module, likelihood), inputs=inputs, structure="diagonal", **keywords)


class Integer(nn.Linear):
    def forward(self, x):
        return super().forward(x).round().long()


class Several(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


def work(forward) -> nn.Module:
    """The network, and what else its forward does."""

    class Working(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return forward(self.inner, x)

    return Working()


@torch.no_grad()
def without_gradients(inner, x):
    return inner(x)


def attention() -> nn.Module:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(4, 2, dropout=0.3, batch_first=True)

        def forward(self, x):
            return self.inner(x[:, None], x[:, None], x[:, None])[0][:, 0]

    return Attending().train()


MODULES = {
    "batch norm in train mode": (lambda: mlp().train(), "categorical", errors.NetworkStateError, r"BatchNorm1d '1'.*module.eval"),
    "dropout inside attention": (
        attention,
        "categorical",
        errors.NetworkStateError,
        r"'inner' drops out.*p=0.3",
    ),
    "no gradients": (
        lambda: work(without_gradients),
        "categorical",
        errors.NetworkStateError,
        "forward detaches it, by torch.no_grad",
    ),
    "through NumPy": (
        lambda: work(lambda inner, x: torch.from_numpy(inner(x).detach().numpy())),
        "categorical",
        errors.NetworkStateError,
        "the output depends on no parameter",
    ),
    "not for one example": (
        lambda: work(lambda inner, x: inner(nn.functional.batch_norm(x, None, None, training=True))),
        "categorical",
        errors.NetworkStateError,
        "not one alone.*more than 1 value per channel",
    ),
    "its own random numbers": (
        lambda: work(lambda inner, x: inner(x + np.random.default_rng().random())),
        "categorical",
        errors.NetworkStateError,
        "two passes over the same examples differ",
    ),
    "a lazy layer": (
        lambda: nn.LazyLinear(3),
        "categorical",
        errors.NetworkStateError,
        "'weight' of a lazy layer has no shape yet",
    ),
    "no numbers": (lambda: mlp().to("meta"), "categorical", errors.NetworkStateError, r"'0.weight' is on the meta device.*load"),
    "complex weights": (
        lambda: nn.Linear(4, 3, dtype=torch.complex64),
        "categorical",
        errors.LayoutError,
        r"'weight' is torch.complex64, .*view_as_complex",
    ),
    "no statistics": (
        lambda: nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)).eval(),
        "categorical",
        errors.NetworkStateError,
        "give it track_running_stats=True",
    ),
    "integer output": (lambda: Integer(4, 3), "gaussian", errors.LayoutError, "real floating-point numbers; got torch.int64"),
    "two outputs": (lambda: Several(4, 3), "gaussian", errors.LayoutError, r"one tensor, or something with .logits; got tuple"),
    "one logit": (lambda: mlp(last=1), "categorical", errors.LayoutError, r"two classes at least; got \(3, 1\)"),
    "axis of the examples": (mlp, fk.networks.Categorical(axis=0), errors.LayoutError, "no such axis for classes"),
    "axis beyond": (mlp, fk.networks.Categorical(axis=3), errors.LayoutError, "no such axis for classes"),
    "odd heads": (
        mlp,
        fk.networks.HeteroscedasticGaussian(),
        errors.LayoutError,
        r"as many log-variances along axis 1.*\(3, 3\)",
    ),
    "variances of other outputs": (mlp, fk.networks.Gaussian(variance=[1, 2]), errors.LayoutError, "has 2 values for outputs"),
    "a callable that returns no distribution": (mlp, lambda z: z, errors.LayoutError, "torch.distributions object; got Tensor"),
    "a callable that cannot read the output": (
        mlp,
        lambda z: D.Normal(z[:, 0], z[:, 5]),
        errors.LayoutError,
        r"cannot .* an output of shape \(3, 3\).*index 5",
    ),
    "arguments outside their domain": (
        mlp,
        lambda z: D.Normal(z[:, 0], -z[:, 1].exp()),
        errors.LayoutError,
        r"an output of shape \(3, 3\): Expected parameter scale",
    ),
    "a distribution over the batch": (mlp, lambda z: D.Normal(z.sum(), 1.0), errors.LayoutError, "one row per example"),
    "a distribution of coupled examples": (
        mlp,
        lambda z: D.Normal(z - z.mean(0), 1.0),
        errors.LayoutError,
        "depends on the other examples' outputs",
    ),
    "a distribution without the output": (
        mlp,
        lambda z: D.Normal(torch.zeros(len(z)), 1.0),
        errors.LayoutError,
        "does not depend on the output",
    ),
    "rates beyond any count": (
        lambda: nn.Sequential(mlp(), nn.Hardtanh(99, 100)),
        "poisson",
        errors.DataError,
        r"logarithm of a rate; 99 at \(0, 0\) is beyond any count",
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_networks_that_do_not_fit(name: str) -> None:
    make, likelihood, error, message = MODULES[name]
    for method in (None, *MONTE_CARLO):
        if name == "rates beyond any count" and method is MONTE_CARLO[0]:
            continue
        with pytest.raises(error, match=message):
            expected(make(), likelihood, method=method)


@pytest.mark.parametrize("forward", [lambda inner, x: inner(x - x.mean(0)), lambda inner, x: inner(x + torch.rand(4))])
def test_what_a_network_does_to_large_batches_alone_is_seen(forward) -> None:
    module = work(lambda inner, x: forward(inner, x) if len(x) > 3 else inner(x))
    for method in (None, *MONTE_CARLO):
        with pytest.raises(
            errors.NetworkStateError, match=r"depends on the others in its batch.*random numbers in a large batch"
        ):
            expected(module, inputs=[(X[:2],), (X,)], method=method)


def test_arguments_are_checked_also_where_compiling_has_turned_that_off() -> None:
    """torch.compile does so, for the whole process."""
    before = D.Distribution._validate_args
    D.Distribution.set_default_validate_args(False)
    try:
        for build in (lambda z: D.Normal(z[:, 0], -z[:, 1].exp()), lambda z: D.Independent(D.Poisson(-z.exp()), 1)):
            with pytest.raises(errors.LayoutError, match=r"Expected parameter (scale|rate) of .* to satisfy"):
                expected(mlp(), build)
            with pytest.raises(errors.LayoutError, match=r"Expected parameter (scale|rate) of .* to satisfy"):
                fk.empirical_information(fk.networks.Model(mlp(), build), data=(X, torch.ones(12, 3)))
    finally:
        D.Distribution.set_default_validate_args(before)


def test_parameters_of_likelihoods_are_checked() -> None:
    for variance in (0.0, -1.0, float("nan"), [1.0, 0.0], []):
        with pytest.raises(errors.DataError, match=r"Gaussian\(variance=\) must be positive and finite"):
            fk.networks.Gaussian(variance=variance)
    for wrong in ("softmax", 3, None, fk.networks.Gaussian):
        with pytest.raises(
            errors.LayoutError, match="likelihood must be one of 'categorical', 'bernoulli', 'gaussian', 'poisson'"
        ):
            fk.networks.Model(mlp(), wrong)


def test_a_loss_is_told_which_likelihood_it_means() -> None:
    for loss, message in (
        (
            nn.CrossEntropyLoss(),
            "CrossEntropyLoss is a loss .*; the likelihood that it means is 'categorical'",
        ),
        (nn.functional.cross_entropy, "cross_entropy is a loss"),
        (nn.MSELoss(), r"Gaussian\(variance=0.5\)"),
        (nn.PoissonNLLLoss, "'poisson'"),
    ):
        with pytest.raises(errors.LayoutError, match=message):
            fk.networks.Model(mlp(), loss)
    with pytest.raises(errors.LayoutError, match="cannot build a distribution from an output of shape"):
        expected(mlp(), nn.L1Loss())


LABELS = [
    ("poisson", torch.full((12, 3), -1.0), r"counts, 0 or more; label \(0, 0\) is -1"),
    ("poisson", torch.full((12, 3), 1.5), r"counts, 0 or more; label \(0, 0\) is 1.5"),
    ("poisson", torch.full((12, 3), torch.inf), "counts, 0 or more"),
    ("poisson", Y, r"output's shape \(12, 3\); got \(12,\)"),
    ("bernoulli", torch.full((12, 3), 0.5), r"must be 0 or 1; label \(0, 0\) is 0.5"),
    ("gaussian", torch.zeros(12, 3, dtype=torch.complex64), "must be real; got torch.complex64"),
    ("categorical", Y - 100, "outside the 3 classes 0..2. If it stands for none, say Categorical"),
    (lambda z: D.Poisson(z.exp()), torch.full((12, 3), -1.0), r"label \(0, 0\) is -1.0, outside the support of Poisson"),
    (lambda z: D.Categorical(logits=z), Y + 1, r"label \(2,\) is 3, outside the support of Categorical"),
    (lambda z: D.Categorical(logits=z), Y[:, None], r"labels of Categorical must have shape \(12,\); got \(12, 1\)"),
    (fk.networks.HeteroscedasticGaussian(axis=-1), Y, "as many log-variances"),
]


@pytest.mark.parametrize(("likelihood", "labels", "message"), LABELS, ids=range(len(LABELS)))
def test_labels_that_do_not_fit(likelihood, labels, message: str) -> None:
    for verb in (fk.empirical_information, fk.observed_information, fk.score):
        with pytest.raises((errors.DataError, errors.LayoutError), match=message):
            verb(fk.networks.Model(mlp(), likelihood), data=(X, labels))


INPUTS = {
    "an empty mapping": ({}, errors.LayoutError, "inputs must be .* a mapping of tensors"),
    "an empty loader": ([], errors.DataError, "no examples"),
    "no rows": (X[:0], errors.DataError, "no examples"),
    "an array": (X.numpy(), errors.LayoutError, "got ndarray. torch.as_tensor makes one"),
    "lists by name": ({"input": [1, 2]}, errors.LayoutError, "got input: list"),
    "nothing by name": ({"input": X, "mask": None}, errors.LayoutError, "mask: NoneType"),
    "sparse": (X.to_sparse(), errors.LayoutError, r"must be dense tensors; 0 is torch.sparse_coo: .to_dense\(\) makes it one"),
    "without numbers": (X.to("meta"), errors.LayoutError, "must be dense tensors; 0 is on the meta device"),
    "batches in a list": ([X[:4], X[4:8], X[8:]], errors.LayoutError, r"here one for each tensor \(batches come as \[\(X1,\)"),
    "uneven batches in a list": ([X[:5], X[5:]], errors.LayoutError, r"one row per example.*Batches come as \[\(X1,\)"),
    "not a batch": ([X[0]], errors.LayoutError, "cannot take these inputs, tensors of "),
    "another dtype": (X.double(), errors.LayoutError, "torch.float64: mat1 and mat2 must have the same dtype"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_that_do_not_fit(name: str) -> None:
    inputs, error, message = INPUTS[name]
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    for method in (None, *MONTE_CARLO):
        with pytest.raises(error, match=message):
            expected(module, inputs=inputs, method=method)


PAIRS = {
    "arrays": ((X, Y.numpy()), errors.LayoutError, "torch.as_tensor makes one of an array.; got a tuple of Tensor, ndarray"),
    "lists": ((X, Y.tolist()), errors.LayoutError, "got a tuple of Tensor, list"),
    "one label for all": ((X, Y[0]), errors.DataError, "as many labels as inputs; got 12 and a single one"),
    "too many": ((X, torch.cat([Y, Y])), errors.DataError, "as many labels as inputs; got 12 and 24"),
    "inputs alone": (X, errors.DataError, "labels are needed"),
    "a loader of inputs": ([X], errors.DataError, "must yield pairs"),
    "a mapping without labels": ({"input": X}, errors.DataError, "has an entry 'labels'; got a dict of input"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_do_not_fit(name: str) -> None:
    data, error, message = PAIRS[name]
    for verb in (fk.empirical_information, fk.observed_information, fk.score):
        with pytest.raises(error, match=message):
            verb(fk.networks.Model(mlp(), "categorical"), data=data)


def test_points_and_choices_that_do_not_fit() -> None:
    net = fk.networks.Model(mlp(), "categorical")
    with pytest.raises(errors.LayoutError, match=r"theta\['0.weight'\] must be real, of shape \(5, 4\); got torch.complex64"):
        fk.expected_information(net, {name: p.detach().to(torch.complex64) for name, p in net.tensors.items()}, inputs=X)
    with pytest.raises(errors.LayoutError, match=r"params= takes names, patterns or a rule"):
        fk.networks.Model(mlp(), "categorical", params=3)


def test_a_bad_label_in_a_later_batch_is_placed() -> None:
    labels = Y.clone()
    labels[9] = 5
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, labels), batch_size=4)
    with pytest.raises(errors.DataError, match=r"label 5 of example 1 is outside.*The batch starts at example 8"):
        fk.empirical_information(fk.networks.Model(mlp(), "categorical"), data=loader)


def test_an_output_that_is_not_finite_names_example_and_layer() -> None:
    module = mlp()
    with torch.no_grad():
        module[3].weight[:] = 3e38
        module[3].bias[:] = 0
    x = torch.zeros(12, 4)
    with torch.no_grad():
        module[0].weight[:] = 1.0
        module[0].bias[:] = -1.0
    x[7] = 5.0
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, Y), batch_size=5)
    message = r"output for example 7 is not finite: \[inf, inf, inf\]. The first layer whose output is not finite is Linear '3'"
    for method in (None, *MONTE_CARLO):
        with pytest.raises(errors.DataError, match=message):
            expected(module, inputs=loader, method=method)
    with pytest.raises(errors.DataError, match=message):
        fk.empirical_information(fk.networks.Model(module, "categorical"), data=loader)


def test_an_output_that_is_no_number_is_not_taken_for_randomness() -> None:
    module = mlp()
    with torch.no_grad():
        module[3].bias[1] = torch.nan
    with pytest.raises(errors.DataError, match=r"output for example 0 is not finite.*Linear '3'"):
        expected(module)


def test_a_sum_of_scores_that_is_not_finite_is_refused() -> None:
    class Root(nn.Linear):
        def forward(self, x):
            return super().forward(torch.sqrt(self.weight[0] * 0 + x.abs()))

    x = X.abs()
    x[2, 1] = 0
    with pytest.raises(errors.DataError, match=r"sum of the scores of examples .* is not finite in weight"):
        expected(Root(4, 3), inputs=x, method=MONTE_CARLO[2])


def test_squares_beyond_the_range_of_the_dtype_are_refused() -> None:
    """Scores of 1e25 are finite in float32, their squares are not."""
    module = nn.Linear(2, 3)
    nn.init.zeros_(module.weight)
    with pytest.raises(errors.DataError, match=r"a squared score .*is not finite: it is beyond the range of the network's dtype"):
        expected(module, inputs=torch.full((4, 2), 1e25))


def test_over_the_memory_budget_the_cheaper_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fk.networks.Model(mlp(), "categorical")
    monkeypatch.setenv("FISHERKIT_MEMORY", "4000")
    with pytest.raises(errors.MemoryBudgetError, match=r"dense 53 x 53 .* structure='diagonal' needs p numbers"):
        fk.expected_information(model, inputs=X)
    with pytest.raises(errors.MemoryBudgetError, match=r"40 times for its Monte Carlo error.*groups=0 keeps one"):
        fk.expected_information(model, inputs=X, structure="diagonal", method=fk.MonteCarlo(20, rng=0))
    with pytest.raises(errors.MemoryBudgetError, match=r"a score per observation.*fk.empirical_information sums them"):
        fk.score(model, data=(X, Y))
    fk.expected_information(model, inputs=X, structure="diagonal")


# -- as it was found


def state(module):
    return (
        {name: value.clone() for name, value in module.state_dict().items()},
        [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        [(p.requires_grad, type(p), id(p)) for p in module.parameters()],
        [m.training for m in module.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in module.modules()],
        torch.random.get_rng_state(),
        np.random.get_state()[1].copy(),  # noqa: NPY002 that is what is tested
    )


def assert_same(before, after) -> None:
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True) if isinstance(a, torch.Tensor) else None
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))
    assert before[2:5] == after[2:5]
    assert np.array_equal(before[6], after[6])


def student(z):
    """Labels that PyTorch itself draws."""
    return D.StudentT(4.0, z[:, 0], z[:, 1].exp())


def every_verb(module):
    """All verbs, and what goes wrong in the middle of each."""
    pairs = torch.utils.data.TensorDataset(X, Y)
    shuffled = torch.utils.data.DataLoader(pairs, batch_size=5, shuffle=True)
    net = fk.networks.Model(module, "categorical")
    found = [
        brute_force.flat(fk.expected_information(one, inputs=X, structure="diagonal", method=method))
        for one in (net, fk.networks.Model(module, student))
        for method in (None, *MONTE_CARLO)
    ]
    fk.expected_information(net, inputs=shuffled)
    found.append(brute_force.flat(fk.empirical_information(net, data=(X, Y), structure="diagonal")))
    found.append(fk.observed_information(net, data=(X, Y)).dense())
    found.append(torch.cat([v.flatten() for v in fk.score(net, data=(X, Y)).values()]))

    def broken():
        yield X[:5], Y[:5]
        raise OSError("the disk is gone")

    late = Y.clone()
    late[11] = 9
    for verb in (fk.empirical_information, fk.observed_information, fk.score):
        with pytest.raises(OSError, match="the disk is gone"):
            verb(net, data=broken())
        with pytest.raises(errors.DataError, match="outside the 3 classes"):
            verb(net, data=[(X[:6], Y[:6]), (X[6:], late[6:])])
    for method in (None, *MONTE_CARLO):
        with pytest.raises(OSError, match="the disk is gone"):
            fk.expected_information(net, inputs=broken(), method=method)
    return found


def prepared():
    module = mlp()
    module[0].weight.grad = torch.ones(5, 4)
    module[2].train()
    module[3].bias.requires_grad_(False)
    module[0].register_forward_hook(lambda layer, inputs, output: None)
    return module


def test_the_network_is_left_as_it_was_found() -> None:
    module = prepared()
    before = state(module)
    every_verb(module)
    assert_same(before, state(module))


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns five hundred times as often as they would."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def test_and_also_when_four_threads_ask_at_once(eager_threads: None) -> None:
    module = prepared()
    alone, before = every_verb(copy.deepcopy(module)), state(module)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: every_verb(module), range(12)):
            assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))
    assert_same(before, state(module))


class Hard(nn.Module):
    """Layers that keep weights, statistics and counts in ways of their own."""

    def __init__(self, *, calls: int = 10**9) -> None:
        super().__init__()
        torch.manual_seed(0)
        normed = nn.utils.parametrizations
        self.lstm, self.attention = nn.LSTM(4, 4, batch_first=True), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.first, self.second = normed.weight_norm(nn.Linear(4, 4)), normed.spectral_norm(nn.Linear(4, 4))
        self.embed, self.out = nn.Embedding(3, 4, max_norm=0.5), nn.Linear(4, 3)
        self.register_buffer("left", torch.tensor(calls))
        self.eval()
        self.attention.requires_grad_(False)
        self.out.train()
        self.lstm.weight_ih_l0.grad = torch.ones(16, 4)
        self.lstm.register_forward_hook(lambda layer, inputs, output: None)
        self.out.weight.register_hook(lambda gradient: 1 / 0)

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise OSError("the network is gone")
        hidden = self.second(torch.tanh(self.first(self.attention(self.lstm(x)[0])).mean(1)))
        return self.out(hidden + self.embed((x[:, 0, 0] > 0).long()))


def fine_state(module):
    """What `state` sees, and what only a second look does: counts of changes, attributes, the caller's settings."""
    tensors = [*module.parameters(), *module.buffers()]
    settings = torch.is_grad_enabled(), torch.is_autocast_enabled(), D.Distribution._validate_args, torch.get_default_dtype()
    parts = [sorted(vars(part)) for part in module.modules()]
    return [(id(tensor), tensor._version) for tensor in tensors], parts, settings


SEQUENCES = torch.randn(12, 3, 4, generator=torch.Generator().manual_seed(0))


def every_structure(module):
    net = fk.networks.Model(module, "categorical")
    loader = [(SEQUENCES[:7],), (SEQUENCES[7:],)]
    found = [fk.expected_information(net, inputs=loader, structure=structure) for structure in ("diagonal", "ekfac", "operator")]
    found += [fk.expected_information(net, inputs=loader, structure="diagonal", method=method) for method in MONTE_CARLO]
    return [brute_force.flat(F) for F in found]


def test_layers_with_a_state_of_their_own_are_left_as_they_were(eager_threads: None) -> None:
    module = Hard()
    before, fine = state(module), fine_state(module)
    alone = every_structure(module)
    assert_same(before, state(module))
    assert fine == fine_state(module)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: every_structure(module), range(4)):
            assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))
    assert_same(before, state(module))
    assert fine == fine_state(module)


@pytest.mark.parametrize("calls", [0, 1, 4, 7, 9])
def test_and_so_they_are_when_the_network_fails(calls: int) -> None:
    """On the first examples, or in the middle of the data."""
    module = Hard(calls=calls)
    before, fine = state(module), fine_state(module)
    for structure in fk.networks.Model.structures:
        net = fk.networks.Model(module, "categorical")
        with pytest.raises(OSError, match="the network is gone"):
            fk.expected_information(net, inputs=[(SEQUENCES,)] * 6, structure=structure)
    assert_same(before, state(module))
    assert fine == fine_state(module)


def test_coupled_examples_are_seen_whatever_the_first_batches() -> None:
    """Batches of one example hide the coupling: the first few are tried together."""

    class Coupled(nn.Linear):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    for inputs, method in (
        (X, fk.MonteCarlo(1, rng=0)),
        (iter([X[:1], X[1:2], X[2:]]), None),
        (iter([X[:0], X[:1], X[1:]]), None),
    ):
        with pytest.raises(errors.NetworkStateError, match="depends on the others in its batch"):
            expected(Coupled(4, 3), inputs=inputs, method=method)
