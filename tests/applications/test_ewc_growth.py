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


def test_a_kernel_grows_in_its_channels() -> None:
    parameters = fk.Parameters.of({"weight": (2, 3, 2, 2)})
    F = fk.FisherInformation.of(Diagonal([torch.arange(24.0) + 1], parameters), Provenance(kind="expected"))
    grown = reshaped(F, {"weight": (3, 4, 2, 2)}).diagonal()["weight"]
    assert torch.equal(grown[:2, :3], F.diagonal()["weight"])
    assert grown.sum() == F.trace
