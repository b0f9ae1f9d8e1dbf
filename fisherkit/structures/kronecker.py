"""One Kronecker product per parameter, at the cost of a layer's inputs and outputs, not of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, final

from array_api_compat import array_namespace

from ..arrays import Array, as_float64, check_budget, same_family
from ..errors import EntriesError, MethodError
from ..parameters import Parameters, concatenate
from .base import Leaves, Structure
from .inversion import Inversion, invert, singular
from .products import Sides, assembled, by_group, column, cut, joined, kron, sandwich

MOST_NAMED = 1000  # null directions that an error carries


@final
class Kronecker(Structure):
    """``L (x) R`` for each parameter of shape (m, n), row by row: L is (m, m) and R is (n, n). Nothing between parameters.

    An L that is diagonal is held as (m,). A parameter without such a product has its own diagonal in place of L, and R is one by
    one. The rows of a parameter may be in groups, with nothing between them: L is (groups, m, m) then, and R (groups, n, n).
    """

    name = "kfac"

    def __init__(self, left: Leaves, right: Leaves, precision: Array, parameters: Parameters) -> None:
        self.left, self.right, self._precision, self.parameters = tuple(left), tuple(right), precision, parameters

    @property
    def arrays(self) -> Mapping[str, Array]:
        arrays = (*self.left, *self.right, self._precision)
        return dict(zip(self.keys(self.parameters), arrays, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> Self:
        left, right = ([arrays[f"{name}:{side}"] for name in parameters.names] for side in ("left", "right"))
        return cls(left, right, arrays["precision"], parameters)

    @classmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        return [*(f"{name}:{side}" for side in ("left", "right") for name in parameters.names), "precision"]

    @property
    def precision(self) -> float:
        """The relative rounding of the factors: eigenvalues below it are zero."""
        return float(self._precision)

    def scale(self, factor: Any) -> Self:
        if not isinstance(factor, (int, float)) and not hasattr(factor, "item"):
            raise EntriesError(f"a Kronecker information is scaled by a number; got the expression {factor}.")
        return self._with([left * float(factor) for left in self.left], self.right)

    def add(self, other: Self) -> Self:
        raise MethodError("a sum of Kronecker products is none: see promotion.")

    def select(self, names: Sequence[str]) -> Self:
        places = [self.parameters.names.index(name) for name in names]
        left, right = ([side[i] for i in places] for side in (self.left, self.right))
        return type(self)(left, right, self._precision, self.parameters.select(names))

    def marginalize(self, kept: Sequence[str]) -> Self:
        return self.select(kept)  # nothing between parameters

    def matvec(self, leaves: Leaves) -> Leaves:
        return self._joined([self._product(*sides, v) for sides, v in zip(self._sides, self._cut(leaves), strict=True)])

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        """Damped in the factors' eigenvectors, so that the damping is that of the whole matrix; else side by side."""
        if not damping:
            pairs = zip(self._inversions, self._cut(leaves), strict=True)
            return self._joined([sandwich(left.inverse(), right.inverse(), v) for (left, right), v in pairs])
        out = []
        for (values, Q, P), v in zip(self._spectra, self._cut(leaves), strict=True):
            inner = sandwich(Q, P, v, transposed=True)
            out.append(sandwich(Q, P, inner / column(values + damping, inner)))
        return self._joined(out)

    def variances(self) -> Leaves:
        return self._joined([_outer(left.variances(), right.variances()) for left, right in self._inversions])

    def diagonal(self) -> Leaves:
        return self._joined([_outer(_diagonal(L), _diagonal(R)) for L, R in self._sides])

    def dense(self) -> Array:
        return self._assembled([kron(L, R) for L, R in self._sides])

    def inverse(self) -> Array:
        return self._assembled([kron(left.inverse(), right.inverse()) for left, right in self._inversions])

    def logdet(self) -> Any:
        each = zip(self._inversions, self._sides, strict=True)
        return sum(len(R) * left.logdet() + len(L) * right.logdet() for (left, right), (L, R) in each)

    def eigenvalues(self) -> Array:
        values = concatenate([values for values, _, _ in self._spectra])
        return array_namespace(values).sort(values)

    def scaled_eigenvalues(self) -> Array:
        return self._with(*(list(map(_scaled, sides)) for sides in (self.left, self.right))).eigenvalues()

    def trace(self) -> Any:
        return sum(_diagonal(L).sum() * _diagonal(R).sum() for L, R in self._sides)

    # -- inside

    @property
    def _sides(self) -> list[Sides]:
        return [sides for L, R in zip(self.left, self.right, strict=True) for sides in by_group(L, R)]

    @property
    def _groups(self) -> list[int]:
        return [len(L) if L.ndim == 3 else 1 for L in self.left]

    def _cut(self, leaves: Leaves) -> Leaves:
        return cut(leaves, self._groups)

    def _joined(self, pieces: Leaves) -> Leaves:
        return joined(pieces, self._groups)

    def _product(self, L: Array, R: Array, v: Array) -> Array:
        same_family(L, v, verb="F @ v")
        return sandwich(L, R, v)

    @cached_property
    def _spectra(self) -> list[tuple[Array, Array | None, Array]]:
        """Of each block its eigenvalues (m n,) and the vectors of both sides; None for those of a diagonal."""
        out = []
        for L, R in self._sides:
            eigh = array_namespace(L).linalg.eigh
            mu, P = eigh(as_float64(R, verb="a decomposition"))
            lam, Q = (L, None) if L.ndim == 1 else eigh(as_float64(L, verb="a decomposition"))
            out.append((_outer(_positive(lam), _positive(mu)), Q, P))
        return out

    @cached_property
    def _inversions(self) -> list[tuple[Inversion, Inversion]]:
        """Of both sides of each block; a side that is singular to its precision is refused, by its rows."""
        out = []
        owners = [(name, k, n) for name, n in zip(self.parameters.names, self._groups, strict=True) for k in range(n)]
        for (name, k, n), (L, R) in zip(owners, self._sides, strict=True):
            first = k * len(L)
            inside = "" if n == 1 else f"{first}:{first + len(L)}"
            rows = Parameters.of([f"{name}[{first + i},:]" for i in range(len(L))])
            columns = Parameters.of([f"{name}[{inside or ':'},{i}]" for i in range(len(R))])
            left = _Diagonal(L, rows) if L.ndim == 1 else invert(L, rows, precision=self.precision)
            out.append((left, invert(R, columns, precision=self.precision)))
        return out

    def _assembled(self, blocks: Iterable[Array]) -> Array:
        p = self.parameters.size
        check_budget(p * p, what=f"the dense {p} x {p} matrix", cheaper="F.solve(v, damping=...) and F.logdet never form it.")
        return assembled(blocks, p)

    def _with(self, left: Leaves, right: Leaves) -> Self:
        return type(self)(left, right, self._precision, self.parameters)


