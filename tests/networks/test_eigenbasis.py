"""EKFAC beside its definition: squares of the examples' whole gradients in the factors' eigenbasis, one by one in float64."""

from __future__ import annotations

from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.networks import brute_force  # noqa: E402
from tests.networks.test_kronecker import Tokens, by_definition  # noqa: E402


def block(matrix: Any, F: fk.FisherInformation, name: str) -> Any:
    at = F.parameters.positions((name,))
    return matrix[at][:, at]


def case(kind: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    if kind == "tokens":
        return Tokens().double(), torch.randn(9, 5, 3).double()
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double(), torch.randn(40, 4).double() + 1


@pytest.mark.parametrize("shared", ["expand", "reduce"])
@pytest.mark.parametrize("kind", ["plain", "tokens"])
def test_the_diagonal_in_the_eigenbasis_is_the_definition(kind: str, shared: str) -> None:
    module, X = case(kind)
    net = fk.networks.Model(module, "categorical")
    exact = brute_force.expected(module, X)
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    for source in (X, [(x,) for x in X.split(4)]):
        F = fk.expected_information(net, inputs=source, structure=fk.networks.EKFAC(shared))
        for name, layer in layers.items():
            whole = block(exact, F, f"{name}.weight")
            W = basis(by_definition(module, X, layer, shared), layer.weight.shape)
            definition = (W * (W.T @ whole @ W).diagonal()) @ W.T
            torch.testing.assert_close(F[f"{name}.weight"].dense(), definition, rtol=1e-6, atol=1e-9)
            bias = block(exact, F, f"{name}.bias")
            if kind == "plain":
                torch.testing.assert_close(F[f"{name}.bias"].dense(), bias)  # its own eigenvectors: exact
    assert float(F.trace) == pytest.approx(float(exact.trace()), rel=1e-9)
    if kind == "tokens":
        torch.testing.assert_close(F["norm.weight"].dense(), block(exact, F, "norm.weight").diagonal().diag())


def basis(product: Any, shape: Any) -> Any:
    """Q (x) P of a product G (x) A, read off the product by its partial traces."""
    wide = product.reshape(*shape, *shape)
    Q = torch.linalg.eigh(torch.einsum("oipi->op", wide))[1]
    P = torch.linalg.eigh(torch.einsum("oioj->ij", wide))[1]
    return torch.kron(Q, P)


@pytest.mark.parametrize("kind", ["plain", "tokens"])
@pytest.mark.parametrize("draws", [None, 3])
def test_never_further_than_kfac(kind: str, draws: int | None) -> None:
    """In Frobenius norm, from the same draws; a diagonal of the wrong draws or of squared means would not be the nearest."""
    module, X = case(kind)
    net = fk.networks.Model(module, "categorical")
    method = None if draws is None else fk.MonteCarlo(draws, rng=4, groups=0)
    exact, kfac, ekfac = (
        fk.expected_information(net, inputs=X, structure=structure, method=method) for structure in ("dense", "kfac", "ekfac")
    )
    for name in kfac.parameters.names:
        far, near = (float((F[name].dense() - exact[name].dense()).norm()) for F in (kfac, ekfac))
        assert near <= far * (1 + 1e-9) + 1e-12
    weight = kfac.parameters.names[0]
    far, near = (float((F[weight].dense() - exact[weight].dense()).norm()) for F in (kfac, ekfac))
    assert near < 0.99 * far


def test_empirical_and_drawn() -> None:
    module, X = case("plain")
    net, y = fk.networks.Model(module, "categorical"), torch.randint(0, 3, (len(X),))
    F = fk.empirical_information(net, data=(X, y), structure="ekfac")
    dense = fk.empirical_information(net, data=(X, y), structure="dense")
    assert (F.n, F.kind) == (len(X), "empirical")
    assert float(F.trace) == pytest.approx(float(dense.trace))
    torch.testing.assert_close(F["2.bias"].dense(), dense["2.bias"].dense())
    assert float(F.per_observation().trace) == pytest.approx(float(dense.trace) / len(X))
    exact = fk.expected_information(net, inputs=X, structure="ekfac")
    drawn = fk.expected_information(net, inputs=X, structure="ekfac", method=fk.MonteCarlo(40, rng=1))
    error = drawn.mcse_of(lambda F: F.trace)
    assert 0 < float(error) < 0.2 * float(exact.trace)
    assert abs(float(drawn.trace - exact.trace)) < 5 * float(error)


def test_verbs_without_the_matrix(tmp_path: Any) -> None:
    torch.manual_seed(3)
    module, X = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3)), torch.randn(60, 5)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="ekfac")
    dense, v = F.dense(), torch.randn(F.parameters.size, 2).double()
    damped = dense + 0.3 * torch.eye(len(dense), dtype=torch.float64)
    torch.testing.assert_close(F @ v, dense @ v)
    torch.testing.assert_close(F.solve(v, damping=0.3), torch.linalg.solve(damped, v))
    torch.testing.assert_close(F.eigenvalues(), torch.linalg.eigvalsh(dense), atol=1e-12, rtol=1e-6)
    torch.testing.assert_close(torch.cat([leaf.flatten() for leaf in F.diagonal().values()]), dense.diagonal())
    torch.testing.assert_close((3 * F).dense(), 3 * dense)
    torch.testing.assert_close(F.fix("0.weight").dense(), F.marginalize("0.weight").dense())
    assert (F + F).structure == "operator"
    torch.testing.assert_close((F + F).dense(), 2 * dense)
    F.save(tmp_path / "f.npz")
    again = fk.load(tmp_path / "f.npz")
    torch.testing.assert_close(again.dense(), dense)
    assert repr(again) == repr(F)


