"""Inputs and labels, however they come, as batches on the network's device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, LayoutError
from . import random_state
from .network import Inputs

BATCH = 256
LABELS = "labels"  # the entry of a mapping that is no input, as in Hugging Face's batches

Mask = str | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Item:
    """One batch: the network's inputs, by position or by name, and what came along."""

    inputs: Inputs
    keys: tuple[str, ...] = ()
    labels: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def cut(self, size: int) -> Iterator[Item]:
        """The same examples in smaller batches."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            labels, mask = (None if part is None else part[rows] for part in (self.labels, self.mask))
            yield replace(self, inputs=tuple(x[rows] for x in self.inputs), labels=labels, mask=mask)

    def to(self, device: torch.device) -> Item:
        labels, mask = (None if part is None else normal(part.to(device)) for part in (self.labels, self.mask))
        return replace(self, inputs=tuple(normal(x.to(device)) for x in self.inputs), labels=labels, mask=mask)


def of_inputs(inputs: Any, device: torch.device, *, mask: Mask = None, size: int = BATCH) -> Iterator[Item]:
    """Batches of inputs.

    A tensor, a tuple of tensors for a network of several arguments, or a mapping of tensors by argument is cut; a loader
    yields inputs, mappings, or pairs (inputs, labels). Labels come along for a mask that asks for them, and are not used.
    """
    pair = _is_pair(inputs) and isinstance(inputs[0], Mapping)
    if pair or is_whole(inputs):
        yield from (part.to(device) for part in _item(inputs[0] if pair else inputs, mask, raw=inputs).cut(size))
        return
    for item in _loader(inputs, "inputs"):
        if isinstance(item, (tuple, list)) and len(item) not in (1, 2):
            raise LayoutError(f"a loader for inputs= must yield inputs, or pairs (inputs, labels); got {_told(item)}.")
        yield _item(item[0] if isinstance(item, (tuple, list)) else item, mask, raw=item).to(device)


def of_pairs(data: Any, device: torch.device, *, mask: Mask = None, size: int = BATCH) -> Iterator[Item]:
    """Batches with labels: from a pair (inputs, labels), a mapping with labels, or a loader of either."""
    if isinstance(data, Mapping) or _is_pair(data):
        yield from (part.to(device) for part in _labelled(data, mask).cut(size))
        return
    if isinstance(data, Tensor):
        raise DataError("labels are needed: give data=(inputs, labels), or a loader that yields such pairs.")
    if isinstance(data, tuple) and len(data) == 2 and (isinstance(data[0], (Tensor, Mapping)) or hasattr(data[0], "shape")):
        raise LayoutError(f"data=(inputs, labels) must be tensors (torch.as_tensor makes one of an array); got {_told(data)}.")
    for item in _loader(data, "data"):
        if not (isinstance(item, Mapping) or _is_pair(item)):
            raise DataError(f"a loader for data= must yield pairs (inputs, labels) of tensors; got {_told(item)}.")
        yield _labelled(item, mask).to(device)


def cut_first(source: Iterator[Item], pieces: int) -> Iterator[Item]:
    """The same examples in the same order, the first batch cut: a single one would make no groups to leave out."""
    for first in source:
        yield from first.cut(max(1, -(-len(first) // pieces)))
        break
    yield from source


def peek(source: Iterator[Item], size: int) -> tuple[list[Item], Inputs]:
    """The first batches that hold that many examples, taken from the source, and those examples in one batch.

    Single examples would hide that a network couples them; one that stands alone is repeated.
    """
    first: list[Item] = []
    for item in source:
        first.append(item)
        if sum(map(len, first)) >= size:
            break
    some = [item for item in first if len(item)]
    if not some:
        return first, ()
    alike = all(item.keys == some[0].keys and _shapes(item) == _shapes(some[0]) for item in some)
    columns = zip(*(item.inputs for item in (some if alike else [max(some, key=len)])), strict=True)
    few = [torch.cat(column)[:size] for column in columns]
    return first, tuple(x.repeat(-(-size // len(x)), *[1] * (x.ndim - 1))[:size] for x in few)


def _shapes(item: Item) -> list[tuple[int, ...]]:
    return [tuple(x.shape[1:]) for x in item.inputs]


def count(value: Any, size: int) -> int | None:
    """How many batches there will be, where that is known."""
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], Mapping):  # (inputs by name, labels)
        value = value[0]
    if is_whole(value):
        return -(-examples(value) // size)
    try:
        return len(value) if isinstance(value, Sized) else None
    except TypeError:  # a loader of a stream has a length that it does not know
        return None


def examples(value: Any) -> int:
    """The number of examples in a tensor, or in a tuple or a mapping of them."""
    parts = [value] if isinstance(value, Tensor) else list(value.values() if isinstance(value, Mapping) else value)
    return len(parts[0]) if parts and isinstance(parts[0], Tensor) and parts[0].ndim else 0


def is_whole(value: Any) -> bool:
    """Tensors, to be cut; anything else is a loader."""
    if isinstance(value, (tuple, list)):
        return len(value) > 0 and all(isinstance(part, Tensor) for part in value)
    return isinstance(value, (Tensor, Mapping))


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[1], Tensor)


def _labelled(value: Any, mask: Mask) -> Item:
    if isinstance(value, Mapping):
        if not isinstance(value.get(LABELS), Tensor):
            raise DataError(f"labels are needed: a mapping for data= has an entry 'labels'; got {_told(value)}.")
        return _item(value, mask)
    item = replace(_item(value[0], mask, raw=value), labels=value[1])
    labels: Tensor = value[1]
    if labels.ndim == 0 or len(labels) != len(item):
        found = len(labels) if labels.ndim else "a single one"
        raise DataError(f"data=(inputs, labels) must have as many labels as inputs; got {len(item)} and {found}.")
    return item


def _item(value: Any, mask: Mask, *, raw: Any = None) -> Item:
    """Inputs read and checked; labels that a mapping brings are set apart."""
    named = isinstance(value, Mapping)
    labels = value.get(LABELS) if isinstance(value, Mapping) else None
    entries = {k: v for k, v in value.items() if k != LABELS} if isinstance(value, Mapping) else value
    parts = _inputs(tuple(entries.values()) if named else entries, tuple(entries) if named else ())
    found = _mask(mask, value if raw is None else raw, len(parts[0]))
    return Item(parts, tuple(entries) if named else (), labels if isinstance(labels, Tensor) else None, found)


def _mask(mask: Mask, raw: Any, size: int) -> Tensor | None:
    if mask is None:
        return None
    if isinstance(mask, str):
        inner = raw[0] if isinstance(raw, (tuple, list)) else raw
        if not (isinstance(inner, Mapping) and mask in inner):
            raise LayoutError(f"mask={mask!r} is an entry of the batch; got {_told(inner)}.")
        found = inner[mask]
    else:
        found = mask(raw)
    if not isinstance(found, Tensor) or not found.ndim or len(found) != size:
        raise LayoutError(f"a mask must be a tensor with one row per example, here {size}; got {_told(found)}.")
    if not bool(((found == 0) | (found == 1)).all()):
        raise DataError(
            f"a mask must be 1 or True where a label counts, 0 or False where not; got {found.unique()[:5].tolist()}."
        )
    return found.bool()


def _inputs(value: Any, keys: tuple[str, ...]) -> Inputs:
    parts = (value,) if isinstance(value, Tensor) else tuple(value) if isinstance(value, (tuple, list)) else (value,)
    names = keys or tuple(map(str, range(len(parts))))
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        told = (
            ", ".join(f"{name}: {type(part).__name__}" for name, part in zip(names, parts, strict=True)) if keys else _told(value)
        )
        raise LayoutError(
            f"inputs must be a tensor, a tuple or a mapping of tensors, or a loader of them; got {told}. "
            "torch.as_tensor makes one."
        )
    for name, part in zip(names, parts, strict=True):
        if part.layout != torch.strided or part.is_meta:
            what = "on the meta device, without numbers" if part.is_meta else f"{part.layout}: .to_dense() makes it one"
            raise LayoutError(f"inputs must be dense tensors; {name} is {what}.")
    if any(part.ndim == 0 or len(part) != len(parts[0]) for part in parts):
        found = [f"{name} {tuple(part.shape)}" if keys else tuple(part.shape) for name, part in zip(names, parts, strict=True)]
        raise LayoutError(f"inputs must have one row per example; got shapes {found}. Batches come as [(X1,), (X2,), ...].")
    for name, part in zip(names, parts, strict=True):
        if not part.is_floating_point() or bool(torch.isfinite(part.sum())):  # a sum is finite where all parts are
            continue
        if len(bad := torch.nonzero(~torch.isfinite(part))):  # and may overflow where they are
            entry = f"entry {tuple(bad[0].tolist())}" + (f" of {name}" if keys else "")
            raise DataError(f"inputs must be finite; {entry} is {float(part[tuple(bad[0])])}.")
    return parts


def normal(part: Tensor) -> Tensor:
    """A tensor of inference mode cannot be saved for a gradient; its copy can."""
    return part.clone() if part.is_inference() else part


def _loader(value: Any, name: str) -> Iterator[Any]:
    """What it yields. One that shuffles draws from PyTorch's global state: not while another thread draws labels from it."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        raise LayoutError(f"{name} must be a tensor, a tuple of tensors, a mapping of them, or a loader; got {_told(value)}.")
    end = object()
    with random_state.alone():
        source = iter(value)
    while True:
        with random_state.alone():
            item = next(source, end)
        if item is end:
            return
        yield item


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(type(part).__name__ for part in value) or 'nothing'}"
    return type(value).__name__
