r"""The full matrix of a network of linear layers, at a cost that does not grow with the number of labels.

The gradient of an example at layer l is :math:`g_l x_l^\top`. Summed over K output-space vectors, the block of layers l and m is

.. math:: \sum_n \Big(\sum_k g_{l,k} g_{m,k}^\top\Big)_n \otimes (x_l x_m^\top)_n,

one matrix product over the examples: 2 N P_l P_m operations, where the outer products of all scores would take K times as many.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .layers import Linear

ENTRIES = 2**22  # of the outer products of inputs held at a time: stays near the cache


class Blocks:
    """Sums of blocks as their matrix products give them, in float64, until they are moved to their places.

    In single precision the sum would be right to its rounding, and no longer positive semidefinite.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Linear, Linear, Tensor]] = {}

    def add(self, layers: Sequence[Linear], x: Sequence[Tensor], g: Sequence[Tensor]) -> None:
        """Inputs (b, I) of each layer, and gradients (K, b, O) at its output."""
        widened = [_with_one(layer, inputs.double()) for layer, inputs in zip(layers, x, strict=True)]
        g = [part.double() for part in g]
        for i, a in enumerate(layers):
            for j, b in enumerate(layers[: i + 1]):
                outputs = torch.einsum("kno,knq->noq", g[i], g[j]).flatten(1)
                self._add(a, b, widened[i], widened[j], outputs)

    def _add(self, a: Linear, b: Linear, x: Tensor, y: Tensor, outputs: Tensor) -> None:
        key, entries = (*a.names, "", *b.names), x.shape[1] * y.shape[1]
        if key not in self._sums:
            self._sums[key] = a, b, outputs.new_zeros(outputs.shape[1], entries)
        total = self._sums[key][2]
        step = max(1, ENTRIES // max(1, entries))
        for n in range(0, len(x), step):
            inputs = (x[n : n + step, :, None] * y[n : n + step, None, :]).flatten(1)
            total.addmm_(outputs[n : n + step].T, inputs)

    def move_to(self, matrix: Tensor, starts: dict[str, int]) -> None:
        """Add the blocks to the (p, p) float64 matrix; ``starts`` tells where each parameter's entries start."""
        for a, b, total in self._sums.values():
            block = total.reshape(a.layer.out_features, b.layer.out_features, _width(a), _width(b)).permute(0, 2, 1, 3)
            for rows, at, many in _parts(a, starts):
                for columns, there, others in _parts(b, starts):
                    part = block[:, rows][..., columns].reshape(many, others)
                    matrix[at : at + many, there : there + others] += part
                    if a is not b:
                        matrix[there : there + others, at : at + many] += part.T
        self._sums.clear()


def _width(layer: Linear) -> int:
    inputs: int = layer.layer.in_features if layer.weight is not None else 0
    return inputs + (layer.bias is not None)


def _with_one(layer: Linear, x: Tensor) -> Tensor:
    """The bias is the weight of a constant input."""
    x = x if layer.weight is not None else x[:, :0]
    return x if layer.bias is None else torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def _parts(layer: Linear, starts: dict[str, int]) -> list[tuple[slice, int, int]]:
    """Of the columns of an input: which belong to a parameter, where that starts, and how many entries it has."""
    outputs, inputs, out = layer.layer.out_features, _width(layer) - (layer.bias is not None), []
    if layer.weight is not None:
        out.append((slice(0, inputs), starts[layer.weight], inputs * outputs))
    if layer.bias is not None:
        out.append((slice(inputs, inputs + 1), starts[layer.bias], outputs))
    return out
