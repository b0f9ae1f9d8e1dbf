"""The one table of what a network keeps: a new structure is one row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import MethodError
from ..structures.base import Structure
from .eigenbasis import EKFAC, in_basis
from .kept import Kept, KeptBlocks, KeptDense, KeptDiagonal, KeptLowRank, LowRank
from .kronecker import KFAC, KeptKronecker

KEPT: dict[str, type[Kept]] = {cls.name: cls for cls in (KeptDiagonal, KeptDense, KeptBlocks, KeptLowRank, KeptKronecker)}


def kept_as(structure: Any, first: Callable[[KFAC], Structure] | None = None) -> type[Kept]:
    """The row of a structure, given by name or as an object that says more; ``first`` takes the first pass of two."""
    if structure == EKFAC.name:
        structure = EKFAC()
    if isinstance(structure, EKFAC) and first is not None:
        return in_basis(first(structure.first))
    if isinstance(structure, LowRank):
        return type("KeptLowRank", (KeptLowRank,), {"rank": structure.rank})
    if isinstance(structure, KFAC):
        return type("KeptKronecker", (KeptKronecker,), {"shared": structure.shared})
    if structure not in KEPT:
        raise MethodError(f"a network keeps structure={' or '.join(map(repr, (*KEPT, EKFAC.name)))}; got {structure!r}.")
    return KEPT[structure]
