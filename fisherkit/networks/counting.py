r"""What one observation is, and which labels count.

An example with several labels (a sequence with its tokens, a map with its pixels, an output of several numbers) can be one
observation, with the sum of its labels' scores, or as many as it has labels:

- ``per="example"``: :math:`\sum_n (\sum_t s_{nt})(\sum_t s_{nt})^\top`, and n counts examples;
- ``per="token"``: :math:`\sum_{nt} s_{nt} s_{nt}^\top`, and n counts labels.

At the data these are two matrices. In expectation the cross terms vanish, as labels are independent given the output, so there
the two differ by the scale alone: the mean over examples, or over labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError, LayoutError
from .batches import Item, Mask
from .likelihood import Columns, Likelihood

PER = ("example", "token")


@dataclass(frozen=True)
class Counting:
    """The choices of a model: see `Model`."""

    per: str = "example"
    mask: Mask = None
    shift: int | None = None

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise LayoutError(f"per= must be one of {', '.join(map(repr, PER))}; got {self.per!r}.")
        if not (self.mask is None or isinstance(self.mask, str) or callable(self.mask)):
            raise LayoutError(f"mask= must be the name of a batch's entry, or a function of the batch; got {self.mask!r}.")
        if self.shift is not None and (not isinstance(self.shift, int) or self.shift < 0):
            raise LayoutError(f"shift= must be 0 or a positive integer; got {self.shift!r}.")

    def labels(self, likelihood: Likelihood, output: Tensor, item: Item) -> tuple[Tensor, Tensor | None]:
        """An item's labels, each at the place of the output that tells of it, and the weights of the places."""
        found = item.labels
        assert found is not None
        self._check_repeats(likelihood, output, item, found)
        labels = self._shifted(likelihood, output, found)
        weights = self.weights(likelihood, output, item)
        none = likelihood.ignored(labels)
        if none is not None:
            weights = ~none if weights is None else weights & ~none
        return likelihood.check_labels(output, _filled(labels, weights)), weights

    def weights(self, likelihood: Likelihood, output: Tensor, item: Item) -> Tensor | None:
        """(b, \\*places) True where a label counts; None where all do."""
        shape = (len(output), *likelihood.places(output))
        if item.mask is None and not self.shift:
            return None
        mask = output.new_ones(shape, dtype=torch.bool) if item.mask is None else item.mask
        if tuple(mask.shape) != shape:
            raise LayoutError(f"a mask must have the labels' shape {shape}; got {tuple(mask.shape)}.")
        mask = self._shifted(likelihood, output, mask)
        if self.shift:
            mask = mask.clone()
            mask[:, -self.shift :] = False
        return mask

    def number(self, likelihood: Likelihood, output: Tensor, weights: Tensor | None) -> int:
        """How many observations a batch holds."""
        if self.per == "example":
            return len(output)
        return len(output) * math.prod(likelihood.places(output)) if weights is None else int(weights.sum())

    def scores(self, likelihood: Likelihood, output: Tensor, labels: Tensor, weights: Tensor | None) -> Sequence[Tensor]:
        """The scores of the observations in the output's space: one vector for whole examples, or one for each label's place."""
        places = likelihood.places(output)
        if self.per == "example" or not places:
            return [likelihood.score(output, labels, weights)]
        everywhere = output.new_ones((len(output), *places), dtype=torch.bool) if weights is None else weights
        counted = torch.nonzero(everywhere.flatten(1).any(dim=0))[:, 0].tolist()

        def one(i: int) -> Tensor:
            alone = torch.zeros_like(everywhere).flatten(1)
            alone[:, counted[i]] = everywhere.flatten(1)[:, counted[i]]
            return likelihood.score(output, labels, alone.reshape(everywhere.shape))

        return Columns(len(counted), one)

    def _shifted(self, likelihood: Likelihood, output: Tensor, values: Tensor) -> Tensor:
        """Values of place t + shift at place t. The last ones are repeated there, and not counted."""
        if not self.shift:
            return values
        if values.ndim < 2 or values.shape[1] <= self.shift or not likelihood.places(output):
            raise LayoutError(
                f"shift={self.shift} needs labels of shape (batch, T) with T > {self.shift}; got {tuple(values.shape)}."
            )
        return torch.cat([values[:, self.shift :], values[:, -self.shift :]], dim=1)

    def _check_repeats(self, likelihood: Likelihood, output: Tensor, item: Item, labels: Tensor) -> None:
        """The labels of a causal language model repeat its inputs; each is told by the place before it."""
        given = dict(zip(item.keys, item.inputs, strict=False)).get("input_ids")
        if self.shift is not None or given is None or given.shape != labels.shape or labels.ndim < 2 or labels.shape[1] < 2:
            return
        same = labels == given
        if (none := likelihood.ignored(labels)) is not None:
            same = same | none
        if bool(same.all()):
            raise DataError(
                "the labels repeat input_ids, so each place would be asked for the token that it was given. A causal language "
                "model predicts the next one: Model(..., shift=1). If it is meant, say shift=0."
            )


def _filled(labels: Tensor, weights: Tensor | None) -> Tensor:
    """Labels that do not count may be anything, such as nan or -100: the first that counts in their place."""
    if weights is None or labels.shape[: weights.ndim] != weights.shape:
        return labels
    counted = labels[weights]
    fill = counted[0] if len(counted) else torch.zeros_like(labels[0])
    return torch.where(weights.reshape(*weights.shape, *[1] * (labels.ndim - weights.ndim)), labels, fill)
