"""A private view of the caller's module: its weights and nothing of its state, so that it is left as it was."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import DataError, LayoutError, NetworkStateError

Inputs = tuple[Tensor, ...]
Result = TypeVar("Result")


class Network:
    """A copy of a module that shares the weights' storage and has its own hooks, modes, gradients and buffers.

    Parameters
    ----------
    module : torch.nn.Module
    values : mapping from name to tensor
        The parameters that are differentiated; the others are constants.
    own : bool
        Copy the weights too: for what outlives the call.
    """

    def __init__(self, module: nn.Module, values: Mapping[str, Tensor], *, own: bool = False) -> None:
        by_name = dict(module.named_parameters(remove_duplicate=False))
        given = {id(by_name[name]): value for name, value in values.items()}
        memo: dict[int, Any] = {
            id(p): nn.Parameter(_held(given.get(id(p), p), own), requires_grad=own and id(p) in given) for p in by_name.values()
        }
        memo.update((id(kept), kept.detach()) for kept in _activations(module))  # deepcopy refuses them
        self.module = copy.deepcopy(module, memo)
        inside = dict(self.module.named_parameters(remove_duplicate=False))
        self.values = {name: inside[name] for name in values}

    def __call__(self, inputs: Inputs) -> Tensor:
        output = self.module(*inputs)
        if not isinstance(output, Tensor):
            raise LayoutError(f"the network must return one tensor; got {type(output).__name__}. Wrap it in a module that does.")
        return output

    @property
    def device(self) -> torch.device:
        return next(iter(self.values.values())).device

    def vjp(self, names: list[str], inputs: Inputs, cotangents: Tensor) -> dict[str, Tensor]:
        """Per-example gradients of <c_n, z_n> for these parameters alone: (b, *shape) each. Any module."""
        try:
            return self._vmapped(names, inputs, cotangents)
        except (RuntimeError, ValueError, NotImplementedError):  # vmap meets .item(), a branch on data, an odd kernel
            return self._one_by_one(names, inputs, cotangents)

    def _vmapped(self, names: list[str], inputs: Inputs, cotangents: Tensor) -> dict[str, Tensor]:
        def inner(values: dict[str, Tensor], example: Inputs, cotangent: Tensor) -> Tensor:
            output = torch.func.functional_call(self.module, values, tuple(x[None] for x in example))
            return (output[0] * cotangent).sum()

        values = {name: self.values[name].detach() for name in names}
        with torch.no_grad(), warnings.catch_warnings():  # of the other parameters; torch.func.grad has its own
            warnings.filterwarnings("ignore", message=".*not yet implemented the batching rule")  # slower, not wrong
            gradients: dict[str, Tensor] = torch.vmap(torch.func.grad(inner), in_dims=(None, 0, 0))(values, inputs, cotangents)
        return gradients

    def _one_by_one(self, names: list[str], inputs: Inputs, cotangents: Tensor) -> dict[str, Tensor]:
        values = {name: self.values[name].detach().requires_grad_() for name in names}
        rows = []
        for i, cotangent in enumerate(cotangents):
            output = torch.func.functional_call(self.module, values, tuple(x[i : i + 1] for x in inputs))
            total = (output[0] * cotangent).sum()
            if not total.requires_grad:
                rows.append([torch.zeros_like(value) for value in values.values()])
                continue
            gradients = torch.autograd.grad(total, list(values.values()), allow_unused=True, materialize_grads=True)
            rows.append([g.to_dense() for g in gradients])
        return {name: torch.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _held(value: Tensor, own: bool) -> Tensor:
    return value.detach().clone() if own else value.detach()


def undisturbed(verb: Callable[..., Result]) -> Callable[..., Result]:
    """A verb of a model, the same in any context of the caller's, who finds the random state as it was.

    Neither ``no_grad``, inference mode nor autocast reaches inside; loaders that shuffle draw from a forked state.
    """

    @wraps(verb)
    def alone(self: Any, *arguments: Any, **keywords: Any) -> Result:
        device: torch.device = self.device
        devices = [device] if device.type == "cuda" else []
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            torch.random.fork_rng(devices=devices),
        ):
            return verb(self, *arguments, **keywords)

    return alone


def _activations(module: nn.Module) -> Iterator[Tensor]:
    """Tensors with a history that a module has kept, as an attribute or inside one."""
    for part in module.modules():
        own = [value for name, value in vars(part).items() if name not in ("_parameters", "_buffers", "_modules")]
        yield from (leaf for leaf in tree_leaves(own) if isinstance(leaf, Tensor) and not leaf.is_leaf)


def check_state(module: nn.Module) -> None:
    """Refuse a module whose examples have no scores of their own."""
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
        output = network(inputs)
    except (TypeError, RuntimeError, IndexError) as error:
        found = ", ".join(f"{tuple(x.shape)} {x.dtype}" for x in inputs)
        raise LayoutError(
            f"the network cannot take these inputs, tensors of {found}: {error}. "
            "inputs= holds the network's own arguments; labels belong to data=(inputs, labels)."
        ) from error
    if output.ndim == 0 or len(output) != len(inputs[0]):
        raise LayoutError(
            f"the network must return one row per example; {len(inputs[0])} examples gave an output of shape "
            f"{tuple(output.shape)}."
        )
    if all(_draws(network, inputs) for _ in range(3)):  # thrice: another thread may draw in between
        raise NetworkStateError("the network draws random numbers (dropout?), so scores are random: call module.eval().")
    tolerance = 1e3 * torch.finfo(output.dtype).eps * float(output.abs().max())
    if not torch.allclose(network(inputs), output, rtol=0, atol=tolerance, equal_nan=True):
        raise NetworkStateError("two passes over the same examples differ, so their scores are not defined: call module.eval().")
    alone = network(tuple(x[:1] for x in inputs))
    if not torch.allclose(alone[0], output[0], rtol=0, atol=tolerance, equal_nan=True):
        raise NetworkStateError(
            "the output of an example depends on the others in its batch, so it has no score of its own: "
            "use running statistics or call module.eval()."
        )
    return output


def _draws(network: Network, inputs: Inputs) -> bool:
    """Whether a pass moves the random state."""
    before = _random_state(network.device)
    network(inputs)
    return not torch.equal(before, _random_state(network.device))


def _random_state(device: torch.device) -> Tensor:
    state: Tensor = torch.random.get_rng_state()
    return torch.cat([state, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else state


def check_finite(output: Tensor, start: int) -> None:
    """Refuse an output that is not finite, naming the example."""
    bad = torch.nonzero(~torch.isfinite(output).reshape(len(output), -1).all(dim=1))
    if len(bad):
        raise DataError(f"the network's output for example {start + int(bad[0])} is not finite: {output[int(bad[0])].tolist()}.")


def differentiable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, tied ones once."""
    chosen = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not chosen:
        raise LayoutError("no parameter of the network requires a gradient: there is nothing to be informed about.")
    return chosen


def unwrap(module: nn.Module) -> nn.Module:
    """Data-parallel wrappers average gradients over ranks before anything is squared: look inside."""
    wrapped = isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel))
    return module.module if wrapped else module
