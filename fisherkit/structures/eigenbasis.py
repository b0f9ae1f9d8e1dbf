"""A diagonal in a Kronecker eigenbasis of each parameter: what is kept of a matrix by EKFAC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self, final

from array_api_compat import array_namespace

from ..arrays import Array, as_float64, check_budget, eye, same_family
from ..errors import EntriesError, MethodError
from ..parameters import Parameters, concatenate
from .base import Leaves, Structure
from .inversion import scaled_eigh, singular
from .products import assembled, by_group, column, cut, joined, kron, sandwich

MOST_NAMED = 10  # null directions that an error carries
TELLING = 5  # entries of each that it names
DOUBLE = 1e-10  # precision below which a basis needs all of float64
SMALL = 4096  # entries of a parameter up to which a verb that needs its block forms it


@final
class Eigenbasis(Structure):
    """``(Q (x) P) diag(s) (Q (x) P)'`` for each parameter of shape (m, n), row by row. Nothing between parameters.

    Q (m, m) and P (n, n) are orthogonal; an empty Q is the identity. A parameter without such a basis has that, and P is one by
    one. The rows of a parameter may be in groups: Q is (groups, m, m) then, and P (groups, n, n). Bases may be held in single
    precision, where the precision says no more of them: they are made orthogonal to the values' own on first use.
    """

    name = "ekfac"

    def __init__(self, values: Leaves, left: Leaves, right: Leaves, precision: Array, parameters: Parameters) -> None:
        self.values, self.left, self.right = tuple(values), tuple(left), tuple(right)
        self._precision, self.parameters = precision, parameters

    @property
    def arrays(self) -> Mapping[str, Array]:
        arrays = (*self.values, *self.left, *self.right, self._precision)
        return dict(zip(self.keys(self.parameters), arrays, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> Self:
        values, left, right = ([arrays[f"{name}:{part}"] for name in parameters.names] for part in ("values", "left", "right"))
        return cls(values, left, right, arrays["precision"], parameters)

    @classmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        return [*(f"{name}:{part}" for part in ("values", "left", "right") for name in parameters.names), "precision"]

    @property
    def precision(self) -> float:
        """The relative rounding of the factors that gave the basis: eigenvalues below it are zero."""
        return float(self._precision)

    def scale(self, factor: Any) -> Self:
        if not isinstance(factor, (int, float)) and not hasattr(factor, "item"):
            raise EntriesError(f"an EKFAC information is scaled by a number; got the expression {factor}.")
        values = [value * float(factor) for value in self.values]
        return type(self)(values, self.left, self.right, self._precision, self.parameters)

    def add(self, other: Self) -> Self:
        raise MethodError("a sum in two bases has neither: see promotion.")

    def select(self, names: Sequence[str]) -> Self:
        places = [self.parameters.names.index(name) for name in names]
        values, left, right = ([part[i] for i in places] for part in (self.values, self.left, self.right))
        return type(self)(values, left, right, self._precision, self.parameters.select(names))

    def marginalize(self, kept: Sequence[str]) -> Self:
        return self.select(kept)  # nothing between parameters

    def matvec(self, leaves: Leaves) -> Leaves:
        return self._through(self.values, leaves)

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        """Exactly: in the basis, damping is added to each eigenvalue."""
        values = [value + damping for value in self.values] if damping else self._regular
        return self._through([1 / value for value in values], leaves)

    def variances(self) -> Leaves:
        return self._spread([1 / value for value in self._regular])

    def diagonal(self) -> Leaves:
        return self._spread(self.values)

    def dense(self) -> Array:
        return self._matrix(self.values, "F.solve(v, damping=...) and F.logdet never form it.")

    def inverse(self) -> Array:
        return self._matrix([1 / value for value in self._regular], "F.solve(v) and F.standard_errors() never form it.")

    def logdet(self) -> Any:
        return sum(array_namespace(value).log(value).sum() for value in self._regular)

    def eigenvalues(self) -> Array:
        values = as_float64(concatenate(self.values), verb="F.eigenvalues()")
        return array_namespace(values).sort(values)

    def scaled_eigenvalues(self) -> Array:
        """Scaling leaves the basis: block by block, of parameters of a few thousand entries."""
        if max(self.parameters.sizes) > SMALL:
            raise MethodError(
                f"the rank and the condition after scaling need the block of each parameter, and one has "
                f"{max(self.parameters.sizes)} entries: F.eigenvalues() are those of F as it is."
            )
        found = []
        for name in self.parameters.names:
            one = self.select((name,))
            found.append(scaled_eigh(one.dense(), one.parameters)[1])
        values = concatenate(found)
        return array_namespace(values).sort(values)

    def trace(self) -> Any:
        return sum(value.sum() for value in self.values)

    # -- inside

    @cached_property
    def _bases(self) -> list[tuple[Array | None, Array]]:
        """Of every parameter, or of every group of its rows."""
        done: dict[int, Array] = {}

        def refined(Q: Array) -> Array:
            if id(Q) not in done:
                done[id(Q)] = _orthogonal(Q, self.values[0]) if self.precision >= DOUBLE else Q
            return done[id(Q)]

        sides = [pair for Q, P in zip(self.left, self.right, strict=True) for pair in by_group(Q, P)]
        return [(refined(Q) if len(Q) else None, refined(P)) for Q, P in sides]

    @property
    def _groups(self) -> list[int]:
        return [len(Q) if Q.ndim == 3 else 1 for Q in self.left]

    def _through(self, values: Leaves, leaves: Leaves) -> Leaves:
        out = []
        for value, (Q, P), v in zip(cut(values, self._groups), self._bases, cut(leaves, self._groups), strict=True):
            same_family(value, v, verb="F @ v")
            inner = sandwich(Q, P, v, transposed=True)
            out.append(sandwich(Q, P, inner * column(value, inner)))
        return joined(out, self._groups)

    def _spread(self, values: Leaves) -> Leaves:
        """The diagonal of each block that has these eigenvalues."""
        pairs = zip(cut(values, self._groups), self._bases, strict=True)
        return joined([sandwich(None if Q is None else Q**2, P**2, value) for value, (Q, P) in pairs], self._groups)

    def _matrix(self, values: Leaves, cheaper: str) -> Array:
        p = self.parameters.size
        check_budget(p * p, what=f"the dense {p} x {p} matrix", cheaper=cheaper)
        blocks = []
        for value, (Q, P) in zip(cut(values, self._groups), self._bases, strict=True):
            W = kron(value[: len(value) // len(P)] * 0 + 1 if Q is None else Q, P)
            blocks.append((W * value[None, :]) @ W.T)
        return assembled(blocks, p)

    @property
    def _regular(self) -> Leaves:
        """The eigenvalues, where none is zero to the factors' precision; else the directions are named."""
        directions: list[dict[str, float]] = []
        start = 0
        for value, (Q, P) in zip(cut(self.values, self._groups), self._bases, strict=True):
            for k in (
                array_namespace(value).nonzero(value <= self._least(value, Q, P))[0][: MOST_NAMED - len(directions)].tolist()
            ):
                unit = value * 0
                unit[k] = 1.0
                vector = sandwich(Q, P, unit).tolist()
                telling = sorted(range(len(vector)), key=lambda i: -abs(vector[i]))[:TELLING]
                directions.append({self.parameters.label(start + i): vector[i] for i in telling if vector[i]})
            start += len(value)
        if directions:
            raise singular(directions, self.parameters)
        return self.values

    def _least(self, value: Array, Q: Array | None, P: Array) -> Any:
        """What is zero to the factors' precision: of each row by itself, where the rows do not mix."""
        if Q is not None:
            return 10 * max(len(P), len(Q)) * self.precision * float(value.max())
        rows = value.reshape(-1, len(P))
        largest = array_namespace(value).max(rows, axis=1)[:, None] + rows * 0
        return (10 * len(P) * self.precision * largest).reshape(-1) if len(P) > 1 else 0.0


