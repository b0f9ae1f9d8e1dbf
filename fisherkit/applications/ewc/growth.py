"""Informations in the shapes of more, or larger, parameters: of what is new nothing is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from ...errors import MethodError
from ...information import FisherInformation
from ...parameters import Parameters
from ...structures.base import Structure
from ...structures.dense import Dense
from ...structures.eigenbasis import Eigenbasis
from ...structures.kronecker import Kronecker

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def shapes_of(information: FisherInformation) -> Shapes:
    return dict(zip(information.parameters.names, information.parameters.shapes, strict=True))


def structure_of(information: FisherInformation) -> Structure:
    """How it is stored, for arithmetic in the network's own precision."""
    return information._structure


def contiguous(value: Tensor) -> Tensor:
    return value.clone(memory_format=torch.contiguous_format)


def inside(value: Tensor, whole: Tensor) -> Tensor:
    """A copy of the whole with the value in its first rows and columns; the value itself where it is all of it."""
    if value.shape == whole.shape:
        return value
    out = contiguous(whole)
    out[tuple(map(slice, value.shape))] = value
    return out


def reshaped(information: FisherInformation, shapes: Shapes) -> FisherInformation:
    """Zeros for parameters, and for rows and columns of parameters, that the information does not know."""
    old = shapes_of(information)
    if old == dict(shapes):
        return information
    structure, parameters = structure_of(information), Parameters.of(shapes)
    if structure.name in ("diagonal", "low-rank"):
        grown: Structure = _by_entry(structure, old, parameters)
    elif isinstance(structure, Dense):
        grown = _dense(structure, old, parameters)
    elif isinstance(structure, Kronecker):
        grown = _kronecker(structure, old, parameters)
    elif isinstance(structure, Eigenbasis):
        grown = _eigenbasis(structure, old, parameters)
    else:
        raise MethodError(
            f"parameters that grow between tasks need another structure than {structure.name!r}; ewc.release(...) lets go of "
            "them."
        )
    return FisherInformation.of(grown, information._provenance)


def _by_entry(structure: Structure, old: Shapes, parameters: Parameters) -> Structure:
    """A row for each entry, under the parameter's name."""
    arrays = structure.arrays
    row = next(iter(arrays.values()))
    out = {}
    for name, shape in _shapes(parameters):
        zeros = row.new_zeros(prod(shape), *row.shape[1:])
        if name in old:
            zeros[_places(old[name], shape, row.device)] = arrays[name]
        out[name] = zeros
    return structure.from_arrays(out, parameters)


def _dense(structure: Dense, old: Shapes, parameters: Parameters) -> Dense:
    start, places = 0, {}
    for name, shape in _shapes(parameters):
        if name in old:
            places[name] = start + _places(old[name], shape, structure.matrix.device)
        start += prod(shape)
    return Dense(_square(structure.matrix, torch.cat([places[name] for name in old]), start), parameters)


def _kronecker(structure: Kronecker, old: Shapes, parameters: Parameters) -> Kronecker:
    """Rows that are new are zeros in the left factor, columns in the right one."""
    left, right = [], []
    for was, shape, (L, R) in _grown(structure, old, parameters, structure.left, structure.right):
        if L.ndim == 3 or was == shape:
            left.append(L)
            right.append(R)
        elif L.ndim == 1 and len(L) == prod(was):  # a diagonal in its place
            grown = L.new_zeros(prod(shape))
            grown[_places(was, shape, L.device)] = L
            left.append(grown)
            right.append(R)
        else:
            left.append(inside(L, L.new_zeros(*shape[:1] * L.ndim)))
            right.append(_square(R, _places(was[1:], shape[1:], R.device), prod(shape[1:])))
    return Kronecker(left, right, structure.arrays["precision"], parameters)


def _eigenbasis(structure: Eigenbasis, old: Shapes, parameters: Parameters) -> Eigenbasis:
    """What is new is a direction of its own, with an eigenvalue of zero."""
    parts = []
    for was, shape, (value, Q, P) in _grown(structure, old, parameters, structure.values, structure.left, structure.right):
        if was != shape:
            plain = not len(Q) and len(P) == 1  # a diagonal in its place
            rows, columns = (was, (1,)) if plain else (was[:1], was[1:])
            more, wider = (shape, (1,)) if plain else (shape[:1], shape[1:])
            whole = value.new_zeros(prod(more), prod(wider))
            at = _places(rows, more, value.device) if plain else slice(prod(rows))
            whole[at, : prod(columns)] = value.reshape(-1, prod(columns))
            value = whole.reshape(-1)
            Q = _basis(Q, _places(rows, more, Q.device), prod(more)) if len(Q) else Q
            P = _basis(P, _places(columns, wider, P.device), prod(wider))
        parts.append((value, Q, P))
    values, left, right = zip(*parts, strict=True)
    return Eigenbasis(values, left, right, structure.arrays["precision"], parameters)


def _basis(Q: Tensor, places: Tensor, size: int) -> Tensor:
    """Its vectors at these entries of longer ones, and a unit vector for each of the others."""
    out = Q.new_zeros(size, size)
    out[places, : len(Q)] = Q
    others = torch.ones(size, dtype=torch.bool, device=Q.device)
    others[places] = False
    out[others.nonzero()[:, 0], torch.arange(len(Q), size, device=Q.device)] = 1
    return out


def _grown(
    structure: Structure, old: Shapes, parameters: Parameters, *stored: Sequence[Tensor]
) -> Iterator[tuple[Shape, Shape, tuple[Tensor, ...]]]:
    """For each parameter its shape as it was and is, and what is stored of it."""
    sides = dict(zip(structure.parameters.names, zip(*stored, strict=True), strict=True))
    for name, shape in _shapes(parameters):
        if name not in sides:
            raise MethodError(f"a {structure.name!r} information knows nothing of {name}: sums with others stay apart.")
        if any(side.ndim == 3 for side in sides[name]) and old[name] != shape:
            raise MethodError(
                f"{name} has groups of rows, and cannot grow from {old[name]} to {shape}: ewc.release(...) lets go of it."
            )
        yield old[name], shape, sides[name]


def _shapes(parameters: Parameters) -> zip[tuple[str, Shape]]:
    return zip(parameters.names, parameters.shapes, strict=True)


def _places(old: Shape, new: Shape, device: torch.device) -> Tensor:
    """Where the entries of the old shape lie, flat, among those of the new."""
    return torch.arange(prod(new), device=device).reshape(new)[tuple(map(slice, old))].reshape(-1)


def _square(matrix: Tensor, places: Tensor, size: int) -> Tensor:
    """The matrix at these rows and columns of a larger one."""
    out = matrix.new_zeros(size, size)
    out[places[:, None], places] = matrix
    return out
