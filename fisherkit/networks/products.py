r"""The full matrix of a network of linear layers, at a cost that does not grow with the number of labels.

The gradient of an example at a parameter is an outer product, :math:`g x^\top` (for a bias, x is 1). Summed over K output-space
vectors, the block of two parameters is

.. math:: \sum_n \Big(\sum_k g_k h_k^\top\Big)_n \otimes (x y^\top)_n,

one matrix product over the examples: 2 N P P' operations, where the outer products of all scores would take K times as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .factors import Flat

ENTRIES = 2**21  # of the outer products of inputs held at a time: stays near the cache


class Blocks:
    """Sums of blocks as their matrix products give them, in float64, until they are moved to their places.

    In single precision the sum would be right to its rounding, and no longer positive semidefinite.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[Flat, Flat, Tensor]] = {}

    def add(self, parts: list[tuple[Flat, Tensor]]) -> None:
        """Parameters and their gradients (K, b, O)."""
        parts = [(one, g.double()) for one, g in parts]
        for i, (a, g) in enumerate(parts):
            for b, h in parts[: i + 1]:
                self._add(a, b, torch.einsum("kno,knq->noq", g, h))

    def _add(self, a: Flat, b: Flat, outputs: Tensor) -> None:
        x, y = (outputs.new_ones(len(outputs), 1) if one.x is None else one.x.double() for one in (a, b))
        entries = x.shape[1] * y.shape[1]
        if (a.name, b.name) not in self._sums:
            self._sums[a.name, b.name] = a, b, outputs.new_zeros(*outputs.shape[1:], x.shape[1], y.shape[1])
        total = self._sums[a.name, b.name][2].view(-1, entries)
        step = max(1, ENTRIES // max(1, entries))
        for n in range(0, len(x), step):
            inputs = (x[n : n + step, :, None] * y[n : n + step, None, :]).flatten(1)
            total.addmm_(outputs[n : n + step].flatten(1).T, inputs)

    def move_to(self, matrix: Tensor, starts: Mapping[str, int]) -> None:
        """Add the blocks to the (p, p) float64 matrix; ``starts`` tells where each parameter's entries start."""
        for a, b, total in self._sums.values():
            rows = (0, 2) if a.outputs_first else (2, 0)
            columns = (1, 3) if b.outputs_first else (3, 1)
            many, others = math.prod(total.shape[axis] for axis in rows), math.prod(total.shape[axis] for axis in columns)
            block = total.permute(*rows, *columns).reshape(many, others)
            at, there = starts[a.name], starts[b.name]
            matrix[at : at + many, there : there + others] += block
            if a.name != b.name:
                matrix[there : there + others, at : at + many] += block.T
        self._sums.clear()
