"""Networks and outputs that have no per-example scores, refused in words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import DataError, LayoutError, NetworkStateError
from . import random_state
from .network import Inputs, Network, alike
from .selection import check_there
from .sharded import check_sharding
from .watching import check_gradient, first_pass

COUPLED = (
    "the output of an example depends on the others in its batch, so it has no score of its own: use running statistics or "
    "call module.eval()."
)


def check_state(module: nn.Module) -> None:
    """Refuse a module whose examples have no scores of their own."""
    check_sharding(module)
    for name, p in module.named_parameters():
        check_there(name, p)
    for name, layer in module.named_modules():
        where = f"{type(layer).__name__} {name!r}".rstrip()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and (layer.training or layer.running_mean is None):
            cure = "call module.eval()" if layer.running_mean is not None else "give it track_running_stats=True"
            raise NetworkStateError(f"{where} uses the statistics of the batch, so an example has no score of its own: {cure}.")
        rate = layer.p if isinstance(layer, nn.modules.dropout._DropoutNd) else getattr(layer, "dropout", 0.0)
        if layer.training and isinstance(rate, float) and rate > 0:
            raise NetworkStateError(f"{where} drops out at random (p={rate}) in train mode: call module.eval().")


def check_passes(network: Network, inputs: Inputs) -> Tensor:
    """The output of a few examples, refused when it is random, or when examples change each other's."""
    try:
        output = first_pass(network, inputs)
    except (TypeError, RuntimeError, IndexError) as error:
        if isinstance(error, NetworkStateError):
            raise
        names = [f"{key} " for key in network.keys] or [""] * len(inputs)
        found = ", ".join(f"{name}{tuple(x.shape)} {x.dtype}" for name, x in zip(names, inputs, strict=True))
        several = "" if network.keys or len(inputs) == 1 else ", here one for each tensor (batches come as [(X1,), (X2,), ...])"
        raise LayoutError(
            f"the network cannot take these inputs, tensors of {found}: {error}. "
            f"inputs= holds the network's own arguments{several}; labels belong to data=(inputs, labels)."
        ) from error
    if not output.is_floating_point():
        raise LayoutError(f"the network must return real floating-point numbers; got {output.dtype}.")
    if output.ndim == 0 or len(output) != len(inputs[0]):
        raise LayoutError(
            f"the network must return one row per example; {len(inputs[0])} examples gave an output of shape "
            f"{tuple(output.shape)}."
        )
    check_gradient(network, inputs, output)
    output = output.detach()
    check_finite(network, inputs, output, 0)
    if not alike(_drawing_nothing(network, inputs), output):
        raise NetworkStateError("two passes over the same examples differ, so their scores are not defined: call module.eval().")
    try:
        alone = network(tuple(x[:1] for x in inputs))
    except (ValueError, RuntimeError, IndexError) as error:
        raise NetworkStateError(
            f"the network takes {len(output)} examples but not one alone, which has no score of its own then: {error}"
        ) from error
    if not alike(alone[0], output[0]):
        raise NetworkStateError(COUPLED)
    return output


def check_same(network: Network, inputs: Inputs, output: Tensor, few: int, known: Tensor | None = None) -> None:
    """Refuse a network whose first examples have another output in a batch than they have as a few, which may be known."""
    if len(output) <= few:
        return
    if known is None:
        with torch.no_grad():
            known = network(tuple(x[:few] for x in inputs))
    if not alike(output[:few], known):
        raise NetworkStateError(f"{COUPLED} Or it draws random numbers in a large batch.")


def _drawing_nothing(network: Network, inputs: Inputs) -> Tensor:
    """The output, refused where the pass moves the random state: thrice, as another thread may draw in between."""
    for _ in range(3):
        with random_state.alone():
            before = random_state.current(network.device)
            output = network(inputs)
            if torch.equal(before, random_state.current(network.device)):
                return output
    raise NetworkStateError("the network draws random numbers (dropout?), so scores are random: call module.eval().")


def check_finite(network: Network, inputs: Inputs, output: Tensor, start: int) -> None:
    """Refuse an output that is not finite, naming the example and the layer where it began."""
    if bool(torch.isfinite(output.sum())):  # which may overflow where no part does
        return
    if not len(bad := torch.nonzero(~torch.isfinite(output).reshape(len(output), -1).all(dim=1))):
        return
    row = int(bad[0])
    values = output[row].flatten()
    told = f"{values[:8].tolist()}".replace("]", ", ...]" if len(values) > 8 else "]")
    where = _first_bad_layer(network, tuple(x[row : row + 1] for x in inputs))
    raise DataError(f"the network's output for example {start + row} is not finite: {told}. {where}")


def _first_bad_layer(network: Network, inputs: Inputs) -> str:
    found: list[str] = []

    def looking(name: str) -> Any:
        def hook(layer: nn.Module, _: Any, made: Any) -> None:
            leaves = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
            if any(not bool(torch.isfinite(leaf).all()) for leaf in leaves):
                found.append(f"{type(layer).__name__} {name!r}")

        return hook

    handles = [m.register_forward_hook(looking(name)) for name, m in network.module.named_modules() if name]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return f"The first layer whose output is not finite is {found[0]}." if found else "Its layers' own outputs are finite."
