"""The noun: every verb for NumPy, PyTorch and SymPy entries, and everything that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

import fisherkit as fk
from tests.families import FAMILIES, T, plain, to_numpy, to_sympy

ABC = ("a", "b", "c")
M = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.25], [0.5, -0.25, 2.0]])
W = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 4.0]])
V = np.array([1.0, -2.0, 0.5])
VS = np.array([[1.0, 0.0], [-2.0, 3.0], [0.5, 1.0]])
J = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.25, 0.0, 1.0]])
SWAP = [2, 0, 1]  # the rows of M in the order c, a, b

SIGMA, MU, N = sp.Symbol("sigma", positive=True), sp.Symbol("mu", real=True), sp.Symbol("n", positive=True)
NORMAL = fk.FisherInformation(sp.diag(SIGMA**-2, 2 * SIGMA**-2), parameters=(MU, SIGMA))
NUMBERS = fk.FisherInformation(M, parameters=ABC, point={"a": 1.0, "b": 2.0, "c": 3.0})


def named(vector: np.ndarray, make: Callable[[Any], Any]) -> dict[str, Any]:
    """As a mapping, in another order than the parameters'."""
    return {name: make(vector)[ABC.index(name)] for name in ("c", "a", "b")}


def schur(matrix: np.ndarray, kept: list[int]) -> np.ndarray:
    """By the definition: what inverting the whole and taking a block would give."""
    return np.linalg.inv(np.linalg.inv(matrix)[np.ix_(kept, kept)])


