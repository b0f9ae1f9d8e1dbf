r"""Inversion that knows the rank and names the directions without information.

Numbers are scaled first, :math:`S = D^{-1/2} F D^{-1/2}` with D the diagonal of F, so that a parameter in small
units is not mistaken for one without information; then one symmetric eigendecomposition answers everything.
An eigenvalue below :math:`10 p \,\varepsilon\, \lambda_{\max}` counts as zero. Expressions are inverted exactly;
their rank is read at a random point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace

from ..arrays import Array, as_entries, family, is_numeric, machine_epsilon
from ..errors import IndefiniteInformationError, SingularInformationError
from ..parameters import Parameters

MANY_ROWS, MANY_GENERATORS = 4, 7  # from where a cancelled solution takes minutes and fills pages


class Inversion(Protocol):
    def solve(self, b: Array) -> Array: ...
    def inverse(self) -> Array: ...
    def variances(self) -> Array: ...
    def logdet(self) -> Any: ...


def invert(matrix: Array, parameters: Parameters, *, precision: float = 0.0) -> Inversion:
    """A factorization of a dense matrix; raises when it is singular or indefinite to rounding, or to its entries' precision."""
    if family(matrix) == "sympy":
        return _Exact(matrix, parameters)
    return _ScaledEigh(matrix, parameters, max(precision, machine_epsilon()))


class _ScaledEigh:
    """F = D^1/2 V diag(w) V' D^1/2. Cost O(p^3), once."""

    def __init__(self, matrix: Array, parameters: Parameters, precision: float) -> None:
        self.xp = array_namespace(matrix)
        self.root, self.values, self.vectors = scaled_eigh(matrix, parameters)
        p = len(matrix)
        tolerance = 10 * p * precision * float(abs(self.values).max())
        if float(self.values[0]) < -max(tolerance, 1e-10):
            raise IndefiniteInformationError(
                f"the information of {parameters} has a negative eigenvalue ({float(self.values[0]):.3g} after scaling to "
                "unit diagonal). An observed information is negative away from a maximum of the likelihood; an expected "
                "or empirical one never is: check the entries."
            )
        rank = int((self.values > tolerance).sum())
        if rank < p:
            raise singular(_named(self.vectors[:, : p - rank], self.root, parameters), parameters)

    def solve(self, b: Array) -> Array:
        root = self.root if b.ndim == 1 else self.root[:, None]
        coordinates = self.vectors.T @ (b / root)
        values = self.values if b.ndim == 1 else self.values[:, None]
        return self.vectors @ (coordinates / values) / root

    def inverse(self) -> Array:
        half = self.vectors / self.xp.sqrt(self.values)[None, :] / self.root[:, None]
        return half @ half.T

    def variances(self) -> Array:
        return self.xp.sum(self.vectors**2 / self.values[None, :], axis=1) / self.root**2

    def logdet(self) -> Any:
        return self.xp.sum(self.xp.log(self.values)) + 2 * self.xp.sum(self.xp.log(self.root))


class _Exact:
    """SymPy entries: expressions, or numbers with more digits than float64."""

    def __init__(self, matrix: Array, parameters: Parameters) -> None:
        import sympy

        self.matrix = sympy.Matrix(matrix.tolist())
        if _generic_rank(matrix) < len(matrix):
            raise singular(_exact_null(self.matrix, matrix, parameters), parameters)

    def solve(self, b: Array) -> Array:
        return as_entries(_solved(self.matrix, _matrix(b.reshape(len(b), -1)))).reshape(b.shape)

    def inverse(self) -> Array:
        return as_entries(_tidy(self.matrix.inv(method="LU" if self.matrix.rows > 3 else "ADJ")))

    def variances(self) -> Array:
        return np.diagonal(self.inverse())

    def logdet(self) -> Any:
        import sympy

        return sympy.log(sympy.simplify(self.matrix.det(method="berkowitz")))


def scaled_eigh(matrix: Array, parameters: Parameters) -> tuple[Array, Array, Array]:
    """The root of the diagonal, and the eigenvalues and vectors of the matrix scaled by it."""
    xp = array_namespace(matrix)
    diagonal = xp.linalg.diagonal(matrix)
    refuse_negative(diagonal, parameters)
    root = xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))
    values, vectors = xp.linalg.eigh(matrix / root[:, None] / root[None, :])
    return root, values, vectors


def refuse_negative(diagonal: Array, parameters: Parameters) -> None:
    """A negative diagonal entry is wrong entries, or an observed information away from a maximum."""
    lowest = int(diagonal.argmin())
    if float(diagonal[lowest]) < 0:
        raise IndefiniteInformationError(
            f"the information of {parameters.label(lowest)} is negative ({float(diagonal[lowest]):.3g}). An observed "
            "information is negative away from a maximum of the likelihood; an expected or empirical one never is."
        )


def singular(directions: Sequence[Mapping[str, Any]], parameters: Parameters) -> SingularInformationError:
    """The error that tells the first of these directions without information, and carries them all."""
    told = "; ".join(" ".join(f"{_signed(c)} {label}" for label, c in d.items()) for d in directions[:3])
    more = f" and {len(directions) - 3} more" if len(directions) > 3 else ""
    return SingularInformationError(
        f"the information of {parameters} is singular: no information along {told}{more}. Fix one of these parameters "
        "with F.fix(...), add a prior, or pass damping= to solve.",
        null_directions=directions,
    )


