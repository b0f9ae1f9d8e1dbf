"""PyTorch's global random state, left as it was found, also when several threads ask at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_lock = threading.RLock()
_inside = 0
_found: dict[torch.device, Tensor] = {}


@contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """The first to enter notes the state, the last to leave puts it back: one in between must not take it for the caller's."""
    global _inside
    with _lock:
        _inside += 1
        for one in {torch.device("cpu"), device}:
            _found.setdefault(one, _get(one))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                for one, state in _found.items():
                    _set(one, state)
                _found.clear()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draws that depend on the seed alone, for samplers that know no generator: one thread at a time."""
    devices = [device] if device.type == "cuda" else []
    with _lock, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def alone() -> Iterator[None]:
    """No other thread of ours draws meanwhile."""
    with _lock:
        yield


def current(device: torch.device) -> Tensor:
    """The state of the CPU and of the device, as one array."""
    states = [_get(one).cpu() for one in dict.fromkeys((torch.device("cpu"), device))]
    return torch.cat(states)


def _get(device: torch.device) -> Tensor:
    state: Tensor = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.random.get_rng_state()
    return state


def _set(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.random.set_rng_state(state)
