"""Sums over examples of what an information is made of: squares for a diagonal, outer products for a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..errors import DataError
from .factors import factors, flats, gradients
from .layers import Forward, Terms, Trust, add_to
from .network import Inputs, Network
from .products import Blocks

ENTRIES = 2**24  # of per-example gradients held at a time: 128 MiB in float64


class Batch:
    """One batch: a forward pass, and the per-example gradients that follow from output-space vectors.

    Parameters
    ----------
    network, trust, inputs
        Parameters take the quick way where this batch's graph allows it (see `layers`); all others the general one.
    start : int
        The number of the first example, for messages.
    """

    def __init__(self, network: Network, trust: Trust, inputs: Inputs, start: int = 0) -> None:
        self.network, self.inputs, self.start = network, inputs, start
        self.forward = Forward(network, trust, inputs)
        self.rest = [name for name in network.values if name not in self.forward.uses]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def release(self) -> None:
        """Let go of the graph: two of them at once would double the memory."""
        del self.forward

    @property
    def output(self) -> Tensor:
        return self.forward.output.detach()

    def add_squares(self, cotangents: Sequence[Tensor], total: dict[str, Tensor]) -> None:
        """Add sum_nk (J_n' c_nk)^2 for each parameter, over K vectors c of shape (b, ...)."""
        self.add_rest(cotangents, total, self.forward.add_squares(cotangents, total))

    def add_rest(self, cotangents: Sequence[Tensor], total: dict[str, Tensor], told: Sequence[Tensor] = ()) -> None:
        """Those of the parameters that take the general way; and a look at what tells whether all sums are finite."""
        for rows in self._chunks(self.rest, 1):
            for cotangent in cotangents:
                gradients = self.network.vjp(self.rest, tuple(x[rows] for x in self.inputs), cotangent[rows])
                for name, g in gradients.items():
                    add_to(total, name, (g.double() ** 2).sum(dim=0))
        told = [*told, *(total[name] for name in self.rest if name in total)]
        largest = [value.amax().double() for value in told if value.numel()]
        if largest and not bool(torch.isfinite(torch.stack(largest)).all()):
            self._refuse(cotangents)

    def add_products(self, cotangents: Sequence[Tensor], blocks: Blocks, total: Tensor) -> None:
        """Add sum_nk v_nk v_nk' over flat gradients v = J_n' c_nk: to blocks where all layers are linear, else to the matrix."""
        found = factors(self.forward) if len(cotangents) > 1 else {}
        flat, used = flats(found), [name for name, own in self.forward.uses.items() if own]
        if used and not self.rest and all(name in flat for name in used):
            every = [gradients(found, used, self.forward.terms(c)) for c in cotangents]
            parts = [(flat[name], torch.stack([rows[name] for rows in every])) for name in used]
            blocks.add(parts)
            finite = torch.stack([tensor.sum() for one, g in parts for tensor in (one.x, g) if tensor is not None])
        else:
            for v in self.rows(cotangents):
                total.addmm_(v.T, v)
            finite = total.diagonal()
        if not bool(torch.isfinite(finite).all()):
            self._refuse(cotangents)

    def rows(self, cotangents: Sequence[Tensor]) -> Iterator[Tensor]:
        """The flat gradients v = J_n' c_nk, (many, p) in float64, some at a time."""
        step = max(1, ENTRIES // max(1, self.forward.entries))
        for k in range(0, len(cotangents), step):
            some = [cotangents[i] for i in range(k, min(k + step, len(cotangents)))]
            terms = [self.forward.terms(c) for c in some]
            for rows in self._chunks(list(self.network.values), len(some)):
                yield torch.cat([self._flat(part, c, rows) for part, c in zip(terms, some, strict=True)])

    def scores(self, cotangent: Tensor) -> dict[str, Tensor]:
        """(b, *shape) per-example gradients in float64; refused where one is not finite."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.network.values}
        terms = self.forward.terms(cotangent)
        first = self.start
        for rows in self._chunks(list(self.network.values), 1):
            gradients = self._rows(terms, cotangent, rows)
            _check_scores({name: gradients[name] for name in parts}, first)
            first += len(next(iter(gradients.values())))
            for name, g in gradients.items():
                parts[name].append(g.double())
        return {name: torch.cat(chunks) for name, chunks in parts.items()}

    def _refuse(self, cotangents: Sequence[Tensor]) -> None:
        """Find the score that is not finite, and say whose it is."""
        for cotangent in cotangents:
            self.scores(cotangent)
        raise DataError(
            f"a squared score of examples {self.start} to {self.start + len(self) - 1} is not finite: it is beyond the range "
            "of the network's dtype. Convert the network and the inputs with .double()."
        )

    def _flat(self, terms: Terms, cotangent: Tensor, rows: slice) -> Tensor:
        gradients = self._rows(terms, cotangent, rows)
        return torch.cat([gradients[name].double().reshape(len(gradients[name]), -1) for name in self.network.values], dim=1)

    def _rows(self, terms: Terms, cotangent: Tensor, rows: slice) -> dict[str, Tensor]:
        """Gradients of these examples, from the formulas and from the fallback."""
        out = self.forward.per_example(terms, rows)
        if self.rest:
            out |= self.network.vjp(self.rest, tuple(x[rows] for x in self.inputs), cotangent[rows])
        return out

    def _chunks(self, names: list[str], copies: int) -> Iterator[slice]:
        """As many examples at a time as the entries of their gradients allow."""
        p = sum(self.network.values[name].numel() for name in names)
        step = max(1, ENTRIES // max(1, p * copies))
        if p:
            yield from (slice(i, i + step) for i in range(0, len(self), step))


def _check_scores(scores: dict[str, Tensor], first: int) -> None:
    for name, value in scores.items():
        if len(bad := torch.nonzero(~torch.isfinite(value))):
            example, *index = bad[0].tolist()
            where = f"{name}[{','.join(map(str, index))}]" if index else name
            raise DataError(
                f"the score of example {first + example} is not finite at {where}: {float(value[tuple(bad[0])])}. The network is "
                "not differentiable there, or its weights have diverged."
            )
