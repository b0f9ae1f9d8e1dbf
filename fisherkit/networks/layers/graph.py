"""Where each parameter enters autograd's graph of one pass, whatever the module looked like that put it there."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node


@dataclass(frozen=True)
class Edge:
    """One use of a parameter: the operation, which of its arguments it is, and whether it came transposed."""

    node: Node
    slot: int
    name: str
    parameter: Tensor
    transposed: bool


class Graph:
    """Every operation between the parameters and one output.

    A gradient flows to a parameter along the edges that lead to it and along nothing else. Those of ``edges`` are all of
    them: the functional form, a tied head, a second call and a slice are edges like a layer's own.

    Parameters
    ----------
    output : Tensor
    parameters : mapping from name to tensor
        Those whose uses are wanted; one that appears nowhere has no effect on the output.
    """

    def __init__(self, output: Tensor, parameters: Mapping[str, Tensor]) -> None:
        self._names = {id(p): name for name, p in parameters.items()}
        self.edges: list[Edge] = []
        self.consumers: dict[Node, list[tuple[Node, int]]] = {}
        self.several: set[Node] = set()  # whose other outputs than the first are used
        self.opaque = output.requires_grad and output.grad_fn is None
        self.signature: Hashable = tuple(self._read(output.grad_fn)) if output.grad_fn is not None else ()

    def _read(self, root: Node) -> Iterator[Hashable]:
        """What tells two graphs apart: operations, and how they hang together."""
        index = {root: 0}
        nodes = [root]
        for node in nodes:  # grows while it is read
            name = node.name()
            self.opaque |= isinstance(node, BackwardCFunction) or "::" in name
            arrows: list[Hashable] = []
            for slot, (following, output) in enumerate(node.next_functions):
                if following is None:
                    arrows.append(None)
                elif (edge := self._edge(node, slot, following)) is not None:
                    self.edges.append(edge)
                    arrows.append((edge.name, edge.transposed))
                elif not hasattr(following, "variable"):
                    self.consumers.setdefault(following, []).append((node, slot))
                    if output:
                        self.several.add(following)
                    if following not in index:
                        index[following] = len(nodes)
                        nodes.append(following)
                    arrows.append((index[following], output))
            yield name, tuple(arrows)

    def _edge(self, node: Node, slot: int, following: Node) -> Edge | None:
        """The parameter at the end of nothing but transpositions, if there is one."""
        first, transposed = following, False
        while not hasattr(following, "variable"):
            if not _is_transposition(following):
                return None
            transposed = not transposed
            after = following.next_functions[0][0]
            if after is None:
                return None
            following = after
        parameter: Tensor = following.variable
        if id(parameter) not in self._names or (following is not first and parameter.ndim != 2):
            return None
        return Edge(node, slot, self._names[id(parameter)], parameter, transposed)


def _is_transposition(node: Any) -> bool:
    """Of a matrix; of anything with more axes it may be another permutation."""
    if node.name() == "PermuteBackward0":
        return bool((node._saved_dims[0] - node._saved_dims[1]) % 2 == 1 and len(node._saved_dims) == 2)
    if node.name() == "TransposeBackward0":
        return bool((node._saved_dim0 - node._saved_dim1) % 2 == 1)
    return bool(node.name() == "TBackward0")
