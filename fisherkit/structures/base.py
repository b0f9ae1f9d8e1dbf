"""The contract that every structure fulfils."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from ..arrays import Array, machine_epsilon
from ..parameters import Parameters

Leaves = Sequence[Array]


class Structure(ABC):
    """A symmetric matrix over named parameters, stored in some way. Immutable.

    Vectors are *leaves*, one flat array per parameter (see `Parameters`). Entries are float64 arrays, float64
    tensors, or object arrays of SymPy expressions.
    """

    name: ClassVar[str]
    parameters: Parameters

    @property
    @abstractmethod
    def arrays(self) -> Mapping[str, Array]:
        """What is stored, by name: enough to rebuild the structure with `from_arrays`."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> Self:
        """The structure that has these arrays; no checks."""

    def map(self, function: Callable[[Array], Array]) -> Self:
        """The same structure with ``function`` applied to each stored array (linear in the information)."""
        return self.from_arrays({key: function(array) for key, array in self.arrays.items()}, self.parameters)

    def rename(self, parameters: Parameters) -> Self:
        """The same entries under other names."""
        return self.from_arrays(dict(zip(self.keys(parameters), self.arrays.values(), strict=True)), parameters)

    @classmethod
    @abstractmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        """The names of the stored arrays."""

    @abstractmethod
    def scale(self, factor: Any) -> Self:
        """factor * F."""

    @abstractmethod
    def add(self, other: Self) -> Self:
        """F + G for two of a kind with equal parameters."""

    @abstractmethod
    def select(self, names: Sequence[str]) -> Self:
        """The rows and columns of these parameters, in this order: the others are known."""

    @abstractmethod
    def marginalize(self, kept: Sequence[str]) -> Self:
        """The information about ``kept`` when the other parameters are estimated too (Schur complement)."""

    @abstractmethod
    def matvec(self, leaves: Leaves) -> Leaves:
        """F @ v."""

    @abstractmethod
    def solve(self, leaves: Leaves, damping: Any) -> Leaves:
        """(F + damping I)^-1 v; singular unless damped: SingularInformationError."""

    @abstractmethod
    def variances(self) -> Leaves:
        """The diagonal of the inverse."""

    @abstractmethod
    def diagonal(self) -> Leaves: ...

    @abstractmethod
    def dense(self) -> Array:
        """The (p, p) matrix, within the memory budget."""

    @abstractmethod
    def inverse(self) -> Array:
        """The (p, p) inverse, within the memory budget."""

    @abstractmethod
    def logdet(self) -> Any: ...

    @abstractmethod
    def eigenvalues(self) -> Array:
        """All p eigenvalues, ascending; numbers only."""

    @abstractmethod
    def scaled_eigenvalues(self) -> Array:
        """Eigenvalues after scaling to unit diagonal, ascending: what rank and condition are read from."""

    @property
    def precision(self) -> float:
        """The relative rounding error of a product."""
        return machine_epsilon()

    def trace(self) -> Any:
        return sum(leaf.sum() for leaf in self.diagonal())


class PerParameter(Structure):
    """One array per parameter, with a row for each of its components."""

    leaves: tuple[Array, ...]

    def __init__(self, leaves: Leaves, parameters: Parameters) -> None:
        self.leaves = tuple(leaves)
        self.parameters = parameters

    @property
    def arrays(self) -> Mapping[str, Array]:
        return dict(zip(self.parameters.names, self.leaves, strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], parameters: Parameters) -> Self:
        return cls([arrays[name] for name in parameters.names], parameters)

    @classmethod
    def keys(cls, parameters: Parameters) -> Sequence[str]:
        return parameters.names

    def select(self, names: Sequence[str]) -> Self:
        return self.from_arrays(self.arrays, self.parameters.select(names))


def column(values: Array, v: Array) -> Array:
    """The values shaped to multiply a vector, or each column of a stack."""
    return values if v.ndim == 1 else values[:, None]
