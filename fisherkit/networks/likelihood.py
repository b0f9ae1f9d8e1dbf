r"""What the output of a network means: the distribution of labels given the output z.

With H(z) the information that an example's labels carry about z, the network's is :math:`\frac1N \sum_n J_n^\top H(z_n) J_n`.
Everything the sums need is a stack of output-space vectors c with :math:`\sum_k c_k c_k^\top = H`: the columns of a
square root of H (exact), the root times random signs or scores of drawn labels (Monte Carlo), or the score of the label seen
(empirical).

Every label has its place: (b,) for one label per example, (b, T) for one per token, (b, H, W) for one per pixel. Labels are
independent given the output, so H is block-diagonal over places, and weights 0 and 1 say which places are counted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, LayoutError


class Columns(Sequence[Tensor]):
    """Vectors made when they are asked for: all of them at once would be classes times the output."""

    def __init__(self, count: int, column: Callable[[int], Tensor]) -> None:
        self._count, self._column = count, column

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            chosen = range(self._count)[k]
            return Columns(len(chosen), lambda i: self._column(chosen[i]))
        if not 0 <= k < self._count:
            raise IndexError(k)
        return self._column(k)


@dataclass(frozen=True)
class Root:
    """A square root S of H, H = S S', as the map v -> S v from (b, *shape) to vectors like the output, and its transpose."""

    output: Tensor
    shape: tuple[int, ...]
    times: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        """How many columns."""
        return math.prod(self.shape)

    @property
    def columns(self) -> Sequence[Tensor]:
        """The vectors whose outer products sum to H, one for each entry of v."""
        return Columns(len(self), lambda k: self.times(self._unit(k)))

    def squared(self, u: Tensor) -> Tensor:
        """H u, like the output."""
        if self.transpose is not None:
            return self.times(self.transpose(u))
        return rank_ones(self.columns, u)

    def _unit(self, k: int) -> Tensor:
        unit = self.output.new_zeros(len(self))
        unit[k] = 1
        return unit.reshape(1, *self.shape).expand(len(self.output), *self.shape)


def scaling(output: Tensor, deviation: Tensor) -> Root:
    """The diagonal root of independent outputs."""
    times = lambda v: deviation * v  # noqa: E731 both ways
    return Root(output, tuple(output.shape[1:]), times, times)


def rank_ones(vectors: Sequence[Tensor], u: Tensor) -> Tensor:
    """sum_k c_k <c_k, u> for each example."""
    flat = u.reshape(len(u), -1)
    total = torch.zeros_like(flat)
    for c in vectors:
        c = c.reshape(flat.shape).to(flat)
        total += c * (c * flat).sum(dim=1, keepdim=True)
    return total.reshape(u.shape)


class Likelihood(ABC):
    """A distribution of labels, parametrised by the output; one example per row.

    ``weights`` are 0 or 1 for each label, of shape (b, \\*places), or None where all are counted.
    """

    @abstractmethod
    def check_output(self, output: Tensor) -> None:
        """Refuse an output that cannot parametrise it."""

    @abstractmethod
    def places(self, output: Tensor) -> tuple[int, ...]:
        """The shape of an example's labels: () for one, (T,) for one per token."""

    @abstractmethod
    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        """The labels, fit for `score`; refused where they are not of this distribution."""

    def ignored(self, labels: Tensor) -> Tensor | None:
        """Which labels stand for none, True there; None where no value means that."""
        return None

    @abstractmethod
    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        """(b, \\*places) log-probability of each label."""

    @abstractmethod
    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Gradient of the weighted sum of `log_prob` with respect to the output, like the output."""

    @abstractmethod
    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        """A square root of H.

        Raises
        ------
        MethodError
            When H has no closed form and the labels cannot be enumerated.
        """

    @abstractmethod
    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        """(draws, b, ...) labels, from random numbers taken example by example: any batch size draws the same."""


class Elementwise(Likelihood):
    """One label for each output: the places are the output's own shape."""

    def check_output(self, output: Tensor) -> None:
        if output.ndim < 1:
            raise LayoutError(f"{self!r} needs outputs of shape (batch, ...); got a scalar.")

    def places(self, output: Tensor) -> tuple[int, ...]:
        return tuple(output.shape[1:])

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        name = type(self).__name__
        if labels.shape != output.shape:
            raise DataError(f"{name} labels must have the output's shape {tuple(output.shape)}; got {tuple(labels.shape)}.")
        if labels.is_complex():
            raise DataError(f"{name} labels must be real; got {labels.dtype}.")
        return labels.to(output.dtype)


def weighted(values: Tensor, weights: Tensor | None, axis: int | None = None) -> Tensor:
    """Vectors in the output's space with the places that do not count put to zero; ``axis`` is the one that places lack."""
    if weights is None:
        return values
    weights = weights.to(values.dtype)
    return values * (weights if axis is None else weights.unsqueeze(axis))


def refuse_labels(bad: Tensor, labels: Tensor, rule: str) -> None:
    """Name the first label that breaks a rule."""
    if len(found := torch.nonzero(bad)):
        index = tuple(found[0].tolist())
        raise DataError(f"{rule}; label {index} is {labels[index].item():g}.")


def numbers(drawn: np.ndarray, output: Tensor) -> Tensor:
    """Random numbers of shape (b, draws, ...) on the output's device, draws first."""
    return torch.from_numpy(drawn).to(output.device).transpose(0, 1)
