"""Dense blocks on the diagonal, one for each group of parameters; nothing between the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from array_api_compat import array_namespace

from ..arrays import Array, alike, as_float64, check_budget, eye, family, same_family
from ..parameters import Parameters, concatenate
from .base import Leaves, Structure
from .inversion import Inversion, invert, scaled_eigh
from .products import assembled

Groups = tuple[tuple[str, ...], ...]


@final
class Blocks(Structure):
    """A square array for each group of parameters, its rows in the order of the group's names."""

    name = "block-diagonal"

    def __init__(self, matrices: Sequence[Array], groups: Sequence[Sequence[str]], parameters: Parameters) -> None:
        self.matrices, self.groups, self.parameters = tuple(matrices), tuple(map(tuple, groups)), parameters

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The rows of each parameter, and the number of its group."""
        rows: dict[str, Array] = {}
        number: dict[str, float] = {}
        for i, (matrix, own) in enumerate(zip(self.matrices, self._own, strict=True)):
            rows |= {name: matrix[own.positions((name,))] for name in own.names}
            number |= dict.fromkeys(own.names, float(i))
        numbers = np.array([number[name] for name in self.parameters.names])
        like = self.matrices[0]
        return {name: rows[name] for name in self.parameters.names} | {
            "groups": numbers.astype(object) if family(like) == "sympy" else alike(numbers, like)
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> Self:
        numbers = [int(number) for number in arrays["groups"]]
        groups = [
            [name for name, number in zip(parameters.names, numbers, strict=True) if number == one]
            for one in dict.fromkeys(numbers)
        ]
        return cls([concatenate([arrays[name] for name in own]) for own in groups], groups, parameters)

    @classmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        return [*parameters.names, "groups"]

    def map(self, function: Any) -> Self:
        return self._with([function(matrix) for matrix in self.matrices])

    def scale(self, factor: Any) -> Self:
        return self._with([matrix * factor for matrix in self.matrices])

    def add(self, other: Self) -> Self:
        """Of equal groups: see promotion."""
        pairs = [same_family(a, b, verb="F + G") for a, b in zip(self.matrices, other.matrices, strict=True)]
        return self._with([a + b for a, b in pairs])

    def select(self, names: Sequence[str]) -> Self:
        kept = [(own, matrix) for own, matrix in zip(self._own, self.matrices, strict=True) if {*own.names} & {*names}]
        groups = [[name for name in names if name in own.names] for own, _ in kept]
        matrices = []
        for (own, matrix), group in zip(kept, groups, strict=True):
            rows = own.positions(group)
            matrices.append(matrix[rows][:, rows])
        order = sorted(range(len(groups)), key=lambda i: list(names).index(groups[i][0]))
        return type(self)([matrices[i] for i in order], [groups[i] for i in order], self.parameters.select(names))

    def marginalize(self, kept: Sequence[str]) -> Self:
        """A Schur complement inside each block."""
        selected = self.select(kept)
        matrices = []
        for group, matrix in zip(selected.groups, selected.matrices, strict=True):
            own, whole = next((o, m) for o, m in zip(self._own, self.matrices, strict=True) if group[0] in o.names)
            if gone := [name for name in own.names if name not in group]:
                a, b = own.positions(group), own.positions(gone)
                cross = whole[b][:, a]
                matrix = matrix - cross.T @ invert(whole[b][:, b], own.select(gone)).solve(cross)
                matrix = matrix if matrix.dtype == object else (matrix + matrix.T) / 2
            matrices.append(matrix)
        return type(self)(matrices, selected.groups, selected.parameters)

    def matvec(self, leaves: Leaves) -> Leaves:
        def product(matrix: Array, v: Array) -> Array:
            matrix, v = same_family(matrix, v, verb="F @ v")
            return matrix @ v

        return self._joined([product(*pair) for pair in zip(self.matrices, self._split(leaves), strict=True)])

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        inversions = (
            self._with([m + damping * eye(len(m), m) for m in self.matrices])._inversions if damping else self._inversions
        )
        return self._joined([one.solve(v) for one, v in zip(inversions, self._split(leaves), strict=True)])

    def variances(self) -> Leaves:
        return self._joined([one.variances() for one in self._inversions])

    def diagonal(self) -> Leaves:
        return self._joined([array_namespace(matrix).linalg.diagonal(matrix) for matrix in self.matrices])

    def dense(self) -> Array:
        return self._matrix(self.matrices)

    def inverse(self) -> Array:
        return self._matrix([one.inverse() for one in self._inversions])

    def logdet(self) -> Any:
        return sum(one.logdet() for one in self._inversions)

    def eigenvalues(self) -> Array:
        matrices = [as_float64(matrix, verb="F.eigenvalues()") for matrix in self.matrices]
        return self._sorted([array_namespace(matrix).linalg.eigvalsh(matrix) for matrix in matrices])

    def scaled_eigenvalues(self) -> Array:
        matrices = [as_float64(matrix, verb="F.condition") for matrix in self.matrices]
        return self._sorted([scaled_eigh(matrix, own)[1] for matrix, own in zip(matrices, self._own, strict=True)])

    # -- inside

    @cached_property
    def _own(self) -> list[Parameters]:
        return [self.parameters.select(group) for group in self.groups]

    @cached_property
    def _inversions(self) -> list[Inversion]:
        return [invert(matrix, own) for matrix, own in zip(self.matrices, self._own, strict=True)]

    def _split(self, leaves: Leaves) -> list[Array]:
        """The part of a vector that belongs to each block."""
        given = dict(zip(self.parameters.names, leaves, strict=True))
        return [concatenate([given[name] for name in group]) for group in self.groups]

    def _joined(self, parts: Sequence[Array]) -> Leaves:
        found: dict[str, Array] = {}
        for own, part in zip(self._own, parts, strict=True):
            found |= dict(zip(own.names, own.split(part), strict=True))
        return [found[name] for name in self.parameters.names]

    def _matrix(self, blocks: Sequence[Array]) -> Array:
        p = self.parameters.size
        check_budget(p * p, what=f"the dense {p} x {p} matrix", cheaper="F @ v, F.solve(v) and F.logdet never form it.")
        together = self.parameters.select([name for group in self.groups for name in group])
        rows = together.positions(self.parameters.names)
        return assembled(blocks, p)[rows][:, rows]

    def _sorted(self, parts: Sequence[Array]) -> Array:
        values = concatenate(parts)
        return array_namespace(values).sort(values)

    def _with(self, matrices: Sequence[Array]) -> Self:
        return type(self)(matrices, self.groups, self.parameters)