#: verb -> what it does, with vectors in F's own family; and the same in plain float64 algebra
VERBS: dict[str, tuple[Callable[..., Any], Any]] = {
    "multiply": (lambda F, make: (3 * F).dense(), 3 * M),
    "multiply from the right": (lambda F, make: (F * 2.5).dense(), 2.5 * M),
    "divide": (lambda F, make: (F / 4).dense(), M / 4),
    "add": (lambda F, make: (F + fk.FisherInformation(make(W), parameters=ABC)).dense(), M + W),
    "add by name": (lambda F, make: (F + F["c", "a", "b"]).dense(), 2 * M),
    "sum": (lambda F, make: sum([F, F, F]).dense(), 3 * M),
    "F @ vector": (lambda F, make: F @ make(V), M @ V),
    "F @ columns": (lambda F, make: F @ make(VS), M @ VS),
    "F @ mapping": (lambda F, make: list((F @ named(V, make)).values()), M @ V),
    "solve": (lambda F, make: F.solve(make(V)), np.linalg.solve(M, V)),
    "solve columns": (lambda F, make: F.solve(make(VS)), np.linalg.solve(M, VS)),
    "solve mapping": (lambda F, make: list(F.solve(named(V, make)).values()), np.linalg.solve(M, V)),
    "solve damped": (lambda F, make: F.solve(make(V), damping=0.5), np.linalg.solve(M + 0.5 * np.eye(3), V)),
    "inverse": (lambda F, make: F.inverse(), np.linalg.inv(M)),
    "quadratic": (lambda F, make: F.quadratic(make(V)), V @ M @ V),
    "quadratic of columns": (lambda F, make: F.quadratic(make(VS)), np.diagonal(VS.T @ M @ VS)),
    "trace": (lambda F, make: F.trace, 9.0),
    "logdet": (lambda F, make: F.logdet, np.log(np.linalg.det(M))),
    "diagonal": (lambda F, make: F.diagonal(), [4.0, 3.0, 2.0]),
    "dense": (lambda F, make: F.dense(), M),
    "standard errors": (lambda F, make: F.standard_errors(), np.sqrt(np.diagonal(np.linalg.inv(M)))),
    "fix": (lambda F, make: F.fix("b").dense(), M[np.ix_([0, 2], [0, 2])]),
    "marginalize one": (lambda F, make: F.marginalize("b").dense(), schur(M, [0, 2])),
    "marginalize two": (lambda F, make: F.marginalize("c", "a").dense(), schur(M, [1])),
    "marginalize none": (lambda F, make: F.marginalize().dense(), M),
    "select in order": (lambda F, make: F["c", "a", "b"].dense(), M[np.ix_(SWAP, SWAP)]),
    "select one": (lambda F, make: F["b"].dense(), [[3.0]]),
    "rename": (lambda F, make: F.rename(b="beta")["beta"].dense(), [[3.0]]),
    "per observation": (lambda F, make: (7 * F).per_observation().dense(), M),
    "total": (lambda F, make: (7 * F).total(10).dense(), 10 * M),
    "at": (lambda F, make: F.dense() if make is not to_sympy else F.at(t=0.5).dense(), M),
}


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_in_every_family(verb: str, make: Callable[[Any], Any]) -> None:
    does, expected = VERBS[verb]
    F = fk.FisherInformation(make(M), parameters=ABC)
    found = does(F, make)
    if isinstance(found, list):  # of a mapping, in the order of the parameters
        found = np.array([plain(value) for value in found])
    found = plain(found)
    np.testing.assert_allclose(found.reshape(np.shape(expected)), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(plain(F.dense()), M)  # it stayed as it was


@pytest.mark.parametrize("make", FAMILIES)
def test_numbers_come_back_in_their_family(make: Callable[[Any], Any]) -> None:
    F = fk.FisherInformation(make(M), parameters=ABC)
    matrix = sp.ImmutableMatrix if make is to_sympy else type(make(M))
    for value in (F.dense(), F.inverse(), F.diagonal(), F.standard_errors(), F @ make(V), F.marginalize("a").dense()):
        assert isinstance(value, matrix)
    if make is not to_sympy:
        assert {str(value.dtype).removeprefix("torch.") for value in (F.dense(), F.solve(make(V)))} == {"float64"}


def test_scalars() -> None:
    assert float(fk.FisherInformation([[4.0]])) == 4.0
    assert float(NORMAL.at(sigma=2)["mu"]) == 0.25
    np.testing.assert_array_equal(np.asarray(NUMBERS), M)
    assert np.asarray(NUMBERS, dtype=np.float32).dtype == np.float32
    assert isinstance(np.float64(2) * NUMBERS, fk.FisherInformation)


def test_eigenvalues_rank_and_condition_are_of_numbers() -> None:
    np.testing.assert_allclose(NUMBERS.eigenvalues(), np.linalg.eigvalsh(M), rtol=1e-12)
    root = np.sqrt(np.diagonal(M))
    assert NUMBERS.condition == pytest.approx(np.linalg.cond(M / np.outer(root, root)))
    assert NUMBERS.rank == 3
    assert fk.FisherInformation([[1.0, 1.0], [1.0, 1.0]]).rank == 1
    assert fk.FisherInformation([[0.0]]).condition == np.inf
    for verb in (lambda: NORMAL.eigenvalues(), lambda: NORMAL.condition, lambda: NORMAL.rank, lambda: float(NORMAL["mu"])):
        with pytest.raises(fk.errors.EntriesError, match=r"needs numbers; the entries hold sigma. Call F.at\(sigma=...\) first"):
            verb()


# -- no inverse


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("units", [1.0, 1e8, 1e-8])
@pytest.mark.parametrize("verb", ["inverse", "solve", "standard_errors", "logdet", "marginalize"])
def test_null_directions_are_named(make: Callable[[Any], Any], units: float, verb: str) -> None:
    """a and b enter as units * a + b only, so that along a - units * b nothing is known."""
    D = np.diag([units, 1.0, 1.0])
    F = fk.FisherInformation(make(D @ [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]] @ D), parameters=ABC)
    act = {
        "inverse": lambda: F.inverse(),
        "solve": lambda: F.solve(make(V)),
        "standard_errors": lambda: F.standard_errors(),
        "logdet": lambda: F.logdet,
        "marginalize": lambda: F.marginalize("a", "b"),
    }[verb]
    pattern = r"\(a, b.*\) is singular: no information along .* a .* b. Fix one of these .* with F.fix\(...\)"
    with pytest.raises(fk.errors.SingularInformationError, match=pattern) as refusal:
        act()
    assert refusal.value.condition == "singular_information"
    (direction,) = refusal.value.null_directions
    assert set(direction) == {"a", "b"}
    assert float(direction["b"] / direction["a"]) == pytest.approx(-units, rel=1e-6)
    assert plain(F.solve(make(V), damping=1.0)).size == 3  # damping is what makes it answer
    assert plain(F.fix("a").inverse()).shape == (2, 2)


