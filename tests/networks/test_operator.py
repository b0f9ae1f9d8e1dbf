"""The information that is never formed: its products are those of the matrix, and it stays at its point."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from fisherkit.networks import linearization  # noqa: E402
from fisherkit.networks.linearization import WORTHWHILE  # noqa: E402
from fisherkit.networks.network import Network  # noqa: E402
from fisherkit.networks.trace import Trace  # noqa: E402
from tests.networks import brute_force  # noqa: E402


class Attending(nn.Module):
    """Attention, a tied projection, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.scale = nn.Embedding(7, 8), nn.Parameter(torch.ones(8))
        self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)
        self.head = nn.Linear(8, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Any) -> Any:
        x = self.embed(tokens) * self.scale
        mixed = x + nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0]
        return self.head(self.norm(mixed + self.attention(x, x, x)[0]).mean(dim=1))


class Viewing(nn.Module):
    """Takes the order of a convolution's output in memory for granted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 3, 2), nn.Linear(27, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x).view(len(x), 27))


class Branching(nn.Module):
    """Another function where the first number is positive: it cannot be written down for all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        rows = [self.inner(row) if row[0] > 0 else self.inner(-row).tanh() for row in x]
        return self.head(torch.stack(rows))


class Reading(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


def small() -> Any:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double()


def convolutional() -> Any:
    layers = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16, 3)).double().eval()


