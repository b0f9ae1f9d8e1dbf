r"""EKFAC: the exact second moments of the examples' gradients in the Kronecker factors' eigenbasis (George et al. 2018).

With Q and P the eigenvectors of G and A, an example's gradient :math:`\sum_t g_t x_t^\top` is
:math:`\sum_t (Q' g_t)(P' x_t)^\top` in the basis. Its squares are summed there, once the factors are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import LayoutError
from ..parameters import Parameters
from ..structures.base import Leaves, Structure
from ..structures.eigenbasis import Eigenbasis, eigenbasis
from .factors import Factor, Flat, Found, factors, flats, gradients
from .kept import FLUSH, KeptDiagonal
from .kronecker import SHARED
from .layers import Forward, Terms, add_to
from .layers.use import slices, squares
from .sums import Batch


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
    Two passes over the data, which has to be given as tensors or as a loader; a second one is spared where every layer has one
    position and what the first has seen of the layers fits into 256 MB. With ``MonteCarlo`` each pass draws labels: the same
    ones where the seed is a number and the batches come in the same order.

    References
    ----------
    George et al. (2018), NeurIPS.
    """

    shared: str = "expand"
    name: ClassVar[str] = "ekfac"

    def __post_init__(self) -> None:
        if self.shared not in SHARED:
            raise LayoutError(f"EKFAC(shared=) must be one of {', '.join(map(repr, SHARED))}; got {self.shared!r}.")


Gradients = Mapping[str, Tensor]


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
        own = self._own(batch)
        flat = flats(own)
        wide = [name for name, uses in batch.forward.uses.items() if uses and name not in flat]

        def rows() -> Iterator[Gradients]:
            for vector in vectors:
                terms = batch.forward.terms(vector)
                for name in wide:
                    add_to(total, name, self._squares(batch.forward, name, own.get(name, ()), terms).double())
                yield gradients(own, flat, terms)

        self.add_flat(list(flat.values()), rows(), total)
        if batch.rest:
            rest: dict[str, Tensor] = {}
            batch.add_rest(vectors, rest)
            for name, square in rest.items():
                add_to(total, name, square)

    def _own(self, batch: Batch) -> Found:
        """The uses of the parameters that have a basis."""
        turned = [name for name in self.parameters.names if len(self.left[name]) or len(self.right[name]) > 1]
        found = factors(batch.forward)
        if changed := ", ".join(name for name in turned if name not in found and batch.forward.uses.get(name) != []):
            raise LayoutError(f"{changed}: used otherwise in this batch than in the first, so that no one basis fits.")
        return {name: found[name] for name in turned if name in found}

    # -- gradients that are single products

    def add_seen(self, layers: Sequence[Flat], every: Iterable[Gradients]) -> None:
        """Add a batch that was seen before."""
        self.add_flat(layers, every, self._partial)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._flush()

    def add_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Add squares that need no basis."""
        self._partial |= sums

    def add_flat(self, layers: Sequence[Flat], every: Iterable[Gradients], total: dict[str, Tensor]) -> None:
        """The gradient in the basis, (g Q)' (x P), squared, is (g Q)^2' (x P)^2: summed over the vectors before the product."""
        summed: dict[str, Tensor] = {}
        for each in every:
            pairs = [(each[one.name], self._sides(one)[0]) for one in layers]
            for one, square in zip(layers, self._squared(pairs), strict=True):
                summed[one.name] = summed[one.name] + square if one.name in summed else square
        inputs = {one.name: (one.x, self._sides(one)[1]) for one in layers if one.x is not None}
        turned = dict(zip(inputs, self._squared(list(inputs.values())), strict=True))
        for one in layers if summed else ():
            if one.name not in turned:
                add_to(total, one.name, summed[one.name].sum(dim=0))
                continue
            first, second = one.ordered(summed[one.name], turned[one.name])
            if one.name in total and total[one.name].dtype == first.dtype:
                total[one.name].addmm_(first.T, second)
            else:
                add_to(total, one.name, first.T @ second)

    def _sides(self, one: Flat) -> tuple[Tensor, Tensor]:
        """The bases of the outputs and of the inputs."""
        return one.ordered(self.left[one.name], self.right[one.name])

    def _squared(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Rows in their bases, squared; the same rows (a weight's and its bias's) in the same basis only once."""
        done: dict[tuple[int, torch.Size, int], Tensor] = {}
        for v, Q in pairs:
            key = v.data_ptr(), v.shape, id(Q)
            if key not in done:
                done[key] = v @ self._cast(Q, v.dtype)
                done[key] *= done[key]
        return [done[v.data_ptr(), v.shape, id(Q)] for v, Q in pairs]

    def _cast(self, Q: Tensor, dtype: torch.dtype) -> Tensor:
        """A basis in the network's dtype, made once."""
        if (id(Q), dtype) not in self._narrow:
            self._narrow[id(Q), dtype] = Q.to(dtype)
        return self._narrow[id(Q), dtype]

    # -- gradients that are sums of products

    def _squares(self, forward: Forward, name: str, own: Sequence[Factor], terms: Terms) -> Tensor:
        """Of the examples' gradients in the basis, by way of whatever is less to turn: positions' rows, or whole gradients."""
        if not own:
            return forward.squares(name, terms)
        one, t = own[0], terms[name][0]
        Q, P = (self._cast(side[name], t.dtype) for side in (self.left, self.right))
        if one.tokens and len(own) == 1:
            return one.use.squares(t @ P)
        rows, columns = P.shape[-1], one.use.entries // P.shape[-1]
        positions = one.gradients.rows(t[:1]).shape[1]
        cheap = positions * (rows**2 + columns**2) < rows * columns * (rows + columns)
        if cheap and len(own) == 1 and one.groups == 1 and one.x is not None and not one.tokens:
            return _by_rows(one, t, Q, P)
        return _by_gradients(forward, name, terms[name], Q, P)

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        left, right = ([side[name] for name in parameters.names] for side in (cls.left, cls.right))
        return Eigenbasis(arrays, left, right, cls.precision, parameters)


