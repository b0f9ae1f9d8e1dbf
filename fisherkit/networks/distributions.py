r"""Any distribution as a likelihood: a callable builds a `torch.distributions` object from the output.

Where labels can be enumerated, the columns of the root are :math:`\sqrt{p_k}\, \nabla \log p_k`. Otherwise the information
:math:`I(\eta)` that a label carries about the distribution's own arguments is known for the families of `INFORMATION`, and with
:math:`I = L L^\top` the root is :math:`S = (\partial\eta / \partial z)^\top L`. Both are vector-Jacobian products through
the callable alone. Other families have scores, and with them Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, constraints

from ..errors import DataError, LayoutError, MethodError
from . import random_state
from .likelihood import Likelihood, Root


def _diagonal(*entries: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack(entries, dim=-1))


def _gamma(d: Any) -> Tensor:
    a, b = d.concentration, d.rate
    rows = [torch.stack([torch.polygamma(1, a), -1 / b], -1), torch.stack([-1 / b, a / b**2], -1)]
    return torch.stack(rows, -2)


def _beta(d: Any) -> Tensor:
    a, b = (torch.polygamma(1, v) for v in (d.concentration1, d.concentration0))
    both = torch.polygamma(1, d.concentration1 + d.concentration0)
    return torch.stack([torch.stack([a - both, -both], -1), torch.stack([-both, b - both], -1)], -2)


def _student(d: Any) -> Tensor:
    return _diagonal((d.df + 1) / (d.df + 3) / d.scale**2, 2 * d.df / (d.df + 3) / d.scale**2)


def _location_scale(of_location: float, of_scale: float) -> Callable[[Any], Tensor]:
    return lambda d: _diagonal(of_location / d.scale**2, of_scale / d.scale**2)


#: family -> the arguments that may come from the output, and the information of a label about them, (..., m, m).
#: Lehmann & Casella (1998), Theory of Point Estimation, table 2.5.1; Student: Lange, Little & Taylor (1989).
INFORMATION: dict[type[Distribution], tuple[tuple[str, ...], Callable[[Any], Tensor]]] = {
    distributions.Bernoulli: (("logits",), lambda d: _diagonal(torch.sigmoid(d.logits) * torch.sigmoid(-d.logits))),
    distributions.Binomial: (
        ("logits",),
        lambda d: _diagonal(d.total_count * torch.sigmoid(d.logits) * torch.sigmoid(-d.logits)),
    ),
    distributions.Geometric: (("probs",), lambda d: _diagonal(1 / (d.probs**2 * (1 - d.probs)))),
    distributions.NegativeBinomial: (("logits",), lambda d: _diagonal(d.total_count * torch.sigmoid(d.logits))),
    distributions.Poisson: (("rate",), lambda d: _diagonal(1 / d.rate)),
    distributions.Exponential: (("rate",), lambda d: _diagonal(1 / d.rate**2)),
    distributions.Normal: (("loc", "scale"), _location_scale(1.0, 2.0)),
    distributions.LogNormal: (("loc", "scale"), _location_scale(1.0, 2.0)),
    distributions.Laplace: (("loc", "scale"), _location_scale(1.0, 1.0)),
    distributions.Cauchy: (("loc", "scale"), _location_scale(0.5, 0.5)),
    distributions.StudentT: (("loc", "scale"), _student),
    distributions.Gamma: (("concentration", "rate"), _gamma),
    distributions.Beta: (("concentration1", "concentration0"), _beta),
}
#: arguments that must not come from the output for the row above to be the whole information
CONSTANTS = {distributions.Binomial: "total_count", distributions.NegativeBinomial: "total_count", distributions.StudentT: "df"}


@dataclass(frozen=True)
class FromDistribution(Likelihood):
    """The distribution that ``build(output)`` returns, of batch shape (b, \\*places)."""

    build: Callable[[Tensor], Distribution]

    def check_output(self, output: Tensor) -> None:
        shape = tuple(output.shape)
        with torch.enable_grad():
            z = output.detach().requires_grad_()
            try:
                built = checked(self.build(z))
            except (ValueError, IndexError, TypeError, RuntimeError, AttributeError) as error:
                raise LayoutError(
                    f"the likelihood cannot build a distribution from an output of shape {shape}: {error}"
                ) from error
            if not isinstance(built, Distribution):
                raise LayoutError(f"the likelihood must return a torch.distributions object; got {type(built).__name__}.")
            if not built.batch_shape or built.batch_shape[0] != len(output):
                raise LayoutError(
                    f"the distribution must have one row per example; outputs of shape {shape} gave batch shape "
                    f"{tuple(built.batch_shape)}, event shape {tuple(built.event_shape)}."
                )
            self._check_rows(z, built)

    def _check_rows(self, z: Tensor, built: Distribution) -> None:
        """Examples are independent, and their labels tell of the output."""
        with random_state.seeded(0, z.device):
            labels = built.sample()
        log_prob = built.log_prob(labels)
        if not log_prob.requires_grad:
            raise LayoutError(f"the distribution {built} does not depend on the output: labels would tell nothing.")
        alone = self.build(z[:1]).log_prob(labels[:1])
        if not torch.allclose(alone, log_prob[:1], rtol=1e-3, atol=1e-4, equal_nan=True):
            raise LayoutError("the distribution of an example depends on the other examples' outputs; scores are per example.")

    def places(self, output: Tensor) -> tuple[int, ...]:
        return tuple(self._built(output).batch_shape[1:])

    def check_labels(self, output: Tensor, labels: Tensor) -> Tensor:
        built = self._built(output)
        shape = tuple(built.batch_shape + built.event_shape)
        if labels.shape != shape:
            raise DataError(f"labels of {_name(built)} must have shape {shape}; got {tuple(labels.shape)}.")
        labels = labels.to(output.dtype) if labels.is_floating_point() else labels
        try:
            inside = built.support.check(labels)
        except (NotImplementedError, AttributeError):
            return labels
        if len(bad := torch.nonzero(~inside)):
            index = tuple(bad[0].tolist())
            raise DataError(f"label {index} is {labels[index].tolist()}, outside the support of {_name(built)}.")
        return labels

    def log_prob(self, output: Tensor, labels: Tensor) -> Tensor:
        return self._built(output).log_prob(labels)

    def score(self, output: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        z = output.detach().requires_grad_()
        log_prob = self._built(z).log_prob(labels)
        return _gradient([log_prob], z, [torch.ones_like(log_prob) if weights is None else weights.to(log_prob)])

    def root(self, output: Tensor, weights: Tensor | None = None) -> Root:
        z = output.detach().requires_grad_()
        built = self._built(z)
        base = _base(built)
        if weights is not None:  # an Independent's label has several parts, each with its own place in the base
            inner = len(base.batch_shape) - len(built.batch_shape)
            weights = weights.reshape(*weights.shape, *[1] * inner).expand(base.batch_shape)
        whole = not _is_from_output(getattr(base, CONSTANTS.get(type(base), ""), None))
        if whole and type(base) in INFORMATION:
            return _by_arguments(z, base, weights)
        if whole and base.has_enumerate_support:
            return _by_enumeration(z, base, weights)
        raise MethodError(
            f"the expectation over labels of {_name(built)} is neither a finite sum nor a closed form: "
            "method=fk.MonteCarlo(n, rng=...) draws labels."
        )

    def sample(self, output: Tensor, draws: int, rng: np.random.Generator) -> Tensor:
        """Drawn by PyTorch's own sampler from a seed: another batch size draws other labels."""
        with random_state.seeded(int(rng.integers(2**63)), output.device), torch.no_grad():
            labels: Tensor = self._built(output).sample((draws,))
        return labels

    def _built(self, output: Tensor) -> Distribution:
        try:
            return checked(self.build(output))
        except ValueError as error:  # an argument outside its domain, such as a scale that has become 0
            raise DataError(f"the output gives no distribution: {error}") from error


