"""Memories as a flat mapping of tensors, which safetensors and ``torch.save`` both hold, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ... import methods
from ...errors import DataError, LayoutError
from ...information import FisherInformation
from ...parameters import Parameters
from ...provenance import KINDS, Provenance
from ...structures.base import Structure
from ...structures.promotion import STRUCTURES
from .growth import contiguous, shapes_of, structure_of
from .memory import Memory, device_of, remember, summed, together
from .task import Task

META = "meta"  # JSON, as bytes
VERSION = 1


@dataclass(frozen=True)
class State:
    """Everything that the tasks left behind."""

    mode: str
    structure: str
    tasks: tuple[Task, ...] = ()
    memories: tuple[Memory, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every parameter that some memory holds."""
        return {name: shape for memory in self.memories for name, shape in shapes_of(memory.information).items()}

    @property
    def information(self) -> FisherInformation | None:
        """The sum over the memories."""
        return summed(self.memories) if self.memories else None

    def after(self, found: FisherInformation, task: Task, own: Mapping[str, Tensor], decay: float) -> State:
        """With one task more: a memory of its own, or all of them moved to the weights of now, in one where they add."""
        if self.mode == "separate":
            memories = (*self.memories, *remember([found], own))
        else:
            keep, add = self._weights(task) if self.mode == "sum" else (decay, 1.0)
            earlier = [memory.to(device_of(found)).information * keep for memory in self.memories if keep]
            memories = remember(together([*earlier, found * add]), own)
        return replace(self, tasks=(*self.tasks, task), memories=memories)

    def _weights(self, task: Task) -> tuple[float, float]:
        """From F = sum_t (n_t / mean n) F_t over the earlier tasks to the same over all: what is kept, and what is added."""
        sizes = [earlier.size for earlier in self.tasks]
        mean = (sum(sizes) + task.size) / (len(sizes) + 1)
        return sum(sizes) / max(1, len(sizes)) / mean, task.size / mean

    def without(self, names: Iterable[str]) -> State:
        """Of these parameters nothing is known any more."""
        left = [memory.without(names) for memory in self.memories]
        return replace(self, memories=tuple(memory for memory in left if memory is not None))

    def grown(self, own: Mapping[str, Tensor]) -> State:
        """In the shapes of these parameters."""
        return replace(self, memories=tuple(memory.grown(own) for memory in self.memories))

    def told(self) -> list[str]:
        """Labels, method, n and scale: what a reader needs to know of an F."""
        if not self.tasks:
            return []
        labels = " and ".join(dict.fromkeys(f"from the {task.labels}" for task in self.tasks))
        chosen = " and ".join(dict.fromkeys(repr(task.method) for task in self.tasks if task.method is not None))
        sizes = [task.n for task in self.tasks]
        n = "+".join(map(str, sizes)) if len(sizes) <= 4 else f"{sum(sizes)} in all"
        scale = "per observation" + (", tasks weighed by size" if self.mode == "sum" else "")
        return [f"labels={labels}", *([f"method={chosen}"] if chosen else []), f"n={n}", f"scale={scale}"]


def encode(state: State) -> dict[str, Tensor]:
    """Keys ``0.information.weight`` and ``0.anchor.weight`` for the first memory, and ``meta``."""
    meta = {
        "version": VERSION,
        "mode": state.mode,
        "structure": state.structure,
        "tasks": [asdict(task) | {"method": methods.to_dict(task.method)} for task in state.tasks],
        "memories": [_told(memory.information) for memory in state.memories],
    }
    out = {META: torch.frombuffer(bytearray(json.dumps(meta).encode()), dtype=torch.uint8)}
    for k, memory in enumerate(state.memories):
        out |= {f"{k}.information.{key}": contiguous(v) for key, v in structure_of(memory.information).arrays.items()}
        out |= {f"{k}.anchor.{name}": contiguous(v) for name, v in memory.anchor.items()}
    return out


