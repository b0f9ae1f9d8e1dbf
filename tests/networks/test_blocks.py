"""Block-diagonal: the dense information of each module, and nothing between modules."""

from __future__ import annotations

from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.networks import brute_force  # noqa: E402
from tests.networks.test_kronecker import Tokens  # noqa: E402

GROUPS = (("inner.weight", "inner.bias"), ("norm.weight", "norm.bias"), ("head.weight", "head.bias"))


def case() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    module, X = Tokens().double(), torch.randn(9, 5, 3).double()
    return module, X, fk.networks.Model(module, "categorical")


def within(matrix: Any, F: fk.FisherInformation) -> Any:
    """The matrix with zeros between modules."""
    out = torch.zeros_like(matrix)
    for group in GROUPS:
        at = torch.as_tensor(F.parameters.positions(group))
        out[at[:, None], at] = matrix[at[:, None], at]
    return out


def test_blocks_are_those_of_the_whole_matrix() -> None:
    module, X, net = case()
    for source in (X, [(x,) for x in X.split(4)]):
        F = fk.expected_information(net, inputs=source, structure="block-diagonal")
        torch.testing.assert_close(F.dense(), within(brute_force.expected(module, X), F))
    y = torch.arange(9) % 2
    empirical = fk.empirical_information(net, data=(X, y), structure="block-diagonal")
    whole = fk.empirical_information(net, data=(X, y), structure="dense")
    assert empirical.n == 9
    torch.testing.assert_close(empirical.dense(), within(whole.dense(), F))


def test_draws_have_an_error() -> None:
    _, X, net = case()
    method = fk.MonteCarlo(40, rng=3)
    F, whole = (fk.expected_information(net, inputs=X, structure=s, method=method) for s in ("block-diagonal", "dense"))
    torch.testing.assert_close(F.dense(), within(whole.dense(), F))
    assert float(F.mcse_of(lambda F: F.trace)) == pytest.approx(float(whole.mcse_of(lambda F: F.trace)))


def test_verbs_without_the_matrix(tmp_path: Any) -> None:
    _, X, net = case()
    F = fk.expected_information(net, inputs=X, structure="block-diagonal")
    dense, v = F.dense(), torch.randn(F.parameters.size, 2).double()
    damped = dense + 0.3 * torch.eye(len(dense), dtype=torch.float64)
    torch.testing.assert_close(F @ v, dense @ v)
    torch.testing.assert_close(F.solve(v, damping=0.3), torch.linalg.solve(damped, v))
    assert (F + F).structure == "block-diagonal"
    torch.testing.assert_close((F + 2 * F).dense(), 3 * dense)
    again = F[tuple(reversed(F.parameters.names))]
    torch.testing.assert_close((F + again).dense(), 2 * dense)
    F.save(tmp_path / "f.npz")
    torch.testing.assert_close(fk.load(tmp_path / "f.npz").dense(), dense)
    with pytest.raises(fk.errors.SingularInformationError, match="head"):
        F["head.weight", "head.bias"].inverse()


def test_nuisance_parameters_cost_information_inside_their_block() -> None:
    torch.manual_seed(1)
    X = torch.randn(30, 3).double() + 1
    net = fk.networks.Model(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).double(), "gaussian")
    F = fk.expected_information(net, inputs=X, structure="block-diagonal")
    whole = fk.FisherInformation(F["1.weight", "1.bias"].dense(), parameters={"1.weight": (2, 2), "1.bias": (2,)})
    kept = F.marginalize("1.weight")
    torch.testing.assert_close(kept["1.bias"].dense(), whole.marginalize("1.weight").dense())
    torch.testing.assert_close(kept["0.weight"].dense(), F["0.weight"].dense())
    assert float(kept["1.bias"].trace) < 0.9 * float(F["1.bias"].trace)


def test_too_large_is_refused_before_it_is_allocated() -> None:
    net = fk.networks.Model(nn.Linear(3000, 3000), "gaussian")
    with pytest.raises(fk.errors.FisherkitError, match=r"the block-diagonal .* information"):
        fk.expected_information(net, inputs=torch.ones(2, 3000), structure="block-diagonal")
