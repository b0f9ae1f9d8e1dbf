"""A private copy of a module around other parameters, whatever its parts do when they are copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import NetworkStateError
from . import sharded


def private(module: nn.Module, inside: Mapping[int, nn.Parameter]) -> nn.Module:
    """A copy with its own hooks, modes and buffers; ``inside`` has its parameters by the id of the module's."""
    known: dict[int, Any] = dict(inside)
    known.update((id(kept), kept.detach()) for kept in _activations(module))  # deepcopy refuses them
    try:
        copied = _copied(module, dict(known))
    except Exception:  # of a lock, a file, an object that refuses
        known.update((id(value), value) for value in _uncopied(module, known))
        try:
            copied = _copied(module, known)
        except Exception as error:
            raise NetworkStateError(
                f"the module cannot be copied, and scores are taken of a copy: {type(error).__name__}: {error}"
            ) from error
    for name, p in module.named_parameters(remove_duplicate=False):
        _install(copied, name, inside[id(p)])
    return copied


def _copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    sharded.add_copies(module, memo)
    return copy.deepcopy(module, memo)


def _uncopied(module: nn.Module, known: dict[int, Any]) -> Iterator[Any]:
    """Attributes that cannot be copied, which the copy shares with the caller's module."""
    parts = {id(part): part for part in module.modules()}
    for part in parts.values():
        for value in _own(part):
            try:
                copy.deepcopy(value, known | parts)
            except Exception:
                yield value


def _own(part: nn.Module) -> list[Any]:
    return [value for name, value in vars(part).items() if name not in ("_parameters", "_buffers", "_modules")]


def _install(copied: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Parts that copy themselves, as TorchScript does, have copied the weights too."""
    *owners, last = name.split(".")
    part = reduce(getattr, owners, copied)
    if getattr(part, last) is not parameter:
        setattr(part, last, parameter)


def _activations(module: nn.Module) -> Iterator[Tensor]:
    """Tensors with a history that a module has kept, as an attribute or inside one."""
    for part in module.modules():
        yield from (leaf for leaf in tree_leaves(_own(part)) if isinstance(leaf, Tensor) and not leaf.is_leaf)
