"""Sums over examples of what an information is made of: squares for a diagonal, outer products for a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .layers import Forward, Linear, add
from .network import Inputs, Network

ENTRIES = 2**24  # of per-example gradients held at a time: 128 MiB in float64


class Batch:
    """One batch: a forward pass, and the per-example gradients that follow from output-space vectors."""

    def __init__(self, network: Network, layers: list[Linear], inputs: Inputs) -> None:
        self.network, self.inputs = network, inputs
        self.forward = Forward(network, layers, inputs)
        quick = {name for linear in self.forward.layers for name in linear.names}
        self.rest = [name for name in network.values if name not in quick]

    @property
    def output(self) -> Tensor:
        return self.forward.output.detach()

    def squares(self, cotangents: Sequence[Tensor]) -> dict[str, Tensor]:
        """sum_nk (J_n' c_nk)^2 for each parameter, of this one batch, over K vectors c of shape (b, ...)."""
        total = add([*self._linear_squares(cotangents), *self._rest_squares(cotangents)])
        return {name: total[name] for name in self.network.values}

    def _linear_squares(self, cotangents: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
        layers, inputs = self.forward.layers, self.forward.x
        squared: list[Tensor | float] = [0.0] * len(layers)
        for cotangent in cotangents:
            for i, g in enumerate(self.forward.gradients(cotangent)):
                if inputs[i].ndim > 2:
                    yield layers[i].squares_by_example(_single(inputs[i]), _single(g))
                else:
                    squared[i] = squared[i] + _single(g) ** 2
        for linear, x, total in zip(layers, inputs, squared, strict=True):
            if isinstance(total, Tensor):
                yield linear.squares(_single(x), total)
            elif x.ndim <= 2:  # the output does not depend on the layer
                yield {name: torch.zeros_like(self.network.values[name]) for name in linear.names}

    def _rest_squares(self, cotangents: Sequence[Tensor]) -> Iterator[dict[str, Tensor]]:
        for rows in self._chunks(self.rest, 1):
            for cotangent in cotangents:
                gradients = self.network.vjp(self.rest, tuple(x[rows] for x in self.inputs), cotangent[rows])
                yield {name: (g.double() ** 2).sum(dim=0) for name, g in gradients.items()}

    def products(self, cotangents: Sequence[Tensor]) -> Tensor:
        """sum_nk v_nk v_nk' over flat gradients v = J_n' c_nk, (p, p) in float64."""
        names = list(self.network.values)
        p = sum(v.numel() for v in self.network.values.values())
        total = torch.zeros(p, p, dtype=torch.float64, device=self.network.device)
        linear = [self._linear_gradients(c) for c in cotangents]
        for rows in self._chunks(names, len(cotangents)):
            flat = [self._flat(part, c, rows) for part, c in zip(linear, cotangents, strict=True)]
            v = torch.cat(flat)
            total += v.T @ v
        return total

    def scores(self, cotangent: Tensor) -> dict[str, Tensor]:
        """(b, *shape) per-example gradients in float64."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.network.values}
        linear = self._linear_gradients(cotangent)
        for rows in self._chunks(list(self.network.values), 1):
            for name, g in self._rows(linear, cotangent, rows).items():
                parts[name].append(g.double())
        return {name: torch.cat(chunks) for name, chunks in parts.items()}

    def _flat(self, linear: list[Tensor], cotangent: Tensor, rows: slice) -> Tensor:
        gradients = self._rows(linear, cotangent, rows)
        return torch.cat([gradients[name].double().flatten(1) for name in self.network.values], dim=1)

    def _rows(self, linear: list[Tensor], cotangent: Tensor, rows: slice) -> dict[str, Tensor]:
        """Gradients of these examples, from the layers' formula and from the fallback."""
        out: dict[str, Tensor] = {}
        for layer, x, g in zip(self.forward.layers, self.forward.x, linear, strict=True):
            out |= layer.per_example(_single(x[rows]), _single(g[rows]))
        if self.rest:
            out |= self.network.vjp(self.rest, tuple(x[rows] for x in self.inputs), cotangent[rows])
        return out

    def _linear_gradients(self, cotangent: Tensor) -> list[Tensor]:
        found = self.forward.gradients(cotangent)
        return found or [torch.zeros_like(linear.layer(x)) for linear, x in zip(self.forward.layers, self.forward.x, strict=True)]

    def _chunks(self, names: list[str], copies: int) -> Iterator[slice]:
        """As many examples at a time as the entries of their gradients allow."""
        p = sum(self.network.values[name].numel() for name in names)
        step = max(1, ENTRIES // max(1, p * copies))
        if p:
            yield from (slice(i, i + step) for i in range(0, len(self.inputs[0]), step))


def _single(v: Tensor) -> Tensor:
    """Half precision would lose the squares: float32 at least."""
    return v.detach().float() if v.dtype in (torch.float16, torch.bfloat16) else v.detach()
