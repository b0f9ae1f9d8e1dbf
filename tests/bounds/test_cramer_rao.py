"""The Cramer-Rao bound, numeric and symbolic, of functions and with bias."""

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from scipy import stats

import fisherkit as fk
from tests.families import FAMILIES

MU, SIGMA, N = sp.Symbol("mu", real=True), sp.Symbol("sigma", positive=True), sp.Symbol("n", positive=True)
NORMAL = fk.FisherInformation(sp.diag(SIGMA**-2, 2 * SIGMA**-2), parameters=(MU, SIGMA))
POINT = {"mu": 1.0, "sigma": 2.0}
NUMBERS = fk.FisherInformation(np.diag([0.25, 0.5]), parameters=("mu", "sigma"), point=POINT)


def test_symbols_in_symbols_out() -> None:
    bound = fk.cramer_rao_bound(N * NORMAL)
    assert bound.covariance == sp.diag(SIGMA**2 / N, SIGMA**2 / (2 * N))
    assert bound.mcse is None
    ratio = fk.cramer_rao_bound(N * NORMAL, of=MU / SIGMA).covariance[0, 0]  # Lehmann & Casella, a signal-to-noise ratio
    assert sp.simplify(ratio - (1 + MU**2 / (2 * SIGMA**2)) / N) == 0


@pytest.mark.parametrize("of", [MU / SIGMA, [MU / SIGMA], lambda t: t[0] / t[1]], ids=["expression", "list", "callable"])
def test_a_function_of_the_parameters(of: object) -> None:
    bound = fk.cramer_rao_bound(50 * NUMBERS, of=of)
    np.testing.assert_allclose(bound.covariance, [[(1 + 1 / 8) / 50]], rtol=1e-9)
    np.testing.assert_allclose(bound.standard_errors, [np.sqrt((1 + 1 / 8) / 50)], rtol=1e-9)


def test_tensors_are_differentiated_by_torch() -> None:
    torch = pytest.importorskip("torch")
    F = fk.FisherInformation(torch.diag(torch.tensor([0.25, 0.5])), parameters=("mu", "sigma"), point=POINT)
    bound = fk.cramer_rao_bound(F, of=lambda t: torch.stack([t[0] / t[1], torch.log(t[1])]))
    assert isinstance(bound.covariance, torch.Tensor)
    np.testing.assert_allclose(bound.covariance.diagonal(), [1.125, 2.0 / 4], rtol=1e-12)
    by_formula = fk.cramer_rao_bound(F, of=[MU / SIGMA, sp.log(SIGMA)])
    np.testing.assert_allclose(by_formula.covariance, bound.covariance, rtol=1e-12)


def test_bias_gradient_adds_to_the_gradient() -> None:
    """The maximum-likelihood variance has bias -sigma^2 / n, so its bound shrinks by (1 - 1/n)^2."""
    n = 10
    unbiased = fk.cramer_rao_bound(n * NUMBERS, of=SIGMA**2).covariance[0, 0]
    biased = fk.cramer_rao_bound(n * NUMBERS, of=SIGMA**2, bias_gradient=[[0.0, -2 * 2.0 / n]]).covariance[0, 0]
    assert unbiased == pytest.approx(2 * 2.0**4 / n)
    assert biased == pytest.approx(unbiased * (1 - 1 / n) ** 2)


def test_a_nuisance_parameter_costs() -> None:
    F = fk.expected_information(stats.gamma, {"a": 2.0, "scale": 1.0})
    both = fk.cramer_rao_bound(F).covariance
    assert both[0, 0] == pytest.approx(fk.cramer_rao_bound(F.marginalize("scale")).covariance[0, 0])
    assert both[0, 0] > fk.cramer_rao_bound(F.fix("scale")).covariance[0, 0] * 1.5


def test_only_what_varies_along_a_null_direction_is_refused() -> None:
    F = fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]], parameters=("a", "b"), point={"a": 1.0, "b": 2.0})
    assert fk.cramer_rao_bound(F, of=lambda t: t[0] + t[1]).covariance == pytest.approx(1.0)
    for of in (None, lambda t: t[0]):
        with pytest.raises(fk.errors.SingularInformationError, match=r"\+1 a -1 b") as refusal:
            fk.cramer_rao_bound(F, of=of)
    assert refusal.value.condition == "singular_information"


