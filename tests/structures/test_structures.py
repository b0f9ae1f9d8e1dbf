"""Every structure answers every verb as plain dense algebra does, for any spectrum and any units of the parameters.

A new structure is one row of ROWS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import sympy as sp
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

import fisherkit as fk
from fisherkit.arrays import as_entries, family
from fisherkit.parameters import Parameters
from fisherkit.provenance import Provenance
from fisherkit.structures.blocks import Blocks
from fisherkit.structures.dense import Dense
from fisherkit.structures.eigenbasis import Eigenbasis
from fisherkit.structures.kronecker import Kronecker
from fisherkit.structures.low_rank import LowRank
from fisherkit.structures.operator import Operator
from fisherkit.structures.promotion import STRUCTURES
from tests.families import FAMILIES, plain

EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Row:
    """A structure: how to build one from a (p, p) matrix, and the matrix that it then stands for."""

    name: str
    build: Callable[[Any, dict[str, tuple[int, ...]]], fk.FisherInformation]
    stands_for: Callable[[np.ndarray, dict[str, tuple[int, ...]]], np.ndarray]
    refuses: tuple[str, ...] = ()  # verbs that it cannot answer exactly, tested apart
    residual: float = 0.0  # relative, of what it solves


def _low_rank(matrix: Any, shapes: dict[str, tuple[int, ...]]) -> fk.FisherInformation:
    """As many columns as rows, from a Cholesky factor."""
    parameters, entries = Parameters.of(shapes), as_entries(matrix)
    exact = family(entries) == "sympy"
    root = np.array(sp.Matrix(entries).cholesky(hermitian=False)) if exact else array_namespace(entries).linalg.cholesky(entries)
    return fk.FisherInformation.of(LowRank(parameters.split(root), parameters), Provenance(kind="expected"))


def _kronecker(matrix: Any, shapes: dict[str, tuple[int, ...]]) -> fk.FisherInformation:
    """The block of each parameter as a left factor; the right one is a number."""
    parameters, entries = Parameters.of(shapes), as_entries(matrix)
    places = [parameters.positions((name,)) for name in parameters.names]
    left = [entries[at][:, at] / 2 for at in places]
    right = [0 * entries[:1, :1] + 2 for _ in places]
    stored = Kronecker(left, right, 0 * entries[0, 0] + EPSILON, parameters)
    return fk.FisherInformation.of(stored, Provenance(kind="expected"))


def _eigenbasis(matrix: Any, shapes: dict[str, tuple[int, ...]]) -> fk.FisherInformation:
    """Numbers in no basis: bases have units, and are tested apart."""
    parameters, entries = Parameters.of(shapes), as_entries(matrix)
    values = parameters.split(array_namespace(entries).linalg.diagonal(entries))
    left, right = [entries[:0, :0] for _ in values], [0 * entries[:1, :1] + 1 for _ in values]
    stored = Eigenbasis(values, left, right, 0 * entries[0, 0] + EPSILON, parameters)
    return fk.FisherInformation.of(stored, Provenance(kind="expected"))


def _blocks(matrix: Any, shapes: dict[str, tuple[int, ...]]) -> fk.FisherInformation:
    """Two groups that take turns."""
    parameters, entries = Parameters.of(shapes), as_entries(matrix)
    groups = [parameters.names[i::2] for i in range(2)]
    places = [parameters.positions(group) for group in groups]
    stored = Blocks([entries[at][:, at] for at in places], groups, parameters)
    return fk.FisherInformation.of(stored, Provenance(kind="expected"))


def _same_group(shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    number = np.concatenate([np.full(int(np.prod(shape)), i % 2) for i, shape in enumerate(shapes.values())])
    return number[:, None] == number[None, :]


def _same_parameter(shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    """One within a parameter's block, zero between."""
    number = np.concatenate([np.full(int(np.prod(shape)), i) for i, shape in enumerate(shapes.values())])
    return number[:, None] == number[None, :]


