"""The one table of how structures add, and of their names. A new structure is one class and one row here."""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import array_namespace

from ..arrays import Array, eye, same_family
from ..parameters import Parameters, concatenate
from .base import Structure
from .blocks import Blocks
from .dense import Dense
from .diagonal import Diagonal
from .eigenbasis import Eigenbasis
from .kronecker import Kronecker
from .low_rank import LowRank
from .operator import Operator

STRUCTURES: dict[str, type[Structure]] = {
    cls.name: cls for cls in (Dense, Diagonal, Blocks, Eigenbasis, Kronecker, LowRank, Operator)
}


def to_dense(structure: Structure) -> Dense:
    """Every structure is a dense one, within the memory budget."""
    return structure if isinstance(structure, Dense) else Dense(structure.dense(), structure.parameters)


def to_operator(structure: Structure) -> Operator:
    """Every structure has products."""
    return structure if isinstance(structure, Operator) else Operator.of(structure)


#: what becomes of both when they are added: the first of these that either is, else dense; two of a kind that is not here add
SUMS: dict[str, Callable[[Structure], Structure]] = {"operator": to_operator, "kfac": to_operator, "ekfac": to_operator}


def add(a: Structure, b: Structure) -> Structure:
    """a + b, in the cheapest structure that holds both; a sum of Kronecker products is lazy."""
    if type(a) is not type(b) or a.name in SUMS:
        promote = next((SUMS[name] for name in SUMS if name in (a.name, b.name)), to_dense)
        a, b = promote(a), promote(b)
    if isinstance(a, Blocks) and isinstance(b, Blocks) and a.groups != b.groups:
        a, b = to_dense(a), to_dense(b)
    return a.add(b)


def congruence(structure: Structure, jacobian: Array, parameters: Parameters) -> Structure:
    """J' F J; a diagonal stays one when J is square and diagonal."""
    if isinstance(structure, Diagonal) and jacobian.shape[0] == jacobian.shape[1]:
        diagonal = array_namespace(jacobian).linalg.diagonal(jacobian)
        if bool((jacobian == eye(len(jacobian), jacobian) * diagonal[None, :]).all()):
            values, squares = same_family(concatenate(structure.leaves), diagonal**2, verb="F.reparametrize")
            return Diagonal(parameters.split(values * squares), parameters)
    if isinstance(structure, (LowRank, Operator)):
        return structure.congruence(jacobian, parameters)
    return to_dense(structure).congruence(jacobian, parameters)
