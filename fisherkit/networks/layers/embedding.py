"""Embeddings: rows looked up, by each example's own tokens or, as positions are, by indices that all examples share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from .elementwise import Sum
from .graph import Edge, Graph
from .use import Use


class Embedding(Use):
    """A table whose rows an example's own indices choose; repeated ones are summed before they are squared."""

    features = 1

    def __init__(self, edge: Edge, indices: Tensor) -> None:
        super().__init__(edge)
        self._indices = indices

    def ready(self, batch: int) -> None:
        self.tokens = self.arranged(self._indices, batch, 0)

    def per_example(self, terms: Tensor, at: slice) -> Tensor:
        out = terms.new_zeros(len(terms), *self.shape)
        self.add_per_example(terms, at, out)
        return out

    def add_per_example(self, terms: Tensor, at: slice, out: Tensor) -> None:
        for tokens, g, one in zip(self.tokens[at], terms, out, strict=True):
            one.index_add_(0, tokens, g)

    def squares(self, terms: Tensor) -> Tensor:
        """Only the rows that an example chose: pairs (example, token), each once."""
        rows = self.shape[0]
        examples = torch.arange(len(terms), device=terms.device)[:, None]
        pairs, where = torch.unique(self.tokens + rows * examples, return_inverse=True)
        sums = terms.new_zeros(len(pairs), self.shape[1]).index_add_(0, where.reshape(-1), terms.flatten(0, 1))
        return terms.new_zeros(self.shape).index_add_(0, pairs % rows, sums * sums)


class Padded(Embedding):
    """With a padding row, which gets no gradient."""

    def __init__(self, edge: Edge, indices: Tensor, padding: int) -> None:
        super().__init__(edge, indices)
        self.padding = padding

    def terms(self, g: Tensor, batch: int) -> Tensor:
        return self.arranged(g, batch) * (self.tokens != self.padding)[..., None]


class SharedRows(Sum):
    """Rows that every example gets alike, as positions are: the sum that they are added to tells the examples apart."""

    def __init__(self, edge: Edge, indices: Tensor, node: Node) -> None:
        self._looked_up = (*indices.shape, edge.parameter.shape[1])
        super().__init__(edge, self._looked_up, node=node)
        self.indices = indices.reshape(-1)

    def per_example(self, terms: Tensor, at: slice) -> Tensor:
        rows = self.summed(terms).reshape(len(terms), len(self.indices), -1)
        return terms.new_zeros(len(terms), *self.shape).index_add_(1, self.indices, rows)

    @property
    def is_plain(self) -> bool:
        return False  # an index may be repeated

    @property
    def is_bias(self) -> bool:
        return False

    @property
    def in_order(self) -> bool:
        """Whether the terms of a position are one row for each index."""
        return not self._repeated

    def by_autograd(self, g: Tensor) -> Tensor:
        return super().by_autograd(g.sum_to_size(self._looked_up))


def of_embedding(edge: Edge, graph: Graph) -> list[Use]:
    """``table[indices]``."""
    node: Any = edge.node
    indices, padding = node._saved_indices, node._saved_padding_idx
    padded = 0 <= padding < len(edge.parameter)  # none is -1, in some versions as an unsigned number
    if edge.transposed or node._saved_scale_grad_by_freq:
        return []
    consumers = graph.consumers.get(node, [])
    shared: list[Use] = [SharedRows(edge, indices, at) for at, slot in consumers if _is_repeated(indices, at, slot)]
    if shared:
        return shared if len(shared) == len(consumers) and not padded else []
    return [Padded(edge, indices, padding) if padded else Embedding(edge, indices)]


def _is_repeated(indices: Tensor, consumer: Any, slot: int) -> bool:
    """Whether the consumer is a sum that repeats the looked-up rows along its first axis."""
    if consumer.name() != "AddBackward0" or (slot == 1 and consumer._saved_alpha != 1):
        return False
    shape = consumer._input_metadata[0].shape
    return bool(len(shape) > indices.ndim + 1 or (shape[0] > 1 and indices.shape[:1] == (1,)))