def test_shapes_and_points_that_are_missing() -> None:
    with pytest.raises(fk.errors.LayoutError, match=r"shape \(q, p\) = \(1, 2\)"):
        fk.cramer_rao_bound(NUMBERS, of=MU, bias_gradient=[[0.0]])
    nowhere = fk.FisherInformation(np.eye(2), parameters=("mu", "sigma"))
    for of in (lambda t: t[0], MU**2):
        with pytest.raises(fk.errors.LayoutError, match="must know its point"):
            fk.cramer_rao_bound(nowhere, of=of)
    with pytest.raises(fk.errors.LayoutError, match="of= must be a callable"):
        fk.cramer_rao_bound(NUMBERS, of="mu")


@pytest.mark.parametrize("make", FAMILIES[:2])
@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_units_do_not_hide_what_varies_along_a_null_direction(unit: float, make: Callable[[object], object]) -> None:
    v = np.array([unit, 1.0])
    F = fk.FisherInformation(make(np.outer(v, v)), parameters=("a", "b"), point={"a": 1.0, "b": 2.0})
    a, b = sp.symbols("a b")
    assert float(fk.cramer_rao_bound(F, of=unit * a + b).covariance[0, 0]) == pytest.approx(1.0)
    for of in (lambda t: t[0], lambda t: t[1]):
        with pytest.raises(fk.errors.SingularInformationError):
            fk.cramer_rao_bound(F, of=of)


def test_three_forms_from_the_sharpest_to_the_weakest() -> None:
    F = fk.FisherInformation([[4.0, 1.0], [1.0, 8.0]], parameters=("mu", "sigma"))
    full = fk.cramer_rao_bound(F).covariance
    diagonal, scalar = fk.cramer_rao_bound(F, form="diagonal"), fk.cramer_rao_bound(F, form="scalar")
    np.testing.assert_allclose(diagonal.covariance, full.diagonal())
    np.testing.assert_allclose(diagonal.standard_errors, np.sqrt(full.diagonal()))
    np.testing.assert_allclose(scalar.covariance, [0.25, 0.125])
    assert (scalar.covariance < diagonal.covariance).all()
    assert fk.cramer_rao_bound(NORMAL, form="scalar").covariance == sp.Matrix([SIGMA**2, SIGMA**2 / 2])
    assert fk.cramer_rao_bound(NORMAL, of=MU / SIGMA, form="diagonal").covariance.shape == (1, 1)


def test_the_diagonal_of_a_network_comes_by_name() -> None:
    F = fk.FisherInformation({"weight": np.full((2, 3), 4.0), "bias": np.ones(2)})
    bound = fk.cramer_rao_bound(F, form="diagonal")
    assert bound.covariance["weight"].shape == (2, 3)
    np.testing.assert_allclose(bound.standard_errors["weight"], 0.5)
    np.testing.assert_allclose(fk.cramer_rao_bound(F, form="scalar").covariance["weight"], 0.25)


def test_forms_carry_the_monte_carlo_error() -> None:
    F = fk.expected_information(stats.norm, {"loc": 0.0, "scale": 1.0}, method=fk.MonteCarlo(500, rng=0))
    for form in ("diagonal", "scalar"):
        assert fk.cramer_rao_bound(F, form=form).mcse.shape == (2,)


def test_what_is_no_information_or_no_form() -> None:
    with pytest.raises(fk.errors.LayoutError, match=r"cramer_rao_bound\(fk.expected_information\(model, theta\)"):
        fk.cramer_rao_bound(stats.norm)
    with pytest.raises(fk.errors.LayoutError, match="form must be"):
        fk.cramer_rao_bound(NUMBERS, form="trace")
    with pytest.raises(fk.errors.LayoutError, match="takes no of="):
        fk.cramer_rao_bound(NUMBERS, of=MU, form="scalar")
    with pytest.raises(fk.errors.LayoutError, match="scalar bound is infinite"):
        fk.cramer_rao_bound(fk.FisherInformation(np.diag([1.0, 0.0]), parameters=("a", "b")), form="scalar")


def test_a_moving_support_is_refused_with_a_pointer() -> None:
    with pytest.raises(fk.errors.RegularityError, match="chapman_robbins_bound"):
        fk.cramer_rao_bound(fk.expected_information(stats.uniform, {"scale": 2.0}))
