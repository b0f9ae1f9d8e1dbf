"""Which rows belong to which example, and whether the formulas hold: tried on a pass, never assumed.

An output-space vector whose row n is multiplied by a weight of its own must multiply the rows of example n by that weight, at
every operation: this finds the order of the rows, or that they are in none that is known. And the gradients of a formula,
summed, must be what the operation itself returns to autograd.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from enum import Enum, auto

import torch
from torch import Tensor

from .use import Use, single


class Order(Enum):
    """Of the rows of an operation's output."""

    EXAMPLES_FIRST = auto()  # n, then t
    POSITIONS_FIRST = auto()
    ANY = auto()  # in this batch both are right: nothing flows where they differ
    NONE = auto()


def weights(output: Tensor) -> tuple[Tensor, Tensor]:
    """A random output-space vector, and a weight for each example."""
    generator = torch.Generator().manual_seed(0)
    cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
    return cotangent, (1 + torch.rand(len(output), generator=generator, dtype=torch.float64)).to(output)


def order_of(use: Use, g: Tensor, weighted: Tensor, by: Tensor) -> tuple[Order, bool]:
    """The order of the rows, and whether other batches of the same graph will have it too.

    They will where every example has a gradient here, and one order alone explains it or both are the same.
    """
    batch = len(by)
    if not use.fits(batch):
        return Order.NONE, True
    right = {}
    for use.inner, order in ((False, Order.EXAMPLES_FIRST), (True, Order.POSITIONS_FIRST)):
        rows = use.arranged(g, batch)
        if _close(scaled(rows, by), use.arranged(weighted, batch), g.dtype):
            right[order] = bool((rows != 0).flatten(1).any(dim=1).all())
        if use.positions(batch) == 1:
            break
    if not right:
        return Order.NONE, True
    return (Order.ANY, False) if len(right) == 2 else next(iter(right.items()))


def wrong(every: list[Use], batch: int) -> set[Hashable]:
    """The kinds of operations whose formula does not give what autograd gets from the smallest operation of that kind."""
    smallest: dict[Hashable, Use] = {}
    for use in every:
        if use.fits(batch) and use.entries < (smallest[use.kind].entries if use.kind in smallest else math.inf):
            smallest[use.kind] = use
    return {kind for kind, use in smallest.items() if not _agrees(use, batch)}


def _agrees(use: Use, batch: int) -> bool:
    """Whether the sum of the examples' gradients is what autograd gets from the operation, for a random gradient."""
    g = torch.randn(use.output.shape, generator=torch.Generator().manual_seed(1)).to(use.edge.parameter)
    g = g.to(use.output.dtype)
    use.inner = False
    use.ready(batch)
    terms = use.terms(g, batch)
    with torch.no_grad():
        total = use.per_example(terms[:1], slice(0, 1))
        for n in range(1, batch):
            use.add_per_example(terms[n : n + 1], slice(n, n + 1), total)
        return _close(total[0], single(use.by_autograd(g)), g.dtype)


def scaled(v: Tensor, by: Tensor) -> Tensor:
    """Row n times weight n."""
    return v * by.to(v).reshape(-1, *[1] * (v.ndim - 1))


def _close(a: Tensor, b: Tensor, dtype: torch.dtype) -> bool:
    """Overwrites a: a temporary as large as a weight costs more than its arithmetic."""
    if not a.numel():
        return True
    size = max(_largest(a), _largest(b))
    return _largest(a.sub_(b)) <= 1e3 * float(torch.finfo(dtype).eps) * size


def _largest(v: Tensor) -> float:
    low, high = torch.aminmax(v)
    return max(-float(low), float(high))
