"""What one use of a parameter knows: its examples' gradients, given the gradient at the operation's output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from .graph import Edge

CHUNK = 2**20  # entries of per-example gradients formed at a time: stays in cache
SMALL = 2**12  # entries below which a call costs more than the arithmetic


class Use(ABC):
    """A parameter in one operation whose output has a row, or T of them, for each example.

    Parameters
    ----------
    edge : Edge
    node : Node, optional
        The operation whose gradient is asked for, where it is not the edge's own.

    Attributes
    ----------
    features : int
        How many of the last axes of the output make up one row; the axes before them count rows.
    inner : bool
        Rows run over the examples inside the positions (time first), not over the positions inside the examples.
    """

    features: int
    inner: bool = False

    def __init__(self, edge: Edge, node: Node | None = None) -> None:
        self.name, self.edge = edge.name, edge
        self.shape = tuple(edge.parameter.shape)
        self.node = edge.node if node is None else node

    def arranged(self, v: Tensor, batch: int, features: int | None = None) -> Tensor:
        """(b, T, *features) from rows in the order in which the operation had them."""
        features = self.features if features is None else features
        rows = single(v).reshape(-1, *v.shape[v.ndim - features :])
        if self.inner:
            return rows.reshape(-1, batch, *rows.shape[1:]).transpose(0, 1)
        return rows.reshape(batch, -1, *rows.shape[1:])

    @property
    def kind(self) -> Hashable:
        """Operations of one kind have one formula."""
        return type(self), self.edge.node.name(), self.edge.slot, self.edge.transposed, self.features

    @property
    def output(self) -> Any:
        """Shape and dtype of the operation's output."""
        return shape_of(self.node)

    def positions(self, batch: int) -> float:
        """How many rows there are for each example."""
        shape = self.output.shape
        return math.prod(shape[: len(shape) - self.features]) / batch if len(shape) >= self.features else 0.0

    def fits(self, batch: int) -> bool:
        """Whether there are as many for every example."""
        return self.positions(batch) >= 1 and self.positions(batch).is_integer()

    def terms(self, g: Tensor, batch: int) -> Tensor:
        """(b, T, *features): what the example's sum runs over, from the gradient at the output."""
        return self.arranged(g, batch)

    def ready(self, batch: int) -> None:  # noqa: B027 most have saved nothing
        """Arrange what the operation saved, once the order of the rows is known."""

    @abstractmethod
    def per_example(self, terms: Tensor, at: slice) -> Tensor:
        """(k, *shape) gradients of these k examples, from their terms."""

    def add_per_example(self, terms: Tensor, at: slice, out: Tensor) -> None:
        """Add them to another use's."""
        out += self.per_example(terms, at)

    def squares(self, terms: Tensor) -> Tensor:
        """Sum over the examples of their squared gradients, a few examples at a time."""
        return squares(self.per_example(terms[at], at) for at in slices(len(terms), self.entries))

    def by_autograd(self, g: Tensor) -> Tensor:
        """The whole batch's gradient as the operation itself computes it, to check `per_example`."""
        node: Any = self.edge.node
        found = node(g, *[None] * (len(node._input_metadata) - 1))
        one: Tensor = found.to_dense() if isinstance(found, Tensor) else found[self.edge.slot].to_dense()
        return (one.t() if self.edge.transposed else one).sum_to_size(self.shape)

    @property
    def entries(self) -> int:
        return math.prod(self.shape)

    @property
    def adds_squares(self) -> bool:
        """Whether `from_squares` needs no more than each example's squared terms: one position, one product."""
        return False

    def from_squares(self, squared: Tensor, total: Tensor | None, scratch: Scratch) -> Tensor:
        """Sum of squared gradients, added to a total; from squared terms (b, *features) summed over vectors."""
        raise NotImplementedError


class Scratch:
    """Squares in memory that the next batch uses again: the first touch of new memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def square(self, v: Tensor, place: object = None) -> Tensor:
        """v², to be read before the next one of this shape at this place."""
        key = (place, v.shape, v.dtype)
        if key not in self._kept:
            self._kept[key] = torch.empty_like(v, memory_format=torch.contiguous_format)
        return torch.mul(v, v, out=self._kept[key])


def slices(count: int, entries: int, most: int = CHUNK) -> list[slice]:
    """As many examples at a time as stay in cache, and no more than that many."""
    step = min(most, max(1, CHUNK // max(1, entries)))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def squares(parts: Iterable[Tensor]) -> Tensor:
    """Sum of squares over the first axis of all parts."""
    total: Tensor | None = None
    for part in parts:
        if total is None:
            total = torch.zeros_like(part[0], memory_format=torch.contiguous_format)
        if total.numel() < SMALL:
            total += (part * part).sum(dim=0)
            continue
        for row in part:  # no array of squares, and none of them leaves the cache
            total.addcmul_(row, row)
    assert total is not None  # a batch has one example at least
    return total


def single(v: Tensor) -> Tensor:
    """Half precision would lose the squares: float32 at least."""
    return v.detach().float() if v.dtype in (torch.float16, torch.bfloat16) else v.detach()


def shape_of(node: Any) -> Any:
    """What autograd knows of an operation's first output: ``shape`` and ``dtype``."""
    return node._input_metadata[0]
