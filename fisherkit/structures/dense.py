"""The full p x p matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self, final

from array_api_compat import array_namespace

from ..arrays import Array, as_float64, eye, same_family
from ..parameters import Parameters, concatenate
from .base import Leaves, Structure
from .inversion import Inversion, invert, scaled_eigh


@final
class Dense(Structure):
    """A (p, p) array."""

    name = "dense"

    def __init__(self, matrix: Array, parameters: Parameters) -> None:
        self.matrix = matrix
        self.parameters = parameters

    @property
    def arrays(self) -> Mapping[str, Array]:
        return {"matrix": self.matrix}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> Self:
        return cls(arrays["matrix"], parameters)

    @classmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        return ("matrix",)

    def scale(self, factor: Any) -> Self:
        return self._new(self.matrix * factor)

    def add(self, other: Self) -> Self:
        a, b = same_family(self.matrix, other.matrix, verb="F + G")
        return self._new(a + b)

    def select(self, names: Sequence[str]) -> Self:
        rows = self.parameters.positions(names)
        return type(self)(self.matrix[rows][:, rows], self.parameters.select(names))

    def marginalize(self, kept: Sequence[str]) -> Self:
        gone = self.parameters.without(kept)
        a, b = self.parameters.positions(kept), self.parameters.positions(gone)
        cross = self.matrix[b][:, a]
        nuisance = self.select(gone)
        lost = cross.T @ nuisance._inversion.solve(cross)
        return type(self)(_symmetric(self.matrix[a][:, a] - lost), self.parameters.select(kept))

    def matvec(self, leaves: Leaves) -> Leaves:
        matrix, v = same_family(self.matrix, concatenate(leaves), verb="F @ v")
        return self._leaves(matrix @ v)

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        matrix, v = same_family(self.matrix, concatenate(leaves), verb="F.solve")
        if matrix is self.matrix and not damping:
            return self._leaves(self._inversion.solve(v))
        return self._leaves(invert(matrix + damping * eye(len(matrix), matrix), self.parameters).solve(v))

    def variances(self) -> Leaves:
        return self._leaves(self._inversion.variances())

    def diagonal(self) -> Leaves:
        return self._leaves(array_namespace(self.matrix).linalg.diagonal(self.matrix))

    def dense(self) -> Array:
        return self.matrix

    def inverse(self) -> Array:
        return self._inversion.inverse()

    def logdet(self) -> Any:
        return self._inversion.logdet()

    def eigenvalues(self) -> Array:
        matrix = as_float64(self.matrix, verb="F.eigenvalues()")
        return array_namespace(matrix).linalg.eigvalsh(matrix)

    def scaled_eigenvalues(self) -> Array:
        matrix = as_float64(self.matrix, verb="F.condition")
        return scaled_eigh(matrix, self.parameters)[1]

    def congruence(self, jacobian: Array, parameters: Parameters) -> Self:
        """J' F J."""
        matrix, jacobian = same_family(self.matrix, jacobian, verb="F.reparametrize")
        return type(self)(_symmetric(jacobian.T @ matrix @ jacobian), parameters)

    @cached_property
    def _inversion(self) -> Inversion:
        return invert(self.matrix, self.parameters)

    def _new(self, matrix: Array) -> Self:
        return type(self)(matrix, self.parameters)

    def _leaves(self, vector: Array) -> Leaves:
        return self.parameters.split(vector)


def _symmetric(matrix: Array) -> Array:
    """Congruences and Schur complements are symmetric but for rounding."""
    return matrix if matrix.dtype == object else (matrix + matrix.T) / 2
