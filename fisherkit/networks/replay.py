"""EKFAC in one pass: the rows that the first pass has seen, kept until the basis is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ..arrays import memory_budget
from ..parameters import Parameters
from ..structures.base import Structure
from .eigenbasis import in_basis
from .factors import Flat, Found, flats, gradients
from .kronecker import KFAC, KeptKronecker
from .layers import Terms
from .sums import Batch

MOST = 2**28  # bytes of rows that are kept, of a budget that has four times as many


@dataclass(frozen=True)
class FirstPass(KFAC):
    """The factors of `EKFAC`, and ``keep``: EKFAC at once, where the rows fit."""

    keep: bool = True


@dataclass
class Seen:
    """One batch: its layers with their inputs, and for each vector the gradients at their outputs."""

    layers: list[Flat]
    gradients: list[dict[str, Tensor]] = field(default_factory=list)


class KeptRows(KeptKronecker):
    """Kronecker factors, and the rows that they are made of: while each parameter has one row per example, and there is room."""

    keep: ClassVar[bool] = True

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._seen: list[Seen] = []
        self._room = min(MOST, memory_budget() // 4) if self.keep else 0

    def _add_inputs(self, found: Found) -> None:
        super()._add_inputs(found)
        layers = flats(found)
        if len(layers) < len(found):
            self._room = 0
        self._seen.append(Seen(list(layers.values())))
        self._take([one.x for one in layers.values() if one.x is not None])

    def _add_gradients(self, batch: Batch, found: Found, terms: Terms) -> None:
        super()._add_gradients(batch, found, terms)
        if self._room:
            rows = gradients(found, [one.name for one in self._seen[-1].layers], terms)
            self._seen[-1].gradients.append(rows)
            self._take(list(rows.values()))

    def _take(self, rows: Sequence[Tensor]) -> None:
        """Room for these; where there is none, nothing is kept any more."""
        self._room = max(0, self._room - sum({v.data_ptr(): v.nbytes for v in rows}.values()))
        if not self._room:
            self._seen.clear()

    def mean(self, count: int) -> Structure:
        """In the eigenbasis where all has been kept, else the factors that a second pass needs."""
        if not self._room:
            return super().mean(count)
        left, right, _ = zip(*self._parts(wide=False), strict=True)  # of any scale: it is the directions that count
        kept = in_basis(left, right, self._precision, self.parameters)(self.parameters, self.device)
        kept.add_sums(self._squares)
        while self._seen:
            one = self._seen.pop(0)
            kept.add_seen(one.layers, one.gradients)
        return kept.mean(count)
