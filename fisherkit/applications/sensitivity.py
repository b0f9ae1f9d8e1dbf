"""What it costs to prune, quantise or change parts of a network: the quadratic form of its information, part by part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor, nn

from ..arrays import same_family
from ..errors import DataError, EntriesError, LayoutError
from ..information import FisherInformation
from ..networks import Model
from ..networks.network import unwrap
from ..parameters import Parameters
from ..structures.inversion import refuse_negative
from ..tables import table

BY = ("parameter", "channel", "tensor", "layer")
SHOWN = 24  # rows in a repr
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, repr=False, eq=False)
class Sensitivity:
    """How far each part, changed alone, moves the predictions.

    Attributes
    ----------
    divergence : mapping from name to Tensor
        Kullback-Leibler divergence to second order, in nats per observation: of a parameter's shape by ``"parameter"``, of
        shape (channels,) by ``"channel"``, a number by ``"tensor"`` and ``"layer"``.
    by : str
        What a part is.
    change : str
        What is done to it.
    """

    divergence: Mapping[str, Tensor]
    by: str
    change: str

    def ranked(self) -> list[tuple[str, float]]:
        """Every part with its divergence, the least sensitive first: what to prune or quantise first."""
        return sorted(self._rows(), key=lambda row: row[1])

    def report(self, most: int | None = None) -> str:
        """A table of the parts by name, all of them or the first so many."""
        rows = list(islice(self._rows(), most))
        left = sum(value.numel() for value in self.divergence.values()) - len(rows)
        notes = [f"... and {left} more: report() shows all"] if left else []
        title = f"Sensitivity(by={self.by!r}) to {self.change}, KL per observation"
        return table(title, (self.by, "nats"), rows, notes=notes)

    def __repr__(self) -> str:
        return self.report(SHOWN)

    def _rows(self) -> Iterator[tuple[str, float]]:
        for name in sorted(self.divergence, key=_natural):
            value = self.divergence[name]
            for index, entry in zip(product(*map(range, value.shape)), value.flatten().tolist(), strict=True):
                yield (f"{name}[{','.join(map(str, index))}]" if index else name), entry


def to_change(information: FisherInformation, delta: Any, *, by: str = "tensor") -> Sensitivity:
    r"""Sensitivity to a given change: :math:`\tfrac12 \delta_g^\top F_{gg}\, \delta_g` for each part g, changed alone.

    Parameters
    ----------
    information : FisherInformation
        Of any structure and scale; it is taken per observation. Only what it names is judged: ``F["0.weight",]`` is one tensor.
    delta : mapping from name to tensor
        The change of each parameter of the information.
    by : {"tensor", "channel", "layer", "parameter"}
        A channel is one entry of the first axis, an output of a linear or convolutional layer; the weights and biases
        of a layer that have equally many channels change together.

    Returns
    -------
    Sensitivity

    Raises
    ------
    LayoutError
        When names or shapes are not those of the information.
    DataError
        When the change is not finite, or the information is a prior (n = 0), which no observation stands behind.
    EntriesError
        When the information holds expressions or arrays, not tensors.

    Notes
    -----
    The form is the divergence of the old predictions from the new to second order: exact as the change goes to 0, a ranking
    where it is as large as a weight. Within a part the off-diagonal entries count where the structure has them; between
    parts they never do. A Monte Carlo error is ``F.mcse_of(lambda F: to_change(F, delta).divergence)``. O(p) for a
    diagonal; one product with F per channel otherwise.

    Examples
    --------
    >>> F = fk.FisherInformation({"a.weight": torch.eye(2), "a.bias": torch.ones(2)})
    >>> fk.applications.sensitivity.to_change(F, {"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2)})
    Sensitivity(by='tensor') to a given change, KL per observation
      tensor    nats
      a.bias       1
      a.weight     1
    """
    return _sensitivity(information, delta, by, "a given change")


def to_pruning(information: FisherInformation, weights: Any, *, by: str = "tensor") -> Sensitivity:
    r"""Sensitivity to setting parts to zero, :math:`\delta = -w`: optimal brain damage, with the whole block of a part.

    Parameters
    ----------
    information, by
        As for `to_change`.
    weights : Module, networks.Model, or mapping from name to tensor
        At which the information was taken; it may hold more than the information names.

    Returns
    -------
    Sensitivity

    References
    ----------
    LeCun, Denker & Solla (1989), Optimal brain damage, NeurIPS.

    Examples
    --------
    >>> F = fk.FisherInformation({"weight": torch.tensor([[1.0, 1.0], [8.0, 8.0]])})
    >>> fk.applications.sensitivity.to_pruning(F, {"weight": torch.tensor([[2.0, 0.0], [0.5, 0.5]])}, by="channel").ranked()
    [('(root)[0]', 2.0), ('(root)[1]', 2.0)]
    """
    delta = {name: -value for name, value in _weights(information, weights, channels=by == "channel").items()}
    return _sensitivity(information, delta, by, "pruning")


def to_quantization(
    information: FisherInformation, weights: Any, *, bits: int = 8, per_channel: bool = True, by: str = "tensor"
) -> Sensitivity:
    r"""Sensitivity to rounding, :math:`\delta = Q(w) - w`, to ``2**bits - 1`` symmetric levels.

    Parameters
    ----------
    information, weights, by
        As for `to_pruning`.
    bits : int
        2 to 16.
    per_channel : bool
        Whether each entry of the first axis has a scale of its own, its largest absolute weight; tensors of fewer than two
        axes have one.

    Returns
    -------
    Sensitivity
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise DataError(f"bits must be an integer from 2 to 16; got {bits!r}.")
    found = _weights(information, weights, channels=by == "channel" or per_channel)
    delta = {name: quantize(value, bits=bits, per_channel=per_channel) - value for name, value in found.items()}
    return _sensitivity(information, delta, by, f"{bits} bits per {'channel' if per_channel else 'tensor'}")


def quantize(weight: Tensor, *, bits: int, per_channel: bool) -> Tensor:
    """The nearest of ``2**bits - 1`` symmetric levels; the largest absolute weight and zero are kept."""
    top = 2 ** (bits - 1) - 1
    axes = tuple(range(1, weight.ndim)) if per_channel and weight.ndim > 1 else tuple(range(weight.ndim))
    scale = weight.abs().amax(axes, keepdim=True) / top
    return torch.where(scale > 0, (weight / scale).round() * scale, weight)


def _sensitivity(information: FisherInformation, delta: Any, by: str, change: str) -> Sensitivity:
    if information._family != "torch":
        raise EntriesError(f"a sensitivity needs an information of tensors; its entries are of {information._family}.")
    F = information.per_observation()
    leaves = dict(zip(F.parameters.names, F.parameters.split(delta, name="delta"), strict=True))
    diagonal = dict(zip(F.parameters.names, F._structure.diagonal(), strict=True))
    for name, value in diagonal.items():
        refuse_negative(value, F.parameters.select((name,)))
        same_family(value, leaves[name], verb="a sensitivity")
    if by == "parameter":
        halves = F.parameters.as_mapping([diagonal[name] * leaf**2 / 2 for name, leaf in leaves.items()])
        return Sensitivity(halves, by, change)
    halves = {}
    for part, (names, channels) in _parts(F.parameters, by).items():
        changes = [leaves[name].reshape(channels or 1, -1) for name in names]
        if F.structure == "diagonal":
            pairs = zip(names, changes, strict=True)
            half = sum((diagonal[name].reshape(d.shape) * d**2).sum(1) for name, d in pairs) / 2
        else:
            half = _quadratics(F[names], changes) / 2
        halves[part] = half if channels else half[0]
    return Sensitivity(halves, by, change)


def _parts(parameters: Parameters, by: str) -> dict[str, tuple[tuple[str, ...], int | None]]:
    """The parameters of each part, and into how many channels it falls; None where it is one."""
    if by not in BY:
        raise LayoutError(f"by must be one of {', '.join(map(repr, BY))}; got {by!r}.")
    if by == "tensor":
        return {name: ((name,), None) for name in parameters.names}
    layers: dict[str, list[str]] = {}
    for name in parameters.names:
        layers.setdefault(name.rpartition(".")[0] or "(root)", []).append(name)
    if by == "layer":
        return {layer: (tuple(names), None) for layer, names in layers.items()}
    first = {name: shape[0] if shape else 1 for name, shape in zip(parameters.names, parameters.shapes, strict=True)}
    parts: dict[str, tuple[tuple[str, ...], int | None]] = {}
    for layer, names in layers.items():
        if len({first[name] for name in names}) == 1:
            parts[layer] = tuple(names), first[names[0]]
        else:  # tensors that do not share their channels stand by themselves
            parts |= {name: ((name,), first[name]) for name in names}
    return parts


def _quadratics(block: FisherInformation, changes: list[Tensor]) -> Tensor:
    """d' F d for the change of each channel alone; the leaves of the changes have shape (channels, entries)."""
    found = []
    for channel in range(len(changes[0])):
        alone = [torch.zeros_like(d) for d in changes]
        for d, whole in zip(alone, changes, strict=True):
            d[channel] = whole[channel]
        found.append(block.quadratic(torch.cat([d.flatten() for d in alone])))
    return torch.stack(found)


def _weights(information: FisherInformation, weights: Any, *, channels: bool) -> dict[str, Tensor]:
    """Those that the information names."""
    module = unwrap(weights.module if isinstance(weights, Model) else weights)
    names = information.parameters.names
    if isinstance(module, nn.Module):
        weights = dict(module.named_parameters())
        parts = module.named_modules() if channels else ()
        if turned := [layer for layer, part in parts if isinstance(part, TRANSPOSED) and f"{layer}.weight" in names]:
            raise LayoutError(
                f"the outputs of {', '.join(turned)} are on the second axis, not the first; leave these weights out with "
                "F.fix(...), or take them as tensors: by='tensor', per_channel=False."
            )
    if missing := [name for name in names if name not in weights]:
        raise LayoutError(f"the information is not of these weights, which have no {', '.join(missing)}.")
    return {name: torch.as_tensor(weights[name]).detach().double() for name in names}


def _natural(name: str) -> list[Any]:
    """The order of readers: 2.weight before 10.weight."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