def _operator(matrix: Any, shapes: dict[str, tuple[int, ...]]) -> fk.FisherInformation:
    stored = Dense(as_entries(matrix), Parameters.of(shapes))
    return fk.FisherInformation.of(Operator.of(stored), Provenance(kind="expected"))


def _diagonal(matrix: Any, shapes: dict[str, tuple[int, ...]]) -> fk.FisherInformation:
    """One array per parameter, cut from the diagonal."""
    leaves, start = {}, 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        leaves[name] = matrix.diagonal()[start:stop].reshape(shape)
        start = stop
    return fk.FisherInformation(leaves)


ROWS = {
    row.name: row
    for row in (
        Row("dense", lambda matrix, shapes: fk.FisherInformation(matrix, parameters=shapes), lambda matrix, _: matrix),
        Row("diagonal", _diagonal, lambda matrix, _: np.diag(np.diagonal(matrix))),
        Row("block-diagonal", _blocks, lambda matrix, shapes: matrix * _same_group(shapes)),
        Row("ekfac", _eigenbasis, lambda matrix, _: np.diag(np.diagonal(matrix))),
        Row("kfac", _kronecker, lambda matrix, shapes: matrix * _same_parameter(shapes)),
        Row("low-rank", _low_rank, lambda matrix, _: matrix),
        Row("operator", _operator, lambda matrix, _: matrix, ("solve", "logdet", "marginalize the first"), 1e-10),
    )
}


