"""What a task leaves behind: an information, and the weights at which it was taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ...information import FisherInformation
from ...parameters import Parameters
from ...structures.base import Structure
from ...structures.operator import Operator
from .growth import contiguous, inside, reshaped, shapes_of, structure_of

ADDITIVE = ("dense", "diagonal", "low-rank")  # structures in which a sum of two is one


@dataclass(frozen=True)
class Memory:
    """The penalty's F and its centre: of one task, or of several in one."""

    information: FisherInformation
    anchor: Mapping[str, Tensor]

    def without(self, names: Iterable[str]) -> Memory | None:
        """The others; None where nothing is left."""
        kept = [name for name in self.anchor if name not in set(names)]
        if not kept:
            return None
        return Memory(self.information[tuple(kept)], {name: self.anchor[name] for name in kept})

    def to(self, device: torch.device) -> Memory:
        """Where the network is now."""
        if device_of(self.information) == device:
            return self
        structure = structure_of(self.information).map(lambda array: array.to(device))
        moved = FisherInformation.of(structure, self.information._provenance)
        return Memory(moved, {name: value.to(device) for name, value in self.anchor.items()})

    def grown(self, own: Mapping[str, Tensor]) -> Memory:
        """In the shapes of these parameters: of new rows and columns nothing is known."""
        anchor = {name: inside(value, own.get(name, value).detach()) for name, value in self.anchor.items()}
        shapes = {name: tuple(value.shape) for name, value in anchor.items()}
        return Memory(reshaped(self.information, shapes), anchor)


def remember(informations: Sequence[FisherInformation], own: Mapping[str, Tensor]) -> tuple[Memory, ...]:
    """The informations, around a copy of the weights of now."""
    names = {name for information in informations for name in information.parameters.names}
    anchor = {name: contiguous(own[name].detach()) for name in names}
    return tuple(Memory(F, {name: anchor[name] for name in F.parameters.names}) for F in informations)


def summed(memories: Sequence[Memory]) -> FisherInformation:
    """The sum of their informations, where the last one is."""
    device = device_of(memories[-1].information)
    return reduce(joined, [memory.to(device).information for memory in memories])


def merged(memories: Sequence[Memory]) -> tuple[Memory, float]:
    r"""One memory and a constant with the same sum of penalties, of diagonal informations.

    :math:`\sum_t F_t (\theta - \theta_t)^2 = F (\theta - c)^2 + \sum_t F_t (c - \theta_t)^2` with :math:`F = \sum_t F_t` and
    :math:`c = \sum_t F_t \theta_t / F`.
    """
    whole = summed(memories)
    moved = [memory.to(device_of(whole)) for memory in memories]
    parts = [structure_of(memory.information).arrays for memory in moved]
    centre: dict[str, Tensor] = {}
    constant = 0.0
    for name, shape in shapes_of(whole).items():
        pairs = [(F[name], m.anchor[name].double().reshape(-1)) for F, m in zip(parts, moved, strict=True) if name in F]
        total = structure_of(whole).arrays[name]
        mean = torch.stack([F * anchor for F, anchor in pairs]).sum(dim=0) / total
        mean = torch.where(total > 0, mean, pairs[-1][1])
        constant += sum(float((F * (mean - anchor) ** 2).sum()) for F, anchor in pairs)
        centre[name] = mean.reshape(shape)
    return Memory(whole, centre), constant


def device_of(information: FisherInformation) -> torch.device:
    array: Tensor = next(iter(structure_of(information).arrays.values()))
    return array.device


def joined(one: FisherInformation, other: FisherInformation) -> FisherInformation:
    """The sum over the parameters of both, lazy where the structure has none: neither knows of those that it does not name."""
    shapes = {**shapes_of(one), **shapes_of(other)}
    if _adds(one, other):
        return reshaped(one, shapes) + reshaped(other, shapes)
    terms = [term for F in (one, other) for term in _lazy(structure_of(F)).terms]
    return FisherInformation.of(Operator(terms, Parameters.of(shapes)), one._provenance.joined(other._provenance))


def together(informations: Sequence[FisherInformation]) -> list[FisherInformation]:
    """Their sum in their own structure where it has one; else they stay apart, since a sum of products is none."""
    return [reduce(joined, informations)] if all(_adds(informations[0], F) for F in informations) else list(informations)


def _adds(one: FisherInformation, other: FisherInformation) -> bool:
    return one.structure == other.structure and one.structure in ADDITIVE


def _lazy(structure: Structure) -> Operator:
    return structure if isinstance(structure, Operator) else Operator.of(structure)
