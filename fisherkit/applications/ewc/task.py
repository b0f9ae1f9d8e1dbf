"""One task: its information, taken from the examples without leaving a trace in the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ... import methods
from ...errors import DataError, MethodError
from ...information import FisherInformation
from ...methods import Method, MonteCarlo
from ...verbs import empirical_information, expected_information
from .examples import Examples, Whole, examples

LABELS = ("model", "data")


@dataclass(frozen=True)
class Task:
    """How a task was consolidated: n examples were seen, of ``size`` that it has."""

    labels: str
    method: Method | None
    n: int
    size: int

    def __post_init__(self) -> None:
        """A file may say anything."""
        numbers = isinstance(self.n, int) and isinstance(self.size, int) and 0 < self.n <= self.size
        if self.labels not in LABELS or not numbers:
            raise ValueError(f"a task of labels={self.labels!r}, n={self.n!r}, size={self.size!r}")


@dataclass(frozen=True)
class Request:
    """What `EWC.consolidate` was asked for."""

    labels: str
    method: Method | None
    n_samples: int | None
    size: int | None

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise DataError(f"labels must be 'model' or 'data'; got {self.labels!r}.")
        if self.labels == "data" and self.method is not None:
            raise MethodError(f"labels='data' takes no expectation over labels, so no method; got {self.method!r}.")

    def take(self, net: Any, inputs: Any, *, structure: str, weighed: bool) -> tuple[FisherInformation, Task]:
        """The information per observation, and the record; ``weighed`` by size, so that the size must be known."""
        taken = examples(inputs, self.n_samples, pairs=self.labels == "data")
        source = inputs if taken is None else taken.tensors if isinstance(taken, Whole) else taken
        with _evaluating(net.module), taken.telling() if isinstance(taken, Examples) else nullcontext():
            found = self._information(net, source, structure)
        assert taken is not None  # or the network has refused
        size = self._size(taken, weighed)
        method = methods.from_dict(methods.to_dict(found.method))  # without a generator, as a file would keep it
        return found, Task(self.labels, method, taken.seen, size)

    def _information(self, net: Any, inputs: Any, structure: str) -> FisherInformation:
        if self.labels == "data":
            return empirical_information(net, data=inputs, structure=structure).per_observation()
        method = self.method
        if isinstance(method, MonteCarlo) and method.groups is None:
            method = replace(method, groups=0)
        return expected_information(net, inputs=inputs, structure=structure, method=method)

    def _size(self, taken: Whole | Examples, weighed: bool) -> int:
        size = self.size
        if size is None:
            if weighed and isinstance(taken, Examples) and taken.limit == taken.seen:
                raise DataError(f"mode='sum' weighs tasks by their sizes, and n_samples={taken.limit} cuts a loader: give size=.")
            return taken.size if isinstance(taken, Whole) else taken.seen
        if isinstance(size, bool) or not isinstance(size, int) or size < taken.seen:
            raise DataError(f"size is how many examples the task has, the {taken.seen} that were used or more; got {size!r}.")
        return size


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every submodule gets its own mode back.

    The flags alone are set: a ``train`` or ``eval`` that a module has overridden may do more, such as merging adapters.
    """
    modes = {part: part.training for part in module.modules()}
    try:
        for part in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
