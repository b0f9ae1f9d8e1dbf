"""A verb's passes over its data: batch by batch through a private view of the network, which a few examples have tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError, LayoutError, MethodError
from ..model import Theta
from ..parameters import Parameters
from ..progress import shown
from . import batches
from .batches import BATCH, Item
from .counting import Counting
from .distributed import Alone, Dealt
from .estimators import BatchScores
from .kept import Kept
from .layers import trusted
from .likelihood import Likelihood
from .network import Inputs, Network
from .refusals import check_finite, check_passes, check_same, check_state
from .sharded import whole
from .sums import Batch

TRIAL = 3  # examples on which a network is tried before it is trusted


@dataclass(frozen=True)
class Passes:
    """What a verb knows of its model: see `Model`.

    Attributes
    ----------
    tensors : dict from str to torch.nn.Parameter
        The caller's own.
    theta : mapping from str to tensor, optional
        The point, where it is not theirs.
    """

    module: nn.Module
    tensors: dict[str, nn.Parameter]
    theta: Theta
    likelihood: Likelihood
    counting: Counting
    progress: bool | None
    group: Any

    @cached_property
    def parameters(self) -> Parameters:
        """Their names and shapes."""
        return Parameters.of({name: tuple(p.shape) for name, p in self.tensors.items()})

    @property
    def device(self) -> torch.device:
        """Where the parameters are; inputs and labels are moved there."""
        return next(iter(self.tensors.values())).device

    def kept(self, kind: type[Kept]) -> Kept:
        """A running sum, refused before it is allocated where the memory would not hold it."""
        kind.check(self.parameters, 1)
        return kind(self.parameters, self.device)

    # -- processes

    def alone(self, what: str) -> None:
        """Refuse what a group of processes cannot share."""
        if self.group is not None:
            raise MethodError(f"{what} is not shared by the processes of a group: use a model without process_group=.")

    @contextmanager
    def shared(self, kind: type[Kept]) -> Iterator[Alone]:
        """This process's share of the batches, all of them unless there is a group."""
        if not kind.additive:
            self.alone(f"structure={kind.name!r}")
        share = Alone() if self.group is None else Dealt(self.group)
        with share.together(list(self.tensors.values())):
            yield share

    # -- batches

    def of_inputs(self, inputs: Any, size: int = BATCH) -> Iterator[Item]:
        """Batches without labels; tensors are cut into batches of that size."""
        source = batches.of_inputs(inputs, self.device, mask=self.counting.mask, size=size)
        return iter(shown(source, total=batches.count(inputs, size), unit="batches", progress=self.progress))

    def through(
        self, source: Iterator[Item], share: Alone | None = None, *, summed: bool = False, own: bool = False
    ) -> Iterator[tuple[Any, Item]]:
        """Each batch through a view of the network: a `Batch`, or where only sums of scores are wanted a `BatchScores`.

        A view with its ``own`` weights outlives the verb.
        """
        check_state(self.module)
        network = Network(self.module, self._values, own=own)
        first, few = batches.peek(source, TRIAL)
        if few:
            network.keys = next(item.keys for item in first if len(item))
            layers, tried = self._tried(network, few, summed=summed)
            if own:
                network.arrange(few)
        share, largest = share or Alone(), 0
        for item in share.deal(chain(first, source)):
            if item.keys != network.keys:
                raise LayoutError(f"every batch must have the same entries; the first had {network.keys}, another {item.keys}.")
            batch = BatchScores(network, item, share.start) if summed else Batch(network, layers, item.inputs, share.start)
            check_finite(network, item.inputs, batch.output, share.start)
            if len(item) > largest:
                largest = len(item)
                check_same(network, item.inputs, batch.output, TRIAL, tried if item is first[0] else None)
            yield batch, item
            batch.release()

    def _tried(self, network: Network, inputs: Inputs, *, summed: bool) -> tuple[Any, Tensor]:
        """A few examples through the network: the layers that may take the quick way, and the output."""
        with torch.no_grad():
            output = check_passes(network, inputs)
            self.likelihood.check_output(output)
        return [] if summed else trusted(network, inputs), output

    def labelled(
        self, data: Any, share: Alone | None = None, *, own: bool = False
    ) -> Iterator[tuple[Batch, Tensor, Tensor | None]]:
        """Each batch with its labels and the weights of their places."""
        if data is None:
            raise DataError("labels are needed: give data=(inputs, labels), or a loader of such pairs.")
        source = batches.of_pairs(data, self.device, mask=self.counting.mask)
        bar = shown(source, total=batches.count(data, BATCH), unit="batches", progress=self.progress)
        for batch, item in self.through(iter(bar), share, own=own):
            try:
                labels, weights = self.counting.labels(self.likelihood, batch.output, item)
            except DataError as error:
                if not batch.start:
                    raise
                raise DataError(f"{error} The batch starts at example {batch.start}.") from error
            yield batch, labels, weights

    # -- what a batch counts for

    def weights(self, batch: Any, item: Item) -> Tensor | None:
        """Which places of its output count; None where all do."""
        return self.counting.weights(self.likelihood, batch.output, item)

    def number(self, batch: Any, weights: Tensor | None) -> int:
        """Its observations."""
        return self.counting.number(self.likelihood, batch.output, weights)

    def vectors(self, batch: Batch, labels: Tensor, weights: Tensor | None) -> Sequence[Tensor]:
        """The scores of its observations in the output's space."""
        return self.counting.scores(self.likelihood, batch.output, labels, weights)

    def scores(self, batch: Batch, labels: Tensor, weights: Tensor | None) -> dict[str, Tensor]:
        r"""Scores of a batch's observations, (m, \*shape): of its examples, or of their labels that count, example by example."""
        vectors = self.vectors(batch, labels, weights)
        if self.counting.per == "example":
            return batch.scores(vectors[0])
        places = self.likelihood.places(batch.output)
        everywhere = torch.ones(len(batch), *places, dtype=torch.bool) if weights is None else weights
        counted = everywhere.flatten(1) if places else everywhere[:, None]
        counted = counted[:, counted.any(dim=0)]
        by_place = [batch.scores(vector) for vector in vectors]
        return {name: torch.stack([part[name] for part in by_place], dim=1)[counted] for name in by_place[0]} if by_place else {}

    # -- the point

    @property
    def _values(self) -> dict[str, Tensor]:
        own, theta = self.tensors, self.theta
        if theta is None:
            return dict(own)
        if not isinstance(theta, Mapping) or set(theta) != set(own):
            raise LayoutError(
                f"theta for a network is a mapping with a tensor for each of {self.parameters}, or None for its own."
            )
        for name, value in theta.items():
            if tuple(value.shape) != tuple(own[name].shape) or "complex" in str(value.dtype):
                raise LayoutError(
                    f"theta[{name!r}] must be real, of shape {tuple(own[name].shape)}; got {value.dtype}, {tuple(value.shape)}."
                )
        return {name: whole(torch.as_tensor(theta[name])).to(p.device, p.dtype) for name, p in own.items()}


def some(count: int) -> int:
    """The number of observations, refused where the mask has left none."""
    if not count:
        raise DataError("no label counts: the mask, or ignore_index, leaves none.")
    return count
