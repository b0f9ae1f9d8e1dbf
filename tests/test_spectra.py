"""Traces, determinants and spectra from products, beside the matrix's own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg

import fisherkit as fk
from fisherkit.structures.operator import Operator


def lazy(matrix: np.ndarray) -> fk.FisherInformation:
    F = fk.FisherInformation(matrix)
    return fk.FisherInformation.of(Operator.of(F._structure), F._provenance)


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.normal(size=(200, 200)))
    return (Q * np.geomspace(1e-3, 10, 200)) @ Q.T


def test_trace_and_determinant_within_their_error(matrix: np.ndarray) -> None:
    z = []
    for seed in range(40):
        trace = fk.spectra.trace(lazy(matrix), probes=20, rng=seed)
        logdet = fk.spectra.logdet(lazy(matrix), damping=0.1, probes=20, rng=seed)
        z.append(
            (
                (trace.value - np.trace(matrix)) / trace.mcse,
                (logdet.value - np.linalg.slogdet(matrix + 0.1 * np.eye(200))[1]) / logdet.mcse,
            )
        )
    spread = np.std(z, axis=0)
    assert ((spread > 0.6) & (spread < 1.6)).all()  # 40 draws of a t with 19 degrees: 1.06 +- 0.13
    assert (abs(np.mean(z, axis=0)) < 0.6).all()


def test_a_diagonal_has_no_error_from_signs() -> None:
    found = fk.spectra.trace(lazy(np.diag([1.0, 2.0, 4.0])), rng=0)
    assert (found.value, found.mcse) == (7.0, 0.0)
    assert float(found) == 7.0


def test_the_largest_eigenvalues(matrix: np.ndarray) -> None:
    values, vectors = fk.spectra.eigenvalues(lazy(matrix), 5, rng=0)
    exact = np.linalg.eigvalsh(matrix)[::-1][:5]
    np.testing.assert_allclose(values, exact, rtol=1e-6)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-4)
    all_of_them, _ = fk.spectra.eigenvalues(lazy(matrix[:4, :4]), 4)
    np.testing.assert_allclose(all_of_them, np.linalg.eigvalsh(matrix[:4, :4])[::-1])


def test_the_distribution_of_the_eigenvalues(matrix: np.ndarray) -> None:
    found = fk.spectra.density(lazy(matrix), probes=30, rng=0)
    exact = np.linalg.eigvalsh(matrix)
    assert found.weights.sum() == pytest.approx(1)
    for power in (1, 2, 3):
        assert found.nodes**power @ found.weights == pytest.approx(np.mean(exact**power), rel=0.15)
    grid = np.linspace(-3, 14, 2000)
    smooth = found(grid, width=0.2)
    assert np.trapezoid(smooth, grid) == pytest.approx(1, rel=1e-3)
    below = np.cumsum(smooth) * (grid[1] - grid[0])
    share = np.array([(exact < at).mean() for at in grid])
    assert abs(below - share)[grid > 1].max() < 0.08


def test_scipy_takes_it(matrix: np.ndarray) -> None:
    A = fk.spectra.linear_operator(lazy(matrix))
    b = np.arange(200.0)
    np.testing.assert_allclose(A @ b, matrix @ b)
    np.testing.assert_allclose(A @ np.eye(200)[:, :3], matrix[:, :3], atol=1e-14)
    x, info = scipy.sparse.linalg.cg(A, b, rtol=1e-10, maxiter=4000)
    assert info == 0
    np.testing.assert_allclose(matrix @ x, b, atol=1e-6)
    assert scipy.sparse.linalg.eigsh(A, k=1)[0][0] == pytest.approx(10)


def test_tensors_go_through_numpy() -> None:
    torch = pytest.importorskip("torch")
    F = fk.FisherInformation(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(fk.spectra.linear_operator(F) @ np.ones(3), [1, 2, 3])
    assert fk.spectra.trace(F, rng=0).value == pytest.approx(6)


def test_refusals(matrix: np.ndarray) -> None:
    import sympy

    singular = lazy(np.diag([1.0, 0.0, 2.0]))
    with pytest.raises(fk.errors.ConvergenceError, match=r"zero to rounding. Give a larger damping="):
        fk.spectra.logdet(singular, damping=0.0)
    with pytest.raises(fk.errors.ConvergenceError, match="give more steps"):
        fk.spectra.logdet(lazy(matrix), damping=0.0, steps=4, rng=0)
    with pytest.raises(fk.errors.DataError, match="damping must be finite and non-negative; got nan"):
        fk.spectra.logdet(singular, damping=float("nan"))
    with pytest.raises(fk.errors.DataError, match="probes must be an integer of two at least"):
        fk.spectra.trace(singular, probes=1)
    with pytest.raises(fk.errors.DataError, match="steps must be an integer"):
        fk.spectra.density(singular, steps=1)
    with pytest.raises(fk.errors.DataError, match="k must be an integer from 1 to 3; got 4"):
        fk.spectra.eigenvalues(singular, 4)
    with pytest.raises(fk.errors.DataError, match="width must be positive"):
        fk.spectra.density(singular)(0.0, width=0.0)
    with pytest.raises(fk.errors.EntriesError, match=r"call F.at"):
        fk.spectra.trace(fk.FisherInformation([[sympy.Symbol("t", positive=True)]]))
