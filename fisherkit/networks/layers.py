r"""The quick way for linear layers: per-example gradients are outer products, and need not be formed.

For ``a = W x + b`` the gradient of an example is :math:`g x^\top` with g its gradient at a, so
:math:`\sum_n (g_n x_n^\top)^2 = (g^2)^\top x^2`: one matrix product in place of the weight gradient that an ordinary
backward pass would form. Only data gradients are asked of autograd. Over K output-space vectors the g² are added
before the one product.

A layer is trusted only after a trial: with a random weight per example, the formula must give autograd's own gradient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .network import Inputs, Network

CHUNK = 2**22  # entries of per-example gradients formed at a time: stays in cache


@dataclass
class Call:
    """One call of a linear layer: what went in, and what came out before anything could change it."""

    x: Tensor
    version: int
    a: Tensor


@dataclass(frozen=True)
class Linear:
    """The names of a linear layer's differentiated parameters."""

    layer: nn.Linear
    weight: str | None
    bias: str | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.weight, self.bias) if name is not None]

    def per_example(self, x: Tensor, g: Tensor) -> dict[str, Tensor]:
        """(b, *shape) gradients; sums over positions where there are any."""
        g, x = _positions(g), _positions(x)
        out = {}
        if self.weight is not None:
            out[self.weight] = torch.bmm(g.transpose(1, 2), x)
        if self.bias is not None:
            out[self.bias] = g.sum(dim=1)
        return out

    def squares(self, x: Tensor, squared: Tensor) -> dict[str, Tensor]:
        """Sums of squared gradients over examples, from the sum of g² over the vectors; without positions."""
        out = {}
        if self.weight is not None:
            out[self.weight] = squared.T @ x**2
        if self.bias is not None:
            out[self.bias] = squared.sum(dim=0)
        return out

    def squares_by_example(self, x: Tensor, g: Tensor) -> dict[str, Tensor]:
        """With positions, an example's gradient is a sum before it is squared: a few examples at a time."""
        step = max(1, CHUNK // self.layer.weight.numel())
        chunks = (self.per_example(x[i : i + step], g[i : i + step]) for i in range(0, len(x), step))
        return add({name: (v**2).sum(dim=0) for name, v in chunk.items()} for chunk in chunks)


class Forward:
    """One batch through the network, with the one call of each of these layers kept."""

    def __init__(self, network: Network, layers: list[Linear], inputs: Inputs) -> None:
        with torch.enable_grad(), _recording([linear.layer for linear in layers]) as calls:
            self.output = network(inputs)
        self.layers = [linear for linear in layers if _is_sound(calls[id(linear.layer)], len(inputs[0]))]
        self._calls = [calls[id(linear.layer)][0] for linear in self.layers]

    @property
    def x(self) -> list[Tensor]:
        """What went into each layer, (b, ..., I)."""
        return [call.x for call in self._calls]

    def gradients(self, cotangent: Tensor) -> list[Tensor]:
        """For each layer, the gradient of sum_n <c_n, z_n> at its output, (b, ..., O)."""
        if not (self.layers and self.output.requires_grad):
            return []
        outputs = [call.a for call in self._calls]
        found = torch.autograd.grad(self.output, outputs, cotangent, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(a) if g is None else g for g, a in zip(found, outputs, strict=True)]


def _is_sound(calls: list[Call], batch: int) -> bool:
    """Called once, on the whole batch, with an input that nobody has changed since."""
    return len(calls) == 1 and len(calls[0].x) == batch and calls[0].x._version == calls[0].version


@contextmanager
def _recording(layers: list[nn.Linear]) -> Iterator[dict[int, list[Call]]]:
    calls: dict[int, list[Call]] = {id(layer): [] for layer in layers}

    def hook(layer: nn.Module, inputs: tuple[Any, ...], a: Tensor) -> Tensor:
        if not a.requires_grad:
            a.requires_grad_()
        calls[id(layer)].append(Call(inputs[0].detach(), inputs[0]._version, a))
        return a.clone()  # an in-place activation changes the clone

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def trusted(network: Network, inputs: Inputs) -> list[Linear]:
    """The linear layers for which the formula gives autograd's gradient, tried on a few examples."""
    forward = Forward(network, _candidates(network), inputs)
    generator = torch.Generator().manual_seed(0)
    output = forward.output
    cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
    weights = (1 + torch.rand(len(output), generator=generator, dtype=torch.float64)).to(output)
    plain, scaled = forward.gradients(cotangent), forward.gradients(_scale(cotangent, weights))
    if not plain:
        return []
    true = _gradients(network, [n for linear in forward.layers for n in linear.names], inputs, _scale(cotangent, weights))
    good = []
    for linear, x, g, h in zip(forward.layers, forward.x, plain, scaled, strict=True):
        ours = {name: value.sum(dim=0) for name, value in linear.per_example(x, h).items()}
        if _close(_scale(g, weights), h) and all(_close(ours[name], true[name]) for name in linear.names):
            good.append(linear)
    return good


def _candidates(network: Network) -> list[Linear]:
    names = {id(p): name for name, p in network.values.items()}
    layers = [m for m in network.module.modules() if type(m) is nn.Linear]
    found = [Linear(m, names.get(id(m.weight)), names.get(id(m.bias))) for m in layers]
    uses = Counter(name for linear in found for name in linear.names)
    return [linear for linear in found if linear.names and all(uses[name] == 1 for name in linear.names)]


def _gradients(network: Network, names: list[str], inputs: Inputs, cotangent: Tensor) -> dict[str, Tensor]:
    """Autograd's own, through every use of a parameter."""
    values = {name: network.values[name].detach().requires_grad_() for name in names}
    with torch.enable_grad():
        total = (torch.func.functional_call(network.module, values, inputs) * cotangent).sum()
    found = torch.autograd.grad(total, list(values.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def _scale(v: Tensor, weights: Tensor) -> Tensor:
    """Row n times weight n."""
    return v * weights.to(v).reshape(-1, *[1] * (v.ndim - 1))


def _close(a: Tensor, b: Tensor) -> bool:
    size = max(float(a.abs().max()), float(b.abs().max()))
    return bool((a - b).abs().max() <= 1e3 * torch.finfo(a.dtype).eps * size)


def _positions(v: Tensor) -> Tensor:
    """(b, T, features), with T = 1 where there are no positions."""
    return v.reshape(len(v), -1, v.shape[-1])


def add(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Sums by name."""
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total
