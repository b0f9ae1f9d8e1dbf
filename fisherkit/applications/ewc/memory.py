"""What a task leaves behind: an information, and the weights at which it was taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ...errors import MethodError
from ...information import FisherInformation
from ...parameters import Parameters
from ...structures.base import Structure
from ...structures.diagonal import Diagonal

Shapes = Mapping[str, tuple[int, ...]]


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


def remember(information: FisherInformation, own: Mapping[str, Tensor]) -> Memory:
    """The information, around copies of the weights of now; contiguous ones, so that a file may hold them."""
    return Memory(information, {name: contiguous(own[name].detach()) for name in shapes_of(information)})


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


def contiguous(value: Tensor) -> Tensor:
    return value.clone(memory_format=torch.contiguous_format)


def shapes_of(information: FisherInformation) -> Shapes:
    return dict(zip(information.parameters.names, information.parameters.shapes, strict=True))


def joined(one: FisherInformation, other: FisherInformation) -> FisherInformation:
    """The sum over the parameters of both: an information knows nothing of those that it does not name."""
    shapes = {**shapes_of(one), **shapes_of(other)}
    return reshaped(one, shapes) + reshaped(other, shapes)


def reshaped(information: FisherInformation, shapes: Shapes) -> FisherInformation:
    """Zeros for parameters, and for rows and columns of parameters, that the information does not know."""
    if shapes_of(information) == dict(shapes):
        return information
    structure = structure_of(information)
    if structure.name not in PADDED:
        raise MethodError(
            f"parameters that come or grow between tasks need structure='diagonal'; this EWC keeps {structure.name!r}, whose "
            "entries are not of one parameter alone. ewc.release(...) lets go of those that change."
        )
    padded = PADDED[structure.name](structure, shapes)
    return FisherInformation.of(padded, information._provenance)


def structure_of(information: FisherInformation) -> Structure:
    """How it is stored, for arithmetic in the network's own precision."""
    return information._structure


def _padded_diagonal(structure: Structure, shapes: Shapes) -> Structure:
    held = structure.parameters.as_mapping(structure.diagonal())
    like = next(iter(held.values()))
    leaves = {name: like.new_zeros(shape) for name, shape in shapes.items()}
    leaves |= {name: inside(held[name], leaves[name]) for name in held}
    return Diagonal([leaf.reshape(-1) for leaf in leaves.values()], Parameters.of(shapes))


#: How each structure makes room. A structure without a row here refuses.
PADDED: dict[str, Callable[[Structure, Shapes], Structure]] = {"diagonal": _padded_diagonal}


def inside(value: Tensor, whole: Tensor) -> Tensor:
    """A copy of the whole with the value in its first rows and columns; the value itself where it is all of it."""
    if value.shape == whole.shape:
        return value
    out = contiguous(whole)
    out[tuple(map(slice, value.shape))] = value
    return out
