"""Products of a network's information with vectors: with z the outputs of a batch, ``F v = J' H (J v)``.

Each batch is linearised once, and its graph kept while the memory allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import check_budget, memory_budget
from ..errors import MethodError
from ..methods import Method, MonteCarlo, seed_sequence
from ..parameters import Parameters
from ..structures.base import Leaves
from ..structures.operator import Operator
from . import estimators
from .kept import KeptDiagonal
from .layers import trusted
from .likelihood import Likelihood, rank_ones
from .linearization import Linearization, Ways, differentiable_twice
from .network import Inputs, Network, undisturbed
from .passes import TRIAL, Passes, some
from .sums import Batch

SHARE = 0.25  # of the memory budget for graphs that are kept
DRAWN = ("labels", "hutchinson")  # estimators whose vectors can be kept

Term = tuple[Batch, Sequence[Tensor] | None, Tensor | None]  # a batch, its vectors, the weights of its places


def expected_product(passes: Passes, inputs: Any, method: Method) -> tuple[Operator, Method]:
    """The expected information per observation, and the method without the groups that it cannot keep."""
    if isinstance(method, MonteCarlo):
        if method.estimator not in (None, *DRAWN):
            raise MethodError(
                f"structure='operator' takes MonteCarlo(estimator={' or '.join(map(repr, DRAWN))}); got {method!r}."
            )
        method = replace(method, groups=0)
    product, _ = _product(passes, _drawn(passes, inputs, method), mean=True)
    return product, method


def empirical_product(passes: Passes, data: Any) -> tuple[Operator, int]:
    """The empirical information over the data, and how many observations they hold."""
    found = ((batch, passes.vectors(batch, *rest), rest[1]) for batch, *rest in passes.labelled(data, own=True))
    return _product(passes, found, mean=False)


def _drawn(passes: Passes, inputs: Any, method: Method) -> Iterator[Term]:
    """Each batch with its drawn vectors, or with none where the root of H is exact."""
    rng = np.random.default_rng(seed_sequence(method.rng)) if isinstance(method, MonteCarlo) else None
    for batch, item in passes.through(passes.of_inputs(inputs), own=True):
        weights = passes.weights(batch, item)
        drawn: list[Tensor] | None = None
        if isinstance(method, MonteCarlo) and rng is not None:
            vectors = estimators.vectors(passes.likelihood, batch.output, weights, method, rng)
            drawn = [vector / method.n**0.5 for vector in vectors]
        yield batch, drawn, weights


def _product(passes: Passes, found: Iterator[Term], *, mean: bool) -> tuple[Operator, int]:
    """The sum over the observations, or their mean; and their number."""
    passes.alone("structure='operator'")
    data: list[Datum] = []
    count = 0
    for batch, vectors, weights in found:
        network = batch.network
        count += passes.number(batch, weights)
        data.append(held(batch, vectors, weights, data))
    n = some(count)
    product = NetworkProduct(network, passes.parameters, data, likelihood=passes.likelihood, count=n if mean else 1)
    return Operator.of(product), n


@dataclass(frozen=True)
class Datum:
    """What is kept of a batch: inputs, vectors whose outer products sum to H (None where the likelihood tells it), weights."""

    inputs: Inputs
    vectors: Sequence[Tensor] | None
    weights: Tensor | None
    entries: int

    def columns(self, likelihood: Likelihood, output: Tensor) -> Sequence[Tensor]:
        return likelihood.root(output, self.weights).columns if self.vectors is None else self.vectors

    def squared(self, likelihood: Likelihood, output: Tensor, u: Tensor) -> Tensor:
        """H u."""
        return likelihood.root(output, self.weights).squared(u) if self.vectors is None else rank_ones(self.vectors, u)


class NetworkProduct:
    """The matrix ``(1/count) sum_n J_n' H_n J_n`` of a network and its inputs, by products.

    Parameters
    ----------
    network : Network
        One that owns its weights: F belongs to a point, and the caller may train on.
    data : sequence of Datum
    likelihood : Likelihood
    count : int
        What the sum is divided by.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        data: Sequence[Datum],
        *,
        likelihood: Likelihood,
        count: int,
    ) -> None:
        self.parameters, self._network, self._data = parameters, network, list(data)
        self._likelihood, self._count = likelihood, count
        self._kept: dict[int, Linearization] = {}
        self._ways = Ways(network, [datum.inputs for datum in self._data])
        self._spare = SHARE * memory_budget()
        self._lock = Lock()

    @property
    def device(self) -> torch.device:
        return self._network.device

    @property
    def arrays(self) -> Mapping[str, Tensor]:
        return {"like": torch.zeros((), dtype=torch.float64, device=self.device)}

    @property
    def precision(self) -> float:
        return max(float(torch.finfo(value.dtype).eps) for value in self._network.values.values())

    @undisturbed
    def matvec(self, leaves: Leaves) -> Leaves:
        wide = leaves[0].ndim == 2
        like = [*self._network.values.values()]
        rows = [(leaf.T if wide else leaf[None]).to(p).contiguous() for leaf, p in zip(leaves, like, strict=True)]
        out = [torch.zeros(row.shape, dtype=torch.float64, device=self.device) for row in rows]
        with self._lock, differentiable_twice():
            for index, datum in enumerate(self._data):
                batch = self._linearized(index, datum.inputs)
                batch.prepare(len(rows[0]))
                squared = partial(datum.squared, self._likelihood, batch.output.detach())
                for j in range(len(rows[0])):
                    v = [row[j].reshape(p.shape) for row, p in zip(rows, like, strict=True)]
                    for total, part in zip(out, batch.product(v, squared), strict=True):
                        total[j] += part.reshape(-1)
        return [total.div_(self._count).T if wide else total.div_(self._count)[0] for total in out]

    @undisturbed
    def diagonal(self) -> Leaves:
        kept = KeptDiagonal(self.parameters, self.device)
        layers = trusted(self._network, tuple(x[:TRIAL] for x in self._data[0].inputs))
        for datum in self._data:
            batch = Batch(self._network, layers, datum.inputs)
            kept.add(batch, datum.columns(self._likelihood, batch.output))
            batch.release()
        return [total / self._count for total in kept.arrays()]

    def _linearized(self, index: int, inputs: Inputs) -> Linearization:
        if index in self._kept:
            return self._kept[index]
        found = Linearization(self._network, inputs, self._ways)
        if (held := found.bytes) <= self._spare:
            self._kept[index], self._spare = found, self._spare - held
        return found


def held(batch: Batch, vectors: Sequence[Tensor] | None, weights: Tensor | None, earlier: Sequence[Datum]) -> Datum:
    """A copy of a batch's inputs, with its vectors where they cannot be made again; refused over the budget."""
    own = None if vectors is None else list(vectors)
    parts = [*batch.inputs, *(own or ())]
    entries = sum(part.numel() for part in parts) + sum(datum.entries for datum in earlier)
    check_budget(entries, what="a copy of the inputs, which an operator keeps,", cheaper="structure='diagonal' keeps none.")
    return Datum(tuple(x.clone() for x in batch.inputs), own, weights, sum(part.numel() for part in parts))