def test_regular_blocks_invert() -> None:
    torch.manual_seed(6)
    linear, X = nn.Linear(3, 2).double(), torch.randn(50, 3).double()
    F = fk.expected_information(fk.networks.Model(linear, "gaussian"), inputs=X, structure="ekfac")
    dense, v = F.dense(), torch.randn(8).double()
    exact = fk.expected_information(fk.networks.Model(linear, "gaussian"), inputs=X, structure="dense")
    for name in F.parameters.names:
        torch.testing.assert_close(F[name].dense(), exact[name].dense())
    torch.testing.assert_close(F.inverse(), torch.linalg.inv(dense))
    torch.testing.assert_close(F.solve(v), torch.linalg.solve(dense, v))
    assert float(F.logdet) == pytest.approx(float(dense.logdet()))
    errors = torch.cat([leaf.flatten() for leaf in F.standard_errors().values()])
    torch.testing.assert_close(errors, torch.linalg.inv(dense).diagonal().sqrt())
    assert F.rank == 8


@pytest.mark.parametrize("double", [False, True])
def test_directions_without_information_are_refused(double: bool) -> None:
    """Softmax has one: equal steps of all logits."""
    torch.manual_seed(4)
    module, X = nn.Linear(3, 4), torch.randn(500, 3)
    module, X = (module.double(), X.double()) if double else (module, X)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="ekfac")
    for verb in (lambda: F.inverse(), lambda: F.logdet, lambda: F.solve(torch.ones(16).double())):
        with pytest.raises(fk.errors.SingularInformationError, match=r"no information along .*weight\[\d,\d\]") as refusal:
            verb()
    assert len(refusal.value.null_directions) == 4  # three inputs, and the bias


class Counted:
    """A loader that knows how often it was read."""

    def __init__(self, X: Any, y: Any) -> None:
        self.pairs, self.passes = list(zip(X.split(9), y.split(9), strict=True)), 0

    def __iter__(self) -> Any:
        self.passes += 1
        return iter(self.pairs)


def test_one_pass_gives_what_two_give(monkeypatch: pytest.MonkeyPatch) -> None:
    from fisherkit.networks import replay

    module, X = case("plain")
    module.insert(1, nn.LayerNorm(5).double())  # whose scale has no basis
    net, y = fk.networks.Model(module, "categorical"), torch.randint(0, 3, (len(X),))
    verbs = {
        "exact": lambda source: fk.expected_information(net, inputs=source, structure="ekfac"),
        "drawn": lambda source: fk.expected_information(
            net, inputs=source, structure="ekfac", method=fk.MonteCarlo(3, rng=2, groups=0)
        ),
        "empirical": lambda source: fk.empirical_information(net, data=source, structure="ekfac"),
    }
    once = {}
    for room in (2**20, 4000, 0):  # bytes: all rows, some of them, none
        monkeypatch.setattr(replay, "MOST", room)
        for name, verb in verbs.items():
            source = Counted(X, y)
            F = verb(source)
            assert source.passes == (1 if room == 2**20 else 2)
            torch.testing.assert_close(F.dense(), once.setdefault(name, F).dense(), rtol=1e-9, atol=1e-12)
            assert repr(F) == repr(once[name])


def test_bases_are_orthogonal_whatever_the_networks_precision() -> None:
    """Held in single precision for a network in single precision, and refined when used."""
    module, X = case("plain")
    F = fk.expected_information(fk.networks.Model(module.float(), "categorical"), inputs=X.float(), structure="ekfac")
    assert F._structure.arrays["0.weight:left"].dtype is torch.float32
    v = torch.randn(F.parameters.size, dtype=torch.float64)
    step = F.solve(v, damping=1e-3)
    torch.testing.assert_close(F @ step + 1e-3 * step, v, rtol=0, atol=1e-10)
    assert float(torch.trace(F.dense())) == pytest.approx(float(F.trace), rel=1e-12)


def test_half_precision_is_squared_in_single() -> None:
    module, X = case("plain")
    module, X = module.bfloat16(), X.bfloat16()
    net = fk.networks.Model(module, "categorical")
    F, diagonal = (fk.expected_information(net, inputs=X, structure=structure) for structure in ("ekfac", "diagonal"))
    assert float(F.trace) == pytest.approx(float(diagonal.trace), rel=1e-4)


def test_bad_input() -> None:
    net = fk.networks.Model(nn.Linear(2, 2), "categorical")
    with pytest.raises(fk.errors.LayoutError, match=r"shared=.*'expand', 'reduce'; got 'sum'"):
        fk.networks.EKFAC("sum")
    with pytest.raises(fk.errors.DataError, match="passes over the data twice"):
        fk.expected_information(net, inputs=iter([(torch.ones(2, 2),)]), structure="ekfac")
    with pytest.raises(fk.errors.MethodError, match="Hessian of a network is kept with"):
        fk.observed_information(net, data=(torch.ones(2, 2), torch.zeros(2, dtype=torch.long)), structure="ekfac")
