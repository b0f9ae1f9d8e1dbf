"""What the consolidated information looks like, and whether it holds anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...information import FisherInformation
from ...structures.diagonal import Diagonal
from ...structures.operator import Operator
from .growth import structure_of

VANISHED = 1e-6  # a trace per observation below this holds nothing at any usual strength


class VanishedInformationWarning(UserWarning):
    """The network is so confident that its information, and with it the penalty, is almost zero."""


@dataclass(frozen=True)
class Report:
    """What the consolidated information looks like.

    Attributes
    ----------
    tasks : int
    trace : float
        Sum of the information's diagonal, per observation.
    zeros : float
        Share of parameters with exactly no information: they are free.
    largest_stable : float
        Plain gradient descent on the penalty diverges where lr * strength is above this: 2 over the largest eigenvalue of F,
        which is the largest entry of a diagonal.
    warning : str or None
        Said where the information has vanished: the network was too confident, and the penalty protects almost nothing.
    """

    tasks: int
    trace: float
    zeros: float
    largest_stable: float
    warning: str | None = None


def report(information: FisherInformation | None, tasks: int) -> Report:
    if information is None:
        return Report(tasks, 0.0, 1.0, math.inf)
    leaves = structure_of(information).diagonal()
    zeros = sum(int((leaf == 0).sum()) for leaf in leaves) / information.parameters.size
    largest = _largest_eigenvalue(information)
    told = vanished(information, f"{tasks} task(s)")
    return Report(tasks, float(information.trace), zeros, 2 / largest if largest > 0 else math.inf, told)


def vanished(information: FisherInformation, whose: str) -> str | None:
    """The warning, where there is something to warn of."""
    trace = float(information.trace)
    if trace >= VANISHED:
        return None
    return (
        f"the information of {whose} has a trace of {trace:.1g}: the network is so confident that the penalty protects almost "
        "nothing. Stop training earlier, or use label smoothing."
    )


def _largest_eigenvalue(information: FisherInformation) -> float:
    structure = structure_of(information)
    if isinstance(structure, Diagonal):
        return max(float(leaf.max()) for leaf in structure.leaves if len(leaf))
    if isinstance(structure, Operator):
        return _by_products(information)
    return float(information.eigenvalues()[-1])


def _by_products(information: FisherInformation) -> float:
    """Of a lazy sum: Lanczos, from a fixed start."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    p = information.parameters.size
    like = next(iter(structure_of(information).arrays.values()))

    def times(v: np.ndarray) -> np.ndarray:
        product: Tensor = information @ torch.as_tensor(v.reshape(-1)).to(like)
        return np.asarray(product.cpu())

    if p <= 3:
        return float(information.eigenvalues()[-1])
    start = np.random.default_rng(0).standard_normal(p)
    found = eigsh(LinearOperator((p, p), matvec=times, dtype=np.float64), k=1, which="LA", v0=start, return_eigenvectors=False)
    return float(found[0])
