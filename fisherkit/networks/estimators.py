r"""Expectations over labels by Monte Carlo: which output-space vectors stand for the sum, and the error that is left.

- ``labels``: the score of a drawn label has mean 0 and covariance H.
- ``hutchinson``: with S S' = H and random signs v, so has S v, with less variance: entrywise the coefficient of variation is at
  most sqrt 2 (Sun 2026, arXiv 2505.13614).
- ``batches``: the square of the *sum* of a batch's scores. With drawn labels the cross terms have mean 0, so that an ordinary
  backward pass through any architecture is unbiased, with the variance of one draw per batch instead of one per example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..methods import MonteCarlo
from ..structures.base import Structure
from ..uncertainty import LeaveOneOut, average
from .batches import BATCH, Item, count
from .layers import add_to
from .likelihood import Columns, Likelihood
from .network import Network
from .products import Blocks

GROUPS = 20
REPLICATE_ENTRIES = 2**25  # leave-one-out replicates above this many numbers are not kept unless asked for

Cell = tuple[int, int]  # stratum of inputs, group of draws


def vectors(
    likelihood: Likelihood, output: Tensor, weights: Tensor | None, method: MonteCarlo, rng: np.random.Generator
) -> Sequence[Tensor]:
    """n vectors with mean 0 and covariance H, from random numbers taken example by example."""
    if method.estimator == "hutchinson":
        root = likelihood.root(output, weights)
        positive = torch.from_numpy(rng.random((len(output), method.n, *root.shape)) < 0.5).to(output.device)
        return Columns(method.n, lambda i: root.times(torch.where(positive[:, i], 1.0, -1.0).to(output.dtype)))
    labels = likelihood.sample(output, method.n, rng)
    return Columns(method.n, lambda i: likelihood.score(output, labels[i], weights))


class BatchScores:
    """One batch whose scores are summed before they are squared: a forward pass, and one ordinary backward pass per vector."""

    def __init__(self, network: Network, item: Item, start: int) -> None:
        self.network, self.start, self._size = network, start, len(item)
        for parameter in network.values.values():
            parameter.requires_grad_()  # of the private copy
        self._output = network(item.inputs)

    def __len__(self) -> int:
        return self._size

    @property
    def output(self) -> Tensor:
        return self._output.detach()

    def release(self) -> None:
        """Let go of the graph."""
        del self._output

    def add_squares(self, cotangents: Sequence[Tensor], total: dict[str, Tensor]) -> None:
        """Add (sum_n J_n' c_n)^2 for each vector."""
        for cotangent in cotangents:
            for name, g in self._sums(cotangent):
                if name in total:
                    total[name].addcmul_(g, g)
                else:
                    add_to(total, name, g**2)

    def add_products(self, cotangents: Sequence[Tensor], blocks: Blocks, total: Tensor) -> None:
        """Add the outer product of sum_n J_n' c_n for each vector."""
        rows = [torch.cat([g.double().flatten() for _, g in self._sums(cotangent)]) for cotangent in cotangents]
        v = torch.stack(rows)
        total.addmm_(v.T, v)

    def _sums(self, cotangent: Tensor) -> Iterator[tuple[str, Tensor]]:
        values = self.network.values
        gradients = (
            torch.autograd.grad(
                self._output, list(values.values()), cotangent, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            if self._output.requires_grad
            else [torch.zeros_like(value) for value in values.values()]
        )
        for name, g in zip(values, gradients, strict=True):
            g = g.to_dense()
            g = g.float() if g.dtype in (torch.float16, torch.bfloat16) else g
            if not (bool(torch.isfinite(g.sum())) or bool(torch.isfinite(g).all())):  # a sum may overflow where no part does
                raise DataError(
                    f"the sum of the scores of examples {self.start} to {self.start + len(self) - 1} is not finite in {name}: "
                    "the network is not differentiable there, or its weights have diverged."
                )
            yield name, g


class Plan:
    """Which draws of which batch go to which leave-one-out group."""

    def __init__(self, method: MonteCarlo, entries: int) -> None:
        groups = GROUPS if method.groups is None else method.groups
        self.keep = groups > 0 and (method.groups is not None or entries * groups <= REPLICATE_ENTRIES)
        groups = groups if self.keep else 1
        self.draws = min(method.n, groups)
        self.strata = max(1, groups // self.draws)
        self.n = method.n
        self.numbers = 2 * groups if self.keep else 1  # the sums, and as many replicates

    def batch_size(self, inputs: object) -> int:
        """Small enough that every stratum gets a batch, where the number of inputs is known."""
        known = count(inputs, 1) if not hasattr(inputs, "__next__") else None
        return BATCH if known is None else max(1, min(BATCH, -(-known // self.strata)))

    @property
    def all_cells(self) -> list[Cell]:
        return sorted({cell for index in range(self.strata) for cell, _ in self.cells(index)})

    def cells(self, index: int) -> Iterator[tuple[Cell, slice]]:
        """With one draw per input, the strata of inputs are the groups of a single stratum."""
        at = index % self.strata
        for j in range(self.draws):
            yield ((0, at) if self.n == 1 else (at, j)), slice(j, None, self.draws)


def averaged(
    sums: dict[Cell, list[Tensor]], counts: dict[Cell, int], stored: Callable[[list[Tensor]], Structure]
) -> tuple[Structure, LeaveOneOut | None]:
    """The mean of the cells, and its leave-one-out replicates where they are wanted."""
    cells = sorted(sums)
    strata = sorted({s for s, _ in cells})
    grouped = [[cell for cell in cells if cell[0] == s] for s in strata]
    sizes = [[counts[cell] for cell in group] for group in grouped]
    parts = [average([[sums[cell][i] for cell in group] for group in grouped], sizes) for i in range(len(sums[cells[0]]))]
    mean, weights = stored([part[0] for part in parts]), parts[0][2]
    if not weights:
        return mean, None
    replicates = tuple(stored([part[1][r] for part in parts if part[1]]) for r in range(len(weights)))
    return mean, LeaveOneOut(replicates, weights)
