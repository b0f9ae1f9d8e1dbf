"""``torch.distributions`` objects as models: scores by ``torch.func``, expectations by the cheapest exact way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.distributions import Distribution, constraints

from ..errors import DataError, LayoutError
from ..model import Theta
from ..parameters import Parameters
from .model import Model


def model_of(distribution: Any) -> Model:
    """The model of which this object is one point.

    Parameters are the tensors it was built from, with their shapes. A batch of distributions is one observation of
    independent components.
    """
    if isinstance(distribution, type):
        raise LayoutError(f"give an object, for example {distribution.__name__}(...), not the class: it brings theta.")
    values = _own_parameters(distribution)
    parameters = Parameters.of({name: tuple(value.shape) for name, value in values.items()})
    shape = tuple(distribution.batch_shape) + tuple(distribution.event_shape)

    def build(flat: torch.Tensor) -> Distribution:
        return _rebuild(distribution, parameters, flat)

    def log_density(x: Any, theta: Any) -> Any:
        data = torch.as_tensor(np.asarray(x)) if not isinstance(x, torch.Tensor) else x
        data = data.double() if not _is_integer(distribution) or data.is_floating_point() else data
        log = build(torch.as_tensor(theta)).log_prob(data.reshape((len(data), *shape)))
        return log.reshape(len(data), -1).sum(dim=1)

    own = _DistributionModel(
        lambda x, theta: _plain(log_density(x, theta), theta),
        score=lambda x, theta: torch.func.jacfwd(lambda t: log_density(x, t))(torch.as_tensor(theta)).numpy(),
        sampler=lambda theta, size, rng: _sample(build(torch.as_tensor(theta)), size, rng),
        parameters=parameters,
        derivatives="torch",
        support=_support(distribution) if not shape else None,
        discrete=_is_integer(distribution),
        outcomes=_outcomes(distribution) if not distribution.batch_shape else None,
    )
    own.constraints = distribution.arg_constraints
    own._point = torch.cat([value.reshape(-1) for value in values.values()]).numpy()
    return own


class _DistributionModel(Model):
    """With the domains that a distribution tells of its arguments, whether or not PyTorch itself validates them."""

    constraints: dict[str, constraints.Constraint]

    def _at(self, theta: Theta) -> np.ndarray:
        at = super()._at(theta)
        for name, part in self.parameters.as_mapping(self.parameters.split(at)).items():
            constraint = self.constraints[name]
            if not constraints.is_dependent(constraint) and not bool(constraint.check(torch.as_tensor(part)).all()):
                raise DataError(f"{name} must satisfy {constraint}; got {np.ravel(part)[:5].tolist()}.")
        return at


def _plain(values: torch.Tensor, theta: Any) -> Any:
    """NumPy in, NumPy out; tensors stay, so that they can be differentiated."""
    return values if isinstance(theta, torch.Tensor) else values.detach().numpy()


def _own_parameters(distribution: Distribution) -> dict[str, torch.Tensor]:
    """The constrained arguments that the object holds itself: probs or logits, not both."""
    names = [name for name in distribution.arg_constraints if name in vars(distribution)]
    names = names or [name for name in distribution.arg_constraints if hasattr(distribution, name)]
    if not names:
        raise LayoutError(
            f"{type(distribution).__name__} tells no parameters of its own. Write it as "
            "fk.sampled.Model(log_density, sampler=..., parameters=..., derivatives='torch')."
        )
    return {name: getattr(distribution, name).detach().double() for name in names}


def _rebuild(distribution: Distribution, parameters: Parameters, flat: torch.Tensor) -> Distribution:
    parts = torch.split(flat, list(parameters.sizes))
    given = {n: part.reshape(s) for n, s, part in zip(parameters.names, parameters.shapes, parts, strict=True)}
    known = {name: getattr(distribution, name) for name in ("total_count",) if name in vars(distribution)}
    cls: Any = type(distribution)
    return cls(**given, **{k: v for k, v in known.items() if k not in given}, validate_args=False)


def _is_integer(distribution: Distribution) -> bool:
    return bool(distribution.support.is_discrete)


def _support(distribution: Distribution) -> tuple[float, float] | None:
    support: Any = distribution.support
    if isinstance(support, type(constraints.real)):
        return (-math.inf, math.inf)
    low = getattr(support, "lower_bound", None)
    high = getattr(support, "upper_bound", math.inf)
    return None if low is None else (float(low), float(high))


def _outcomes(distribution: Distribution) -> Any:
    if not distribution.has_enumerate_support:
        return None
    return lambda theta: distribution.enumerate_support().double().numpy()


def _sample(distribution: Distribution, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws from a fork of PyTorch's global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        return np.asarray(distribution.sample((size,)))
