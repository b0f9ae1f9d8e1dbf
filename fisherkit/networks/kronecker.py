r"""Kronecker factors of each parameter's information (Martens & Grosse 2015; shared weights: Eschenhagen et al. 2023).

The gradient of an example at a weight is :math:`\sum_t g_t x_t^\top` over the positions that share it. The expectation of its
outer product is approximated by that of x x' times that of g g'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import LayoutError
from ..parameters import Parameters
from ..structures.base import Structure
from ..structures.kronecker import Kronecker
from .kept import FLUSH, Kept, KeptDiagonal
from .products import Factor, factors
from .sums import Batch

SHARED = ("expand", "reduce")
STRIP = 128  # rows of a symmetric product formed at a time


@dataclass(frozen=True)
class KFAC:
    """``structure=fk.networks.KFAC(shared=...)``; ``structure="kfac"`` expands.

    Parameters
    ----------
    shared : {"expand", "reduce"}
        Of a weight that is used at several positions, such as the tokens of a sequence: each position as an example of its own,
        or the positions' inputs averaged and their gradients summed, as where the output pools over positions.

    Notes
    -----
    Exact for a single example, for one linear layer with Gaussian labels, and wherever inputs and gradients are independent. A
    weight and its bias are blocks of their own. Parameters with no such product (norms, embeddings, convolutions, weights used
    twice) keep their diagonal.

    References
    ----------
    Martens & Grosse (2015), ICML; Eschenhagen et al. (2023), NeurIPS.
    """

    shared: str = "expand"
    name: ClassVar[str] = "kfac"

    def __post_init__(self) -> None:
        if self.shared not in SHARED:
            raise LayoutError(f"KFAC(shared=) must be one of {', '.join(map(repr, SHARED))}; got {self.shared!r}.")


class KeptKronecker(Kept):
    """Sums of x x' and g g', and squares for parameters that have neither."""

    name = "kfac"
    additive = False
    shared: ClassVar[str] = "expand"

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._rest = KeptDiagonal(parameters, device)
        self._partial: dict[tuple[str, ...], Tensor] = {}
        self._total: dict[tuple[str, ...], Tensor] = {}
        self._factors: dict[str, Factor] = {}
        self._examples, self._waiting, self._precision = 0, 0, 0.0

    @classmethod
    def entries(cls, parameters: Parameters) -> int:
        sides = ((shape[0], size // max(1, shape[0])) if shape else (1, 1) for shape, size in _shapes(parameters))
        return sum(m * m + n * n for m, n in sides if m * n)

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        found = factors(batch.forward)
        if self._factors and found.keys() != self._factors.keys():
            changed = ", ".join(sorted(found.keys() ^ self._factors.keys()))
            raise LayoutError(f"{changed}: used otherwise in this batch than in the first, so that no one product fits.")
        self._factors = found
        reduced = self.shared == "reduce"
        inputs = {name: factor.x for name, factor in found.items()}
        self._add("x", inputs, lambda x: x.mean(dim=1) if reduced else x.flatten(0, 1), positions=not reduced)
        for vector in vectors:
            terms = batch.forward.terms(vector)
            gradients = {name: factor.g(terms) for name, factor in found.items()}
            self._add("g", gradients, lambda g: g.sum(dim=1) if reduced else g.flatten(0, 1))
        if len(found) < len(self.parameters.names):
            self._rest.add(batch, vectors)
        self._examples += len(batch)
        self._precision = float(torch.finfo(batch.output.dtype).eps)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._flush()

    def _add(self, side: str, rows: dict[str, Tensor], flat: Callable[[Tensor], Tensor], *, positions: bool = False) -> None:
        """Products of rows in the network's own dtype, until float64 takes over; once for all parameters that share the rows."""
        sharing: dict[Any, list[str]] = {}
        for name, v in rows.items():
            sharing.setdefault((v.data_ptr(), v.shape, v.stride()), []).append(name)
        for names in sharing.values():
            v = rows[names[0]]
            _add_gram(self._partial, (side, *names), flat(v), 1 / v.shape[1] if positions else 1.0)

    def _flush(self) -> None:
        for key, value in self._partial.items():
            if not bool(torch.isfinite(value.diagonal()).all()):
                raise LayoutError(f"the products of {', '.join(key[1:])} are not finite: inputs or gradients have diverged.")
            for i in range(0, len(value), STRIP):
                value[:i, i : i + STRIP] = value[i : i + STRIP, :i].T
            if key in self._total:
                self._total[key] += value
            else:
                self._total[key] = value.double()
        self._partial, self._waiting = {}, 0

    def _side(self, side: str, name: str) -> Tensor:
        """A parameter's mean; one tensor for all that share it throughout."""
        found = [value for key, value in self._total.items() if key[0] == side and name in key[1:]]
        return found[0] if len(found) == 1 else torch.stack(found).sum(dim=0)

    def arrays(self) -> list[Tensor]:
        raise NotImplementedError("factors are no sums of parts")

    def mean(self, count: int) -> Structure:
        """The inputs' products over the examples, the gradients' over the count."""
        self._flush()
        for key, value in self._total.items():
            value /= self._examples if key[0] == "x" else count
        squares = dict(zip(self.parameters.names, self._rest.arrays(), strict=True))
        left, right = [], []
        for name in self.parameters.names:
            if name not in self._factors:
                left.append(squares[name] / count)
                right.append(torch.ones(1, 1, dtype=torch.float64, device=self.device))
                continue
            x, g = self._side("x", name), self._side("g", name)
            first, second = (g, x) if self._factors[name].outputs_first else (x, g)
            left.append(first)
            right.append(second)
        precision = torch.tensor(self._precision, dtype=torch.float64, device=self.device)
        return Kronecker(left, right, precision, self.parameters)

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        raise NotImplementedError("factors are no sums of parts")


def _add_gram(sums: dict[tuple[str, ...], Tensor], key: tuple[str, ...], rows: Tensor, factor: float) -> None:
    """Add factor * rows' rows to its lower triangle, strip by strip: what is above is not used."""
    n = rows.shape[1]
    if key not in sums:
        sums[key] = rows.new_zeros(n, n)
    for i in range(0, n, STRIP):
        sums[key][i : i + STRIP, : i + STRIP].addmm_(rows[:, i : i + STRIP].T, rows[:, : i + STRIP], alpha=factor)


def _shapes(parameters: Parameters) -> Any:
    return zip(parameters.shapes, parameters.sizes, strict=True)
