"""The scores themselves as the root of the information: exact, or the leading directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.networks import brute_force  # noqa: E402


def model() -> tuple[Any, Any]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double(), torch.randn(12, 6).double()


def test_exact_with_fewer_scores_than_parameters() -> None:
    module, X = model()
    net = fk.networks.Model(module, "categorical")
    F = fk.expected_information(net, inputs=X, structure="low-rank")
    exact = brute_force.expected(module, X)
    torch.testing.assert_close(F.dense(), exact, rtol=1e-9, atol=1e-12)
    assert F._structure.columns == F.rank == 24  # 12 examples, 3 classes: 2 directions each
    v = torch.randn(len(exact), 2, dtype=torch.float64)
    torch.testing.assert_close(
        F.solve(v, damping=1e-6), torch.linalg.solve(exact + 1e-6 * torch.eye(len(exact)), v), rtol=1e-5, atol=1e-3
    )
    with pytest.raises(fk.errors.SingularInformationError, match="no information along"):
        F.solve(v)


def test_exact_with_more_scores_than_parameters() -> None:
    module = nn.Linear(2, 3).double()
    X = torch.randn(50, 2).double()
    net = fk.networks.Model(module, fk.networks.Gaussian(2.0))
    F = fk.expected_information(net, inputs=X, structure="low-rank")
    dense = fk.expected_information(net, inputs=X, structure="dense")
    assert F._structure.columns == 9
    torch.testing.assert_close(F.dense(), dense.dense())
    torch.testing.assert_close(F.inverse(), dense.inverse())
    torch.testing.assert_close(F.marginalize("bias").dense(), dense.marginalize("bias").dense())
    assert float(F.logdet) == pytest.approx(float(dense.logdet))


def test_the_leading_directions_in_one_pass() -> None:
    module, _ = model()
    net = fk.networks.Model(module, "categorical")
    X = torch.randn(400, 6).double()
    exact = fk.expected_information(net, inputs=X, structure="dense")
    F = fk.expected_information(net, inputs=X, structure=fk.networks.LowRank(20))
    assert F._structure.columns == 20
    torch.testing.assert_close(F.eigenvalues()[-5:], exact.eigenvalues()[-5:], rtol=1e-3, atol=0)
    assert 0.9 < float(F.trace / exact.trace) <= 1
    gap = torch.linalg.eigvalsh(exact.dense() - F.dense())
    assert gap[0] > -1e-12  # what is dropped lowers F, never raises it
    assert gap[-1] < 2 * exact.eigenvalues()[-21]


def test_labels_drawn_and_labels_seen() -> None:
    module, X = model()
    net, y = fk.networks.Model(module, "categorical"), torch.randint(0, 3, (12,))
    for verb in (
        lambda structure: fk.expected_information(net, inputs=X, structure=structure, method=fk.MonteCarlo(2, rng=0)),
        lambda structure: fk.empirical_information(net, data=(X, y), structure=structure),
    ):
        low, dense = verb("low-rank"), verb("dense")
        torch.testing.assert_close(low.dense(), dense.dense())
        assert low.n == dense.n
        assert low.mcse is None


def test_it_is_saved(tmp_path: Path) -> None:
    module, X = model()
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="low-rank")
    F.save(tmp_path / "f.npz")
    again = fk.load(tmp_path / "f.npz")
    assert repr(again) == repr(F)
    torch.testing.assert_close(again.dense(), F.dense())


@pytest.mark.parametrize("rank", [0, -1, 2.5, True])
def test_a_rank_that_is_none(rank: Any) -> None:
    with pytest.raises(fk.errors.DataError, match="must be a positive integer"):
        fk.networks.LowRank(rank)


def test_too_many_scores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module, X = model()
    monkeypatch.setenv("FISHERKIT_MEMORY", "20000")
    with pytest.raises(fk.errors.MemoryBudgetError, match=r"24 scores of 83 parameters.*LowRank\(rank=...\)"):
        fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="low-rank")


def test_a_score_that_is_not_finite_is_named() -> None:
    module = nn.Linear(1, 2)
    with torch.no_grad():
        module.weight.fill_(1e38)
    net = fk.networks.Model(module, fk.networks.Gaussian(1e-300))
    with pytest.raises(fk.errors.DataError, match="finite"):
        fk.empirical_information(net, data=(torch.ones(3, 1), torch.zeros(3, 2)), structure="low-rank")
