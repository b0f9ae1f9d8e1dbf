"""Bounds under equality constraints against elimination by hand."""

import numpy as np
import pytest
import sympy as sp
from scipy import stats

import fisherkit as fk
from tests.bounds.laws import N
from tests.families import FAMILIES, plain

CELLS = sp.symbols("p0:3", positive=True)
P = {"p0": 0.5, "p1": 0.25, "p2": 0.25}
MULTINOMIAL = fk.FisherInformation(np.diag([2.0, 4.0, 4.0]), parameters=tuple(P), point=P)
EXACT = np.diag(list(P.values())) - np.outer(list(P.values()), list(P.values()))
TWIN = fk.FisherInformation([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], parameters=("u", "v", "w"))


@pytest.mark.parametrize(
    "constraints",
    [sum(CELLS) - 1, [sum(CELLS) - 1], [[1, 1, 1]], lambda t: t.sum() - 1],
    ids=["expression", "list", "Jacobian", "callable"],
)
def test_multinomial_cells_sum_to_one(constraints: object) -> None:
    """Gorman & Hero (1990): diag(p) - p p', singular as it must be."""
    bound = fk.constrained_bound(MULTINOMIAL, constraints=constraints)
    np.testing.assert_allclose(bound.covariance, EXACT, atol=1e-12)


def test_in_symbols() -> None:
    F = fk.FisherInformation(sp.diag(*(N / p for p in CELLS)), parameters=CELLS)
    bound = fk.constrained_bound(F, constraints=sum(CELLS) - 1).covariance.subs(CELLS[2], 1 - CELLS[0] - CELLS[1])
    p = sp.Matrix([CELLS[0], CELLS[1], 1 - CELLS[0] - CELLS[1]])
    assert (bound - (sp.diag(*p) - p * p.T) / N).applyfunc(sp.simplify) == sp.zeros(3, 3)


def test_the_formula_of_gorman_and_hero() -> None:
    """F^-1 - F^-1 C' (C F^-1 C')^-1 C F^-1 where F is regular, for a curved constraint and a function."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    matrix, point = root @ root.T + np.eye(4), {"a": 0.6, "b": 0.8, "c": 1.0, "d": 2.0}
    F = fk.FisherInformation(matrix, parameters=tuple(point), point=point)
    a, b, c, d = sp.symbols("a b c d")
    C = np.array([[1.2, 1.6, 0, 0], [0, 0, 2.0, 1.0]])
    inverse = np.linalg.inv(matrix)
    expected = inverse - inverse @ C.T @ np.linalg.solve(C @ inverse @ C.T, C @ inverse)
    constraints = [a**2 + b**2 - 1, c * d - 2]
    np.testing.assert_allclose(fk.constrained_bound(F, constraints=constraints).covariance, expected, atol=1e-12)
    g = np.array([1.0, 0, 0, 3.0])
    found = fk.constrained_bound(F, constraints=constraints, of=a + 3 * d).covariance
    np.testing.assert_allclose(found, [[g @ expected @ g]])
    assert np.linalg.eigvalsh(inverse - expected).min() > -1e-12  # knowledge helps


@pytest.mark.parametrize("make", FAMILIES)
def test_a_constraint_may_identify_what_the_data_do_not(make) -> None:  # type: ignore[no-untyped-def]
    """Stoica & Ng (1998): only U' F U is inverted."""
    F = fk.FisherInformation(make(np.asarray(TWIN)), parameters=("u", "v", "w"))
    covariance = fk.constrained_bound(F, constraints=[[1, -1, 0]]).covariance
    np.testing.assert_allclose(plain(covariance), [[0.25, 0.25, 0], [0.25, 0.25, 0], [0, 0, 1]], atol=1e-12)


def test_everything_fixed_is_known() -> None:
    assert not fk.constrained_bound(MULTINOMIAL, constraints=np.eye(3)).covariance.any()


def test_units_do_not_matter() -> None:
    units = np.array([1e-9, 1.0, 1e9])
    F = fk.FisherInformation(np.diag([2.0, 4.0, 4.0]) / np.outer(units, units), parameters=tuple(P))
    bound = fk.constrained_bound(F, constraints=[1 / units]).covariance
    np.testing.assert_allclose(bound / np.outer(units, units), EXACT, atol=1e-10)


def test_the_error_travels() -> None:
    F = fk.expected_information(stats.norm, {"loc": 1.0, "scale": 1.0}, method=fk.MonteCarlo(2000, rng=0))
    bound = fk.constrained_bound(F, constraints=lambda t: t[0] - t[1])  # a known coefficient of variation: 1 / (1 + 2)
    assert np.all(np.abs(bound.covariance - 1 / 3) < 4 * bound.mcse)


@pytest.mark.parametrize(
    ("F", "constraints", "error", "match"),
    [
        (MULTINOMIAL, [[1, 1, 1], [2, 2, 2]], "DataError", "no full rank"),
        (MULTINOMIAL, [[0, 0, 0]], "DataError", "no full rank"),
        (MULTINOMIAL, sum(CELLS) - 2, "DataError", "do not hold at"),
        (MULTINOMIAL, [[1, 1]], "LayoutError", r"shape \(k, 3\)"),
        (TWIN, lambda t: t[0], "LayoutError", "must know its point"),
        (TWIN, sp.Symbol("u") ** 2 - 1, "LayoutError", "must know its point"),
        (TWIN, [[0, 0, 1]], "SingularInformationError", r"none along [+-]1 u [+-]1 v"),
        (fk.FisherInformation({"w": np.ones(3)}), [[1, 1, 1]], "LayoutError", "scalar parameters"),
    ],
    ids=["dependent", "zero", "elsewhere", "shape", "no point", "no point either", "not identified", "tensors"],
)
def test_refusals(F, constraints, error: str, match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(getattr(fk.errors, error), match=match):
        fk.constrained_bound(F, constraints=constraints)
