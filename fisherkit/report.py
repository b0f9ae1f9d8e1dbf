"""A diagonal at a glance: by layer for a network, by parameter for a statistician."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from .arrays import Array, as_float64
from .parameters import Parameters
from .tables import table


@dataclass(frozen=True)
class Layer:
    """The diagonal entries of one layer: how many, their sum, its share of the whole, the largest, and how many are zero."""

    name: str
    entries: int
    trace: float
    share: float
    largest: float
    zeros: int


@dataclass(frozen=True, repr=False)
class Report:
    """What `FisherInformation.report` found, printed as a table."""

    title: str
    layers: tuple[Layer, ...]
    whole: Layer

    def __repr__(self) -> str:
        rows = [astuple(layer) for layer in (*self.layers, self.whole)]
        return table(self.title, [field.name for field in fields(Layer)], rows)


def report(title: str, parameters: Parameters, diagonal: Sequence[Array]) -> Report:
    """Leaves of a diagonal by layer: parameters whose names agree up to the last dot."""
    groups: dict[str, list[Array]] = {}
    for name, leaf in zip(parameters.names, diagonal, strict=True):
        groups.setdefault(name.rpartition(".")[0] or name, []).append(as_float64(leaf, verb="F.report()"))
    total = sum(float(leaf.sum()) for leaves in groups.values() for leaf in leaves)
    layers = tuple(_layer(name, leaves, total) for name, leaves in groups.items())
    return Report(title, layers, _layer("all", [leaf for leaves in groups.values() for leaf in leaves], total))


def _layer(name: str, leaves: Sequence[Array], total: float) -> Layer:
    some = [leaf for leaf in leaves if len(leaf)]
    trace = sum(float(leaf.sum()) for leaf in some)
    return Layer(
        name=name,
        entries=sum(len(leaf) for leaf in some),
        trace=trace,
        share=trace / total if total else 0.0,
        largest=max((float(leaf.max()) for leaf in some), default=0.0),
        zeros=sum(int((leaf == 0).sum()) for leaf in some),
    )
