"""Modules whose weights are dealt among processes by FSDP2: gathered for a private copy, the caller's left as they are."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from ..errors import NetworkStateError
from ..optional import if_loaded

FSDP = "torch.distributed.fsdp"
STATE = "__composable_api_state_key"  # of attributes that torch.distributed keeps in a module


def whole(value: Tensor) -> Tensor:
    """The tensor of which each process holds a part; all processes ask at once."""
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def check_sharding(module: nn.Module) -> None:
    """Refuse what is dealt among processes in a way that cannot be undone here."""
    if isinstance(module, if_loaded(FSDP, "FullyShardedDataParallel")):
        raise NetworkStateError(
            "FullyShardedDataParallel keeps no parameter of its own shape: shard with torch.distributed.fsdp.fully_shard, or ask "
            "inside FullyShardedDataParallel.summon_full_params(module) about module.module."
        )
    dealt: dict[str, Any] = {name: p for name, p in module.named_parameters() if hasattr(p, "full_tensor")}
    if not dealt:
        return
    by_fsdp = any(isinstance(part, if_loaded(FSDP, "FSDPModule")) for part in module.modules())
    twice = [name for name, p in dealt.items() if sum(not place.is_replicate() for place in p.placements) > 1]
    if twice or not by_fsdp:
        name = next(iter(twice or dealt))
        raise NetworkStateError(
            f"parameter {name!r} is dealt among processes by other means than torch.distributed.fsdp.fully_shard (tensor "
            "parallel?), and its layer computes only there: give the module before it was parallelized."
        )


def add_copies(module: nn.Module, memo: dict[int, Any]) -> None:
    """Copies of the parts that FSDP2 has taken over, as they were before, for the ``memo`` of `copy.deepcopy`."""
    taken = if_loaded(FSDP, "FSDPModule")
    parts = [part for part in module.modules() if isinstance(part, taken)]
    for part in parts:
        before = next(cls for cls in type(part).__mro__ if not issubclass(cls, taken))
        memo[id(part)] = object.__new__(before)
    for part in parts:
        vars(memo[id(part)]).update(copy.deepcopy(_without_fsdp(vars(part)), memo))


def _without_fsdp(attributes: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in attributes.items() if not name.startswith(STATE)}
    for name in own:
        if name.endswith("_hooks"):
            own[name] = type(own[name])({key: hook for key, hook in own[name].items() if not _is_fsdp(hook)})
    return own


def _is_fsdp(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.")
