"""Forward differentiation of a network written down as operations, once for all batches of one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from .network import Inputs, Network

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
                out: Tensor = self._each(*known, *v)
            return out

        return push


def _programs(module: fx.GraphModule, moving: slice) -> tuple[fx.GraphModule, fx.GraphModule]:
    """What needs none of these arguments, and what goes on from its results with them."""
    graph = module.graph
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
    return fx.GraphModule(module, once), fx.GraphModule(module, each)
