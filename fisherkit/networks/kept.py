"""What is kept of the outer products: one class per structure. Sums end in float64 whatever the network's dtype."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor

from ..arrays import check_budget
from ..errors import DataError
from ..parameters import Parameters
from ..structures.base import Structure
from ..structures.blocks import Blocks as BlocksStructure
from ..structures.dense import Dense
from ..structures.diagonal import Diagonal
from ..structures.low_rank import LowRank as LowRankStructure
from .products import Blocks
from .sums import Batch

FLUSH = 16  # batches summed in the network's own dtype, inside their matrix products, before float64 takes over
PIECE = 2**16  # entries converted at a time: a temporary that stays in cache


class Kept(ABC):
    """A running sum over batches, and the structure that it becomes."""

    name: ClassVar[str]
    additive: ClassVar[bool] = True  # whether arrays of parts of the data add up, as leave-one-out groups need

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        self.parameters, self.device = parameters, device

    @classmethod
    @abstractmethod
    def entries(cls, parameters: Parameters) -> int:
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

    def mean(self, count: int) -> Structure:
        """The sums over ``count`` as a structure."""
        return self.structure([array.div_(count) for array in self.arrays()], self.parameters)

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

    @classmethod
    def entries(cls, parameters: Parameters) -> int:
        return parameters.size

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        self.add_squares(batch, vectors, self._partial)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._flush()

    def add_squares(self, batch: Batch, vectors: Sequence[Tensor], total: dict[str, Tensor]) -> None:
        """Add a batch's squares to sums by name."""
        batch.add_squares(vectors, total)

    def _flush(self) -> None:
        largest = [value.amax().double() for value in self._partial.values() if value.numel()]
        if largest and not bool(torch.isfinite(torch.stack(largest)).all()):
            raise DataError("a squared score is not finite: it is beyond the range of the network's dtype. Use .double().")
        for name, value in self._partial.items():
            if name not in self._total:
                self._total[name] = value.double().reshape(-1)
                continue
            for total, part in zip(self._total[name].split(PIECE), value.reshape(-1).split(PIECE), strict=True):
                total += part
        self._partial, self._waiting = {}, 0

    def arrays(self) -> list[Tensor]:
        self._flush()
        sizes = zip(self.parameters.names, self.parameters.sizes, strict=True)
        return [self._total[name] if name in self._total else self._zeros(size) for name, size in sizes]

    def _zeros(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=self.device)

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        return Diagonal(arrays, parameters)


class KeptDense(Kept):
    """One (p, p) matrix, and blocks on their way to it."""

    name = "dense"

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        p = parameters.size
        self._total = torch.zeros(p, p, dtype=torch.float64, device=device)
        self._starts = dict(zip(parameters.names, [0, *accumulate(parameters.sizes)], strict=False))
        self._blocks, self._waiting = Blocks(), 0

    @classmethod
    def entries(cls, parameters: Parameters) -> int:
        return parameters.size**2

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        batch.add_products(vectors, self._blocks, self._total)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._blocks.move_to(self._total, self._starts)
        self._waiting = 0
        if not bool(torch.isfinite(self._total.diagonal()).all()):
            raise DataError("a squared score is not finite: it is beyond the range of the network's dtype. Use .double().")

    def arrays(self) -> list[Tensor]:
        self._flush()
        return [self._total]

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        return Dense(arrays[0], parameters)


class KeptBlocks(Kept):
    """A matrix for the parameters of each module."""

    name = "block-diagonal"

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._places = [parameters.positions(group) for group in _by_module(parameters)]
        self._totals = [torch.zeros(len(at), len(at), dtype=torch.float64, device=device) for at in self._places]

    @classmethod
    def entries(cls, parameters: Parameters) -> int:
        return sum(parameters.select(group).size ** 2 for group in _by_module(parameters))

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        for rows in batch.rows(vectors):
            for at, total in zip(self._places, self._totals, strict=True):
                v = rows[:, at]
                total.addmm_(v.T, v)
        if not all(bool(torch.isfinite(total.diagonal()).all()) for total in self._totals):
            for vector in vectors:
                batch.scores(vector)  # names the example
            raise DataError("a squared score is not finite: it is beyond the range of float64.")

    def arrays(self) -> list[Tensor]:
        return self._totals

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        return BlocksStructure(arrays, _by_module(parameters), parameters)


def _by_module(parameters: Parameters) -> list[list[str]]:
    """Names that differ only after their last dot."""
    groups: dict[str, list[str]] = {}
    for name in parameters.names:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return list(groups.values())


@dataclass(frozen=True)
class LowRank:
    """``structure=fk.networks.LowRank(rank=50)``: the leading directions of a network's information.

    Parameters
    ----------
    rank : int
        How many directions are kept, found in one pass over the data. ``structure="low-rank"`` keeps as many as there are scores,
        exactly.

    Notes
    -----
    Scores are gathered until there are twice as many as the rank (or 2 * rank + one batch), and replaced by the leading
    directions of those so far. What is dropped lowers F: its trace beside that of ``structure="diagonal"`` tells by how much.
    """

    rank: int
    name: ClassVar[str] = "low-rank"

    def __post_init__(self) -> None:
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise DataError(f"LowRank(rank=) must be a positive integer; got {self.rank!r}.")


class KeptLowRank(Kept):
    """Scores as rows, and in their place their leading directions when there are too many."""

    name = "low-rank"
    additive = False
    rank: ClassVar[int | None] = None

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._rows: list[Tensor] = []
        self._limit = parameters.size if self.rank is None else min(self.rank, parameters.size)

    @classmethod
    def entries(cls, parameters: Parameters) -> int:
        return 2 * parameters.size * (cls.rank or 1)

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        for rows in batch.rows(vectors):
            if not bool(torch.isfinite(rows.sum())):
                batch.scores(vectors[0])  # names the example
            self._rows.append(rows)
            count = sum(map(len, self._rows))
            if count > 2 * self._limit:
                self._compress()
            elif self.rank is None:
                what = f"{count} scores of {self.parameters.size} parameters"
                check_budget(2 * count * self.parameters.size, what=what, cheaper="structure=fk.networks.LowRank(rank=...).")

    def _compress(self) -> None:
        """The leading directions of the rows: of their Gram matrix, or where there are more rows than parameters, of F."""
        rows = torch.cat(self._rows)
        if len(rows) > self._limit:
            _, roots, right = torch.linalg.svd(rows, full_matrices=False)
            rows = roots[: self._limit, None] * right[: self._limit]
        self._rows = [rows]

    def arrays(self) -> list[Tensor]:
        self._compress()
        return self._rows

    def mean(self, count: int) -> Structure:
        """Roots of the information are divided by the root of the count."""
        return self.structure([rows / count**0.5 for rows in self.arrays()], self.parameters)

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        return LowRankStructure(parameters.split(arrays[0].T), parameters)
