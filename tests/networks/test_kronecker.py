"""Kronecker factors beside their definition, summed example by example in float64."""

from __future__ import annotations

from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.networks import brute_force  # noqa: E402


class Tokens(nn.Module):
    """A layer that all tokens share, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.head(torch.tanh(self.norm(self.inner(x))).mean(dim=1))


def parts(module: Any, X: Any, layer: Any) -> list[tuple[float, Any, Any]]:
    """For each example and class: probability, inputs (T, I) and gradients (T, O) of the score at the layer's output."""
    found: list[tuple[float, Any, Any]] = []
    kept: dict[str, Any] = {}
    handle = layer.register_forward_hook(lambda _, inputs, output: kept.update(x=inputs[0], a=output))
    for x in X:
        log_p = torch.log_softmax(module(x[None])[0], dim=0)
        for value in log_p:
            (g,) = torch.autograd.grad(value, kept["a"], retain_graph=True)
            wide = kept["x"].detach().reshape(-1, kept["x"].shape[-1]), g.reshape(-1, g.shape[-1])
            found.append((float(value.detach().exp()), *wide))
    handle.remove()
    return found


def by_definition(module: Any, X: Any, layer: Any, shared: str) -> Any:
    """G (x) A over the weight's entries (O, I)."""
    A = G = 0.0
    for p, x, g in parts(module, X, layer):
        if shared == "reduce":
            x, g = x.mean(dim=0, keepdim=True), g.sum(dim=0, keepdim=True)
        A = A + p * x.T @ x / len(x) / len(X)
        G = G + p * g.T @ g / len(X)
    return torch.kron(G, A)


@pytest.mark.parametrize("shared", ["expand", "reduce"])
def test_factors_are_the_definition(shared: str) -> None:
    torch.manual_seed(0)
    module, X = Tokens().double(), torch.randn(7, 5, 3).double()
    net = fk.networks.Model(module, "categorical")
    for source in (X, [(x,) for x in X.split(2)]):
        F = fk.expected_information(net, inputs=source, structure=fk.networks.KFAC(shared))
        for name, layer in (("inner", module.inner), ("head", module.head)):
            torch.testing.assert_close(F[f"{name}.weight"].dense(), by_definition(module, X, layer, shared))
    diagonal = fk.expected_information(net, inputs=X, structure="diagonal")
    torch.testing.assert_close(F.diagonal()["norm.weight"], diagonal.diagonal()["norm.weight"])


def test_exact_where_it_must_be() -> None:
    """One layer with Gaussian labels; a single example; a bias, whose input is one."""
    torch.manual_seed(1)
    linear, X = nn.Linear(3, 2).double(), torch.randn(20, 3).double()
    F = fk.expected_information(fk.networks.Model(linear, fk.networks.Gaussian(0.5)), inputs=X, structure="kfac")
    dense = fk.expected_information(fk.networks.Model(linear, fk.networks.Gaussian(0.5)), inputs=X, structure="dense")
    for name in ("weight", "bias"):
        torch.testing.assert_close(F[name].dense(), dense[name].dense())
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    net = fk.networks.Model(module, "categorical")
    one, whole = (fk.expected_information(net, inputs=X[:1], structure=structure) for structure in ("kfac", "dense"))
    for name in one.parameters.names:
        torch.testing.assert_close(one[name].dense(), whole[name].dense())


def test_draws_and_data() -> None:
    """Labels that are drawn have the exact factors as their mean; the data's are summed over the data."""
    torch.manual_seed(2)
    module, X = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double(), torch.randn(30, 3).double()
    net, y = fk.networks.Model(module, "categorical"), torch.randint(0, 3, (30,))
    exact = fk.expected_information(net, inputs=X, structure="kfac")
    drawn = fk.expected_information(net, inputs=X, structure="kfac", method=fk.MonteCarlo(2000, rng=0))
    torch.testing.assert_close(drawn.dense(), exact.dense(), rtol=0.1, atol=0.02 * float(exact.trace))
    error = float(drawn.mcse_of(lambda F: F.trace))
    assert 0 < error < 0.05 * float(exact.trace)
    assert abs(float(drawn.trace - exact.trace)) < 4 * error
    empirical = fk.empirical_information(net, data=(X, y), structure="kfac")
    assert empirical.n == 30
    bias = fk.empirical_information(net, data=(X, y), structure="dense")["2.bias"]
    torch.testing.assert_close(empirical["2.bias"].dense(), bias.dense())
    twice = fk.empirical_information(net, data=(torch.cat([X, X]), torch.cat([y, y])), structure="kfac")
    torch.testing.assert_close(twice.dense(), 2 * empirical.dense())


