"""A private copy of a module around other parameters, whatever its parts do when they are copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from . import sharded


def private(module: nn.Module, inside: Mapping[int, nn.Parameter]) -> nn.Module:
    """A copy with its own hooks, modes and buffers; ``inside`` has its parameters by the id of the module's."""
    memo: dict[int, Any] = dict(inside)
    memo.update((id(kept), kept.detach()) for kept in _activations(module))  # deepcopy refuses them
    sharded.add_copies(module, memo)
    copied = copy.deepcopy(module, memo)
    for name, p in module.named_parameters(remove_duplicate=False):
        _install(copied, name, inside[id(p)])
    return copied


def _install(copied: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Parts that copy themselves, as TorchScript does, have copied the weights too."""
    *owners, last = name.split(".")
    part = reduce(getattr, owners, copied)
    if getattr(part, last) is not parameter:
        setattr(part, last, parameter)


def _activations(module: nn.Module) -> Iterator[Tensor]:
    """Tensors with a history that a module has kept, as an attribute or inside one."""
    for part in module.modules():
        own = [value for name, value in vars(part).items() if name not in ("_parameters", "_buffers", "_modules")]
        yield from (leaf for leaf in tree_leaves(own) if isinstance(leaf, Tensor) and not leaf.is_leaf)