def test_small_units_are_no_missing_information() -> None:
    D = np.diag([1e-9, 1.0, 1e9])
    F = fk.FisherInformation(D @ M @ D, parameters=ABC)
    assert F.rank == 3
    np.testing.assert_allclose(D @ F.inverse() @ D, np.linalg.inv(M), rtol=1e-10)


def test_almost_dependent_is_not_dependent() -> None:
    """Rounding is the limit."""
    F = fk.FisherInformation([[1.0, 1 - 1e-10], [1 - 1e-10, 1.0]], parameters=("a", "b"))
    assert F.rank == 2
    np.testing.assert_allclose(F.standard_errors(), [1 / np.sqrt(2e-10)] * 2, rtol=1e-5)
    with pytest.raises(fk.errors.SingularInformationError):
        fk.FisherInformation([[1.0, 1 - 1e-16], [1 - 1e-16, 1.0]]).inverse()


def test_a_small_part_of_a_null_direction_is_named_too() -> None:
    null = np.array([1.0, -0.02, -1.0])
    F = fk.FisherInformation(np.eye(3) - np.outer(null, null) / (null @ null), parameters=ABC)
    with pytest.raises(fk.errors.SingularInformationError) as refusal:
        F.inverse()
    (direction,) = refusal.value.null_directions
    np.testing.assert_allclose([direction[name] / direction["a"] for name in ABC], null, rtol=1e-10)


def test_two_null_directions_are_two() -> None:
    u = np.array([1.0, 2.0, -1.0])
    with pytest.raises(fk.errors.SingularInformationError) as refusal:
        fk.FisherInformation(np.outer(u, u), parameters=ABC).inverse()
    null = np.array([[d.get(name, 0.0) for name in ABC] for d in refusal.value.null_directions])
    assert np.linalg.matrix_rank(null) == 2
    np.testing.assert_allclose(null @ u, 0, atol=1e-12)


