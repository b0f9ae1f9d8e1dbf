r"""The quick way for linear layers: per-example gradients are outer products, and need not be formed.

For ``a = W x + b`` the gradient of an example is :math:`g x^\top` with g its gradient at a, so
:math:`\sum_n (g_n x_n^\top)^2 = (g^2)^\top x^2`: one matrix product in place of the weight gradient that an ordinary
backward pass would form. Only data gradients are asked of autograd. Over K output-space vectors the g² are added
before the one product.

The formula holds where the layer's own call is the weight's only use. Autograd's graph of each batch tells: one edge,
and no more, leads to each of the layer's parameters (see `_uses`). That the first axis is the example is tried once.
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

    @property
    def parameters(self) -> list[Tensor]:
        own = ((self.weight, self.layer.weight), (self.bias, self.layer.bias))
        return [parameter for name, parameter in own if name is not None]

    def per_example(self, x: Tensor, g: Tensor) -> dict[str, Tensor]:
        """(b, *shape) gradients; sums over positions where there are any."""
        g, x = _positions(g), _positions(x)
        out = {}
        if self.weight is not None:
            out[self.weight] = torch.bmm(g.transpose(1, 2), x)
        if self.bias is not None:
            out[self.bias] = g.sum(dim=1)
        return out

    def add_squares(self, x: Tensor, squared: Tensor, total: dict[str, Tensor]) -> None:
        """Add sums of squared gradients over examples, from the sum of g² over the vectors; without positions."""
        if self.weight is not None:
            if self.weight in total and total[self.weight].dtype == squared.dtype:
                total[self.weight].addmm_(squared.T, x**2)
            else:
                add_to(total, self.weight, squared.T @ x**2)
        if self.bias is not None:
            add_to(total, self.bias, squared.sum(dim=0))

    def add_squares_by_example(self, x: Tensor, g: Tensor, total: dict[str, Tensor]) -> None:
        """With positions, an example's gradient is a sum before it is squared: a few examples at a time."""
        step = max(1, CHUNK // self.layer.weight.numel())
        chunks = (self.per_example(x[i : i + step], g[i : i + step]) for i in range(0, len(x), step))
        for name, value in add({name: (v**2).sum(dim=0) for name, v in chunk.items()} for chunk in chunks).items():
            add_to(total, name, value.double())


class Forward:
    """One batch through the network, with the one call of each sound layer kept."""

    def __init__(self, network: Network, layers: list[Linear], inputs: Inputs) -> None:
        with torch.enable_grad(), _recording([linear.layer for linear in layers]) as calls:
            self.output = network(inputs)
        whole = [linear for linear in layers if _is_whole(calls[id(linear.layer)], len(inputs[0]))]
        uses = _uses([self.output, *(calls[id(linear.layer)][0].a for linear in whole)])
        self.layers = [linear for linear in whole if all(uses[id(p)] == 1 for p in linear.parameters)]
        self._calls = [calls[id(linear.layer)][0] for linear in self.layers]

    @property
    def x(self) -> list[Tensor]:
        """What went into each layer, (b, ..., I)."""
        return [call.x for call in self._calls]

    @property
    def outputs(self) -> list[Tensor]:
        """What came out of each layer, (b, ..., O)."""
        return [call.a for call in self._calls]

    def gradients(self, cotangent: Tensor) -> list[Tensor]:
        """For each layer, the gradient of sum_n <c_n, z_n> at its output, (b, ..., O)."""
        if not (self.outputs and self.output.requires_grad):
            return [torch.zeros_like(a) for a in self.outputs]
        found = torch.autograd.grad(self.output, self.outputs, cotangent, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(a) if g is None else g for g, a in zip(found, self.outputs, strict=True)]


def _is_whole(calls: list[Call], batch: int) -> bool:
    """Called once, on the whole batch, in autograd's sight, with an input that nobody has changed since."""
    if len(calls) != 1:
        return False
    call = calls[0]
    return call.a.requires_grad and len(call.x) == batch and call.x._version == call.version


def _uses(roots: list[Tensor]) -> Counter[int]:
    """How many edges of autograd's graph lead to each parameter, by the parameter's id.

    A layer's own call is one edge. Whatever else a gradient can flow through is another: the functional form, a slice,
    a tied head, a custom function. The layers' outputs are roots too, so that a call that leads nowhere is counted.
    """
    todo = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen, uses = set(todo), Counter[int]()
    while todo:
        for node, _ in todo.pop().next_functions:
            if hasattr(node, "variable"):
                uses[id(node.variable)] += 1
            elif node is not None and node not in seen:
                seen.add(node)
                todo.append(node)
    return uses


@contextmanager
def _recording(layers: list[nn.Linear]) -> Iterator[dict[int, list[Call]]]:
    calls: dict[int, list[Call]] = {id(layer): [] for layer in layers}

    def hook(layer: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], a: Tensor) -> Tensor:
        (x,) = (*inputs, *keywords.values())
        calls[id(layer)].append(Call(x.detach(), x._version, a))
        return a.clone()  # an in-place activation changes the clone

    handles = [layer.register_forward_hook(hook, with_kwargs=True) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def trusted(network: Network, inputs: Inputs) -> list[Linear]:
    """The linear layers whose first axis is the example: a weight per example must reach g as it is."""
    candidates = _candidates(network)
    for linear in candidates:
        for parameter in linear.parameters:
            parameter.requires_grad_()  # of the private copy, so that the graph shows its uses
    forward = Forward(network, candidates, inputs)
    generator = torch.Generator().manual_seed(0)
    output = forward.output
    cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
    weights = (1 + torch.rand(len(output), generator=generator, dtype=torch.float64)).to(output)
    plain, scaled = forward.gradients(cotangent), forward.gradients(_scale(cotangent, weights))
    return [linear for linear, g, h in zip(forward.layers, plain, scaled, strict=True) if _close(_scale(g, weights), h)]


def _candidates(network: Network) -> list[Linear]:
    """Plain linear layers that nobody has hooked or patched, whose parameters belong to no other of them."""
    names = {id(p): name for name, p in network.values.items()}
    layers = [m for m in network.module.modules() if type(m) is nn.Linear and not _is_altered(m)]
    found = [Linear(m, names.get(id(m.weight)), names.get(id(m.bias))) for m in layers]
    owners = Counter(name for linear in found for name in linear.names)
    return [linear for linear in found if linear.names and all(owners[name] == 1 for name in linear.names)]


def _is_altered(layer: nn.Module) -> bool:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return "forward" in vars(layer) or any(hooks)


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
            add_to(total, name, value)
    return total


def add_to(total: dict[str, Tensor], name: str, value: Tensor) -> None:
    """In place where there is something; kept in the wider of the two dtypes."""
    if name not in total:
        total[name] = value
    elif torch.promote_types(total[name].dtype, value.dtype) == total[name].dtype:
        total[name] += value
    else:
        total[name] = total[name] + value
