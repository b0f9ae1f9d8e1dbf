"""Priors of random parameters: their laws, and the information that they bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, as_entries, family, is_expression, public
from ..errors import DataError, LayoutError
from ..information import FisherInformation
from ..model import Model, as_location_family
from ..verbs import expected_information

Laws = dict[str, Model]  # the location family of each random parameter; a joint one under every name


def read(prior: Any, names: Sequence[str]) -> tuple[FisherInformation, Laws]:
    """The prior's information, and the laws that averages are taken over; none where it is a matrix."""
    if isinstance(prior, FisherInformation) or _is_matrix(prior):
        J = prior if isinstance(prior, FisherInformation) else FisherInformation(prior, parameters=names, n=0)
        if unknown := sorted(set(J.parameters.names) - set(names)):
            raise LayoutError(f"the prior is about {', '.join(unknown)}; the parameters are {', '.join(names)}.")
        _check_definite(J)
        return J, {}
    laws = _laws(prior, names)
    parts = [_information(law, [name for name in laws if laws[name] is law]) for law in dict.fromkeys(laws.values())]
    return _side_by_side(parts), laws


def _is_matrix(prior: Any) -> bool:
    return isinstance(prior, (np.ndarray, list)) or hasattr(prior, "tolist") or type(prior).__module__.startswith("torch")


def _laws(prior: Any, names: Sequence[str]) -> Laws:
    if isinstance(prior, Mapping):
        laws = {str(name): as_location_family(law) for name, law in prior.items()}
        several = [name for name, law in laws.items() if law.parameters.size != 1]
        if several:
            raise LayoutError(f"the prior of {several[0]} is of several variables: give a joint prior as one model.")
    else:
        law = as_location_family(prior)
        data = [str(x) for x in getattr(law, "data", ())]
        joint = law.parameters.size > 1 or (len(names) > 1 and data[:1] and data[0] in names)
        laws = dict.fromkeys(data if joint else names[:1], law)
        if not joint and len(names) > 1:
            raise LayoutError(f"one prior for {', '.join(names)}: give a mapping from name to distribution.")
    if unknown := sorted(set(laws) - set(names)):
        raise LayoutError(f"the prior names {', '.join(unknown)}; the parameters are {', '.join(names)}.")
    return laws


def _information(law: Model, names: Sequence[str]) -> FisherInformation:
    """That of the shifts, at shift 0."""
    F = expected_information(law, dict.fromkeys(law.parameters.names, 0) if not is_symbolic(law) else None)
    return FisherInformation(public(_without_shifts(as_entries(F.dense()), law)), parameters=names, n=0)


def _without_shifts(matrix: Array, law: Model) -> Array:
    """The information of shifts is the same at each; some formulas have no value at 0."""
    if family(matrix) != "sympy":
        return matrix
    import sympy

    shifts = list(law.point(None).values())
    moved = [sympy.simplify(value.subs(dict.fromkeys(shifts, sympy.S.One))) for value in matrix.flat]
    return as_entries(np.array([*moved, None], dtype=object)[:-1].reshape(matrix.shape))


def is_symbolic(law: Model) -> bool:
    return hasattr(law, "data") and any(is_expression(value) for value in law.point(None).values())


def _side_by_side(parts: Sequence[FisherInformation]) -> FisherInformation:
    names = [name for part in parts for name in part.parameters.names]
    blocks = [as_entries(part.dense()) for part in parts]
    exact = any(block.dtype == object for block in blocks)
    out = np.zeros((len(names), len(names)), dtype=object if exact else float)
    start = 0
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return FisherInformation(out if not exact else public(as_entries(out)), parameters=names, n=0)


def _check_definite(J: FisherInformation) -> None:
    entries = as_entries(J.dense())
    if family(entries) == "sympy" and any(value.free_symbols for value in entries.flat):
        return
    values = np.linalg.eigvalsh(np.asarray(as_entries(entries).tolist(), dtype=float))
    diagonal = np.asarray(entries.diagonal().tolist(), dtype=float)
    singular = not np.all(diagonal > 0) or J.rank < len(diagonal)
    if values[0] <= 0 or singular:
        raise DataError(
            f"the information of a prior must be positive definite; the smallest eigenvalue found is {values[0]:.3g}. "
            "Parameters without a prior are for hybrid_bound."
        )


def embedded(J: FisherInformation, like: FisherInformation) -> FisherInformation:
    """The prior's information among all parameters: zero for those that have none."""
    if set(J.parameters.names) == set(like.parameters.names):
        return J
    positions = [like.parameters.names.index(name) for name in J.parameters.names]
    block = as_entries(J.dense())
    out = np.zeros((like.parameters.size,) * 2, dtype=block.dtype)
    out[np.ix_(positions, positions)] = block
    return FisherInformation(public(as_entries(out)), parameters=like.parameters.names, n=0)
