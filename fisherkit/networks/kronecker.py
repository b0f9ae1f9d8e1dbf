r"""Kronecker factors of each parameter's information (Martens & Grosse 2015; shared weights: Eschenhagen et al. 2023).

The gradient of an example at a weight is :math:`\sum_t g_t x_t^\top` over the positions that share it. The expectation of its
outer product is approximated by that of x x' times that of g g'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..arrays import check_budget
from ..errors import LayoutError
from ..parameters import Parameters
from ..structures.base import Structure
from ..structures.kronecker import Kronecker
from .factors import Factor, Found, factors
from .grams import Grams
from .kept import FLUSH, Kept
from .layers import Terms, add_to
from .sums import Batch

SHARED = ("expand", "reduce")


@dataclass(frozen=True)
class KFAC:
    """``structure=fk.networks.KFAC(shared=...)``; ``structure="kfac"`` expands.

    Parameters
    ----------
    shared : {"expand", "reduce"}
        Of a weight that is used at several positions, such as the tokens of a sequence, the places where a convolution's kernel
        is put, or several layers: each position as an example of its own, or the positions' inputs averaged and their
        gradients summed, as where the output pools over positions.

    Notes
    -----
    For linear layers, convolutions of any kind (each group of channels has a product of its own), embeddings (whose inputs are
    unit vectors, always expanded, so that one side is the diagonal of the tokens' shares), and biases. A weight and its bias are
    blocks of their own. Parameters with no such product (scales of norms, a head tied to an embedding, whatever `torch.func`
    differentiates) keep their diagonal.

    With one position: exact for a single example, and wherever inputs and gradients are independent, as in linear networks with
    Gaussian labels. With several: exact in linear networks with Gaussian labels, expanded where there is a label at each
    position, and reduced where the output is a mean over positions (Eschenhagen et al. 2023, propositions 1 and 2).

    References
    ----------
    Martens & Grosse (2015), ICML; Grosse & Martens (2016), ICML (convolutions); Eschenhagen et al. (2023), NeurIPS.
    """

    shared: str = "expand"
    name: ClassVar[str] = "kfac"

    def __post_init__(self) -> None:
        if self.shared not in SHARED:
            raise LayoutError(f"KFAC(shared=) must be one of {', '.join(map(repr, SHARED))}; got {self.shared!r}.")


class KeptKronecker(Kept):
    """Sums of x x' and g g', and squares for parameters that have neither."""

    name = "kfac"
    shared: ClassVar[str] = "expand"

    def __init__(self, parameters: Parameters, device: torch.device) -> None:
        super().__init__(parameters, device)
        self._inputs, self._gradients = Grams(mean=True), Grams()
        self._squares: dict[str, Tensor] = {}
        self._found: dict[str, Factor] = {}  # a use of each parameter that has a product
        self._examples, self._waiting, self._rounding = 0, 0, 0.0

    @classmethod
    def entries(cls, parameters: Parameters) -> int:
        """Of layers without groups; for embeddings far too many."""
        sides = ((shape[0], size // max(1, shape[0])) if shape else (1, 1) for shape, size in _shapes(parameters))
        return sum(m * m + n * n for m, n in sides if m * n)

    @classmethod
    def check(cls, parameters: Parameters, sums: int) -> None:
        """A single set of sums is checked when the first batch has told what it takes."""
        if sums > 1:
            super().check(parameters, sums)

    def add(self, batch: Batch, vectors: Sequence[Tensor]) -> None:
        found = factors(batch.forward)
        self._check(batch, found)
        self._add_inputs(found)
        for vector in vectors:
            self._add_gradients(batch, found, batch.forward.terms(vector))
        batch.add_rest(vectors, self._squares, list(self._squares.values()))
        self._examples += len(batch)
        self._rounding += len(batch) * float(torch.finfo(batch.output.dtype).eps)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._flush()

    def _add_inputs(self, found: Found) -> None:
        for name, own in found.items():
            for f in own:
                if f.tokens and f.x is not None:
                    self._inputs.add_tokens(name, f.x, f.use.shape[0])
        rows = {name: [(f.x, f.inputs) for f in own if f.x is not None] for name, own in found.items() if not own[0].tokens}
        self._inputs.add({name: own for name, own in rows.items() if own}, reduced=self.shared == "reduce")

    def _add_gradients(self, batch: Batch, found: Found, terms: Terms) -> None:
        for tokens, reduced in ((False, self.shared == "reduce"), (True, False)):
            some = {name: own for name, own in found.items() if own[0].tokens is tokens}
            rows = {name: [(t, f.gradients) for f, t in zip(own, terms[name], strict=True)] for name, own in some.items()}
            self._gradients.add(rows, reduced=reduced)
        for name, uses in batch.forward.uses.items():
            if uses and name not in found:
                add_to(self._squares, name, batch.forward.squares(name, terms).double())

    def _check(self, batch: Batch, found: Found) -> None:
        """A parameter has one kind of product wherever it is used, or none; and what is kept fits the memory."""
        for name in self._found.keys() | self._squares.keys():
            before = self._found[name].kind if name in self._found else None
            now = found[name][0].kind if name in found else None
            if now != before and batch.forward.uses.get(name) != []:
                raise LayoutError(f"{name}: used otherwise in this batch than before, so that no one product fits.")
        if new := found.keys() - self._found.keys():
            self._found |= {name: found[name][0] for name in new}
            sizes = dict(zip(self.parameters.names, self.parameters.sizes, strict=True))
            entries = sum(self._found[name].entries if name in self._found else size for name, size in sizes.items())
            largest = max(self._found, key=lambda name: self._found[name].entries)
            what = f"the Kronecker factors, of {largest} alone {self._found[largest].entries} numbers,"
            check_budget(entries, what=what, cheaper="params= leaves parameters out; structure='diagonal' needs p numbers.")

    def _flush(self) -> None:
        self._inputs.flush()
        self._gradients.flush()
        self._waiting = 0

    def _parts(self, *, wide: bool = True) -> list[tuple[Tensor, Tensor, int]]:
        """Of each parameter the sums of both sides, and over how many rows that of the inputs is; in float64, where wide."""
        self._flush()
        if wide:
            self._inputs.widen()
            self._gradients.widen()
        one = torch.ones(1, 1, dtype=torch.float64, device=self.device)
        out = []
        for name, size in zip(self.parameters.names, self.parameters.sizes, strict=True):
            if name not in self._found:
                squares = self._squares[name].reshape(-1) if name in self._squares else one.new_zeros(size)
                out.append((squares, one * self._examples, self._examples))
                continue
            own, g = self._found[name], self._gradients.sums(name)[0]
            x, rows = (one * self._examples, self._examples) if own.x is None else self._inputs.sums(name)
            out.append((g, x, rows) if own.outputs_first else (x, g, rows))
        return out

    def arrays(self) -> list[Tensor]:
        """Both sides of each parameter and the number of rows, and the sum over the examples of the rounding."""
        if not self._examples:
            return []
        parts = [part for left, right, rows in self._parts() for part in (left, right, left.new_tensor(rows))]
        return [*parts, parts[0].new_tensor(self._rounding), parts[0].new_tensor(self._examples)]

    def mean(self, count: int) -> Structure:
        """Divided in place, where several parameters share it once: nothing is added afterwards."""
        parts, done = self._parts(), set()
        for name, (left, right, rows) in zip(self.parameters.names, parts, strict=True):
            inputs_first = name in self._found and not self._found[name].outputs_first
            divisors = (max(1, rows), count) if inputs_first else (count, max(1, rows))
            for side, divisor in zip((left, right), divisors, strict=True):
                if id(side) not in done:
                    side /= divisor
                done.add(id(side))
        left, right = [part[0] for part in parts], [part[1] for part in parts]
        return Kronecker(left, right, self._precision, self.parameters)

    @property
    def _precision(self) -> Tensor:
        return torch.tensor(self._rounding / self._examples, dtype=torch.float64, device=self.device)

    @classmethod
    def structure(cls, arrays: list[Tensor], parameters: Parameters) -> Structure:
        """From sums over the count of observations."""
        *parts, rounding, examples = arrays
        left, right, rows = parts[::3], parts[1::3], parts[2::3]
        right = [side / torch.where(many > 0, many, 1.0) for side, many in zip(right, rows, strict=True)]
        return Kronecker(left, right, rounding / examples, parameters)


def _shapes(parameters: Parameters) -> Any:
    return zip(parameters.shapes, parameters.sizes, strict=True)
