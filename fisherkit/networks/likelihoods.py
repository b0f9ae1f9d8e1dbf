r"""What the output of a network means: the distribution of a label given the output z.

With H(z) the information that a label carries about z, the network's is :math:`\frac1N \sum_n J_n^\top H(z_n) J_n`.
Everything the sums need is a stack of output-space vectors c with :math:`\sum_k c_k c_k^\top = H`: the columns of a
square root of H (exact), scores of drawn labels (Monte Carlo), or the score of the label seen (empirical).
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
        if not 0 <= k < self._count:
            raise IndexError(k)
        return self._column(k)


class Likelihood(ABC):
    """A distribution of labels, parametrised by the output; one example per row."""

    @abstractmethod
    def check_output(self, output: Tensor) -> None:
        """Refuse an output that cannot parametrise it."""

    @abstractmethod
    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        """The labels, fit for `score`; refused where they are not of this distribution."""

    @abstractmethod
    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        """(b,) log-probability of each example's label."""

    @abstractmethod
    def score(self, output: Tensor, labels: Tensor) -> Tensor:
        """Gradient of `log_prob` with respect to the output, like the output."""

    @abstractmethod
    def root(self, output: Tensor) -> Sequence[Tensor]:
        """K vectors (b, ...) whose outer products sum to H."""

    def times(self, output: Tensor, u: Tensor) -> Tensor:
        """H u, like the output."""
        total = torch.zeros_like(output)
        for c in self.root(output):
            total += c * (c * u).flatten(1).sum(dim=1).reshape(-1, *[1] * (output.ndim - 1))
        return total

    @abstractmethod
    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        """(draws, b, ...) labels, from random numbers taken example by example: any batch size draws the same."""


