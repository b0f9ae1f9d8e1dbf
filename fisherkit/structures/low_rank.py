"""A few directions: U U', with as many columns as observations or as were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from array_api_compat import array_namespace

from ..arrays import Array, alike, as_float64, family, is_expression, same_family
from ..errors import SingularInformationError
from ..parameters import Parameters, concatenate
from .base import Leaves, PerParameter, column
from .inversion import Inversion, invert

NAMED = 2048  # parameters up to which null directions are worked out and named


@final
class LowRank(PerParameter):
    """``U U'``, U held per parameter in leaves of shape (size, r)."""

    name = "low-rank"

    @property
    def columns(self) -> int:
        """r, the rank that it may have."""
        return int(self.leaves[0].shape[1])

    def scale(self, factor: Any) -> Self:
        root = factor**0.5 if not is_expression(factor) else _sqrt(factor)
        return self.map(lambda leaf: leaf * root)

    def add(self, other: Self) -> Self:
        """The columns of both, as many as there are parameters at most."""
        pairs = [same_family(a, b, verb="F + G") for a, b in zip(self.leaves, other.leaves, strict=True)]
        joined = type(self)([array_namespace(a).concat([a, b], axis=1) for a, b in pairs], self.parameters)
        p = self.parameters.size
        if joined.columns <= p or family(joined.leaves[0]) == "sympy":
            return joined
        U = concatenate(joined.leaves)
        return type(self)(self.parameters.split(array_namespace(U).linalg.qr(U.T)[1].T), self.parameters)

    def marginalize(self, kept: Sequence[str]) -> Self:
        """The kept rows, where the others' rows are orthogonal: the Schur complement without a subtraction."""
        gone = self.select(self.parameters.without(kept))
        gone._refuse_singular()
        rows = as_float64(concatenate(gone.leaves), verb="F.marginalize(...)")
        xp = array_namespace(rows)
        rows = rows / xp.sqrt((rows * rows).sum(1))[:, None]
        free = xp.linalg.qr(rows.T, mode="complete")[0][:, len(rows) :]
        return self.select(kept).map(lambda leaf: leaf @ free)

    def congruence(self, jacobian: Array, parameters: Parameters) -> Self:
        """J' F J."""
        jacobian, U = same_family(jacobian, concatenate(self.leaves), verb="F.reparametrize")
        return type(self)(parameters.split(jacobian.T @ U), parameters)

    def matvec(self, leaves: Leaves) -> Leaves:
        pairs = [same_family(U, v, verb="F @ v") for U, v in zip(self.leaves, leaves, strict=True)]
        inner = sum(U.T @ v for U, v in pairs)
        return [U @ inner for U, _ in pairs]

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        """Along the directions held, and across them."""
        if not damping:
            return self.parameters.split(self._inversion.solve(concatenate(leaves)))
        W, values = self._principal
        _, v = same_family(W, concatenate(leaves), verb="F.solve")
        inner = W.T @ v
        across = (v - W @ inner) / damping
        return self.parameters.split(across + W @ (inner / column(values + damping, inner)))

    def variances(self) -> Leaves:
        return self.parameters.split(self._inversion.variances())

    def diagonal(self) -> Leaves:
        return [(U * U).sum(1) for U in self.leaves]

    def dense(self) -> Array:
        U = concatenate(self.leaves)
        return U @ U.T

    def inverse(self) -> Array:
        return self._inversion.inverse()

    def logdet(self) -> Any:
        return self._inversion.logdet()

    def eigenvalues(self) -> Array:
        return self._padded(self._principal[1])

    def scaled_eigenvalues(self) -> Array:
        U = as_float64(concatenate(self.leaves), verb="F.condition")
        xp = array_namespace(U)
        root = xp.sqrt((U * U).sum(1))
        return self._padded(xp.linalg.svdvals(U / xp.where(root > 0, root, root * 0 + 1)[:, None]) ** 2)

    def _padded(self, values: Array) -> Array:
        xp = array_namespace(values)
        return xp.sort(xp.concat([values, alike(np.zeros(max(0, self.parameters.size - len(values))), values)]))

    @cached_property
    def _principal(self) -> tuple[Array, Array]:
        """Orthonormal directions and their eigenvalues."""
        U = as_float64(concatenate(self.leaves), verb="a decomposition")
        W, roots, _ = array_namespace(U).linalg.svd(U, full_matrices=False)
        return W, roots**2

    @cached_property
    def _inversion(self) -> Inversion:
        self._refuse_singular()
        return invert(self.dense(), self.parameters)

    def _refuse_singular(self) -> None:
        p = self.parameters.size
        if self.columns >= p:
            return
        if p <= NAMED:
            invert(self.dense(), self.parameters).variances()  # raises, and names the directions
        raise SingularInformationError(
            f"a low-rank information of {self.columns} directions is singular over {p} parameters: pass damping= to solve, or "
            "add a prior.",
            null_directions=(),
        )


def _sqrt(factor: Any) -> Any:
    from sympy import sqrt

    return sqrt(factor)
