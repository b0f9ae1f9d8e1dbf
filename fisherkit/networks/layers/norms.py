r"""LayerNorm, GroupNorm, and BatchNorm in eval mode: a scale and a bias behind the normalised input (x - m) / s.

RMSNorm's scale is a product like any other: see `elementwise`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .elementwise import Sum
from .graph import Edge, Graph
from .use import Use, single


def of_layer_norm(edge: Edge, graph: Graph) -> list[Use]:
    """Over the last axes, with the statistics that the forward pass kept."""
    node: Any = edge.node
    return _affine(edge, node._saved_input, node._saved_result1, node._saved_result2, tuple(edge.parameter.shape))


def of_group_norm(edge: Edge, graph: Graph) -> list[Use]:
    """Over groups of channels: every channel has the statistics of its group."""
    node: Any = edge.node
    x, each = node._saved_input, node._saved_C // node._saved_group
    mean, rstd = (v.repeat_interleave(each, dim=1) for v in (node._saved_result1, node._saved_result2))
    return _affine(edge, x, _spread(mean, x), _spread(rstd, x), _spread(edge.parameter, x).shape[1:])


def of_batch_norm(edge: Edge, graph: Graph) -> list[Use]:
    """With running statistics: in train mode no example has a score of its own."""
    node: Any = edge.node
    if node._saved_training or node._saved_running_mean is None:
        return []
    x, mean, variance = node._saved_input, node._saved_running_mean, single(node._saved_running_var)
    rstd = (variance + node._saved_eps).rsqrt()
    return _affine(edge, x, _spread(mean, x), _spread(rstd, x), _spread(edge.parameter, x).shape[1:])


def _affine(edge: Edge, x: Tensor, mean: Tensor, rstd: Tensor, shape: tuple[int, ...]) -> list[Use]:
    """The scale or the bias, its shape aligned with the features of a row."""
    if edge.slot == 0 or edge.transposed:
        return []
    if edge.slot == 2:
        return [Sum(edge, shape)]
    return [Sum(edge, shape, times=lambda g: g * (single(x) - single(mean)).mul_(single(rstd)))]


def _spread(v: Tensor, x: Tensor) -> Tensor:
    """(C,) or (n, C), over the axes behind the channels: (1 or n, C, 1, ...)."""
    return v.reshape(-1, x.shape[1], *[1] * (x.ndim - 2))
