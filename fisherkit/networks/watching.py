"""A first pass with open eyes: what it writes to, whose parameters it reads, and whether a gradient comes back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import NetworkStateError
from .layers.graph import Graph
from .network import Inputs, Network


class _Written(BaseException):
    """About to be: no handler of the network's own should take this for an error."""


class _Watch(TorchDispatchMode):  # type: ignore[misc] # torch has no types for it
    """Notes which of some tensors the operations read, and stops before one is written whose memory is guarded."""

    def __init__(self, wanted: dict[int, str], guarded: Iterable[Tensor]) -> None:
        super().__init__()
        self.found: dict[str, Tensor] = {}
        self._wanted = wanted
        self._guarded = {_memory(tensor) for tensor in guarded} - {None}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch would import its compiler, which takes a second, to keep it out of here: our verbs do."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for leaf in tree_leaves((args, kwargs)):
            if id(leaf) in self._wanted:
                self.found[self._wanted[id(leaf)]] = leaf
        if func._schema.is_mutable:
            self._check_written(func._schema.arguments, args, kwargs)
        return func(*args, **kwargs)

    def _check_written(self, arguments: Any, args: Any, kwargs: Any) -> None:
        for at, argument in enumerate(arguments):
            value = args[at] if at < len(args) else kwargs.get(argument.name)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and any(isinstance(leaf, Tensor) and _memory(leaf) in self._guarded for leaf in tree_leaves(value)):
                raise _Written


def first_pass(network: Network, inputs: Inputs) -> Tensor:
    """The output of a few examples. A network that writes to its inputs or its weights has copies of them from here on."""
    for value in network.values.values():
        value.requires_grad_()
    for own in (network.own_inputs, network.own_weights, None):
        try:
            return _seen(network, inputs)
        except _Written:
            assert own is not None  # nothing is guarded any more
            own()
    raise AssertionError


def _seen(network: Network, inputs: Inputs) -> Tensor:
    guarded = [*(() if network.has_inputs else inputs), *(() if network.has_weights else network.module.parameters())]
    watch = _Watch(network.theirs, guarded)
    try:
        output = _with_gradients(network, inputs, watch)
    except RuntimeError:  # of an operation that cannot be watched, or the network's own
        with torch.enable_grad():
            return network(inputs)
    _check_own(output, watch.found)
    return output


def check_gradient(network: Network, inputs: Inputs, output: Tensor) -> None:
    """Refuse an output that no gradient comes back from."""
    if output.requires_grad or _any_gradient(network, inputs):
        return
    raise NetworkStateError(
        "the output depends on no parameter of the network: its forward detaches it, by torch.no_grad(), .detach() or NumPy."
    )


def _with_gradients(network: Network, inputs: Inputs, mode: Any) -> Tensor:
    with torch.enable_grad(), mode:
        return network(inputs)


def _any_gradient(network: Network, inputs: Inputs) -> bool:
    """Of any parameter: that the chosen ones have no effect may be how it is."""
    before = {p: p.requires_grad for p in network.module.parameters()}
    try:
        for p in before:
            p.requires_grad_(p.is_floating_point() or p.is_complex())
        return bool(_with_gradients(network, inputs, nullcontext()).requires_grad)
    finally:
        for p, flag in before.items():
            p.requires_grad_(flag)


def _check_own(output: Tensor, found: dict[str, Tensor]) -> None:
    """Refuse a network that computes with the caller's own parameters, whose gradients would be missing."""
    reached = {edge.name for edge in Graph(output, found).edges}
    for name, theirs in found.items():
        if name in reached or not theirs.requires_grad:
            raise NetworkStateError(
                f"parameter {name!r} is used by a function that holds on to this very module (a replaced forward, a hook, or a "
                "global name), and not to the copy that is differentiated: let the function take the module as its argument, "
                "as a method does (types.MethodType)."
            )


def _memory(tensor: Tensor) -> int | None:
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError):  # sparse, or without memory
        return None
