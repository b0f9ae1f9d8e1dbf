r"""Biases and scales: parameters that are added to the rows, or multiply them, with broadcasting.

For :math:`y = f w + b` an example's gradients are sums of :math:`g f` and of g over everything that w and b are repeated along.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from .graph import Edge, Graph
from .use import Scratch, Use, single


class Sum(Use):
    """A parameter added to the rows, or multiplied with a factor of them.

    Parameters
    ----------
    edge, node
        See `Use`.
    shape : tuple of int, optional
        The parameter's, aligned with the last axes of the output; leading axes of length one are the rows' own.
    times : callable, optional
        The gradient at the output times the derivative of the output.
    """

    def __init__(
        self,
        edge: Edge,
        shape: tuple[int, ...] | None = None,
        *,
        times: Callable[[Tensor], Tensor] | None = None,
        node: Node | None = None,
    ) -> None:
        super().__init__(edge, node)
        aligned = list(self.shape if shape is None else shape)
        while aligned and aligned[0] == 1:
            aligned.pop(0)
        self.features, self._times, self._aligned = len(aligned), times, aligned
        self._repeated = [axis for axis, length in enumerate(aligned, start=1) if length == 1]

    @property
    def is_plain(self) -> bool:
        """Whether the parameter is added to every row as it is: a bias."""
        return self._times is None and not self._repeated

    @property
    def is_bias(self) -> bool:
        """Whether the parameter is one vector that is added along one axis, whatever it is repeated along."""
        return self._times is None and sum(length > 1 for length in self._aligned) <= 1

    def vectors(self, terms: Tensor) -> Tensor:
        """(k, P, 1, length): what is added up at each position, where the parameter is a bias."""
        long = next((axis for axis, length in enumerate(self._aligned, start=2) if length > 1), None)
        every = terms[..., None] if long is None else terms.movedim(long, -1)
        return every.flatten(1, -2)[:, :, None]

    @property
    def along(self) -> Hashable:
        """What tells the arrangement of `vectors` apart: none for plain rows, or a convolution's channels."""
        if len(self._aligned) == 1 and self._aligned[0] > 1:
            return None
        return ("channels", 1) if self._aligned and self._aligned[0] > 1 else (tuple(self._aligned),)

    def terms(self, g: Tensor, batch: int) -> Tensor:
        return self.arranged(g if self._times is None else self._times(single(g)), batch)

    def per_example(self, terms: Tensor, at: slice) -> Tensor:
        return self.summed(terms).reshape(len(terms), *self.shape)

    @property
    def adds_squares(self) -> bool:
        return self.is_plain and self._rows == 1

    def from_squares(self, squared: Tensor, total: Tensor | None, scratch: Scratch) -> Tensor:
        found = squared.sum(dim=0).reshape(self.shape)
        return found if total is None else total + found

    def ready(self, batch: int) -> None:
        self._rows = self.positions(batch)

    def summed(self, terms: Tensor) -> Tensor:
        """(k, *aligned), over the positions and over what the parameter is repeated along."""
        return terms.sum(dim=[1, *(axis + 1 for axis in self._repeated)], keepdim=True).squeeze(1)


def of_add(edge: Edge, graph: Graph) -> list[Use]:
    """``y + b``."""
    node: Any = edge.node
    return _scaled(edge, node._saved_alpha if edge.slot == 1 else 1)


def of_sub(edge: Edge, graph: Graph) -> list[Use]:
    """``y - b``, or ``b - y``."""
    node: Any = edge.node
    return _scaled(edge, -node._saved_alpha if edge.slot == 1 else 1)


def _scaled(edge: Edge, by: Any) -> list[Use]:
    if edge.transposed:
        return []
    return [Sum(edge) if by == 1 else Sum(edge, times=lambda g: g * by)]


def of_mul(edge: Edge, graph: Graph) -> list[Use]:
    """``y * w``."""
    node: Any = edge.node
    other = node._saved_other if edge.slot == 0 else node._saved_self
    if edge.transposed or other is None:
        return []
    factor = single(other) if isinstance(other, Tensor) else other
    return [Sum(edge, times=lambda g: g * factor)]
