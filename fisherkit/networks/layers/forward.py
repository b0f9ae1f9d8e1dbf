"""One pass of a batch, and the per-example gradients of every parameter that has a formula for all its uses."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from ..network import Inputs, Network
from .graph import Graph
from .rules import uses
from .trial import Order, order_of, scaled, weights, wrong
from .use import Scratch, Use, shape_of, single, slices, squares

FEW = 2  # examples of the first trial
Orders = list[Order]
Terms = dict[str, list[Tensor]]


class Forward:
    """One batch through the network, with every operation at hand that a parameter enters.

    Parameters
    ----------
    network : Network
        A private copy: its parameters require a gradient from here on.
    known : dict
        The order of the rows in graphs that have been tried; shared by the batches. A graph that none of them had is tried
        on this batch.
    inputs : tuple of Tensor

    Attributes
    ----------
    output : Tensor
    uses : dict from name to list of Use
        All uses of each parameter that takes the quick way; none where it has no effect on the output.
    """

    def __init__(self, network: Network, known: Trust, inputs: Inputs) -> None:
        for parameter in network.values.values():
            parameter.requires_grad_()
        with torch.enable_grad():
            self.output = network(inputs)
        self.batch, self._values, self._scratch = len(inputs[0]), network.values, known.scratch
        graph = Graph(self.output, network.values)
        found = uses(graph, list(network.values))
        every = [use for own in found.values() for use in own]
        signature = (graph.signature, tuple((use.name, type(use), use.positions(self.batch) == 1) for use in every))
        orders = known.orders.get(signature)
        if orders is None:
            orders, lasting = self._tried(every)
            if lasting:
                known.orders[signature] = orders
        for use, order in zip(every, orders, strict=True):
            use.inner = order is Order.POSITIONS_FIRST
        unfit = {use.name for use, order in zip(every, orders, strict=True) if order is Order.NONE or not use.fits(self.batch)}
        self.uses = {name: own for name, own in found.items() if name not in unfit}
        for own in self.uses.values():
            for use in own:
                use.ready(self.batch)
        self.nodes = _nodes(self.uses)

    def _tried(self, every: list[Use]) -> tuple[Orders, bool]:
        cotangent, by = weights(self.output)
        nodes = list(dict.fromkeys(use.node for use in every))
        plain, weighted = self._at(nodes, cotangent), self._at(nodes, scaled(cotangent, by))
        bad, orders = wrong(every, self.batch), {}
        for use in every:  # a weight and its bias share their rows
            if (at := (use.node, use.features)) not in orders:
                orders[at] = order_of(use, plain[use.node], weighted[use.node], by)
        found = [(Order.NONE, True) if use.kind in bad else orders[use.node, use.features] for use in every]
        return [order for order, _ in found], self.batch > 1 and all(lasting for _, lasting in found)

    def _at(self, nodes: list[Node], cotangent: Tensor) -> dict[Node, Tensor]:
        """The gradient of sum_n <c_n, z_n> at the output of each operation."""
        if not nodes:
            return {}
        edges = [GradientEdge(node, 0) for node in nodes]
        found = torch.autograd.grad(self.output, edges, cotangent, retain_graph=True, allow_unused=True)
        return {node: _filled(g, node, cotangent) for node, g in zip(nodes, found, strict=True)}

    @property
    def entries(self) -> int:
        """Numbers that the terms of one vector hold."""
        return sum(math.prod(shape_of(node).shape) for node in self.nodes)

    def terms(self, cotangent: Tensor) -> Terms:
        """For each use of each parameter, what its examples' gradients are made of."""
        g = self._at(self.nodes, cotangent)
        return {name: [use.terms(g[use.node], self.batch) for use in own] for name, own in self.uses.items()}

    def per_example(self, terms: Terms, at: slice) -> dict[str, Tensor]:
        """(k, *shape) gradients of these k examples."""
        k = len(range(*at.indices(self.batch)))
        return {name: self.gradients(name, terms[name], at, k) for name in self.uses}

    def gradients(self, name: str, terms: list[Tensor], at: slice, k: int) -> Tensor:
        """(k, *shape) gradients of one parameter."""
        own = self.uses[name]
        if not own:
            return torch.zeros(k, *self._values[name].shape, dtype=self.output.dtype, device=self.output.device)
        out = own[0].per_example(terms[0][at], at)
        for use, more in zip(own[1:], terms[1:], strict=True):
            use.add_per_example(more[at], at, out)
        return out

    def add_squares(self, cotangents: Sequence[Tensor], total: dict[str, Tensor]) -> list[Tensor]:
        """Add sum_nk (J_n' c_nk)^2 for each parameter of ``uses``, over K vectors c of shape (b, ...).

        Returns small tensors that are not finite where a score is not.
        """
        quick = {name: own[0] for name, own in self.uses.items() if len(own) == 1 and own[0].adds_squares}
        waiting: dict[Node, Tensor] = {}
        for cotangent in cotangents:
            g = self._at(self.nodes, cotangent)
            for place, node in enumerate(dict.fromkeys(use.node for use in quick.values())):
                if node in waiting:
                    waiting[node].addcmul_(single(g[node]), single(g[node]))
                else:
                    waiting[node] = self._scratch.square(single(g[node]), place)
            for name, own in self.uses.items():
                if own and name not in quick:
                    add_to(total, name, self._squares(own, [use.terms(g[use.node], self.batch) for use in own]))
        for name, use in quick.items():
            total[name] = use.from_squares(use.arranged(waiting[use.node], self.batch)[:, 0], total.get(name), self._scratch)
        for name in self.uses.keys() - total.keys():
            total[name] = torch.zeros_like(self._values[name], dtype=torch.float64, requires_grad=False)
        small = {use.node: total[name] for name, use in quick.items() if use.entries < waiting[use.node].numel()}  # a bias
        return [*(waiting | small).values(), *(total[name] for name in self.uses.keys() - quick.keys())]

    def squares(self, name: str, terms: Terms) -> Tensor:
        """Sum of the examples' squared gradients of one parameter that has a use."""
        return self._squares(self.uses[name], terms[name])

    def _squares(self, own: list[Use], terms: list[Tensor]) -> Tensor:
        if len(own) == 1:
            return own[0].squares(terms[0])
        name, every = own[0].name, slices(self.batch, own[0].entries)
        return squares(self.gradients(name, terms, at, at.stop - at.start) for at in every)


class Trust:
    """What has been learnt about a network's graphs: the order of the rows at each use of a parameter."""

    def __init__(self) -> None:
        self.orders: dict[Hashable, Orders] = {}
        self.scratch = Scratch()


def trusted(network: Network, inputs: Inputs) -> Trust:
    """What a few examples tell."""
    found = Trust()
    Forward(network, found, tuple(x[:FEW] for x in inputs))
    return found


def add_to(total: dict[str, Tensor], name: str, value: Tensor) -> None:
    """In place where there is something; kept in the wider of the two dtypes."""
    if name not in total:
        total[name] = value
    elif torch.promote_types(total[name].dtype, value.dtype) == total[name].dtype:
        total[name] += value
    else:
        total[name] = total[name] + value


def _nodes(found: dict[str, list[Use]]) -> list[Node]:
    return list(dict.fromkeys(use.node for own in found.values() for use in own))


def _filled(g: Tensor | None, node: Node, like: Tensor) -> Tensor:
    if g is not None:
        return g
    meta = shape_of(node)
    return torch.zeros(meta.shape, dtype=meta.dtype, device=like.device)
