"""Informations in the shapes of more, or larger, parameters: of what is new nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from ...errors import MethodError
from ...information import FisherInformation
from ...parameters import Parameters
from ...structures.base import Structure
from ...structures.dense import Dense
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
    sides = dict(zip(structure.parameters.names, zip(structure.left, structure.right, strict=True), strict=True))
    left, right = [], []
    for name, shape in _shapes(parameters):
        if name not in sides:
            raise MethodError(f"a Kronecker information knows nothing of {name}: sums with others stay apart.")
        (L, R), was = sides[name], old[name]
        if L.ndim == 1:  # a diagonal in its place
            grown = L.new_zeros(prod(shape))
            grown[_places(was, shape, L.device)] = L
            left.append(grown)
            right.append(R)
        else:
            left.append(_square(L, torch.arange(len(L), device=L.device), shape[0]))
            right.append(_square(R, _places(was[1:], shape[1:], R.device), prod(shape[1:])))
    return Kronecker(left, right, structure.arrays["precision"], parameters)


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
