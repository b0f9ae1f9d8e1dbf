"""The table of operations whose parameters have a formula; everything else takes the general way."""

from __future__ import annotations

from collections.abc import Callable

from .convolution import of_convolution
from .elementwise import of_add, of_mul, of_sub
from .embedding import of_embedding
from .graph import Edge, Graph
from .matrix import of_addmm, of_mm
from .norms import of_batch_norm, of_group_norm, of_layer_norm
from .use import Use

RULES: dict[str, Callable[[Edge, Graph], list[Use]]] = {
    "AddmmBackward0": of_addmm,
    "MmBackward0": of_mm,
    "ConvolutionBackward0": of_convolution,
    "EmbeddingBackward0": of_embedding,
    "NativeLayerNormBackward0": of_layer_norm,
    "NativeGroupNormBackward0": of_group_norm,
    "NativeBatchNormBackward0": of_batch_norm,
    "AddBackward0": of_add,
    "SubBackward0": of_sub,
    "MulBackward0": of_mul,
}


def uses(graph: Graph, names: list[str]) -> dict[str, list[Use]]:
    """Every use of each parameter that has a formula for all of them; no use at all is no gradient."""
    found: dict[str, list[Use]] = {} if graph.opaque else {name: [] for name in names}
    without = set()
    for edge in graph.edges:
        if new := _of(edge, graph):
            found.setdefault(edge.name, []).extend(new)
        else:
            without.add(edge.name)
    return {name: kept for name, kept in found.items() if name not in without}


def _of(edge: Edge, graph: Graph) -> list[Use]:
    rule = RULES.get(edge.node.name())
    if rule is None or edge.node in graph.several:
        return []
    try:
        return rule(edge, graph)
    except (AttributeError, RuntimeError):  # another version's names; a value saved and then changed in place
        return []
