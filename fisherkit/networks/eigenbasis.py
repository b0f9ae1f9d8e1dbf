r"""EKFAC: the exact second moments of the examples' gradients in the Kronecker factors' eigenbasis (George et al. 2018).

With Q and P the eigenvectors of G and A, an example's gradient :math:`\sum_t g_t x_t^\top` is
:math:`\sum_t (Q' g_t)(P' x_t)^\top` in the basis. Its squares are summed there, in a second pass over the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import LayoutError
from ..parameters import Parameters
from ..structures.base import Structure
from ..structures.eigenbasis import Eigenbasis, eigenbasis
from ..structures.kronecker import Kronecker
from .kept import KeptDiagonal
from .kronecker import KFAC, SHARED
from .layers import Forward, add_to
from .products import Factor, factors
from .sums import Batch

CHUNK = 2**22  # entries of examples' gradients held at a time


@dataclass(frozen=True)
class EKFAC:
    """``structure=fk.networks.EKFAC(shared=...)``; ``structure="ekfac"`` expands.

    Parameters
    ----------
    shared : {"expand", "reduce"}
        Which factors give the basis, see `KFAC`. What is kept in it are the second moments of the examples' whole gradients.

    Notes
    -----
    The best diagonal in the basis of `KFAC`: never further from the exact blocks in Frobenius norm, and with the exact trace.
    Two passes over the data, which has to be given as tensors or as a loader. With ``MonteCarlo`` each pass draws labels: the
    same ones where the seed is a number and the batches come in the same order.

    References
    ----------
    George et al. (2018), NeurIPS.
    """

    shared: str = "expand"
    name: ClassVar[str] = "ekfac"

    def __post_init__(self) -> None:
        if self.shared not in SHARED:
            raise LayoutError(f"EKFAC(shared=) must be one of {', '.join(map(repr, SHARED))}; got {self.shared!r}.")

    @property
    def factors(self) -> KFAC:
        """The structure of the first pass."""
        return KFAC(self.shared)


class KeptEigenbasis(KeptDiagonal):
    """Squares in the eigenbasis of factors that are known: see `in_basis`."""

    name = "ekfac"
    left: ClassVar[dict[str, Tensor]]
    right: ClassVar[dict[str, Tensor]]
    precision: ClassVar[Tensor]

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._narrow: dict[tuple[int, torch.dtype], Tensor] = {}

    def add_squares(self, batch: Batch, vectors: Sequence[Tensor], total: dict[str, Tensor]) -> None:
        found = factors(batch.forward)
        turned = [name for name in self.parameters.names if len(self.left[name])]
        if changed := ", ".join(name for name in turned if name not in found):
            raise LayoutError(f"{changed}: used otherwise in this batch than in the first, so that no one basis fits.")
        self._add_turned(batch.forward, vectors, [found[name] for name in turned], total)
        if len(turned) < len(self.parameters.names):
            squares: dict[str, Tensor] = {}
            batch.add_squares(vectors, squares)
            for name in squares.keys() - set(turned):
                add_to(total, name, squares[name])

    def _add_turned(self, forward: Forward, vectors: Sequence[Tensor], own: list[Factor], total: dict[str, Tensor]) -> None:
        x = self._turned([factor.x for factor in own], [self._sides(factor)[1] for factor in own])
        summed: dict[str, Tensor] = {}
        for vector in vectors:
            terms = forward.terms(vector)
            gradients = self._turned([factor.g(terms) for factor in own], [self._sides(factor)[0] for factor in own])
            for factor, y, g in zip(own, x, gradients, strict=True):
                if g.shape[1] > 1:
                    add_to(total, factor.name, _squares(factor, g, y))
                elif factor.name in summed:
                    summed[factor.name].addcmul_(g[:, 0], g[:, 0])
                else:
                    summed[factor.name] = g[:, 0] ** 2
        for factor, y in zip(own, x, strict=True):
            if factor.name in summed:
                first, second = _ordered(factor, summed[factor.name], y[:, 0] ** 2)
                if factor.name in total and total[factor.name].dtype == first.dtype:
                    total[factor.name].addmm_(first.T, second)
                else:
                    add_to(total, factor.name, first.T @ second)

    def _sides(self, factor: Factor) -> tuple[Tensor, Tensor]:
        """The bases of the outputs and of the inputs."""
        return _ordered(factor, self.left[factor.name], self.right[factor.name])

    def _turned(self, rows: list[Tensor], bases: list[Tensor]) -> list[Tensor]:
        """Rows in their bases; the same rows (a weight's and its bias's) in the same basis only once."""
        done: dict[tuple[int, torch.Size, int], Tensor] = {}
        out = []
        for v, Q in zip(rows, bases, strict=True):
            key = v.data_ptr(), v.shape, id(Q)
            if key not in done:
                done[key] = v @ self._cast(Q, v.dtype) if len(Q) > 1 else v
            out.append(done[key])
        return out

    def _cast(self, Q: Tensor, dtype: torch.dtype) -> Tensor:
        """A basis in the network's dtype, made once."""
        if (id(Q), dtype) not in self._narrow:
            self._narrow[id(Q), dtype] = Q.to(dtype)
        return self._narrow[id(Q), dtype]

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        left, right = ([side[name] for name in parameters.names] for side in (cls.left, cls.right))
        return Eigenbasis(arrays, left, right, cls.precision, parameters)


def in_basis(factors: Structure) -> type[KeptEigenbasis]:
    """What is kept in the eigenbasis of the first pass."""
    assert isinstance(factors, Kronecker)
    names = factors.parameters.names
    left, right = eigenbasis(factors.left, factors.right, factors.precision)
    own = {"left": dict(zip(names, left, strict=True)), "right": dict(zip(names, right, strict=True))}
    return type("KeptEigenbasis", (KeptEigenbasis,), {**own, "precision": factors.arrays["precision"]})


def _ordered(factor: Factor, outputs: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """As the parameter holds them; twice is as given."""
    return (outputs, inputs) if factor.outputs_first else (inputs, outputs)


def _squares(factor: Factor, g: Tensor, x: Tensor) -> Tensor:
    """Sums over examples of the squares of sums over positions, in float64."""
    first, second = _ordered(factor, g, x)
    step = max(1, CHUNK // max(1, g.shape[2] * x.shape[2]))
    pieces = zip(first.split(step), second.split(step), strict=True)
    return sum(((a.transpose(1, 2) @ b) ** 2).sum(dim=0).double() for a, b in pieces)
