"""The likelihoods with a name: categorical, Bernoulli, Gaussian with a known or a learnt variance, and Poisson."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, LayoutError
from .distributions import FromDistribution
from .likelihood import Elementwise, Likelihood, Root, numbers, refuse_labels, scaling, weighted

ENTRIES = 2**24  # of cumulative probabilities held at a time while labels are drawn
LARGEST_RATE = 2.0**62  # of a Poisson count that fits an integer


@dataclass(frozen=True)
class Categorical(Likelihood):
    """One of C classes, at each place; the output holds logits.

    Parameters
    ----------
    axis : int, optional
        The axis of the classes: 1 for maps (b, C, H, W), as in ``torch.nn.CrossEntropyLoss``; -1 for sequences (b, T, C).
        Needed where the output has more axes than (b, C).
    ignore_index : int, optional
        The label that stands for none, such as -100 (Hugging Face) or 255 (maps). It speaks of labels: an expected information,
        which has none, takes ``mask=`` of `Model`.

    Examples
    --------
    >>> net = fk.networks.Model(torch.nn.Conv2d(1, 3, 1), fk.networks.Categorical(axis=1, ignore_index=255))
    >>> fk.expected_information(net, inputs=torch.ones(2, 1, 4, 4), structure="diagonal").parameters.size
    6
    """

    axis: int | None = None
    ignore_index: int | None = None

    def check_output(self, output: Tensor) -> None:
        if self.axis is None and output.ndim > 2:
            raise LayoutError(
                f"the output has shape {tuple(output.shape)}: say which axis holds the classes, Categorical(axis=1) for maps "
                "(b, C, H, W), Categorical(axis=-1) for sequences (b, T, C)."
            )
        if not (self.axis is None or -output.ndim < self.axis < output.ndim) or self.axis == 0:
            raise LayoutError(f"{self!r} has no such axis for classes in outputs of shape {tuple(output.shape)}.")
        if output.ndim < 2 or output.shape[self._axis(output)] < 2:
            raise LayoutError(
                "a categorical likelihood needs outputs of shape (batch, classes) with two classes at least; got "
                f"{tuple(output.shape)}."
            )

    def _axis(self, output: Tensor) -> int:
        return 1 if self.axis is None else self.axis % output.ndim

    def places(self, output: Tensor) -> tuple[int, ...]:
        axis = self._axis(output)
        return tuple(size for i, size in enumerate(output.shape) if i not in (0, axis))

    def ignored(self, labels: Tensor) -> Tensor | None:
        return None if self.ignore_index is None else labels == self.ignore_index

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        shape, classes = (len(output), *self.places(output)), output.shape[self._axis(output)]
        if labels.shape != shape or labels.is_floating_point() or labels.is_complex():
            raise DataError(
                f"categorical labels must be integers of shape {shape}; got {labels.dtype} of shape {tuple(labels.shape)}."
            )
        if len(bad := torch.nonzero((labels < 0) | (labels >= classes))):
            index = tuple(bad[0].tolist())
            value, where = int(labels[index]), f"example {index[0]}" + (f" at {index[1:]}" if index[1:] else "")
            hint = f" If it stands for none, say Categorical(ignore_index={value})." if value in (-100, -1, 255) else ""
            raise DataError(f"label {value} of {where} is outside the {classes} classes 0..{classes - 1}.{hint}")
        return labels.long()

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        axis = self._axis(output)
        return torch.log_softmax(output, dim=axis).gather(axis, labels.unsqueeze(axis)).squeeze(axis)

    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        axis = self._axis(output)
        index = labels.unsqueeze(axis)
        others = torch.softmax(output, dim=axis).scatter_(axis, index, 0)
        rest = others.sum(dim=axis, keepdim=True)  # 1 - p without cancellation
        return weighted(others.neg_().scatter_(axis, index, rest), weights, axis)

    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        r"""One column less than classes, as the probabilities sum to 1 (Tanabe & Sagae 1992).

        With q all probabilities but the last, r, and :math:`w = \sqrt q`, diag(q) - q q' has the root
        :math:`A = \mathrm{diag}(w)(1 - w w^\top / (1 + \sqrt r))`, and -1'A is :math:`-\sqrt r\, w^\top`.
        """
        axis = self._axis(output)
        p = torch.softmax(output, dim=axis)
        top, classes = p.argmax(dim=axis, keepdim=True), p.shape[axis]
        q, last = p.narrow(axis, 0, classes - 1), p.narrow(axis, classes - 1, 1).sqrt()
        deviation, mean = q.sqrt(), q / (1 + last)

        def times(v: Tensor) -> Tensor:
            scaled = deviation * v
            total = scaled.sum(dim=axis, keepdim=True)
            others = torch.cat([scaled - mean * total, -last * total], dim=axis).scatter(axis, top, 0)
            vectors = others.scatter(axis, top, -others.sum(dim=axis, keepdim=True))  # columns sum to 0: no 1 - p
            return weighted(vectors, weights, axis)

        def transpose(u: Tensor) -> Tensor:
            u = weighted(u, weights, axis)
            first, end = u.narrow(axis, 0, classes - 1), u.narrow(axis, classes - 1, 1)
            return deviation * (first - (mean * first).sum(dim=axis, keepdim=True) - last * end)

        return Root(output, tuple(q.shape[1:]), times, transpose)

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        logits = output.movedim(self._axis(output), -1)
        step = max(1, ENTRIES // max(1, logits[:1].numel()))
        return torch.cat([_classes(part, draws, rng) for part in logits.split(step)], dim=1)


def _classes(logits: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
    """(draws, b, *places) classes by inversion, from logits (b, *places, C)."""
    uniform = torch.from_numpy(rng.random((*logits.shape[:-1], draws))).to(logits.device)
    edges = torch.softmax(logits, dim=-1, dtype=torch.float64).cumsum_(dim=-1)
    return torch.searchsorted(edges, uniform).clamp(max=logits.shape[-1] - 1).movedim(-1, 0)


@dataclass(frozen=True)
class Bernoulli(Elementwise):
    """Independent yes or no for each output, whose value is the logit; any shape (b, ...)."""

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        labels = super().check_labels(output, labels)
        refuse_labels((labels != 0) & (labels != 1), labels, "Bernoulli labels must be 0 or 1")
        return labels

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        return -torch.nn.functional.binary_cross_entropy_with_logits(output, labels, reduction="none")

    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        vectors = labels * torch.sigmoid(-output) - (1 - labels) * torch.sigmoid(output)  # 1 - p without cancellation
        return weighted(vectors, weights)

    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        deviation = weighted((torch.sigmoid(output) * torch.sigmoid(-output)).sqrt(), weights)
        return scaling(output, deviation)

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        uniform = numbers(rng.random((len(output), draws, *output.shape[1:])), output)
        return (uniform < torch.sigmoid(output.double())).to(output.dtype)


@dataclass(frozen=True)
class Gaussian(Elementwise):
    """Independent normal labels around each output, with a known variance; any shape (b, ...).

    A loss of half the squared error is variance 1; a squared error without the half is variance 1/2.

    Parameters
    ----------
    variance : float or sequence of float
        Of every output, or of each along the last axis.
    """

    variance: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        values = np.asarray(self.variance, dtype=float)
        if not (values.ndim <= 1 and values.size and np.all(np.isfinite(values) & (values > 0))):
            raise DataError(f"Gaussian(variance=) must be positive and finite; got {self.variance!r}.")
        object.__setattr__(self, "variance", tuple(values.tolist()) if values.ndim else float(values))

    def check_output(self, output: Tensor) -> None:
        super().check_output(output)
        if isinstance(self.variance, tuple) and (output.ndim < 2 or output.shape[-1] != len(self.variance)):
            raise LayoutError(
                f"Gaussian(variance=) has {len(self.variance)} values for outputs of shape {tuple(output.shape)}: give one for "
                "each along the last axis, or a single one."
            )

    def _variance(self, output: Tensor) -> Tensor:
        return torch.as_tensor(self.variance, dtype=output.dtype, device=output.device).expand(output.shape)

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        labels = super().check_labels(output, labels)
        refuse_labels(~torch.isfinite(labels), labels, "Gaussian labels must be finite")
        return labels

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        v = self._variance(output)
        return -0.5 * ((labels - output) ** 2 / v + torch.log(2 * math.pi * v))

    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return weighted((labels - output) / self._variance(output), weights)

    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        precision = weighted(self._variance(output).rsqrt(), weights)
        return scaling(output, precision)

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        normal = numbers(rng.standard_normal((len(output), draws, *output.shape[1:])), output)
        return (output + self._variance(output.double()).sqrt() * normal).to(output.dtype)


@dataclass(frozen=True)
class HeteroscedasticGaussian(Likelihood):
    """Independent normal labels whose variance is learnt: the output holds means, then as many logarithms of variances.

    Parameters
    ----------
    axis : int
        The axis of both: an output (b, 2) for one label, (b, 2 k) for k, (b, 2, H, W) for maps. Labels have the means' shape.

    Notes
    -----
    The information of a label about (mean, log-variance) is diag(1 / variance, 1 / 2).
    """

    axis: int = 1

    def check_output(self, output: Tensor) -> None:
        if not -output.ndim < self.axis < output.ndim or self.axis == 0 or output.shape[self.axis] % 2:
            raise LayoutError(
                f"{self!r} needs means and as many log-variances along axis {self.axis}; the output has shape "
                f"{tuple(output.shape)}."
            )

    def _heads(self, output: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = output.chunk(2, dim=self.axis)
        return mean, log_variance

    def places(self, output: Tensor) -> tuple[int, ...]:
        return tuple(self._heads(output)[0].shape[1:])

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        mean = self._heads(output)[0]
        if labels.shape == mean.squeeze(self.axis).shape:
            labels = labels.reshape(mean.shape)
        return Gaussian().check_labels(mean, labels)

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        mean, log_variance = self._heads(output)
        return -0.5 * ((labels - mean) ** 2 * (-log_variance).exp() + log_variance + math.log(2 * math.pi))

    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        mean, log_variance = self._heads(output)
        precision = (-log_variance).exp()
        parts = ((labels - mean) * precision, 0.5 * ((labels - mean) ** 2 * precision - 1))
        return torch.cat([weighted(part, weights) for part in parts], dim=self.axis)

    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        log_variance = self._heads(output)[1]
        parts = ((-0.5 * log_variance).exp(), torch.full_like(log_variance, 0.5**0.5))
        deviation = torch.cat([weighted(part, weights) for part in parts], dim=self.axis)
        return scaling(output, deviation)

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        mean, log_variance = self._heads(output)
        normal = numbers(rng.standard_normal((len(mean), draws, *mean.shape[1:])), output)
        return (mean + (0.5 * log_variance.double()).exp() * normal).to(output.dtype)


@dataclass(frozen=True)
class Poisson(Elementwise):
    """Independent counts for each output, whose value is the logarithm of the rate; any shape (b, ...)."""

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        labels = super().check_labels(output, labels)
        whole = torch.isfinite(labels) & (labels >= 0) & (labels == labels.floor())
        refuse_labels(~whole, labels, "Poisson labels must be counts, 0 or more")
        return labels

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        return labels * output - output.exp() - torch.lgamma(labels + 1)

    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return weighted(labels - self._rate(output), weights)

    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        deviation = weighted(self._rate(output).sqrt(), weights)
        return scaling(output, deviation)

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        rate = self._rate(output.detach().double()).cpu().numpy()
        counts = rng.poisson(np.broadcast_to(rate[:, None], (len(rate), draws, *rate.shape[1:])))
        return numbers(counts, output).to(output.dtype)

    def _rate(self, output: Tensor) -> Tensor:
        rate = output.exp()
        if len(bad := torch.nonzero(rate > LARGEST_RATE)):
            index = tuple(bad[0].tolist())
            raise DataError(
                f"a Poisson output is the logarithm of a rate; {float(output[index]):g} at {index} is beyond any count."
            )
        return rate


BY_NAME: dict[str, Likelihood] = {
    "categorical": Categorical(),
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
    "poisson": Poisson(),
}


#: What a loss of PyTorch is the negative log-likelihood of, by the loss's name.
OF_LOSS = {
    "cross_entropy": "'categorical'",
    "binary_cross_entropy_with_logits": "'bernoulli'",
    "mse_loss": "fk.networks.Gaussian(variance=0.5), or 'gaussian' where half of it is the loss",
    "gaussian_nll_loss": "fk.networks.HeteroscedasticGaussian()",
    "poisson_nll_loss": "'poisson'",
    "CrossEntropyLoss": "'categorical'",
    "BCEWithLogitsLoss": "'bernoulli'",
    "MSELoss": "fk.networks.Gaussian(variance=0.5), or 'gaussian' where half of it is the loss",
    "GaussianNLLLoss": "fk.networks.HeteroscedasticGaussian()",
    "PoissonNLLLoss": "'poisson'",
}


def as_likelihood(likelihood: object) -> Likelihood:
    """A likelihood, the one of that name, or the one of the distributions that a callable builds from the output."""
    if isinstance(likelihood, Likelihood):
        return likelihood
    if isinstance(likelihood, str) and likelihood in BY_NAME:
        return BY_NAME[likelihood]
    name = getattr(likelihood, "__name__", type(likelihood).__name__)
    if callable(likelihood) and name in OF_LOSS:
        raise LayoutError(f"{name} is a loss of outputs and labels; the likelihood that it means is {OF_LOSS[name]}.")
    if callable(likelihood) and not (isinstance(likelihood, type) and issubclass(likelihood, Likelihood)):
        return FromDistribution(likelihood)
    raise LayoutError(
        f"likelihood must be one of {', '.join(map(repr, BY_NAME))}, an object such as fk.networks.Gaussian(variance=0.5), or a "
        f"callable from the output to a torch.distributions object; got {likelihood!r}."
    )
