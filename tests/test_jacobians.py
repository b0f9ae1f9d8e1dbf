"""Numerical derivatives between parameters: right to many digits, or refused."""

from __future__ import annotations

import numpy as np
import pytest

import fisherkit as fk
from fisherkit.jacobians import differentiate


def polar(x: np.ndarray) -> np.ndarray:
    return np.array([x[0] * np.cos(x[1]), x[0] * np.sin(x[1]), x[0] ** 2])


def test_rows_are_outputs_and_columns_inputs() -> None:
    r, phi = 2.0, 0.3
    expected = [[np.cos(phi), -r * np.sin(phi)], [np.sin(phi), r * np.cos(phi)], [2 * r, 0.0]]
    np.testing.assert_allclose(differentiate(polar, np.array([r, phi]), name="polar"), expected, rtol=1e-9, atol=1e-12)


def test_a_number_is_one_row() -> None:
    found = differentiate(lambda x: x[0] * x[1], np.array([2.0, 3.0]), name="product")
    np.testing.assert_allclose(found, [[3.0, 2.0]], rtol=1e-10)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_steps_follow_the_units(unit: float) -> None:
    found = differentiate(lambda x: np.exp(x / unit), np.array([unit]), name="exp")
    assert found[0, 0] == pytest.approx(np.e / unit, rel=1e-8)


def test_tensors_go_through_autodiff() -> None:
    torch = pytest.importorskip("torch")
    point = torch.tensor([2.0, 0.3], dtype=torch.float64)
    by_torch = differentiate(lambda x: torch.stack([x[0] * torch.cos(x[1]), x[0] ** 2]), point, name="polar")
    assert isinstance(by_torch, torch.Tensor)
    by_numbers = differentiate(lambda x: polar(x)[[0, 2]], point.numpy(), name="polar")
    np.testing.assert_allclose(by_torch, by_numbers, rtol=1e-9, atol=1e-12)


def test_what_has_no_derivative_is_refused() -> None:
    with pytest.raises(fk.errors.DataError, match=r"log has no finite derivative at \[-1.0\]"):
        differentiate(np.log, np.array([-1.0]), name="log")
    rng = np.random.default_rng(0)
    with pytest.raises(fk.errors.PrecisionError, match=r"the derivative of noise at \[1.0\] is known to .* only"):
        differentiate(lambda x: x + 1e-3 * rng.normal(), np.array([1.0]), name="noise")
    with pytest.raises(fk.errors.LayoutError, match=r"matrix must return a number or a flat array; got shape \(2, 2\)"):
        differentiate(lambda x: np.eye(2) * x[0], np.array([1.0]), name="matrix")
