"""An information in larger shapes says the same of the old entries, and nothing of the new."""

import pytest

import fisherkit as fk
from fisherkit.provenance import Provenance
from fisherkit.structures.diagonal import Diagonal

torch = pytest.importorskip("torch")
from fisherkit.applications.ewc.growth import reshaped, shapes_of  # noqa: E402 needs torch

nn = torch.nn


@pytest.mark.parametrize("structure", fk.applications.ewc.consolidation.STRUCTURES)
def test_every_structure_grows_in_rows_and_columns(structure: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Tanh(), nn.Linear(3, 2))
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=torch.randn(9, 4), structure=structure)
    delta = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes_of(F).items()}
    larger = {name: tuple(n + k for k, n in enumerate(shape, start=1)) for name, shape in shapes_of(F).items()}
    grown = reshaped(F, larger)
    assert shapes_of(grown) == larger
    there = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in larger.items()}
    for name, value in delta.items():
        there[name][tuple(map(slice, value.shape))] = value
    assert float(grown.quadratic(there)) == pytest.approx(float(F.quadratic(delta)), rel=1e-12)
    assert float(grown.trace) == pytest.approx(float(F.trace), rel=1e-12)


@pytest.mark.parametrize("structure", ["kfac", "ekfac"])
def test_a_kernel_and_a_vocabulary_grow_in_products(structure: str) -> None:
    torch.manual_seed(0)
    kernel = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 2))
    table = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))
    for module, X in ((kernel, torch.randn(9, 2, 4)), (table, torch.randint(0, 5, (9, 2)))):
        F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure=structure)
        delta = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes_of(F).items()}
        larger = {name: tuple(n + 1 for n in shape) for name, shape in shapes_of(F).items()}
        there = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in larger.items()}
        for name, value in delta.items():
            there[name][tuple(map(slice, value.shape))] = value
        assert float(reshaped(F, larger).quadratic(there)) == pytest.approx(float(F.quadratic(delta)), rel=1e-12)
    groups = nn.Sequential(nn.Conv1d(4, 4, 2, groups=2), nn.Flatten(), nn.Linear(12, 2))
    F = fk.expected_information(fk.networks.Model(groups, "categorical"), inputs=torch.randn(9, 4, 4), structure=structure)
    with pytest.raises(
        fk.errors.MethodError, match=r"0.weight has groups of rows, and cannot grow from \(4, 2, 2\) to \(6, 2, 2\)"
    ):
        reshaped(F, shapes_of(F) | {"0.weight": (6, 2, 2)})
    bias = shapes_of(F) | {"0.bias": (6,)}
    assert float(reshaped(F, bias).trace) == pytest.approx(float(F.trace))


def test_a_kernel_grows_in_its_channels() -> None:
    parameters = fk.Parameters.of({"weight": (2, 3, 2, 2)})
    F = fk.FisherInformation.of(Diagonal([torch.arange(24.0) + 1], parameters), Provenance(kind="expected"))
    grown = reshaped(F, {"weight": (3, 4, 2, 2)}).diagonal()["weight"]
    assert torch.equal(grown[:2, :3], F.diagonal()["weight"])
    assert grown.sum() == F.trace
