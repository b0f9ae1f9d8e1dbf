"""Forward differentiation of a network written down as operations, once for all batches of one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from .network import Inputs, Network

aten = torch.ops.aten
Push = Callable[[Sequence[Tensor]], Tensor]  # from a change of the weights, one tensor each, to J v


class Trace:
    """The change of the outputs along a change of the weights, as two programs.

    What does not depend on the change is worked out once for each batch, the rest for each change. A network that branches on
    its inputs' values cannot be written down, and is refused by PyTorch.

    Parameters
    ----------
    network : Network
    inputs : tuple of Tensor
        Of the shapes and dtypes that later ones have.
    """

    def __init__(self, network: Network, inputs: Inputs) -> None:
        from torch.fx.experimental.proxy_tensor import make_fx  # takes a second

        names, self._values = list(network.values), [value.detach() for value in network.values.values()]
        count = len(names)

        def change(*tensors: Tensor) -> Tensor:
            values, v = (dict(zip(names, part, strict=True)) for part in (tensors[:count], tensors[count : 2 * count]))
            out: Tensor = torch.func.jvp(lambda w: network.at(w, tensors[2 * count :]), (values,), (v,))[1]
            return out

        zeros = [torch.zeros_like(value) for value in self._values]
        with torch.no_grad():  # without changes in place, which would be made again each time
            graph = make_fx(torch.func.functionalize(change))(*self._values, *zeros, *inputs)
        self._once, self._each = _programs(graph, slice(count, 2 * count))

    def at(self, inputs: Inputs) -> Push:
        """J v of a batch."""
        with torch.no_grad():
            known = self._once(*self._values, *inputs)

        def push(v: Sequence[Tensor]) -> Tensor:
            with torch.no_grad():
                alike = (_as_held(part, value) for part, value in zip(v, self._values, strict=True))
                out: Tensor = self._each(*known, *alike)
            return out

        return push


def _as_held(part: Tensor, value: Tensor) -> Tensor:
    """In the order in memory that the value has: results would come in another one, and mixed orders are slow."""
    return part if part.stride() == value.stride() else torch.empty_like(value).copy_(part)


def _programs(module: fx.GraphModule, moving: slice) -> tuple[fx.GraphModule, fx.GraphModule]:
    """What needs none of these arguments, and what goes on from its results with them."""
    graph = module.graph
    _drop_zeros(graph)
    graph.eliminate_dead_code()
    nodes = list(graph.nodes)
    arguments = [node for node in nodes if node.op == "placeholder"][moving]
    changing = set(arguments)
    changing.update(node for node in nodes if node.op == "output")
    for node in nodes:
        if any(before in changing for before in node.all_input_nodes):
            changing.add(node)
    still = [node for node in nodes if node not in changing]
    known = list(dict.fromkeys(before for node in nodes if node in changing for before in node.all_input_nodes))
    known = [node for node in known if node not in changing]
    once, each = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in still:
        copies[node] = once.node_copy(node, copies.__getitem__)
    once.output(tuple(copies[node] for node in known))
    once.eliminate_dead_code()
    copies = {node: each.placeholder(node.name) for node in [*known, *arguments]}
    for node in nodes:
        if node in changing and node not in copies:
            copies[node] = each.node_copy(node, copies.__getitem__)
    _add_in_place(each)
    return fx.GraphModule(module, once), fx.GraphModule(module, each)


def _drop_zeros(graph: fx.Graph) -> None:
    """A convolution's derivative adds what comes of the change of its input, also where the input is constant."""
    zeros = set()
    for node in graph.nodes:
        first = node.args[0] if node.args else None
        if node.target is aten.zeros.default or (first in zeros and (node.target is aten.expand.default or _is_product(node))):
            zeros.add(node)
        elif node.target is aten.add.Tensor and not node.kwargs and len(zeros.intersection(node.args)) == 1:
            (other,) = (value for value in node.args if value not in zeros)
            if isinstance(other, fx.Node) and _kind(other) == _kind(node):
                node.replace_all_uses_with(other)


def _add_in_place(graph: fx.Graph) -> None:
    """Sums of two products take the memory of the first: that of new results costs more than the sum."""
    for node in graph.nodes:
        if node.target is not aten.add.Tensor or node.kwargs:
            continue
        first, second = node.args
        if _is_product(first) and len(first.users) == 1 and first is not second and _kind(first) == _kind(node):
            node.target = aten.add_.Tensor


def _is_product(node: Any) -> bool:
    """Of two tensors, in memory of its own."""
    return isinstance(node, fx.Node) and (
        node.target is aten.mm.default or (node.target is aten.convolution.default and node.args[2] is None)
    )


def _kind(node: fx.Node) -> Any:
    """Shape and dtype."""
    value = node.meta.get("val")
    return (value.shape, value.dtype) if isinstance(value, Tensor) else node