@dataclass(frozen=True)
class Problem:
    """A matrix D S D with a known inverse D^-1 S^-1 D^-1, so that nothing is compared with an inversion."""

    shapes: dict[str, tuple[int, ...]]
    S: np.ndarray
    units: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        return self.S * np.outer(self.units, self.units)

    def positions(self, names: list[str]) -> list[int]:
        at = {}
        for name, shape in self.shapes.items():
            start = sum(map(len, at.values()))
            at[name] = list(range(start, start + int(np.prod(shape))))
        return [k for name in names for k in at[name]]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Two to four parameters of some shape, a spectrum over six decades, and units over sixteen."""
    shapes = draw(st.lists(st.sampled_from([(), (2,), (1, 2)]), min_size=2, max_size=4))
    p = sum(int(np.prod(shape)) for shape in shapes)
    logs = draw(st.lists(st.floats(-3, 3), min_size=p, max_size=p))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    Q, _ = np.linalg.qr(rng.normal(size=(p, p)))
    S = (Q * 10.0 ** np.array(logs)) @ Q.T
    units = 10.0 ** np.array(draw(st.lists(st.floats(-8, 8), min_size=p, max_size=p)))
    return Problem({f"w{i}": shape for i, shape in enumerate(shapes)}, (S + S.T) / 2, units)


#: verb -> (what F answers; the same from the matrix in units of one; the power of the units that it carries)
VERBS: dict[str, tuple[Callable[[fk.FisherInformation, Problem], Any], Callable[[np.ndarray, Problem], Any], int]] = {
    "dense": (lambda F, _: F.dense(), lambda S, _: S, 2),
    "scale": (lambda F, _: (3 * F).dense(), lambda S, _: 3 * S, 2),
    "add": (lambda F, _: (F + F).dense(), lambda S, _: 2 * S, 2),
    "diagonal": (lambda F, _: flat(F.diagonal()), lambda S, _: np.diagonal(S), 2),
    "F @ v": (lambda F, P: F @ (1 / P.units), lambda S, _: S @ np.ones(len(S)), 1),
    "F @ columns": (
        lambda F, P: (F @ np.stack([1 / P.units, 2 / P.units], axis=1))[:, 1],
        lambda S, _: 2 * S @ np.ones(len(S)),
        1,
    ),
    "quadratic": (lambda F, P: F.quadratic(1 / P.units), lambda S, _: S.sum(), 0),
    "inverse": (lambda F, _: F.inverse(), lambda S, _: np.linalg.inv(S), -2),
    "solve": (lambda F, P: F.solve(P.units), lambda S, _: np.linalg.solve(S, np.ones(len(S))), -1),
    "standard errors": (lambda F, _: flat(F.standard_errors()), lambda S, _: np.sqrt(np.diagonal(np.linalg.inv(S))), -1),
    "logdet": (lambda F, P: F.logdet - 2 * np.log(P.units).sum(), lambda S, _: np.linalg.slogdet(S)[1], 0),
    "fix the first": (lambda F, _: F.fix("w0").dense(), lambda S, P: cut(S, P), 2),
    "select the others": (lambda F, P: F[tuple(others(P))].dense(), lambda S, P: cut(S, P), 2),
    "marginalize the first": (
        lambda F, _: F.marginalize("w0").dense(),
        lambda S, P: np.linalg.inv(cut(np.linalg.inv(S), P)),
        2,
    ),
    "rename": (lambda F, _: F.rename(w0="other").dense(), lambda S, _: S, 2),
}


def flat(value: Any) -> np.ndarray:
    return np.concatenate([np.ravel(v) for v in value.values()]) if isinstance(value, dict) else np.asarray(value)


def others(problem: Problem) -> list[str]:
    return [name for name in problem.shapes if name != "w0"]


def cut(matrix: np.ndarray, problem: Problem) -> np.ndarray:
    kept = problem.positions(others(problem))
    return matrix[np.ix_(kept, kept)]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("verb", VERBS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(problem=problems())
def test_the_same_as_plain_algebra_in_any_units(verb: str, row: Row, problem: Problem) -> None:
    act, expected, power = VERBS[verb]
    if verb in row.refuses:
        pytest.skip("answered by iteration, or refused")
    F = row.build(problem.matrix, problem.shapes)
    assert F.structure == row.name
    S = row.stands_for(problem.S, problem.shapes)
    reference = np.asarray(expected(S, problem))
    found = np.asarray(act(F, problem))
    units = problem.units if found.ndim == 0 or len(found) == len(S) else problem.units[problem.positions(others(problem))]
    for _ in range(found.ndim if abs(power) == 2 and found.ndim == 2 else 0):
        found = np.moveaxis(found, 0, -1) * units ** (-power / 2)
    if found.ndim == 1:
        found = found * units ** (-float(power))
    tolerance = 100 * len(S) * EPSILON * np.linalg.cond(S) * max(1.0, float(abs(reference).max()))
    np.testing.assert_allclose(found, reference, rtol=0, atol=tolerance + 1e-13)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(problem=problems(), damping=st.floats(1e-3, 1e3))
def test_damping_adds_to_the_diagonal(row: Row, problem: Problem, damping: float) -> None:
    """In the parameters' own units, so these are one here."""
    S = row.stands_for(problem.S, problem.shapes)
    found = row.build(problem.S, problem.shapes).solve(np.ones(len(S)), damping=damping)
    damped = S + damping * np.eye(len(S))
    np.testing.assert_allclose(damped @ found, np.ones(len(S)), atol=row.residual * len(S) + 1e-12 * np.linalg.cond(damped))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(problem=problems())