class _Diagonal:
    """The inversion of a diagonal."""

    def __init__(self, values: Array, parameters: Parameters) -> None:
        self._values = values
        empty = [i for i, value in enumerate((values <= 0).tolist()) if value]
        if empty:
            raise singular([{parameters.label(i): 1.0} for i in empty[:MOST_NAMED]], parameters)

    def solve(self, b: Array) -> Array:
        return b / column(self._values, b)

    def inverse(self) -> Array:
        return 1 / self._values

    def variances(self) -> Array:
        return 1 / self._values

    def logdet(self) -> Any:
        return array_namespace(self._values).log(self._values).sum()


def _outer(a: Array, b: Array) -> Array:
    return (a[:, None] * b[None, :]).reshape(-1)


def _positive(values: Array) -> Array:
    """A sum of squares has no negative eigenvalue but for rounding."""
    return array_namespace(values).where(values > 0, values, values * 0)


def _diagonal(side: Array) -> Array:
    return side if side.ndim == 1 else array_namespace(side).linalg.diagonal(side)


def _scaled(side: Array) -> Array:
    return array_namespace(side).stack([_unit(each) for each in side]) if side.ndim == 3 else _unit(side)


def _unit(side: Array) -> Array:
    """To unit diagonal; rows without information stay zero."""
    xp = array_namespace(side)
    if side.ndim == 1:
        return xp.astype(side > 0, side.dtype)
    root = xp.sqrt(_diagonal(side))
    root = xp.where(root > 0, root, root * 0 + 1)
    return side / (root[:, None] * root[None, :])