NETWORKS = {
    "mlp": (small, lambda: torch.randn(9, 4).double()),
    "convolutions": (convolutional, lambda: torch.randn(5, 2, 4, 4).double()),
    "attention": (lambda: Attending().double(), lambda: torch.randint(0, 7, (4, 6))),
    "a view": (lambda: Viewing().double(), lambda: torch.randn(5, 2, 4, 4).double()),
    "branches": (lambda: Branching().double(), lambda: torch.randn(5, 4).double()),
    "lstm": (lambda: Reading().double(), lambda: torch.randn(5, 6, 4).double()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_the_definition(name: str) -> None:
    """One column by forward differentiation, many by its trace, again by the one that was kept."""
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    module, X = make(), inputs()
    exact = brute_force.expected(module, X)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="operator")
    v = torch.randn(len(exact), WORTHWHILE, dtype=torch.float64)
    for columns in (v[:, :1], v, v[:, :2]):
        torch.testing.assert_close(F @ columns, exact @ columns, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(F @ v[:, 0], exact @ v[:, 0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(brute_force.flat(F), exact.diagonal(), rtol=1e-9, atol=1e-12)
    assert float(F.trace) == pytest.approx(float(exact.trace()))
    torch.testing.assert_close(F.solve(v, damping=0.1), torch.linalg.solve(exact + 0.1 * torch.eye(len(exact)), v))


def two_convolutions() -> Any:
    """Sums of two products, which a trace adds in place."""
    layers = nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 2, bias=False), nn.Flatten(), nn.Linear(36, 5, bias=False)
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.mark.parametrize("make", [small, convolutional, two_convolutions])
def test_a_trace_is_the_forward_derivative(make: Any) -> None:
    """By itself, before any check: of other inputs than it was made from, with and without channels last, again and again."""
    torch.manual_seed(0)
    module, shape = make(), (4,) if make is small else (2, 4, 4)
    first, inputs = torch.randn(2, 5, *shape).double()
    for arranged in (False, True):
        network = Network(module, dict(module.named_parameters()), own=True)
        if arranged:
            network.arrange((first,))
        push, values = Trace(network, (first,)).at((inputs,)), {k: v.detach() for k, v in network.values.items()}
        for _ in range(2):
            v = {name: torch.randn(value.shape).double() for name, value in values.items()}
            true = torch.func.jvp(lambda w, net=network: net.at(w, (inputs,)), (values,), (v,))[1]
            torch.testing.assert_close(push(list(v.values())), true, rtol=1e-12, atol=1e-13)


def test_batches_of_one_shape_share_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module, X = convolutional(), torch.randn(14, 2, 4, 4).double()
    made: list[Any] = []
    monkeypatch.setattr(linearization, "Trace", lambda network, inputs: made.append(len(inputs[0])) or Trace(network, inputs))
    exact = brute_force.expected(module, X)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=[(x,) for x in X.split(4)], structure="operator")
    for _ in range(6):
        v = torch.randn(len(exact), dtype=torch.float64)
        torch.testing.assert_close(F @ v, exact @ v, rtol=1e-9, atol=1e-12)
    assert made == [4]  # the last batch, of two, has no other like it
    v = torch.randn(len(exact), WORTHWHILE, dtype=torch.float64)
    torch.testing.assert_close(F @ v, exact @ v, rtol=1e-9, atol=1e-12)
    assert made == [4, 2]


@pytest.mark.parametrize("when", ["from the first", "from the second batch on", "from the second product on"])
def test_a_wrong_derivative_is_found_out(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    torch.manual_seed(0)
    module, X = small(), torch.randn(6, 4).double()
    exact = brute_force.expected(module, X)
    right, calls = linearization.Linearization._forward, []

    def wrong(self: Any) -> Any:
        push = right(self)
        calls.append(self)

        def half(v: Any) -> Any:
            calls.append(v)
            late = {"from the first": True, "from the second batch on": self is not calls[0]}.get(when, len(calls) > 6)
            return push([part * (0.5 if late and part.ndim == 2 else 1) for part in v])

        return half

    monkeypatch.setattr(linearization.Linearization, "_forward", wrong)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=[(x,) for x in X.split(3)], structure="operator")
    for _ in range(4):
        v = torch.randn(len(exact), dtype=torch.float64)
        torch.testing.assert_close(F @ v, exact @ v, rtol=1e-9, atol=1e-12)
    assert len(calls) < 12  # it was given up


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical", fk.networks.Gaussian(0.5)], ids=str)
@pytest.mark.parametrize("kind", ["exact", "monte carlo", "empirical"])
def test_every_kind_agrees_with_the_dense_one(likelihood: Any, kind: str) -> None:
    torch.manual_seed(1)
    X = torch.randn(7, 4).double()
    net = fk.networks.Model(small(), likelihood)
    labels = torch.randint(0, 3, (7,)) if likelihood == "categorical" else torch.randint(0, 2, (7, 3)).double()

    def information(structure: str) -> fk.FisherInformation:
        if kind == "empirical":
            return fk.empirical_information(net, data=(X, labels), structure=structure)
        method = fk.Exact() if kind == "exact" else fk.MonteCarlo(3, rng=0)
        return fk.expected_information(net, inputs=X, structure=structure, method=method)

    lazy, formed = information("operator"), information("dense")
    torch.testing.assert_close(lazy.dense(), formed.dense())
    torch.testing.assert_close(brute_force.flat(lazy), formed.dense().diagonal())
    assert (lazy.n, lazy.kind) == (formed.n, formed.kind)


@pytest.mark.parametrize("estimator", ["labels", "hutchinson"])
@pytest.mark.parametrize("likelihood", ["poisson", fk.networks.HeteroscedasticGaussian()], ids=str)
def test_masks_signs_and_other_likelihoods(likelihood: Any, estimator: str) -> None:
    """A network of tokens by name, half of them masked."""
    torch.manual_seed(5)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, features: Any, kept: Any = None) -> Any:
            return self.inner(features)[..., 0] if likelihood == "poisson" else self.inner(features).movedim(-1, 1)

    batch = {"features": torch.randn(6, 4, 3).double(), "kept": torch.rand(6, 4) < 0.5}
    net = fk.networks.Model(Tagger().double(), likelihood, mask="kept" if likelihood == "poisson" else None)
    batch = batch if likelihood == "poisson" else {"features": batch["features"]}
    for method in (fk.Exact(), fk.MonteCarlo(3, rng=0, estimator=estimator)):
        found = (fk.expected_information(net, inputs=batch, structure=s, method=method) for s in ("operator", "dense"))
        lazy, formed = found
        torch.testing.assert_close(lazy.dense(), formed.dense())


def test_it_stays_at_its_point_when_the_network_moves_on() -> None:
    torch.manual_seed(2)
    module, X = small(), torch.randn(6, 4).double()
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="operator")
    before = F.dense()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        X.zero_()
    torch.testing.assert_close(F.dense(), before)
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_verbs_stay_lazy_and_right() -> None:
    torch.manual_seed(3)
    X = torch.randn(6, 4).double()
    net = fk.networks.Model(small(), "categorical")
    F, G = (fk.expected_information(net, inputs=X, structure=s) for s in ("operator", "dense"))
    diagonal = fk.expected_information(net, inputs=X, structure="diagonal")
    pairs = {
        "scale": (3 * F, 3 * G),
        "fix": (F.fix("0.bias", "2.weight"), G.fix("0.bias", "2.weight")),
        "select": (F["2.bias", "0.bias"], G["2.bias", "0.bias"]),
        "sum": (F + 2 * F, 3 * G),
        "with a diagonal": (F + diagonal, G + diagonal),
        "with a matrix": (G + F, 2 * G),
        "fixed sum": ((F + diagonal).fix("0.weight"), (G + diagonal).fix("0.weight")),
        "rename": (F.rename(**{"0.bias": "b"}).fix("b"), G.fix("0.bias")),
        "prior": (F.with_prior({"0.bias": 2.0}), G.with_prior({"0.bias": 2.0})),
    }
    for lazy, formed in pairs.values():
        assert lazy.structure == "operator"
        assert lazy.parameters.names == formed.parameters.names or lazy.parameters.shapes == formed.parameters.shapes
        torch.testing.assert_close(lazy.dense(), formed.dense())
        assert lazy.n == formed.n