def in_basis(left: Leaves, right: Leaves, precision: Tensor, parameters: Parameters) -> type[KeptEigenbasis]:
    """What is kept in the eigenbasis of Kronecker products."""
    Q, P = (dict(zip(parameters.names, side, strict=True)) for side in eigenbasis(left, right, float(precision)))
    return type("KeptEigenbasis", (KeptEigenbasis,), {"left": Q, "right": P, "precision": precision})


def _by_rows(one: Factor, terms: Tensor, Q: Tensor, P: Tensor) -> Tensor:
    """Sums over examples of the squares of sums over positions, in float64."""
    assert one.x is not None
    total = torch.zeros(one.use.entries, dtype=torch.float64, device=terms.device)
    outputs, inputs = (Q, P) if one.outputs_first else (P, Q)
    for at in slices(len(terms), one.use.entries):
        g, x = one.gradients.rows(terms[at])[:, :, 0] @ outputs, one.inputs.rows(one.x[at])[:, :, 0] @ inputs
        first, second = (g, x) if one.outputs_first else (x, g)
        total += squares([first.transpose(1, 2) @ second]).reshape(-1)
    return total.reshape(one.use.shape)


def _by_gradients(forward: Forward, name: str, terms: list[Tensor], Q: Tensor, P: Tensor) -> Tensor:
    """The same of whole gradients (k, groups, m, n), which any uses have."""
    entries = math.prod(forward.uses[name][0].shape)
    total = torch.zeros(entries, dtype=torch.float64, device=P.device)
    P, Q = (side if side.ndim == 3 else side[None] for side in (P, Q))
    for at in slices(forward.batch, entries):
        k = at.stop - at.start
        G = forward.gradients(name, terms, at, k).reshape(k, len(P), -1, P.shape[-1]).transpose(0, 1)
        G = (G.flatten(1, 2) @ P).unflatten(1, (k, -1))
        if Q.numel():
            G = (G.transpose(2, 3).flatten(1, 2) @ Q).unflatten(1, (k, -1)).transpose(2, 3)
        total += squares([G.transpose(0, 1)]).reshape(-1)
    return total.reshape(forward.uses[name][0].shape)