def _named(null: Array, root: Array, parameters: Parameters) -> list[dict[str, Any]]:
    """Columns as coefficients relative to the largest. What is rounding is seen in scaled units, before they are divided."""
    directions = []
    for scaled in np.asarray(null.tolist()).T:
        column = np.where(abs(scaled) > 1e-6 * abs(scaled).max(), scaled, 0.0) / np.asarray(root.tolist())
        column = column / column[abs(column).argmax()]
        directions.append({parameters.label(i): float(value) for i, value in enumerate(column) if value != 0})
    return directions


def _signed(value: Any) -> str:
    return f"{float(value):+.3g}" if isinstance(value, float) or value.is_number else f"+({value})"


def _generic_rank(matrix: np.ndarray) -> int:
    """Rank at a random point of the free symbols: the rank almost everywhere."""
    numbers = matrix
    if not is_numeric(matrix):
        numbers = np.array([value.evalf(40, subs=_random_point(matrix)) for value in matrix.flat]).reshape(matrix.shape)
    floats = (value for value in numbers.flat if getattr(value, "is_Float", False))  # a rational has all digits
    precise = max((value._prec for value in floats), default=113)
    import mpmath

    with mpmath.workprec(precise):
        scaled = mpmath.matrix(numbers.tolist())
        roots = [mpmath.sqrt(abs(scaled[i, i])) or mpmath.mpf(1) for i in range(len(matrix))]
        for i in range(len(matrix)):
            for j in range(len(matrix)):
                scaled[i, j] /= roots[i] * roots[j]
        values = mpmath.eigsy(scaled, eigvals_only=True)
        tolerance = mpmath.mpf(2) ** (-precise // 2 if not is_numeric(matrix) else -precise + 8) * max(abs(v) for v in values)
        return sum(abs(value) > tolerance for value in values)


def _exact_null(exact: Any, matrix: np.ndarray, parameters: Parameters) -> list[dict[str, Any]]:
    if is_numeric(matrix):
        root, _, vectors = scaled_eigh(matrix.astype(float), parameters)
        return _named(vectors[:, : len(matrix) - _generic_rank(matrix)], root, parameters)
    columns = exact.nullspace(simplify=True)
    return [{parameters.label(i): value for i, value in enumerate(column) if value != 0} for column in columns]


def _random_point(matrix: np.ndarray) -> dict[Any, Any]:
    """Rational values that respect sign assumptions, different for each symbol."""
    import sympy

    symbols = sorted({s for value in matrix.flat for s in value.free_symbols}, key=str)
    primes = [sympy.Rational(sympy.prime(20 + k), sympy.prime(14 + k)) for k in range(len(symbols))]
    return {s: -value if s.is_negative else value for s, value in zip(symbols, primes, strict=True)}


def _matrix(array: np.ndarray) -> Any:
    import sympy

    return sympy.Matrix(array.tolist())


def _solved(matrix: Any, columns: Any) -> Any:
    """Over the field of rational functions of the symbols, with a symbol for each other function: quick, and cancelled."""
    import sympy
    from sympy.polys.matrices import DomainMatrix

    named: dict[Any, Any] = {}
    both = [m.applyfunc(lambda value: _rational(value, named)) for m in (matrix, columns)]
    if any(value.has(sympy.Float) for m in both for value in m):
        return _tidy(matrix.LUsolve(columns))
    generators = {s for m in both for s in m.free_symbols}
    back = {symbol: function for function, symbol in named.items()}
    if len(matrix.col(0)) >= MANY_ROWS and len(generators) > MANY_GENERATORS and (plain := _eliminated(*both)) is not None:
        return plain.xreplace(back)
    left, right = (DomainMatrix.from_Matrix(m).to_field() for m in both)
    left, right = left.unify(right)
    found = left.lu_solve(right).to_Matrix().xreplace(back)
    related = any(f.is_Pow or isinstance(f, sympy.exp) for f in named)  # what the field takes for independent
    return _tidy(found) if related else found


def _eliminated(matrix: Any, columns: Any) -> Any | None:
    """By elimination without pivoting and without cancelling, for what would fill pages; None where a pivot is 0."""
    a, b = matrix.as_mutable(), columns.as_mutable()
    for k in range(a.rows):
        if a[k, k] == 0:
            return None
        for i in range(k + 1, a.rows):
            if a[i, k] != 0:
                factor = a[i, k] / a[k, k]
                a[i, :], b[i, :] = a[i, :] - factor * a[k, :], b[i, :] - factor * b[k, :]
    for k in reversed(range(a.rows)):
        for j in range(k + 1, a.rows):
            b[k, :] = b[k, :] - a[k, j] * b[j, :]
        b[k, :] = b[k, :] / a[k, k]
    return b


def _rational(value: Any, named: dict[Any, Any]) -> Any:
    """With a symbol for each part that is no sum, product or integer power."""
    import sympy

    if value.is_Rational or value.is_Symbol or value.is_Float:
        return value
    if value.is_Add or value.is_Mul:
        return value.func(*(_rational(part, named) for part in value.args))
    if value.is_Pow and value.exp.is_Integer:
        return _rational(value.base, named) ** value.exp
    return named.setdefault(value, sympy.Dummy())


def _tidy(matrix: Any) -> Any:
    import sympy

    return matrix.applyfunc(lambda value: value if value.is_number else sympy.cancel(sympy.together(value)))
