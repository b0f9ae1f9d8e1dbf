"""`Parameters`: an ordered set of (name, shape), the labels of a statistician and the named tensors of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from .arrays import Array, as_entries, public
from .errors import LayoutError

Names = "str | Iterable[object]"


@dataclass(frozen=True)
class Parameters:
    """Ordered names with shapes. A scalar has shape ``()``.

    Vectors over the parameters come in three forms, and leave in the form in which they came: one flat array of
    shape ``(p,)``, a stack of columns ``(p, k)``, or a mapping from name to an array of the parameter's shape.
    Inside they are *leaves*: one flat array of shape ``(size,)`` or ``(size, k)`` per parameter, never joined.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise LayoutError("an information needs at least one parameter; found none.")
        _refuse_repeated(self.names)
        if len(self.shapes) != len(self.names):
            raise LayoutError(f"{len(self.names)} names need as many shapes; found {len(self.shapes)}.")

    @classmethod
    def of(cls, spec: object, *, size: int | None = None) -> Parameters:
        """Read names, symbols, or a mapping from name to shape; check them against ``size`` entries."""
        if spec is None:
            spec = tuple(f"theta_{i}" for i in range(size or 0))
        if isinstance(spec, Parameters):
            parameters = spec
        elif isinstance(spec, Mapping):
            parameters = cls(tuple(map(str, spec)), tuple(tuple(shape) for shape in spec.values()))
        else:
            names = as_names(spec)
            parameters = cls(names, ((),) * len(names))
        if size is not None and parameters.size != size:
            raise LayoutError(f"{parameters} are {parameters.size} parameters; the values have {size}.")
        return parameters

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def size(self) -> int:
        """p, the number of scalar parameters."""
        return sum(self.sizes)

    @cached_property
    def is_flat(self) -> bool:
        """Whether every parameter is a scalar, so that a flat array is the natural form."""
        return all(shape == () for shape in self.shapes)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """One label per scalar: ``mu``, or ``weight[0,2]``."""
        return tuple(
            name if shape == () else f"{name}[{','.join(map(str, index))}]"
            for name, shape in zip(self.names, self.shapes, strict=True)
            for index in product(*map(range, shape))
        )

    def label(self, position: int) -> str:
        """The label of one scalar, without building them all."""
        for name, shape, size in zip(self.names, self.shapes, self.sizes, strict=True):
            if position < size:
                return f"{name}[{','.join(map(str, np.unravel_index(position, shape)))}]" if shape else name
            position -= size
        raise IndexError(position)

    def select(self, names: Iterable[object]) -> Parameters:
        """Just these, in this order."""
        names = self.known(names)
        return Parameters(names, tuple(self.shapes[self.names.index(name)] for name in names))

    def without(self, names: Iterable[object]) -> tuple[str, ...]:
        """The names that stay when these leave; at least one must."""
        gone = self.known(names)
        kept = tuple(name for name in self.names if name not in gone)
        if not kept:
            raise LayoutError(f"removing {', '.join(gone)} leaves no parameter of {self}.")
        return kept

    def known(self, names: Iterable[object]) -> tuple[str, ...]:
        """The names as strings, each of them one of ours and given once."""
        names = as_names(names)
        if unknown := [name for name in names if name not in self.names]:
            raise LayoutError(f"unknown parameter {', '.join(unknown)}; the parameters are {self}.")
        _refuse_repeated(names)
        return names

    def positions(self, names: Iterable[object]) -> list[int]:
        """Where the scalars of these parameters stand in the flat order."""
        starts = dict(zip(self.names, np.cumsum((0, *self.sizes)).tolist(), strict=False))
        sizes = dict(zip(self.names, self.sizes, strict=True))
        return [starts[name] + k for name in self.known(names) for k in range(sizes[name])]

    def rename(self, names: Mapping[str, str]) -> Parameters:
        self.known(names)
        return Parameters(tuple(names.get(name, name) for name in self.names), self.shapes)

    # -- vectors over the parameters

    def split(self, vector: object, *, name: str = "v") -> list[Array]:
        """The leaves of a vector, whatever its form; entries in float64 or expressions."""
        if isinstance(vector, Mapping):
            return self._split_mapping({str(key): value for key, value in vector.items()}, name)
        array = as_entries(vector, name=name)
        if array.ndim not in (1, 2) or array.shape[0] != self.size:
            raise LayoutError(
                f"{name} must have shape ({self.size},) or ({self.size}, k) for {self}, or be a mapping by name; "
                f"got shape {tuple(array.shape)}."
            )
        ends = np.cumsum(self.sizes).tolist()
        return [array[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]

    def _split_mapping(self, mapping: Mapping[str, object], name: str) -> list[Array]:
        if set(mapping) != set(self.names):
            missing = [key for key in self.names if key not in mapping]
            unknown = [key for key in mapping if key not in self.names]
            raise LayoutError(
                f"{name} must name each of {self} once; missing: {', '.join(missing) or 'none'}; "
                f"unknown: {', '.join(unknown) or 'none'}."
            )
        leaves = []
        for key, shape in zip(self.names, self.shapes, strict=True):
            leaf = as_entries(mapping[key], name=f"{name}[{key!r}]")
            if tuple(leaf.shape) != shape:
                raise LayoutError(f"{name}[{key!r}] must have shape {shape}; got {tuple(leaf.shape)}.")
            leaves.append(leaf.reshape(-1))
        return leaves

    def join(self, leaves: Sequence[Array], *, like: object) -> Any:
        """The inverse of `split`, in the form of ``like``."""
        return self.as_mapping(leaves) if isinstance(like, Mapping) else public(concatenate(leaves))

    def natural(self, leaves: Sequence[Array]) -> Any:
        """Flat for scalar parameters, a mapping by name where there are shapes."""
        return public(concatenate(leaves)) if self.is_flat else self.as_mapping(leaves)

    def as_mapping(self, leaves: Sequence[Array]) -> dict[str, Any]:
        parts = zip(self.names, self.shapes, leaves, strict=True)
        return {name: leaf.reshape(shape) if shape else leaf[0] for name, shape, leaf in parts}

    def __str__(self) -> str:
        """The names; a long list is cut in the middle."""
        shown = [n if s == () else f"{n}{list(s)}" for n, s in zip(self.names, self.shapes, strict=True)]
        if len(shown) > 8:
            shown = [*shown[:3], f"... {len(shown) - 6} more ...", *shown[-3:]]
        return f"({', '.join(shown)})"


def _refuse_repeated(names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise LayoutError(f"parameter names must differ; found {', '.join(repeated)} more than once.")


def as_names(names: object) -> tuple[str, ...]:
    """One name or symbol, or several, as strings."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        names = (names,)
    return tuple(str(name) for name in names)


def concatenate(leaves: Sequence[Array]) -> Array:
    """One flat array of the leaves, in any family."""
    if len(leaves) == 1:
        return leaves[0]
    from array_api_compat import array_namespace

    return array_namespace(*leaves).concat(list(leaves))