@dataclass(frozen=True)
class Categorical(Likelihood):
    """One of C classes; the output holds C logits, shape (b, C)."""

    def check_output(self, output: Tensor) -> None:
        if output.ndim != 2 or output.shape[1] < 2:
            raise LayoutError(
                "a categorical likelihood needs outputs of shape (batch, classes) with two classes at least; got "
                f"{tuple(output.shape)}."
            )

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        if labels.shape != output.shape[:1] or labels.is_floating_point() or labels.is_complex():
            raise DataError(
                f"categorical labels must be integers of shape ({len(output)},); got {labels.dtype} of shape "
                f"{tuple(labels.shape)}."
            )
        classes = output.shape[1]
        if len(bad := torch.nonzero((labels < 0) | (labels >= classes))):
            index = int(bad[0])
            raise DataError(f"label {int(labels[index])} of example {index} is outside the {classes} classes 0..{classes - 1}.")
        return labels.long()

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        return torch.log_softmax(output, dim=1).gather(1, labels[:, None])[:, 0]

    def score(self, output: Tensor, labels: Tensor) -> Tensor:
        others = torch.softmax(output, dim=1).scatter(1, labels[:, None], 0)
        return (-others).scatter(1, labels[:, None], others.sum(dim=1, keepdim=True))  # 1 - p without cancellation

    def root(self, output: Tensor) -> Sequence[Tensor]:
        """Column k is sqrt(p_k) (e_k - p): enumerating labels."""
        p = torch.softmax(output, dim=1)
        unit = torch.eye(output.shape[1], dtype=p.dtype, device=p.device)
        return Columns(output.shape[1], lambda k: p[:, k, None].sqrt() * (unit[k] - p))

    def times(self, output: Tensor, u: Tensor) -> Tensor:
        p = torch.softmax(output, dim=1)
        return p * (u - (p * u).sum(dim=1, keepdim=True))

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        uniform = _like(rng.random((len(output), draws)), output)
        edges = torch.softmax(output.double(), dim=1).cumsum(dim=1)
        return torch.searchsorted(edges, uniform).clamp(max=output.shape[1] - 1).T


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Independent yes or no for each output, whose value is the logit; any shape (b, ...)."""

    def check_output(self, output: Tensor) -> None:
        if output.ndim < 1:
            raise LayoutError("a Bernoulli likelihood needs outputs of shape (batch, ...); got a scalar.")

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        labels = _same_shape(output, labels, "Bernoulli")
        if len(bad := torch.nonzero((labels != 0) & (labels != 1))):
            index = tuple(bad[0].tolist())
            raise DataError(f"Bernoulli labels must be 0 or 1; label {index} is {float(labels[index])}.")
        return labels

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        return _per_example(-torch.nn.functional.binary_cross_entropy_with_logits(output, labels, reduction="none"))

    def score(self, output: Tensor, labels: Tensor) -> Tensor:
        return labels * torch.sigmoid(-output) - (1 - labels) * torch.sigmoid(output)  # 1 - p without cancellation

    def root(self, output: Tensor) -> Sequence[Tensor]:
        deviation = (torch.sigmoid(output) * torch.sigmoid(-output)).sqrt()
        return _one_at_a_time(deviation)

    def times(self, output: Tensor, u: Tensor) -> Tensor:
        return torch.sigmoid(output) * torch.sigmoid(-output) * u

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        uniform = _like(rng.random((len(output), draws, *output.shape[1:])), output).transpose(0, 1)
        return (uniform < torch.sigmoid(output.double())).to(output.dtype)


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """Independent normal labels around each output, with a known variance; any shape (b, ...).

    A loss of half the squared error is variance 1; a squared error without the half is variance 1/2.
    """

    variance: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.variance) and self.variance > 0):
            raise DataError(f"Gaussian(variance=) must be positive and finite; got {self.variance!r}.")

    def check_output(self, output: Tensor) -> None:
        if output.ndim < 1:
            raise LayoutError("a Gaussian likelihood needs outputs of shape (batch, ...); got a scalar.")

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        labels = _same_shape(output, labels, "Gaussian")
        if len(bad := torch.nonzero(~torch.isfinite(labels))):
            raise DataError(f"Gaussian labels must be finite; label {tuple(bad[0].tolist())} is not.")
        return labels

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        squares = (labels - output) ** 2 / self.variance
        return _per_example(-0.5 * (squares + math.log(2 * math.pi * self.variance)))

    def score(self, output: Tensor, labels: Tensor) -> Tensor:
        return (labels - output) / self.variance

    def root(self, output: Tensor) -> Sequence[Tensor]:
        return _one_at_a_time(torch.full_like(output, self.variance**-0.5))

    def times(self, output: Tensor, u: Tensor) -> Tensor:
        return u / self.variance

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        normal = _like(rng.standard_normal((len(output), draws, *output.shape[1:])), output).transpose(0, 1)
        return (output + math.sqrt(self.variance) * normal).to(output.dtype)


BY_NAME: dict[str, Likelihood] = {"categorical": Categorical(), "bernoulli": Bernoulli(), "gaussian": Gaussian()}


def as_likelihood(likelihood: object) -> Likelihood:
    """A likelihood, or the one of that name."""
    if isinstance(likelihood, Likelihood):
        return likelihood
    if isinstance(likelihood, str) and likelihood in BY_NAME:
        return BY_NAME[likelihood]
    raise LayoutError(
        f"likelihood must be one of {', '.join(map(repr, BY_NAME))}, or an object such as "
        f"fk.networks.Gaussian(variance=0.5); got {likelihood!r}."
    )


def _like(numbers: np.ndarray, output: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(output.device)


def _same_shape(output: Tensor, labels: Tensor, name: str) -> Tensor:
    if labels.shape != output.shape:
        raise DataError(f"{name} labels must have the output's shape {tuple(output.shape)}; got {tuple(labels.shape)}.")
    return labels.to(output.dtype)


def _per_example(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).sum(dim=1)


def _one_at_a_time(values: Tensor) -> Sequence[Tensor]:
    """Vector k holds the values at output k and zeros elsewhere."""
    flat = values.reshape(len(values), -1)

    def column(k: int) -> Tensor:
        out = torch.zeros_like(flat)
        out[:, k] = flat[:, k]
        return out.reshape(values.shape)

    return Columns(flat.shape[1], column)
