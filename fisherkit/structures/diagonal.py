"""The diagonal alone, held per parameter: what fits a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
from array_api_compat import array_namespace

from ..arrays import Array, as_float64, check_budget, eye, family, same_family
from ..parameters import concatenate
from .base import Leaves, PerParameter, column
from .inversion import refuse_negative, singular

MOST_NAMED = 1000  # null directions that an error carries


@final
class Diagonal(PerParameter):
    """One flat array per parameter; everything off the diagonal is zero."""

    name = "diagonal"

    def scale(self, factor: Any) -> Self:
        return self.map(lambda leaf: leaf * factor)

    def add(self, other: Self) -> Self:
        pairs = [same_family(a, b, verb="F + G") for a, b in zip(self.leaves, other.leaves, strict=True)]
        return type(self)([a + b for a, b in pairs], self.parameters)

    def marginalize(self, kept: Sequence[str]) -> Self:
        return self.select(kept)  # without off-diagonal entries, nuisance parameters cost nothing

    def matvec(self, leaves: Leaves) -> Leaves:
        pairs = [same_family(a, v, verb="F @ v") for a, v in zip(self.leaves, leaves, strict=True)]
        return [column(a, v) * v for a, v in pairs]

    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        pairs = [same_family(a + damping, v, verb="F.solve") for a, v in zip(self.leaves, leaves, strict=True)]
        self._refuse_zeros([a for a, _ in pairs])
        return [v / column(a, v) for a, v in pairs]

    def variances(self) -> Leaves:
        self._refuse_zeros(self.leaves)
        return [1 / leaf for leaf in self.leaves]

    def diagonal(self) -> Leaves:
        return self.leaves

    def dense(self) -> Array:
        return self._matrix(self.leaves)

    def inverse(self) -> Array:
        return self._matrix(self.variances())

    def logdet(self) -> Any:
        self._refuse_zeros(self.leaves)
        if family(self.leaves[0]) == "sympy":
            import sympy

            return sum(sympy.log(value) for leaf in self.leaves for value in leaf)
        xp = array_namespace(*self.leaves)
        return sum(xp.sum(xp.log(leaf)) for leaf in self.leaves)

    def eigenvalues(self) -> Array:
        values = as_float64(concatenate(self.leaves), verb="F.eigenvalues()")
        return array_namespace(values).sort(values)

    def scaled_eigenvalues(self) -> Array:
        values = self.eigenvalues()
        return array_namespace(values).astype(values > 0, values.dtype)

    def _matrix(self, leaves: Leaves) -> Array:
        p = self.parameters.size
        check_budget(p * p, what=f"the dense {p} x {p} matrix", cheaper="F.diagonal() is the same information in p numbers.")
        values = concatenate(leaves)
        return eye(p, values) * values[None, :]

    def _refuse_zeros(self, leaves: Leaves) -> None:
        """A zero is a parameter without information: there is no inverse."""
        start = 0
        directions: list[dict[str, Any]] = []
        for name, leaf in zip(self.parameters.names, leaves, strict=True):
            if family(leaf) != "sympy":
                refuse_negative(leaf, self.parameters.select((name,)))
            zeros = np.array([v.is_zero is True for v in leaf]) if family(leaf) == "sympy" else leaf == 0
            positions = array_namespace(zeros).nonzero(zeros)[0][: MOST_NAMED - len(directions)]
            directions += [{self.parameters.label(start + int(k)): 1.0} for k in positions]
            start += len(leaf)
        if directions:
            raise singular(directions, self.parameters)
