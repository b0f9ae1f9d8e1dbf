r"""Linear layers, wherever they are written: ``nn.Linear``, ``F.linear``, attention's projections, Hugging Face's ``Conv1D``.

The gradient of an example is :math:`G^\top X` over its positions. With one position it is an outer product, and need not be
formed: :math:`\sum_n (g_n x_n^\top)^2 = (g^2)^\top x^2`, one matrix product in place of the mean's, and over K output-space
vectors the g² are added before it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .elementwise import Sum
from .graph import Edge, Graph
from .use import Scratch, Use


class Matrix(Use):
    """A matrix that multiplies rows: x W, or x W' where it is transposed."""

    features = 1

    def __init__(self, edge: Edge, x: Tensor) -> None:
        super().__init__(edge)
        self._saved = x

    def ready(self, batch: int) -> None:
        self.x = self.arranged(self._saved, batch)

    def per_example(self, terms: Tensor, at: slice) -> Tensor:
        g, x = terms, self.x[at]
        return torch.bmm(g.transpose(1, 2), x) if self.edge.transposed else torch.bmm(x.transpose(1, 2), g)

    def add_per_example(self, terms: Tensor, at: slice, out: Tensor) -> None:
        g, x = terms, self.x[at]
        a, b = (g, x) if self.edge.transposed else (x, g)
        out.baddbmm_(a.transpose(1, 2), b)

    @property
    def adds_squares(self) -> bool:
        return bool(self.x.shape[1] == 1)

    def from_squares(self, squared: Tensor, total: Tensor | None, scratch: Scratch) -> Tensor:
        x = scratch.square(self.x[:, 0])
        a, b = (squared, x) if self.edge.transposed else (x, squared)
        if total is not None and total.dtype == a.dtype:
            return total.addmm_(a.T, b)
        return a.T @ b if total is None else total + a.T @ b


def of_addmm(edge: Edge, graph: Graph) -> list[Use]:
    """``b + x W``."""
    node: Any = edge.node
    if edge.slot == 0 and node._saved_beta == 1 and edge.parameter.ndim == 1:
        return [Sum(edge)]
    return [Matrix(edge, node._saved_mat1)] if edge.slot == 2 and node._saved_alpha == 1 else []


def of_mm(edge: Edge, graph: Graph) -> list[Use]:
    """``x W``."""
    node: Any = edge.node
    return [Matrix(edge, node._saved_self)] if edge.slot == 1 else []
