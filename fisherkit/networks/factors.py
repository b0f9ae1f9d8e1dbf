"""What a parameter's gradients are products of: its inputs, and the gradients at its outputs, at each position of each use.

The gradient of an example at a linear layer is :math:`\\sum_t g_t x_t^\\top` over the positions t that share the weight. So it is
at a convolution, whose x are the patches that the kernel meets (Grosse & Martens 2016), and at an embedding, whose x are unit
vectors. A layer that is used again has more positions (Eschenhagen et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from torch import Tensor

from .layers import Forward
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


def factors(forward: Forward) -> dict[str, list[Factor]]:
    """Of the parameters whose uses are all of one such kind; the others are left out."""
    found = {}
    for name, own in forward.uses.items():
        made = [_factor(use, forward.batch) for use in own]
        every = [factor for factor in made if factor is not None]
        if own and len(every) == len(own) and len({factor.kind for factor in every}) == 1:
            found[name] = every
    return found


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
