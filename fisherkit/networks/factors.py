"""What a parameter's gradients are products of: its inputs, and the gradients at its outputs, at each position of each use.

The gradient of an example at a linear layer is :math:`\\sum_t g_t x_t^\\top` over the positions t that share the weight. So it is
at a convolution, whose x are the patches that the kernel meets (Grosse & Martens 2016), and at an embedding, whose x are unit
vectors. A layer that is used again has more positions (Eschenhagen et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .layers import Forward, Terms
from .layers.convolution import Convolution
from .layers.elementwise import Sum
from .layers.embedding import Embedding, Padded, SharedRows
from .layers.matrix import Matrix
from .layers.use import Use, single

Rows = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Side:
    """Rows that are multiplied with each other: of a use's inputs, or of the gradients at its outputs.

    Attributes
    ----------
    rows : callable, (k, ...) -> (k, T, groups, entries)
        From the inputs or the use's terms of k examples.
    how : hashable
        Sides of equal tensors that agree in this have equal rows.
    """

    rows: Rows
    how: Hashable = None


@dataclass(frozen=True)
class Factor:
    """One use of a parameter.

    Attributes
    ----------
    x : Tensor (b, ...), optional
        The inputs of the batch as they were saved; none where the input is one, as a bias has it.
    outputs_first : bool
        Whether the parameter holds outputs by inputs, or inputs by outputs.
    tokens : bool
        Whether ``x`` are the places (b, T) of unit vectors, none where negative: their products are diagonal.
    """

    use: Use
    x: Tensor | None
    inputs: Side
    gradients: Side
    outputs_first: bool = True
    tokens: bool = False

    @property
    def groups(self) -> int:
        """Of rows of the parameter with nothing between them."""
        return self.use.groups if isinstance(self.use, Convolution) else 1

    @property
    def entries(self) -> int:
        """Of both sides' products."""
        size = self.use.entries
        rows: int = self.use.shape[0] if self.use.shape else 1
        if self.x is None:
            return size * size + 1
        m, n = rows // self.groups, size // max(1, rows)
        return rows + n * n if self.tokens else self.groups * (m * m + n * n)

    @property
    def kind(self) -> Hashable:
        """Uses of one kind add up."""
        return self.outputs_first, self.groups, self.tokens, self.x is None


Found = Mapping[str, Sequence[Factor]]


def factors(forward: Forward) -> dict[str, list[Factor]]:
    """Of the parameters whose uses are all of one such kind; the others are left out."""
    found = {}
    for name, own in forward.uses.items():
        made = [_factor(use, forward.batch) for use in own]
        every = [factor for factor in made if factor is not None]
        if own and len(every) == len(own) and len({factor.kind for factor in every}) == 1:
            found[name] = every
    return found


@dataclass(frozen=True)
class Flat:
    """A parameter whose examples' gradients are single products g x', and its inputs (b, I); none where they are one."""

    name: str
    x: Tensor | None
    outputs_first: bool

    def ordered(self, outputs: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As the parameter holds them; twice is as given."""
        return (outputs, inputs) if self.outputs_first else (inputs, outputs)


def flats(found: Found) -> dict[str, Flat]:
    """The parameters whose examples' gradients are single products; those of a bias are sums of vectors anyway."""
    out = {}
    for name, own in found.items():
        one = own[0]
        if one.x is None:
            out[name] = Flat(name, None, True)
        elif len(own) == 1 and isinstance(one.use, Matrix) and one.x.shape[1] == 1:
            out[name] = Flat(name, one.x[:, 0], one.outputs_first)
    return out


def gradients(found: Found, flat: Iterable[str], terms: Terms) -> dict[str, Tensor]:
    """(b, O) of each of these parameters."""
    out = {}
    for name in flat:
        rows = [f.gradients.rows(t)[:, :, 0] for f, t in zip(found[name], terms[name], strict=True)]
        parts = [part[:, 0] if part.shape[1] == 1 else part.sum(dim=1) for part in rows]
        out[name] = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
    return out


def _factor(use: Use, batch: int) -> Factor | None:
    if isinstance(use, Matrix):
        return Factor(use, single(use.x), WIDE, WIDE, use.edge.transposed)
    if isinstance(use, Convolution):
        patches = Side(use.patches, (use.kind, use.shape[2:]))
        channels = Side(use.channels, ("channels", use.groups))
        sides = (channels, patches) if use.transposed else (patches, channels)
        return Factor(use, single(use.x), *sides, not use.transposed)
    if isinstance(use, SharedRows):
        places = use.indices.expand(batch, int(use.positions(batch)), -1).flatten(1)
        return Factor(use, places, WIDE, Side(lambda v: _wide(v.flatten(1, -2)), "rows"), False, True) if use.in_order else None
    if isinstance(use, Embedding):
        tokens = use.tokens.masked_fill(use.tokens == use.padding, -1) if isinstance(use, Padded) else use.tokens
        return Factor(use, tokens, WIDE, WIDE, False, True)
    if isinstance(use, Sum) and use.is_bias:
        return Factor(use, None, WIDE, Side(use.vectors, use.along))
    return None


def _wide(v: Tensor) -> Tensor:
    """One group."""
    return v[:, :, None]


WIDE = Side(_wide)
