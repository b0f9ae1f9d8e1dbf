"""Convolutions of one to three dimensions, transposed or not, with groups, strides, dilation and any padding.

The backend's own weight gradient, some examples at a time, which are groups of channels to it (Rochette, Manoel & Tramel 2019):
right for every option, and faster than unfolding, which repeats the input once per entry of the kernel. Padding other than zeros
is an operation of its own, before.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

from .elementwise import Sum
from .graph import Edge, Graph
from .use import Use, single, slices, squares

FEW = 8  # channels
SEVERAL = 16  # examples


class Convolution(Use):
    """A kernel."""

    def __init__(self, edge: Edge) -> None:
        super().__init__(edge)
        node: Any = edge.node
        self._saved, self._kernel = node._saved_input, single(node._saved_weight)
        self.stride, self.padding, self.dilation = node._saved_stride, node._saved_padding, node._saved_dilation
        self.transposed: bool = node._saved_transposed
        self.groups: int = node._saved_groups
        outside = node._saved_output_padding
        self._settings = (self.stride, self.padding, self.dilation, self.transposed, outside, self.groups)
        self.features = self._saved.ndim - 1

    @property
    def kind(self) -> Hashable:
        return super().kind, tuple(map(str, self._settings))

    def ready(self, batch: int) -> None:
        self.x = self.arranged(self._saved, batch)

    def patches(self, v: Tensor) -> Tensor:
        """(k, P, groups, entries): what the kernel meets at each of the P positions of the output, for KFAC's factors.

        Of inputs (k, T, ...); of gradients at the output, where the convolution is transposed.
        """
        x, space = v.flatten(0, 1), self._kernel.ndim - 2
        x = torch.nn.functional.pad(x, [n for n in reversed(self.padding) for _ in range(2)])
        for axis in range(space):
            reach = self.dilation[axis] * (self._kernel.shape[2 + axis] - 1) + 1
            x = x.unfold(2 + axis, reach, self.stride[axis])[..., :: self.dilation[axis]]
        if self.transposed:  # what was added to the output's end is met by no input
            x = x[(..., *map(slice, self.x.shape[3:]), *[slice(None)] * space)]
        x = x.unflatten(1, (self.groups, -1))  # (k T, groups, channels, *positions, *kernel)
        order = (1, 2, *range(3 + space, 3 + 2 * space), 0, *range(3, 3 + space))
        entries = x.shape[2] * math.prod(self._kernel.shape[2:])
        found = x.permute(order).reshape(self.groups, entries, len(v), -1)  # the one copy, in runs along the last axis of a map
        return found.permute(2, 3, 0, 1)

    def channels(self, v: Tensor) -> Tensor:
        """(k, P, groups, channels) of what the kernel's first axis meets: (k, T, channels, ...)."""
        return v.flatten(3).movedim(3, 2).flatten(1, 2).unflatten(2, (self.groups, -1))

    def per_example(self, terms: Tensor, at: slice) -> Tensor:
        return torch.cat(list(self._parts(terms, self.x[at])))

    def squares(self, terms: Tensor) -> Tensor:
        return squares(self._parts(terms, self.x))

    def _parts(self, terms: Tensor, x: Tensor) -> Iterator[Tensor]:
        """Gradients of some examples at a time: one, where the backend is quicker with few channels than with many groups."""
        several = self.transposed or self.groups > 1 or min(self._kernel.shape[:2]) >= FEW
        for at in slices(len(terms), self.entries, SEVERAL if several else 1):
            yield self._gradients(terms[at], x[at])

    def _gradients(self, g: Tensor, x: Tensor) -> Tensor:
        """(k, *shape): examples of T images are groups of channels of T images."""
        k = len(g)
        g, x = (v.transpose(0, 1).flatten(1, 2) for v in (g, x))
        kernel = self._kernel if k == 1 else self._kernel.new_empty(k * len(self._kernel), *self._kernel.shape[1:])
        settings = (*self._settings[:-1], k * self.groups, [False, True, False])
        found: Tensor = torch.ops.aten.convolution_backward(g, x, kernel, None, *settings)[1]
        return found.unflatten(0, (k, -1))


def of_convolution(edge: Edge, graph: Graph) -> list[Use]:
    """Its kernel or its bias."""
    if edge.transposed or edge.slot == 0:
        return []
    if edge.slot == 1:
        return [Convolution(edge)]
    node: Any = edge.node
    return [Sum(edge, (*edge.parameter.shape, *[1] * (node._saved_input.ndim - 2)))]