def checked(built: Distribution) -> Distribution:
    """Itself, with arguments in their domains: torch.compile turns PyTorch's own check off, for the whole process."""
    if not isinstance(built, Distribution) or type(built).arg_constraints is Distribution.arg_constraints:
        return built
    for name, constraint in built.arg_constraints.items():
        if name not in vars(built) or constraints.is_dependent(constraint):
            continue
        if not bool(constraint.check(value := getattr(built, name)).all()):
            raise ValueError(
                f"Expected parameter {name} of {built} to satisfy {constraint}; found {value.flatten()[:5].tolist()}"
            )
    for part in vars(built).values():
        checked(part)  # of a mixture, or of independent ones
    return built


def _by_arguments(z: Tensor, base: Distribution, weights: Tensor | None) -> Root:
    names, information = INFORMATION[type(base)]
    found = [(i, value) for i, name in enumerate(names) if _is_from_output(value := getattr(base, name))]
    rows, arguments = [i for i, _ in found], [value for _, value in found]
    with torch.no_grad():
        root, failed = torch.linalg.cholesky_ex(information(_InFloat64(base))[..., rows, :][..., rows])
        if bool(failed.any()):
            raise DataError(f"the output gives a {_name(base)} whose information is singular or not finite.")
        root = root.to(z.dtype) if weights is None else (root * weights.to(root)[..., None, None]).to(z.dtype)

    def times(v: Tensor) -> Tensor:
        steps = (root @ v.movedim(1, -1)[..., None])[..., 0]
        return _gradient(arguments, z, [step.reshape(a.shape) for step, a in zip(steps.unbind(-1), arguments, strict=True)])

    return Root(z.detach(), (len(rows), *base.batch_shape[1:]), times)


def _by_enumeration(z: Tensor, base: Distribution, weights: Tensor | None) -> Root:
    try:
        log_prob = base.log_prob(base.enumerate_support())
    except NotImplementedError as error:
        raise MethodError(f"the labels of {_name(base)} cannot be enumerated: {error} fk.MonteCarlo(n) draws them.") from error
    deviation = (0.5 * log_prob.detach()).exp()
    deviation = deviation if weights is None else deviation * weights.to(deviation)

    def times(v: Tensor) -> Tensor:
        return _gradient([log_prob], z, [deviation * v.transpose(0, 1)])

    return Root(z.detach(), (len(log_prob), *base.batch_shape[1:]), times)


class _InFloat64:
    """The arguments of a distribution in float64: a Gamma of large concentration has an information near to singular."""

    def __init__(self, base: Distribution) -> None:
        self._base = base

    def __getattr__(self, name: str) -> Tensor:
        value: Tensor = getattr(self._base, name)
        return value.double()


def _gradient(values: list[Tensor], z: Tensor, vectors: list[Tensor]) -> Tensor:
    (g,) = torch.autograd.grad(values, z, vectors, retain_graph=True, allow_unused=True)
    return torch.zeros_like(z) if g is None else g


def _base(built: Distribution) -> Distribution:
    while isinstance(built, distributions.Independent):
        built = built.base_dist
    return built


def _is_from_output(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _name(built: Distribution) -> str:
    inner = f"({type(built.base_dist).__name__})" if isinstance(built, distributions.Independent) else ""
    return f"{type(built).__name__}{inner}"