def decode(tensors: Mapping[str, Tensor]) -> State:
    """What `encode` wrote; whatever does not fit together is refused."""
    if META not in tensors:
        raise LayoutError(f"the state was not written by EWC.state_dict(): it has no {META!r} among its {len(tensors)} keys.")
    try:
        meta = json.loads(bytes(tensors[META].to(torch.uint8).tolist()).decode())
        if meta["version"] != VERSION:
            raise ValueError(f"version {meta['version']}, and this fisherkit reads version {VERSION}")
        tasks = tuple(Task(**{**task, "method": methods.from_dict(task["method"])}) for task in meta["tasks"])
        plans = [_plan(told, k) for k, told in enumerate(meta["memories"])]
        state = State(str(meta["mode"]), str(meta["structure"]), tasks)
        if len(plans) > len(tasks):
            raise ValueError(f"{len(plans)} memories of {len(tasks)} tasks")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the state is damaged: its {META!r} cannot be read ({type(error).__name__}: {error}).") from error
    wanted = {META, *(key for plan in plans for key in plan.keys)}
    missing, unknown = sorted(wanted - set(tensors)), sorted(set(tensors) - wanted)
    if missing or unknown:
        told = f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}."
        raise LayoutError(f"the state is not whole; {told}")
    return State(state.mode, state.structure, tasks, tuple(plan.memory(tensors) for plan in plans))


@dataclass(frozen=True)
class _Plan:
    """Which tensors make a memory."""

    k: int
    structure: str
    parameters: Parameters
    provenance: Provenance

    @property
    def keys(self) -> list[str]:
        own = STRUCTURES[self.structure].keys(self.parameters)
        return [f"{self.k}.information.{key}" for key in own] + [f"{self.k}.anchor.{name}" for name in self.parameters.names]

    def memory(self, tensors: Mapping[str, Tensor]) -> Memory:
        for key in self.keys:
            if not bool(torch.isfinite(tensors[key]).all()):
                raise DataError(f"the state is damaged: {key} must be finite.")
        anchor = {name: contiguous(tensors[f"{self.k}.anchor.{name}"]) for name in self.parameters.names}
        for name, shape in zip(self.parameters.names, self.parameters.shapes, strict=True):
            if tuple(anchor[name].shape) != shape:
                raise DataError(
                    f"the state is damaged: {self.k}.anchor.{name} has shape {tuple(anchor[name].shape)}, not {shape}."
                )
        return Memory(FisherInformation.of(self._structure(tensors, anchor), self.provenance), anchor)

    def _structure(self, tensors: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> Structure:
        cls = STRUCTURES[self.structure]
        arrays = {key: tensors[f"{self.k}.information.{key}"].double().clone() for key in cls.keys(self.parameters)}
        try:  # it must multiply a vector of the parameters' sizes
            structure = cls.from_arrays(arrays, self.parameters)
            leaves = [*structure.diagonal(), *structure.matvec([anchor[name].double().reshape(-1) for name in anchor])]
        except (RuntimeError, IndexError) as error:
            raise DataError(f"the state is damaged: {self.k}.information does not fit {self.parameters}: {error}.") from error
        if [len(leaf) for leaf in leaves] != [*self.parameters.sizes] * 2:
            raise DataError(f"the state is damaged: {self.k}.information does not fit {self.parameters}.")
        for name, leaf in zip(self.parameters.names, leaves, strict=False):
            if bool((leaf < 0).any()):
                raise DataError(f"the state is damaged: {self.k}.information of {name} must be non-negative.")
        return structure


def _told(information: FisherInformation) -> dict[str, Any]:
    parameters = information.parameters
    provenance = {"kind": information.kind, "n": float(information.n), "method": methods.to_dict(information.method)}
    return {"names": parameters.names, "shapes": parameters.shapes, "structure": information.structure, **provenance}


def _plan(told: Mapping[str, Any], k: int) -> _Plan:
    if not set(told["kind"].split("+")) <= set(KINDS):
        raise ValueError(f"kind {told['kind']!r}")
    provenance = Provenance(kind=told["kind"], n=float(told["n"]), method=methods.from_dict(told["method"]))
    return _Plan(k, told["structure"], Parameters(tuple(told["names"]), tuple(map(tuple, told["shapes"]))), provenance)
