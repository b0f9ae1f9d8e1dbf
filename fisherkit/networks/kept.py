"""What is kept of the outer products: one row in `KEPT` per structure. Sums end in float64 whatever the network's dtype."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ..arrays import check_budget
from ..errors import MethodError
from ..parameters import Parameters
from ..structures.base import Structure
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from .sums import Batch

FLUSH = 16  # batches summed in the network's own dtype, inside their matrix products, before float64 takes over
PIECE = 2**16  # entries converted at a time: a temporary that stays in cache


class Kept(ABC):
    """A running sum over batches, and the structure that it becomes."""

    name: ClassVar[str]

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        self.parameters, self.device = parameters, device

    @staticmethod
    @abstractmethod
    def entries(parameters: Parameters) -> int:
        """How many numbers one sum holds."""

    @classmethod
    def check(cls, parameters: Parameters, sums: int) -> None:
        """Refuse that many sums, before they are allocated, when the memory would not hold them."""
        entries = cls.entries(parameters)
        what = f"the {cls.name} {parameters.size} x {parameters.size} information"
        cheaper = "structure='diagonal' needs p numbers." if cls.name != "diagonal" else ""
        if sums > 1:
            what, cheaper = f"{what}, {sums} times for its Monte Carlo error,", f"groups=0 keeps one. {cheaper}"
        check_budget(entries * sums, what=what, cheaper=cheaper)

    @abstractmethod
    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        """Add the outer products of J' v over the batch and the vectors."""

    @abstractmethod
    def arrays(self) -> list[Tensor]:
        """The sums in float64, one array or more; nothing is added afterwards."""

    @classmethod
    @abstractmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        """What the arrays mean."""


class KeptDiagonal(Kept):
    """Squares, one flat array per parameter."""

    name = "diagonal"

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._partial: dict[str, Tensor] = {}
        self._total: dict[str, Tensor] = {}
        self._waiting = 0

    @staticmethod
    def entries(parameters: Parameters) -> int:
        return parameters.size

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        batch.add_squares(vectors, self._partial)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        for name, value in self._partial.items():
            if name not in self._total:
                self._total[name] = value.double().reshape(-1)
                continue
            for total, part in zip(self._total[name].split(PIECE), value.reshape(-1).split(PIECE), strict=True):
                total += part
        self._partial, self._waiting = {}, 0

    def arrays(self) -> list[Tensor]:
        self._flush()
        return [self._total[name] for name in self.parameters.names]

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        return Diagonal(arrays, parameters)


class KeptDense(Kept):
    """One (p, p) matrix."""

    name = "dense"

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        p = parameters.size
        self._total = torch.zeros(p, p, dtype=torch.float64, device=device)

    @staticmethod
    def entries(parameters: Parameters) -> int:
        return parameters.size**2

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        batch.add_products(vectors, self._total)

    def arrays(self) -> list[Tensor]:
        return [self._total]

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        return Dense(arrays[0], parameters)


KEPT: dict[str, type[Kept]] = {cls.name: cls for cls in (KeptDiagonal, KeptDense)}


def kept_as(structure: str) -> type[Kept]:
    """The row of that structure."""
    if structure not in KEPT:
        raise MethodError(f"a network keeps structure={' or '.join(map(repr, KEPT))}; got {structure!r}.")
    return KEPT[structure]
