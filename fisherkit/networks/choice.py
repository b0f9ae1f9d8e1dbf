"""The one table of what a network keeps: a new structure is one row here."""

from __future__ import annotations

from typing import Any

from ..errors import MethodError
from .eigenbasis import EKFAC
from .kept import Kept, KeptBlocks, KeptDense, KeptDiagonal, KeptLowRank, LowRank
from .kronecker import KFAC, KeptKronecker
from .replay import FirstPass, KeptRows

KEPT: dict[str, type[Kept]] = {cls.name: cls for cls in (KeptDiagonal, KeptDense, KeptBlocks, KeptLowRank, KeptKronecker)}


def kept_as(structure: Any) -> type[Kept]:
    """The row of a structure, given by name or as an object that says more."""
    if isinstance(structure, LowRank):
        return type("KeptLowRank", (KeptLowRank,), {"rank": structure.rank})
    if isinstance(structure, FirstPass):
        return type("KeptRows", (KeptRows,), {"shared": structure.shared, "keep": structure.keep})
    if isinstance(structure, KFAC):
        return type("KeptKronecker", (KeptKronecker,), {"shared": structure.shared})
    if structure not in KEPT:
        raise MethodError(f"a network keeps structure={' or '.join(map(repr, (*KEPT, EKFAC.name)))}; got {structure!r}.")
    return KEPT[structure]


def first_pass(structure: Any, *, keep: bool) -> FirstPass | None:
    """What is kept first, of a structure that may need two passes; ``keep`` both where one is enough."""
    if structure == EKFAC.name:
        structure = EKFAC()
    return FirstPass(structure.shared, keep) if isinstance(structure, EKFAC) else None
