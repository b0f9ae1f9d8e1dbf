"""Criteria and gradients: in all three families of entries, against differences, and of singular informations."""

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk

C, ROWS = [1.0, -2.0, 0.5], [[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]]
PAIRS = {
    "D": (fk.design.d_criterion, fk.design.d_gradient, ()),
    "A": (fk.design.a_criterion, fk.design.a_gradient, ()),
    "E": (fk.design.e_criterion, fk.design.e_gradient, ()),
    "c": (fk.design.c_criterion, fk.design.c_gradient, (C,)),
    "I": (fk.design.i_criterion, fk.design.i_gradient, (ROWS,)),
    "T": (fk.design.t_criterion, fk.design.t_gradient, ()),
}
MATRIX = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]])


def information(matrix, **more) -> fk.FisherInformation:
    return fk.FisherInformation(matrix, parameters=("a", "b", "c"), **more)


def plain(name: str, M: np.ndarray) -> float:
    inverse, W = np.linalg.inv(M), np.array(ROWS).T @ np.array(ROWS) / 2
    values = {
        "D": np.log(np.linalg.det(M)),
        "A": np.trace(inverse),
        "E": np.linalg.eigvalsh(M)[0],
        "c": np.array(C) @ inverse @ C,
        "I": np.trace(inverse @ W),
        "T": np.trace(M),
    }
    return float(values[name])


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients(name: str) -> None:
    value, gradient, more = PAIRS[name]
    assert float(value(information(MATRIX), *more)) == pytest.approx(plain(name, MATRIX), rel=1e-12)
    found = np.asarray(gradient(information(MATRIX), *more), dtype=float)
    rng, h = np.random.default_rng(0), 1e-6
    for _ in range(5):
        change = rng.normal(size=(3, 3))
        change = change + change.T
        difference = (plain(name, MATRIX + h * change) - plain(name, MATRIX - h * change)) / (2 * h)
        assert np.trace(found @ change) == pytest.approx(difference, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", PAIRS)
def test_tensors_and_expressions(name: str) -> None:
    value, gradient, more = PAIRS[name]
    if name != "E":
        exact = information(sp.Matrix(MATRIX.tolist()).applyfunc(sp.nsimplify))
        assert float(value(exact, *more)) == pytest.approx(plain(name, MATRIX), rel=1e-12)
        assert np.allclose(
            np.array(gradient(exact, *more).tolist(), dtype=float), np.asarray(gradient(information(MATRIX), *more))
        )
    torch = pytest.importorskip("torch")
    if name in ("c", "I"):
        more = (torch.tensor(more[0], dtype=torch.float64),)
    tensors = information(torch.tensor(MATRIX))
    assert float(value(tensors, *more)) == pytest.approx(plain(name, MATRIX), rel=1e-12)
    assert isinstance(gradient(tensors, *more), torch.Tensor)


def test_a_formula_for_a_formula() -> None:
    mu, sigma = sp.Symbol("mu", real=True), sp.Symbol("sigma", positive=True)
    F = fk.FisherInformation([[1 / sigma**2, 0], [0, 2 / sigma**2]], parameters=(mu, sigma))
    assert sp.simplify(fk.design.d_criterion(F) - sp.log(2 / sigma**4)) == 0
    assert sp.simplify(fk.design.a_criterion(F) - sp.Rational(3, 2) * sigma**2) == 0


def test_an_estimated_information_has_an_mcse() -> None:
    from scipy import stats

    F = fk.expected_information(stats.norm, {"loc": 0.0, "scale": 1.0}, method=fk.MonteCarlo(2000, rng=0))
    assert abs(fk.design.d_criterion(F) - np.log(2)) < 4 * F.mcse_of(fk.design.d_criterion)


@pytest.mark.parametrize("name", ["D", "A", "E", "c", "I"])
def test_a_singular_information_has_no_criterion(name: str) -> None:
    value, gradient, more = PAIRS[name]
    twice = information([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    for ask in (value, gradient):
        with pytest.raises(
            fk.errors.SingularInformationError, match=rf"the {name}-criterion of a singular .* \+1 a -1 b"
        ) as refusal:
            ask(twice, *more)
        assert refusal.value.null_directions == ({"a": pytest.approx(1.0), "b": pytest.approx(-1.0)},)
    assert fk.design.t_criterion(twice) == 3


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(fk.errors.LayoutError, match="direction must have shape"):
        fk.design.c_criterion(information(MATRIX), [1.0])
    with pytest.raises(fk.errors.LayoutError, match="one gradient of length 3 per row"):
        fk.design.i_criterion(information(MATRIX), [[1.0, 2.0]])