def test_negative_information_is_no_singular_one() -> None:
    for matrix in ([[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]):
        with pytest.raises(fk.errors.IndefiniteInformationError, match="negative away from a maximum"):
            fk.FisherInformation(matrix, kind="observed").inverse()


# -- n


def test_n_counts_observations() -> None:
    F = fk.FisherInformation(M, parameters=ABC)
    assert F.n == 1
    assert (10 * F).n == 10
    assert (10 * F + F).n == 11
    assert (10 * F).fix("a").n == 10
    assert (10 * F).per_observation().n == 1
    assert (10 * F).total(3).n == 3
    assert (F / 4).n == 0.25
    assert sum([F] * 5).n == 5
    prior = fk.FisherInformation(np.eye(3), parameters=ABC, n=0)
    assert (10 * F + prior).n == 10
    with pytest.raises(fk.errors.DataError, match=r"per_observation\(\) needs n > 0; F stands for n=0"):
        prior.per_observation()


def test_n_may_be_a_symbol() -> None:
    total = NORMAL.total(N)
    assert total.n == N
    assert (N * NORMAL).dense() == total.dense()
    assert total.per_observation().dense() == NORMAL.dense()
    numbers = total.at(n=25, sigma=2)
    assert (numbers.n, numbers.dense().tolist()) == (25, [[6.25, 0.0], [0.0, 12.5]])


def test_integers_are_exact_numbers_too() -> None:
    assert fk.FisherInformation(sp.Matrix([[4, 1], [1, 3]])).inverse() == sp.Matrix([[3, -1], [-1, 4]]) / 11


def test_expressions_stay_exact() -> None:
    third = (NORMAL / 3)["mu"].dense()[0, 0]
    assert third == 1 / (3 * SIGMA**2)
    assert (10 * NORMAL).per_observation().dense() == NORMAL.dense()
    assert not (7 * NORMAL).total(3).dense().atoms(sp.Float)


# -- new parameters


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("by", ["expressions", "callable"])
def test_reparametrize_takes_the_jacobian_of_the_old_by_the_new(make: Callable[[Any], Any], by: str) -> None:
    assert not np.allclose(J.T @ M @ J, J @ M @ J.T)  # so that a transposed J is seen
    symbols = sp.symbols("u v w", real=True)
    theta = (sp.Matrix(J.tolist()) * sp.Matrix(symbols)).applyfunc(sp.nsimplify)
    expressions = dict(zip(ABC, theta, strict=True))
    phi = np.linalg.solve(J, [1.0, 2.0, 3.0])
    F = fk.FisherInformation(make(M), parameters=ABC, point=None if make is to_sympy else {"a": 1.0, "b": 2.0, "c": 3.0})
    if make is to_sympy:
        moved = F.reparametrize(symbols, expressions)
    elif by == "expressions":
        moved = F.reparametrize(dict(zip(symbols, phi, strict=True)), expressions)
    else:
        moved = F.reparametrize(dict(zip("uvw", phi, strict=True)), lambda new: make(J) @ new)
    assert moved.parameters.names == ("u", "v", "w")
    np.testing.assert_allclose(plain(moved.dense()), J.T @ M @ J, rtol=1e-9)


def test_reparametrize_moves_the_entries_along() -> None:
    tau = sp.Symbol("tau", real=True)
    moved = NORMAL.reparametrize((MU, tau), {"sigma": sp.exp(tau)})
    assert moved.dense() == sp.diag(sp.exp(-2 * tau), 2)
    at = NORMAL.reparametrize({MU: 0, tau: sp.log(3)}, {"sigma": sp.exp(tau)})
    np.testing.assert_allclose(np.asarray(at), np.diag([1 / 9, 2]), rtol=1e-14)


def test_reparametrize_exchanges_names_at_once() -> None:
    a, b = sp.symbols("a b", positive=True)
    F = fk.FisherInformation(sp.diag(a / b, 2 * b), parameters=("a", "b"))
    assert F.reparametrize((a, b), {"a": b, "b": a}).dense() == sp.diag(2 * a, b / a)


def test_reparametrize_to_fewer() -> None:
    F = NUMBERS.reparametrize({"u": 1.0}, lambda u: [u[0], 2 * u[0], 3 * u[0]])
    np.testing.assert_allclose(float(F), np.array([1, 2, 3]) @ M @ [1, 2, 3], rtol=1e-9)
    assert F.point == {"u": 1.0}


U, X = sp.symbols("u x", real=True)
RENAMED = {"a": U, "b": sp.Integer(2), "c": sp.Integer(3)}
REPARAMETRIZATIONS = {
    "another point": (({"u": 2.0}, RENAMED), "inverse_map leads to a=2, but F was taken at a=1"),
    "one missing": (({"u": 1.0}, {"a": U, "b": U}), "must give each old parameter; missing: c"),
    "one unknown": (({"u": 1.0}, {**RENAMED, "d": U}), r"gives d, which is no parameter of \(a, b, c\)"),
    "text": (({"u": 1.0}, {**RENAMED, "b": "2"}), "text is never evaluated"),
    "no values": (((U,), RENAMED), "F holds numbers at one point: give new_parameters as a mapping"),
    "no values for a callable": ((("u",), lambda u: u), "a callable inverse_map needs values"),
    "another symbol": (({"u": 1.0}, {**RENAMED, "c": 3 + X}), "holds x, which is not among the new parameters u"),
    "too few values": (({"u": 1.0}, lambda u: u), r"must return the 3 old parameters \(a, b, c\); got 1 values"),
    "no map": (({"u": 1.0}, 2.0), "inverse_map must be a mapping or a callable; got float"),
    "shape": (({"u": 1.0}, lambda u: np.ones((3, 2)) * u[0]), r"must return a number or a flat array; got shape \(3, 2\)"),
}


@pytest.mark.parametrize("case", REPARAMETRIZATIONS)
def test_reparametrizations_that_do_not_fit(case: str) -> None:
    given, message = REPARAMETRIZATIONS[case]
    with pytest.raises(fk.errors.LayoutError, match=message):
        NUMBERS.reparametrize(*given)


# -- at


def test_at_puts_values_by_name_or_symbol() -> None:
    for numbers in (NORMAL.at(sigma=2), NORMAL.at({"sigma": 2}), NORMAL.at({SIGMA: np.float64(2)}), NORMAL.at(mu=0, sigma=2)):
        np.testing.assert_array_equal(numbers.dense(), np.diag([0.25, 0.5]))
        assert isinstance(numbers.dense(), np.ndarray)
    assert NORMAL.at(mu=0, sigma=2).point == {"mu": 0, "sigma": 2}
    assert NORMAL.at(sigma=T).dense() == sp.diag(T**-2, 2 * T**-2)


def test_at_keeps_digits_beyond_float64() -> None:
    entry = NORMAL.at(sigma=sp.sqrt(2).evalf(40)).dense()[0, 0]
    assert abs(entry - sp.Rational(1, 2)) < sp.Float("1e-38", 40)


def test_at_in_two_steps_is_at_in_one() -> None:
    a, b = sp.symbols("a b", positive=True)
    F = fk.FisherInformation(sp.diag(a, b * a), parameters=(a, b))
    np.testing.assert_array_equal(F.at(a=2).at(b=3).dense(), F.at(a=2, b=3).dense())
    assert F.at(a=2).dense() == sp.diag(2, 2 * b)


AT = {
    "outside the domain": (-1, fk.errors.DataError, "sigma = -1 is outside its domain: the symbol is declared positive"),
    "text": ("2", fk.errors.DataError, "sigma must be a real number or an expression; got '2'"),
    "a list": ([1, 2], fk.errors.DataError, "sigma must be a real number"),
    "an array": (np.ones(2), fk.errors.DataError, "sigma must be a real number"),
    "nothing": (None, fk.errors.DataError, "sigma must be a real number"),
    "a truth": (True, fk.errors.DataError, "sigma must be a real number"),
    "a complex number": (1j, fk.errors.DataError, "sigma must be a real number"),
    "not a number": (float("nan"), fk.errors.DataError, "sigma must be finite; got nan"),
    "infinity": (sp.oo, fk.errors.DataError, "sigma must be finite; got oo"),
}


@pytest.mark.parametrize("case", AT)
def test_at_refuses(case: str) -> None:
    value, error, message = AT[case]
    with pytest.raises(error, match=message):
        NORMAL.at(sigma=value)


def test_at_refuses_unknown_names_and_poles_and_numbers() -> None:
    with pytest.raises(fk.errors.LayoutError, match=r"F.at got tau; the entries hold .*sigma"):
        NORMAL.at(tau=1)
    pole = fk.FisherInformation(sp.Matrix([[1 / MU**2]]), parameters=(MU,))
    with pytest.raises(fk.errors.DataError, match="must be finite"):
        pole.at(mu=0)
    with pytest.raises(fk.errors.EntriesError, match="are numbers already"):
        NUMBERS.at(a=1)


# -- labels with shapes


def test_tensors_keep_their_shapes() -> None:
    weights = {"weight": np.array([[1.0, 2.0], [3.0, 4.0]]), "bias": np.array(5.0)}
    F = fk.FisherInformation(weights)
    assert F.structure == "diagonal"
    assert F.parameters.labels == ("weight[0,0]", "weight[0,1]", "weight[1,0]", "weight[1,1]", "bias")
    np.testing.assert_array_equal(F.diagonal()["weight"], weights["weight"])
    assert F.solve(weights)["weight"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    np.testing.assert_array_equal(F @ np.ones(5), [1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_allclose(F.standard_errors()["weight"], weights["weight"] ** -0.5)
    np.testing.assert_array_equal(F["bias", "weight"].dense(), np.diag([5.0, 1.0, 2.0, 3.0, 4.0]))
    dense = fk.FisherInformation(np.diag([1.0, 2.0, 3.0, 4.0, 5.0]), parameters={"weight": (2, 2), "bias": ()})
    np.testing.assert_array_equal((F + dense["bias", "weight"]).dense(), np.diag([2.0, 4.0, 6.0, 8.0, 10.0]))


# -- what cannot be


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "asymmetric": (lambda: fk.FisherInformation([[1, 2], [3, 4]]), fk.errors.DataError, "symmetric .* F - F.T is 1"),
    "asymmetric expressions": (
        lambda: fk.FisherInformation(sp.Matrix([[1, MU], [SIGMA, 1]])),
        fk.errors.DataError,
        "symmetric matrix; F - F.T is not zero",
    ),
    "nan": (lambda: fk.FisherInformation([[1, np.nan], [np.nan, 1]]), fk.errors.DataError, r"finite; entry \(0, 1\) is nan"),
    "infinite": (lambda: fk.FisherInformation([[np.inf]]), fk.errors.DataError, r"finite; entry \(0, 0\) is inf"),
    "infinite expression": (lambda: fk.FisherInformation([[sp.oo]]), fk.errors.DataError, r"finite; entry \(0, 0\) is oo"),
    "complex": (lambda: fk.FisherInformation([[1j]]), fk.errors.DataError, "real numbers; got dtype complex128"),
    "imaginary": (lambda: fk.FisherInformation([[sp.I]]), fk.errors.DataError, r"real; entry \(0, 0\) is I"),
    "text": (lambda: fk.FisherInformation([["1"]]), fk.errors.DataError, "real numbers; got dtype <U1"),
    "ragged": (lambda: fk.FisherInformation([[1], [1, 2]]), fk.errors.DataError, "rectangular"),
    "not square": (lambda: fk.FisherInformation(np.ones((2, 3))), fk.errors.LayoutError, r"got shape \(2, 3\)"),
    "a number": (lambda: fk.FisherInformation(1.0), fk.errors.LayoutError, r"\(p, p\) matrix, .* got shape \(\)"),
    "empty": (lambda: fk.FisherInformation(np.ones((0, 0))), fk.errors.LayoutError, "at least one parameter"),
    "too many names": (
        lambda: fk.FisherInformation([[1.0]], parameters=("a", "b")),
        fk.errors.LayoutError,
        r"\(a, b\) are 2 parameters; the values have 1",
    ),
    "a name twice": (
        lambda: fk.FisherInformation(np.eye(2), parameters=("a", "a")),
        fk.errors.LayoutError,
        "names must differ; found a more than once",
    ),
    "kind": (lambda: fk.FisherInformation([[1.0]], kind="fisher"), fk.errors.LayoutError, "expected, observed, empirical"),
    "negative n": (lambda: fk.FisherInformation([[1.0]], n=-1), fk.errors.LayoutError, "n must be a finite number .* got -1"),
    "names twice over": (
        lambda: fk.FisherInformation({"a": np.ones(2)}, parameters=("b",)),
        fk.errors.LayoutError,
        r"a mapping brings its own parameters \(a\[2\]\)",
    ),
    "other parameters": (
        lambda: NORMAL + fk.FisherInformation(np.eye(2), parameters=("mu", "tau")),
        fk.errors.LayoutError,
        r"F \+ G needs equal parameters; F has \(mu, sigma\), G has \(mu, tau\). Rename with G.rename",
    ),
    "a number added": (lambda: NUMBERS + 1, TypeError, "unsupported operand"),
    "negative factor": (lambda: -1 * NUMBERS, fk.errors.DataError, "finite non-negative number; got -1"),
    "nan factor": (lambda: float("nan") * NUMBERS, fk.errors.DataError, "finite non-negative number; got nan"),
    "an array times F": (lambda: np.ones(3) * NUMBERS, TypeError, "unsupported operand"),
    "vector of another size": (lambda: NUMBERS @ [1.0, 2.0], fk.errors.LayoutError, r"\(3,\) or \(3, k\) .* got shape \(2,\)"),
    "nan in a vector": (lambda: NUMBERS @ [1.0, 2.0, np.nan], fk.errors.DataError, r"v must be finite; entry \(2,\) is nan"),
    "a name missing in a vector": (lambda: NUMBERS @ {"a": 1.0}, fk.errors.LayoutError, "missing: b, c; unknown: none"),
    "a name unknown in a vector": (
        lambda: NUMBERS.quadratic({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}),
        fk.errors.LayoutError,
        "delta must name each .* missing: none; unknown: d",
    ),
    "shape in a vector": (
        lambda: NUMBERS @ {"a": [1.0], "b": 1.0, "c": 1.0},
        fk.errors.LayoutError,
        r"v\['a'\] must have shape \(\); got \(1,\)",
    ),
    "negative damping": (lambda: NUMBERS.solve(V, damping=-1.0), fk.errors.DataError, "damping must be finite and non-neg"),
    "unknown name": (lambda: NUMBERS.fix("d"), fk.errors.LayoutError, r"unknown parameter d; the parameters are \(a, b, c\)"),
    "all fixed": (lambda: NUMBERS.fix(*ABC), fk.errors.LayoutError, "leaves no parameter"),
    "all marginalized": (lambda: NUMBERS.marginalize(*ABC), fk.errors.LayoutError, "leaves no parameter"),
    "selected twice": (lambda: NUMBERS["a", "a"], fk.errors.LayoutError, "names must differ; found a"),
    "by number": (lambda: NUMBERS[0], fk.errors.LayoutError, "unknown parameter 0"),
    "renamed to one that is there": (lambda: NUMBERS.rename(a="b"), fk.errors.LayoutError, "must differ; found b"),
    "iteration": (lambda: list(NUMBERS), TypeError, "not iterable; F.parameters.names are its names"),
    "float of several": (lambda: float(NUMBERS), fk.errors.LayoutError, r"float\(F\) needs one parameter; F has \(a, b, c\)"),
    "float array of expressions": (lambda: np.asarray(NORMAL), fk.errors.EntriesError, r"Call F.at\(sigma=...\) first"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_sentence(case: str) -> None:
    act, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        act()


def test_asymmetry_up_to_rounding_is_smoothed() -> None:
    F = fk.FisherInformation([[1.0, 0.5 + 1e-10], [0.5, 1.0]])
    np.testing.assert_array_equal(F.dense(), F.dense().T)
    with pytest.raises(fk.errors.DataError, match=r"F - F.T is 1e-06"):
        fk.FisherInformation([[1.0, 0.5 + 1e-6], [0.5, 1.0]])


def test_families_do_not_mix() -> None:
    torch = pytest.importorskip("torch")
    tensors = fk.FisherInformation(torch.eye(3), parameters=ABC)
    for act in (lambda: tensors + NUMBERS, lambda: tensors @ V, lambda: NUMBERS.solve(torch.ones(3))):
        with pytest.raises(fk.errors.EntriesError, match=r"needs entries of one family; found .*torch"):
            act()
    with pytest.raises(fk.errors.EntriesError, match="tensors cannot be scaled by the expression n"):
        N * tensors
    mixed = NUMBERS + fk.FisherInformation(SIGMA * sp.eye(3), parameters=ABC)  # numbers are expressions too
    assert mixed.dense()[0, 0] == 4.0 + SIGMA


# -- memory


def test_a_dense_result_over_the_budget_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    F = fk.FisherInformation({"weight": np.ones(10**6)})
    pattern = r"dense 1000000 x 1000000 matrix needs 7.28 TiB; the memory budget is .*FISHERKIT_MEMORY.*diagonal\(\)"
    with pytest.raises(fk.errors.MemoryBudgetError, match=pattern):
        F.dense()
    with pytest.raises(fk.errors.MemoryBudgetError, match=r"F.solve\(v\) and F.standard_errors\(\) never form it"):
        F.inverse()
    small = fk.FisherInformation({"weight": np.ones(200)})
    assert small.dense().shape == (200, 200)
    monkeypatch.setenv("FISHERKIT_MEMORY", "319999")  # one byte less than it needs
    with pytest.raises(MemoryError, match="dense 200 x 200 matrix needs 312 KiB"):
        small.dense()
    monkeypatch.setenv("FISHERKIT_MEMORY", "320000")
    assert small.dense().shape == (200, 200)


# -- repr


def test_repr_says_everything_on_one_line() -> None:
    assert repr(NORMAL) == "FisherInformation(expected, n=1, dense 2x2, parameters=(mu, sigma))"
    numbers = fk.FisherInformation([[1.0, 0.6], [0.6, 1.0]], parameters=("a", "b"), kind="observed", n=7)
    assert repr(numbers) == "FisherInformation(observed, n=7, dense 2x2, parameters=(a, b), condition=4)"
    both = numbers + fk.FisherInformation(np.eye(2), parameters=("a", "b"), method=fk.Exact())
    assert repr(both).startswith("FisherInformation(observed+expected, n=8, dense 2x2,")
    network = fk.FisherInformation({f"layer{i}.weight": np.ones((2, 3)) for i in range(20)}, method=fk.MonteCarlo(5, rng=1))
    assert repr(network) == (
        "FisherInformation(expected, method=MonteCarlo(n=5, rng=1), n=1, diagonal 120x120, parameters=(layer0.weight[2, 3], "
        "layer1.weight[2, 3], layer2.weight[2, 3], ... 14 more ..., layer17.weight[2, 3], layer18.weight[2, 3], "
        "layer19.weight[2, 3]))"
    )


def test_a_sum_knows_what_its_parts_share() -> None:
    one, other = ({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 2.0, "c": 4.0})
    same = NUMBERS + fk.FisherInformation(W, parameters=ABC, point=one)
    assert same.point == one
    assert (NUMBERS + fk.FisherInformation(W, parameters=ABC, point=other)).point is None
    assert (NUMBERS + fk.FisherInformation(W, parameters=ABC, kind="empirical")).kind == "expected+empirical"


def test_the_error_bound_of_a_sum_is_the_larger() -> None:
    """By Cauchy and Schwarz: relative to the roots of the diagonals."""
    rough, fine = (
        fk.FisherInformation.of(NUMBERS._structure, replace(NUMBERS._provenance, error_bound=bound)) for bound in (1e-3, 1e-9)
    )
    assert (rough + fine).error_bound == (fine + rough).error_bound == (rough + NUMBERS).error_bound == 1e-3
    assert (5 * rough).error_bound == rough.fix("a").error_bound == 1e-3  # relative: unchanged
    assert rough.marginalize("a").error_bound is None  # amplified by an amount that is not followed


def test_names_may_be_symbols() -> None:
    F = fk.FisherInformation(to_numpy([[2.0, 0.0], [0.0, 3.0]]), parameters=(MU, SIGMA), point={MU: 1.0, SIGMA: 2.0})
    assert F.point == {"mu": 1.0, "sigma": 2.0}
    assert float(F[SIGMA]) == 3.0
    assert F.rename(sigma="s").point == {"mu": 1.0, "s": 2.0}


@pytest.mark.parametrize("matrix", [[[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]], ids=["saddle", "negative entry"])
def test_an_indefinite_information_still_has_a_repr(matrix: list[list[float]]) -> None:
    F = fk.FisherInformation(matrix, parameters=("a", "b"), kind="observed")
    assert repr(F) == "FisherInformation(observed, n=1, dense 2x2, parameters=(a, b), condition=indefinite)"
