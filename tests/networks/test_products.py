"""The matrix of linear layers by blocks: the same as by outer products of all scores."""

from __future__ import annotations

from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.networks import brute_force  # noqa: E402


def plain() -> Any:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def without_biases() -> Any:
    return nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False))


def partly_frozen() -> Any:
    module = plain()
    module[0].weight.requires_grad_(False)
    module[2].bias.requires_grad_(False)
    return module


def tied() -> Any:
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 3))
    module[2].weight = module[0].weight
    return module


@pytest.mark.parametrize("make", [plain, without_biases, partly_frozen, tied])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_blocks_are_the_definition(make: Any, batch: int) -> None:
    """In float64, over more batches than are summed before they are moved."""
    torch.manual_seed(0)
    module, X = make().double(), torch.randn(40, 4).double()
    F = fk.expected_information(
        fk.networks.Model(module, "categorical"), inputs=((x,) for x in X.split(batch)), structure="dense"
    )
    torch.testing.assert_close(F.dense(), brute_force.expected(module, X), rtol=1e-10, atol=1e-13)


def test_in_single_precision_to_its_rounding() -> None:
    """And as semidefinite as in double: a direction without information is found and named."""
    torch.manual_seed(1)
    module, X = plain(), torch.randn(3000, 4)
    net = fk.networks.Model(module, "categorical")
    F = fk.expected_information(net, inputs=X, structure="dense")
    exact = fk.expected_information(
        fk.networks.Model(plain_copy(module), "categorical"), inputs=X.double(), structure="dense"
    ).dense()
    root = exact.diagonal().sqrt()
    assert float(((F.dense() - exact).abs() / torch.outer(root, root)).max()) < 2e-6
    assert float(F.eigenvalues()[0]) > -1e-12 * float(F.trace)
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        F.solve(torch.ones(F.parameters.size))


def plain_copy(module: Any) -> Any:
    import copy

    return copy.deepcopy(module).double()


def test_draws_in_groups() -> None:
    torch.manual_seed(2)
    module, X = plain().double(), torch.randn(30, 4).double()
    F = fk.expected_information(
        fk.networks.Model(module, "categorical"), inputs=X, structure="dense", method=fk.MonteCarlo(60, rng=0, groups=10)
    )
    exact = brute_force.expected(module, X)
    z = (F.dense() - exact) / F.mcse
    assert float(z[torch.isfinite(z)].abs().max()) < 6