def test_eigenvalues_are_the_spectrum(row: Row, problem: Problem) -> None:
    S = row.stands_for(problem.S, problem.shapes)
    F = row.build(problem.S, problem.shapes)
    np.testing.assert_allclose(F.eigenvalues(), np.linalg.eigvalsh(S), atol=1e-12 * abs(S).max() * len(S))
    assert F.trace == pytest.approx(np.trace(S))
    assert F.rank == len(S)
    root = np.sqrt(np.diagonal(S))
    assert F.condition == pytest.approx(np.linalg.cond(S / np.outer(root, root)), rel=1e-6)


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("other", ROWS.values(), ids=ROWS)
def test_any_two_structures_add(row: Row, other: Row, make: Callable[[Any], Any]) -> None:
    shapes = {"a": (2,), "b": ()}
    if {"kfac", "ekfac"} & {row.name, other.name} and "sympy" in make.__name__:
        pytest.skip("Kronecker factors are numbers")
    M = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.25], [0.5, -0.25, 2.0]])
    total = row.build(make(M), shapes) + other.build(make(2 * M), shapes)["b", "a"]
    np.testing.assert_allclose(plain(total.dense()), row.stands_for(M, shapes) + other.stands_for(2 * M, shapes), rtol=1e-13)
    lazy = {"operator", "kfac", "ekfac"} & {row.name, other.name}
    assert total.structure == ("operator" if lazy else row.name if row is other else "dense")


def test_every_structure_has_a_row() -> None:
    assert set(ROWS) == set(STRUCTURES)


@pytest.mark.parametrize("make", FAMILIES)
def test_a_diagonal_stays_one_under_a_diagonal_map(make: Callable[[Any], Any]) -> None:
    import sympy as sp

    F = fk.FisherInformation({"a": make([2.0])[0], "b": make([3.0])[0]})
    u, v = sp.symbols("u v", real=True)
    symbolic = F.dense().__class__.__module__.startswith("sympy")
    new = (u, v) if symbolic else {u: 1.0, v: 1.0}
    stretched = F.reparametrize(new, {"a": 5 * u, "b": v / 2})
    assert stretched.structure == "diagonal"
    np.testing.assert_allclose(plain(stretched.diagonal()).ravel(), [50.0, 0.75])
    turned = F.reparametrize(new, {"a": u + v, "b": v})
    assert turned.structure == "dense"
    np.testing.assert_allclose(plain(turned.dense()), [[2.0, 2.0], [2.0, 5.0]])


def test_a_diagonal_names_all_its_zeros() -> None:
    F = fk.FisherInformation({"a": np.array([1.0, 0.0]), "b": np.array(0.0)})
    with pytest.raises(fk.errors.SingularInformationError, match=r"\(a\[2\], b\) .* along \+1 a\[1\]; \+1 b") as refusal:
        F.inverse()
    assert refusal.value.null_directions == ({"a[1]": 1.0}, {"b": 1.0})
    assert F.rank == 1
    np.testing.assert_array_equal(F.solve(np.ones(3), damping=1.0), [0.5, 1.0, 1.0])


def test_a_negative_diagonal_is_refused_by_name() -> None:
    F = fk.FisherInformation({"a": np.array(1.0), "b": np.array(-2.0)})
    with pytest.raises(fk.errors.IndefiniteInformationError, match=r"information of b is negative \(-2\)"):
        F.inverse()


def test_matrices_of_fractions_are_inverted_exactly() -> None:
    F = fk.FisherInformation(sp.Matrix([[2, 3], [3, sp.Rational(19, 4)]]), parameters=("a", "b"))
    assert F.inverse() == sp.Matrix([[sp.Rational(19, 2), -6], [-6, 4]])
    assert F.solve(sp.Matrix([1, 0])) == sp.Matrix([sp.Rational(19, 2), -6])
    with pytest.raises(fk.errors.SingularInformationError):
        fk.FisherInformation(sp.Matrix([[2, 3], [3, sp.Rational(9, 2)]]), parameters=("a", "b")).inverse()


def test_exact_solving_knows_functions_that_are_related() -> None:
    t = sp.Symbol("t", positive=True)
    matrix = sp.Matrix([[sp.exp(2 * t), sp.sqrt(t)], [sp.sqrt(t), 1 + sp.polygamma(1, t)]])
    F = fk.FisherInformation(matrix, parameters=("a", "b"))
    found = sp.Matrix(F.solve(sp.Matrix([1, 0])))
    assert (matrix * found - sp.Matrix([1, 0])).applyfunc(sp.simplify) == sp.zeros(2, 1)