@pytest.mark.parametrize("draws", [1, 4])
def test_the_error_is_that_of_the_draws(draws: int) -> None:
    """Over seeds: the spread of an entry of a product of two means; with one draw the inputs' own variation is counted too."""
    torch.manual_seed(2)
    module, X = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double(), torch.randn(60, 3).double()
    net, found, errors = fk.networks.Model(module, "categorical"), [], []
    for seed in range(30):
        F = fk.expected_information(net, inputs=X, structure="kfac", method=fk.MonteCarlo(draws, rng=seed))
        found.append(float(F["2.weight"].trace))
        errors.append(float(F.mcse_of(lambda F: F["2.weight"].trace)))
    spread = float(torch.tensor(found).std())
    mean = float(torch.tensor(errors).mean())
    assert 0.6 * spread < mean < (1.6 if draws > 1 else 4) * spread


def test_verbs_without_the_matrix(tmp_path: Any) -> None:
    torch.manual_seed(3)
    module, X = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3)), torch.randn(60, 5)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="kfac")
    dense, v = F.dense(), torch.randn(F.parameters.size).double()
    damped = dense + 0.3 * torch.eye(len(dense), dtype=torch.float64)
    torch.testing.assert_close(F @ v, dense @ v)
    torch.testing.assert_close(F.solve(v, damping=0.3), torch.linalg.solve(damped, v), rtol=1e-5, atol=1e-6)
    assert float(F.trace) == pytest.approx(float(dense.trace()))
    assert float(F.quadratic(v)) == pytest.approx(float(v @ dense @ v))
    torch.testing.assert_close((3 * F).dense(), 3 * dense)
    torch.testing.assert_close(F.fix("0.weight").dense(), F.marginalize("0.weight").dense())
    assert (F + F).structure == "operator"
    torch.testing.assert_close((F + F).dense(), 2 * dense)
    F.save(tmp_path / "f.npz")
    again = fk.load(tmp_path / "f.npz")
    torch.testing.assert_close(again.dense(), dense)
    assert repr(again) == repr(F)


def test_what_is_not_seen_in_single_precision_is_singular() -> None:
    """Softmax has a direction without information: refused by name, never a large finite number."""
    torch.manual_seed(4)
    module, X = nn.Linear(3, 4), torch.randn(500, 3)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="kfac")
    with pytest.raises(fk.errors.SingularInformationError, match=r"along \+1 weight\[\d,:\] .*1 weight\[\d,:\]"):
        F.inverse()
    with pytest.raises(fk.errors.SingularInformationError):
        F.solve(torch.ones(16).double())
    assert float(F.eigenvalues()[0]) >= 0


def test_bad_input() -> None:
    import scipy.stats

    net = fk.networks.Model(nn.Linear(2, 2), "categorical")
    with pytest.raises(fk.errors.LayoutError, match=r"shared=.*'expand', 'reduce'; got 'sum'"):
        fk.networks.KFAC("sum")
    with pytest.raises(fk.errors.MethodError, match=r"one of 'dense', 'diagonal' for"):
        fk.expected_information(scipy.stats.norm, {"loc": 0.0, "scale": 1.0}, structure="kfac")
    with pytest.raises(fk.errors.MethodError, match="Hessian of a network is kept with"):
        fk.observed_information(net, data=(torch.ones(2, 2), torch.zeros(2, dtype=torch.long)), structure="kfac")
    with pytest.raises(fk.errors.MethodError, match="keeps structure='diagonal' or 'dense'"):
        fk.expected_information(net, inputs=torch.ones(2, 2), structure="kfac", method=fk.MonteCarlo(1, estimator="batches"))


def test_a_trained_network_is_close_to_its_blocks() -> None:
    """Beside the diagonal: the block of a weight is nearer to the truth, in Frobenius norm."""
    torch.manual_seed(5)
    module, X = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double(), torch.randn(200, 6).double() + 1
    net = fk.networks.Model(module, "categorical")
    exact = brute_force.expected(module, X)[:30, :30]
    kfac = fk.expected_information(net, inputs=X, structure="kfac")["0.weight"].dense()
    assert float((kfac - exact).norm()) < 0.5 * float((exact.diag().diag() - exact).norm())
