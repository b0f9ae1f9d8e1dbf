"""A private view of the caller's module: its weights and nothing of its state, so that it is left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import LayoutError
from . import random_state
from .compiled import uncompiled
from .copies import private
from .sharded import whole

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the axes of a kernel

Inputs = tuple[Tensor, ...]
Result = TypeVar("Result")


class Network:
    """A copy of a module that shares the weights' storage and has its own hooks, modes, gradients and buffers.

    Parameters
    ----------
    module : torch.nn.Module
    values : mapping from name to tensor
        The parameters that are differentiated; the others are constants.
    keys : tuple of str
        Names by which the module is given its inputs; by position where there are none.
    own : bool
        Copy the weights too: for what outlives the call.
    """

    def __init__(self, module: nn.Module, values: Mapping[str, Tensor], keys: tuple[str, ...] = (), *, own: bool = False) -> None:
        self.keys = keys
        by_name = dict(module.named_parameters(remove_duplicate=False))
        given = {id(by_name[name]): value for name, value in values.items()}
        own_parameters = {
            id(p): nn.Parameter(_held(given.get(id(p), p), own), requires_grad=own and id(p) in given)
            for p in {id(p): p for p in by_name.values()}.values()
        }
        self.module = private(module, own_parameters)
        self.values = {name: own_parameters[id(by_name[name])] for name in values}
        self.theirs = {id(by_name[name]): name for name in values}
        self.has_weights, self.has_inputs = own, False  # or shares the caller's memory

    def own_weights(self) -> None:
        """Copies of the weights, for a network that writes to them."""
        self.has_weights = True
        for p in self.module.parameters():
            p.data = p.data.clone()

    def own_inputs(self) -> None:
        """A copy of the inputs for each pass, for a network that writes to them."""
        self.has_inputs = True

    def __call__(self, inputs: Inputs) -> Tensor:
        positional, named = self._arguments(inputs)
        return _tensor(self.module(*positional, **named))

    def at(self, values: dict[str, Tensor], inputs: Inputs) -> Tensor:
        """The output with other values in place of some parameters."""
        return _tensor(torch.func.functional_call(self.module, values, *self._arguments(inputs)))

    def _arguments(self, inputs: Inputs) -> tuple[Inputs, dict[str, Tensor]]:
        if self.has_inputs:
            inputs = tuple(x.clone() for x in inputs)
        return ((), dict(zip(self.keys, inputs, strict=True))) if self.keys else (inputs, {})

    @property
    def device(self) -> torch.device:
        return next(iter(self.values.values())).device

    def arrange(self, inputs: Inputs) -> None:
        """Copied kernels with their channels last in memory, as CPUs are quicker; where the output stays what it is."""
        kernels = [p for p in self.module.parameters() if p.ndim in CHANNELS_LAST]
        if self.device.type != "cpu" or not kernels:
            return
        with torch.no_grad():
            before = self(inputs)
            for p in kernels:
                p.data = p.data.contiguous(memory_format=CHANNELS_LAST[p.ndim])
            try:
                if alike(self(inputs), before):
                    return
            except RuntimeError:  # of a view that takes the other order for granted
                pass
        for p in kernels:
            p.data = p.data.contiguous()

    def vjp(self, names: list[str], inputs: Inputs, cotangents: Tensor) -> dict[str, Tensor]:
        """Per-example gradients of <c_n, z_n> for these parameters alone: (b, *shape) each. Any module."""
        try:
            return self._vmapped(names, inputs, cotangents)
        except (RuntimeError, ValueError, NotImplementedError):  # vmap meets .item(), a branch on data, an odd kernel
            return self._one_by_one(names, inputs, cotangents)

    def _vmapped(self, names: list[str], inputs: Inputs, cotangents: Tensor) -> dict[str, Tensor]:
        def inner(values: dict[str, Tensor], example: Inputs, cotangent: Tensor) -> Tensor:
            output = self.at(values, tuple(x[None] for x in example))
            return (output[0] * cotangent).sum()

        values = {name: self.values[name].detach() for name in names}
        with torch.no_grad(), warnings.catch_warnings():  # of the other parameters; torch.func.grad has its own
            warnings.filterwarnings("ignore", message=".*not yet implemented the batching rule")  # slower, not wrong
            gradients: dict[str, Tensor] = torch.vmap(torch.func.grad(inner), in_dims=(None, 0, 0))(values, inputs, cotangents)
        return gradients

    def _one_by_one(self, names: list[str], inputs: Inputs, cotangents: Tensor) -> dict[str, Tensor]:
        values = [self.values[name].requires_grad_() for name in names]
        rows = []
        for i, cotangent in enumerate(cotangents):
            total = (self(tuple(x[i : i + 1] for x in inputs))[0] * cotangent).sum()
            if not total.requires_grad:
                rows.append([torch.zeros_like(value, requires_grad=False) for value in values])
                continue
            gradients = torch.autograd.grad(total, values, allow_unused=True, materialize_grads=True)
            rows.append([g.to_dense() for g in gradients])
        return {name: torch.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _held(value: Tensor, own: bool) -> Tensor:
    value = whole(value.detach()).data  # without the caller's count of changes
    return value.clone() if own else value


def alike(one: Tensor, other: Tensor) -> bool:
    """Up to rounding, which on a GPU may be that of TF32."""
    exact = one.device.type == "cpu" or one.dtype != torch.float32
    eps = torch.finfo(one.dtype).eps if exact else 2.0**-16
    return one.shape == other.shape and bool(((one - other).abs() <= 1e3 * eps * other.abs().max()).all())


def undisturbed(verb: Callable[..., Result]) -> Callable[..., Result]:
    """A verb of a model, the same in any context of the caller's, who finds the random state as it was.

    Neither ``no_grad``, inference mode, autocast nor ``torch.compile`` reaches inside; loaders that shuffle draw from a forked
    state.
    """

    @wraps(verb)
    def alone(self: Any, *arguments: Any, **keywords: Any) -> Result:
        device: torch.device = self.device
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            torch.jit.optimized_execution(False),  # scripts would hide their operations from autograd's graph
            random_state.kept(device),
            uncompiled(),
        ):
            return verb(self, *arguments, **keywords)

    return alone


def _tensor(output: Any) -> Tensor:
    """The one tensor that a network returns: itself, or the ``logits`` of a mapping or an object (Hugging Face)."""
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise LayoutError(
            f"the network must return one tensor, or something with .logits; got {type(output).__name__}. Wrap it in a module "
            "that does."
        )
    return logits


def unwrap(module: nn.Module) -> nn.Module:
    """Data-parallel wrappers average gradients over ranks before anything is squared: look inside."""
    wrapped = isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel))
    return module.module if wrapped else module
