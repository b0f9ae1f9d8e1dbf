"""The second derivatives of a batch's log-likelihood, all at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import MethodError
from .likelihood import Likelihood
from .sums import Batch

ROWS = 64  # taken at a time: each holds a backward pass


def hessian(batch: Batch, labels: Tensor, weights: Tensor | None, likelihood: Likelihood) -> Tensor:
    """(p, p) in float64, over the flat parameters."""
    network = batch.network
    names, values = list(network.values), [v.detach() for v in network.values.values()]
    sizes = [v.numel() for v in values]

    def total(flat: Tensor) -> Tensor:
        parts = (part.reshape(v.shape) for part, v in zip(torch.split(flat, sizes), values, strict=True))
        log_prob = likelihood.log_prob(network.at(dict(zip(names, parts, strict=True)), batch.inputs), labels)
        return log_prob.sum() if weights is None else (log_prob * weights).sum()

    point = torch.cat([v.reshape(-1) for v in values])
    try:
        found: Tensor = torch.func.jacrev(torch.func.grad(total), chunk_size=ROWS)(point)
    except (RuntimeError, NotImplementedError) as error:
        raise MethodError(
            f"torch.func cannot take the Hessian of this network: {error}. fk.expected_information and "
            "fk.empirical_information take any network."
        ) from error
    return found.double()
