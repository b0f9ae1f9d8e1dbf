"""The examples of a task: all of them or a part, and how many there were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError, FisherkitError, LayoutError


class Examples(Iterable[Any]):
    """A loader's batches, the first ``limit`` examples of them, counted as they pass; again from the start in a second pass."""

    def __init__(self, loader: Iterable[Any], limit: int | None) -> None:
        self.loader, self.limit, self.seen = loader, limit, 0
        self.given: Any = None  # the batch that the network is at work on

    def __iter__(self) -> Iterator[Any]:
        if self.seen and hasattr(self.loader, "__next__"):
            raise DataError("this structure passes over the data twice, and an iterator is spent after once: give a loader.")
        self.seen = 0
        for item in self.loader:
            rows = _rows(item)
            if self.limit is not None and self.seen + rows > self.limit:
                item = _first(item, self.limit - self.seen)
                rows = self.limit - self.seen
            self.seen += rows
            self.given = item
            yield item
            self.given = None
            if self.seen == self.limit:
                return

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What goes wrong inside the network is told with the shapes of the batch; the loader's own errors pass."""
        try:
            yield
        except (RuntimeError, TypeError, IndexError) as error:
            if self.given is None or isinstance(error, (FisherkitError, torch.OutOfMemoryError)):
                raise
            found = ", ".join(f"{tuple(x.shape)} {x.dtype}" for x in _tensors(self.given))
            raise LayoutError(
                f"the network cannot take a batch of the loader, tensors of {found}, after {self.seen - _rows(self.given)} "
                f"examples: {error}."
            ) from error


class Whole:
    """Tensors that hold the task at once; of a part, the examples are evenly spaced."""

    def __init__(self, tensors: Any, limit: int | None) -> None:
        self.size = _rows(tensors)
        agree = len({len(part) for part in _tensors(tensors)}) == 1  # or the network refuses them as they are
        self.seen = min(limit, self.size) if limit is not None and agree else self.size
        self.tensors = tensors if self.seen == self.size else _map(tensors, self._spaced)

    def _spaced(self, part: Tensor) -> Tensor:
        step = (self.size - 1) / max(1, self.seen - 1)
        return part[[round(k * step) for k in range(self.seen)]]


def examples(source: Any, limit: int | None, *, pairs: bool) -> Whole | Examples | None:
    """The source as the network will read it; None for what it will refuse.

    Parameters
    ----------
    pairs : bool
        Whether labels are part of it, so that inputs of several tensors may stand beside them.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise DataError(f"n_samples must be a positive integer; got {limit!r}.")
    if _is_whole(source) or (pairs and _is_pair(source)):
        return Whole(source, limit)
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes, Mapping)):
        return Examples(source, limit)
    return None


def _is_whole(source: Any) -> bool:
    if isinstance(source, (tuple, list)):
        return len(source) > 0 and all(isinstance(part, Tensor) for part in source)
    return isinstance(source, (Tensor, Mapping))


def _is_pair(source: Any) -> bool:
    return isinstance(source, (tuple, list)) and len(source) == 2 and isinstance(source[1], Tensor) and _is_whole(source[0])


def _first(item: Any, rows: int) -> Any:
    return _map(item, lambda part: part[:rows])


def _tensors(item: Any) -> Iterator[Tensor]:
    parts = item.values() if isinstance(item, Mapping) else item if isinstance(item, (tuple, list)) else ()
    if isinstance(item, Tensor) and item.ndim:
        yield item
    for part in parts:
        yield from _tensors(part)


def _rows(item: Any) -> int:
    """How many examples: the rows of the first tensor. Those of the others are the network's to compare."""
    first = next(_tensors(item), None)
    return 0 if first is None else len(first)


def _map(item: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same with each tensor changed."""
    if isinstance(item, Mapping):
        return {key: _map(part, change) for key, part in item.items()}
    if isinstance(item, (tuple, list)):
        parts = [_map(part, change) for part in item]
        return tuple(parts) if isinstance(item, tuple) else parts
    return change(item) if isinstance(item, Tensor) and item.ndim else item