def test_a_change_of_parameters_is_lazy() -> None:
    G = fk.FisherInformation(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), parameters=("a", "b"))
    lazy = G + 0 * fk.FisherInformation.of(operator_of(G), G._provenance)
    moved = [F.reparametrize({"u": 1.0, "v": 2.0}, lambda x: torch.stack([x[0] * x[1], x[1]])) for F in (lazy, G)]
    assert moved[0].structure == "operator"
    torch.testing.assert_close(moved[0].dense(), moved[1].dense())
    torch.testing.assert_close(moved[0].diagonal(), moved[1].diagonal())


def operator_of(F: fk.FisherInformation) -> Any:
    from fisherkit.structures.operator import Operator

    return Operator.of(F._structure)


def test_four_threads_ask_one_operator() -> None:
    torch.manual_seed(4)
    X = torch.randn(20, 4).double()
    net = fk.networks.Model(small(), "categorical")
    F = fk.expected_information(net, inputs=X, structure="operator")
    v = torch.randn(F.parameters.size, 12, dtype=torch.float64)
    with ThreadPoolExecutor(4) as pool:
        columns = list(pool.map(lambda j: F @ v[:, j], range(12)))
    torch.testing.assert_close(torch.stack(columns, dim=1), F @ v)


def test_an_unused_parameter_has_no_information() -> None:
    module = small()
    module.register_parameter("idle", nn.Parameter(torch.ones(2).double()))
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=torch.ones(2, 4).double(), structure="operator")
    assert (F.dense()[:2] == 0).all()
    assert F.parameters.names[0] == "idle"


class Once(torch.autograd.Function):
    """Differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return g * 2


class OnceOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return Once.apply(self.inner(x))


def test_what_it_cannot_do_is_said(tmp_path: Any) -> None:
    net = fk.networks.Model(small(), "categorical")
    X = torch.randn(3, 4).double()
    F = fk.expected_information(net, inputs=X, structure="operator")
    with pytest.raises(fk.errors.MethodError, match=r"cannot be saved: save F.dense\(\)"):
        F.save(tmp_path / "f.npz")
    with pytest.raises(fk.errors.MethodError, match=r"F.logdet needs the matrix.*fk.spectra.logdet"):
        _ = F.logdet
    with pytest.raises(fk.errors.MethodError, match=r"F.marginalize\(...\) needs the matrix.*F.dense\(\)"):
        F.marginalize("0.bias")
    with pytest.raises(fk.errors.ConvergenceError, match=r"relative residual of .* larger damping="):
        F.solve(torch.randn(F.parameters.size).double())
    once = fk.expected_information(fk.networks.Model(OnceOnly(), "categorical"), inputs=torch.ones(3, 2), structure="operator")
    with pytest.raises(fk.errors.MethodError, match=r"neither forwards .* nor twice, which structure='operator' needs"):
        _ = once @ torch.ones(6).double()
    with pytest.raises(fk.errors.MethodError, match=r"one of 'dense', 'diagonal' for .*; got 'operator'"):
        fk.expected_information(scipy_normal(), {"loc": 0.0, "scale": 1.0}, structure="operator")
    with pytest.raises(fk.errors.MethodError, match="Hessian of a network is kept with structure='dense' or 'diagonal'"):
        fk.observed_information(net, data=(X, torch.zeros(3, dtype=torch.long)), structure="operator")


def scipy_normal() -> Any:
    import scipy.stats

    return scipy.stats.norm


def test_inputs_over_the_budget_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHERKIT_MEMORY", "1000")
    with pytest.raises(fk.errors.MemoryBudgetError, match="a copy of the inputs, which an operator keeps"):
        fk.expected_information(
            fk.networks.Model(small(), "categorical"), inputs=torch.ones(99, 4).double(), structure="operator"
        )
