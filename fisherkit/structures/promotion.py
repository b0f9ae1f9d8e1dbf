"""The one table of how structures add, and of their names. A new structure is one class and one row here."""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import array_namespace

from ..arrays import Array, eye, same_family
from ..parameters import Parameters, concatenate
from .base import Structure
from .dense import Dense
from .diagonal import Diagonal

STRUCTURES: dict[str, type[Structure]] = {cls.name: cls for cls in (Dense, Diagonal)}


def to_dense(structure: Structure) -> Dense:
    """Every structure is a dense one, within the memory budget."""
    return structure if isinstance(structure, Dense) else Dense(structure.dense(), structure.parameters)


#: (left, right) -> what both become before they are added
SUMS: dict[tuple[str, str], Callable[[Structure], Structure]] = {
    ("dense", "diagonal"): to_dense,
    ("diagonal", "dense"): to_dense,
}


def add(a: Structure, b: Structure) -> Structure:
    """a + b, in the cheapest structure that holds both."""
    if type(a) is not type(b):
        promote = SUMS[a.name, b.name]
        a, b = promote(a), promote(b)
    return a.add(b)


def congruence(structure: Structure, jacobian: Array, parameters: Parameters) -> Structure:
    """J' F J; a diagonal stays one when J is square and diagonal."""
    if isinstance(structure, Diagonal) and jacobian.shape[0] == jacobian.shape[1]:
        diagonal = array_namespace(jacobian).linalg.diagonal(jacobian)
        if bool((jacobian == eye(len(jacobian), jacobian) * diagonal[None, :]).all()):
            values, squares = same_family(concatenate(structure.leaves), diagonal**2, verb="F.reparametrize")
            return Diagonal(parameters.split(values * squares), parameters)
    return to_dense(structure).congruence(jacobian, parameters)
