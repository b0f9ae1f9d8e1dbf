"""Inputs and labels, however they come, as batches on the network's device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, LayoutError
from .network import Inputs

BATCH = 256


def of_inputs(inputs: Any, device: torch.device, size: int = BATCH) -> Iterator[Inputs]:
    """Batches of inputs alone.

    A tensor, or a tuple of tensors for a network of several arguments, is cut; a loader yields inputs, or pairs
    (inputs, labels) whose labels are not used.
    """
    if isinstance(inputs, Tensor) or _is_tensors(inputs):
        yield from _cut(_inputs(inputs), device, size)
        return
    for item in _loader(inputs, "inputs"):
        if isinstance(item, (tuple, list)) and len(item) not in (1, 2):
            raise LayoutError(f"a loader for inputs= must yield inputs, or pairs (inputs, labels); got {_told(item)}.")
        x = item[0] if isinstance(item, (tuple, list)) else item
        yield _moved(_inputs(x), device)


def cut_first(source: Iterator[Inputs], pieces: int) -> Iterator[Inputs]:
    """The same examples in the same order, the first batch cut: a single one would make no groups to leave out."""
    for first in source:
        yield from _cut(first, first[0].device, max(1, -(-len(first[0]) // pieces)))
        break
    yield from source


def of_pairs(data: Any, device: torch.device, size: int = BATCH) -> Iterator[tuple[Inputs, Tensor]]:
    """Batches of (inputs, labels), from one such pair or from a loader of pairs."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[1], Tensor):
        x, y = _inputs(data[0]), data[1]
        if len(y) != len(x[0]):
            raise DataError(f"data=(inputs, labels) must have as many labels as inputs; got {len(x[0])} and {len(y)}.")
        for *parts, labels in _cut((*x, y), device, size):
            yield tuple(parts), labels
        return
    if isinstance(data, Tensor):
        raise DataError("labels are needed: give data=(inputs, labels), or a loader that yields such pairs.")
    for item in _loader(data, "data"):
        if not (isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[1], Tensor)):
            raise DataError(f"a loader for data= must yield pairs (inputs, labels) of tensors; got {_told(item)}.")
        yield _moved(_inputs(item[0]), device), normal(item[1].to(device))


def _inputs(value: Any) -> Inputs:
    parts = (value,) if isinstance(value, Tensor) else tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise LayoutError(f"inputs must be a tensor, a tuple of tensors, or a loader of them; got {_told(value)}.")
    if any(part.ndim == 0 or len(part) != len(parts[0]) for part in parts):
        raise LayoutError(f"inputs must have one row per example; got shapes {[tuple(part.shape) for part in parts]}.")
    for part in parts:
        if not part.is_floating_point() or bool(torch.isfinite(part.sum())):  # a sum is finite where all parts are
            continue
        if len(bad := torch.nonzero(~torch.isfinite(part))):  # and may overflow where they are
            raise DataError(f"inputs must be finite; entry {tuple(bad[0].tolist())} is {float(part[tuple(bad[0])])}.")
    return parts


def _cut(parts: Inputs, device: torch.device, size: int) -> Iterator[Inputs]:
    for start in range(0, len(parts[0]), size):
        yield _moved(tuple(part[start : start + size] for part in parts), device)


def _moved(parts: Inputs, device: torch.device) -> Inputs:
    return tuple(normal(part.to(device)) for part in parts)


def normal(part: Tensor) -> Tensor:
    """A tensor of inference mode cannot be saved for a gradient; its copy can."""
    return part.clone() if part.is_inference() else part


def _is_tensors(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) > 0 and all(isinstance(part, Tensor) for part in value)


def _loader(value: Any, name: str) -> Iterable[Any]:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, dict)):
        raise LayoutError(f"{name} must be a tensor, a tuple of tensors, or a loader; got {_told(value)}.")
    return value


def _told(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return type(value).__name__