def eigenbasis(left: Leaves, right: Leaves, precision: float) -> tuple[Leaves, Leaves]:
    """Q and P of each parameter, from the sides of Kronecker products: equal ones are decomposed once.

    Decomposed in the precision that the factors have: any orthogonal basis is a right one.
    """
    done: list[tuple[Array, Array]] = []

    def of(side: Array) -> Array:
        for other, basis in done:
            if other is side or (other.shape == side.shape and _equal(other[0], side[0]) and _equal(other, side)):
                return basis
        xp = array_namespace(side)
        narrow = xp.astype(side, xp.float32, copy=False) if precision >= DOUBLE else side
        done.append((side, xp.linalg.eigh(xp.matrix_transpose(narrow))[1]))  # symmetric: in the order that LAPACK takes
        return done[-1][1]

    return [L[:0, None] * L[None, :0] if L.ndim == 1 else of(L) for L in left], [of(R) for R in right]


def _equal(one: Array, other: Array) -> bool:
    return bool((one == other).all())


def _orthogonal(single: Array, like: Array) -> Array:
    """One step of Newton and Schulz in float64, from a basis that is orthogonal to single precision."""
    xp = array_namespace(single)
    Q = xp.astype(single, xp.float64)
    excess = xp.astype(Q.T @ Q - eye(len(Q), Q), xp.float32)
    return xp.astype(Q - 0.5 * xp.astype(xp.astype(single, xp.float32) @ excess, xp.float64), like.dtype)
